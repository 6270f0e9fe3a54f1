"""`alphatrader flatten`: halt, cancel every order, close every position; then waits until nothing is held.

Exit codes: 0 flat, 1 something is still held or it was refused, 3 neither servers, emergency nor gateway can be reached.
"""

from __future__ import annotations

import argparse
import time

from alphatrader.commands import DONE, WRONG
from alphatrader.commands.access import open_access, print_json, say
from alphatrader.commands.control_request import common_arguments, request, show
from alphatrader.contract import keys as k
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.store import StoreError

_LOOK_SECONDS = 0.25


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait until nothing is held (60); 0: do not wait")


def run(args: argparse.Namespace) -> int:
    outcome = request("flatten", args.reason)
    if not outcome.confirmed or outcome.way == "gateway" or args.wait <= 0:
        return show(outcome, args.json)
    if not args.json:
        show(outcome, as_json=False)
    held = _wait_until_flat(args.wait)
    said = (
        "Nothing is held any more."
        if held == 0
        else f"Still held after {args.wait:g} s: {held if held is not None else 'unknown'}."
    )
    if args.json:
        print_json({"kind": "flatten", "confirmed": True, "way": outcome.way, "epoch": outcome.epoch, "held": held})
    else:
        say(said)
    return DONE if held == 0 else WRONG


def _wait_until_flat(seconds: float) -> int | None:
    """How many positions are held at the end; None where nobody can say."""
    store = open_access().store
    until = monotonic() + seconds
    held: int | None = None
    while monotonic() < until:
        try:
            summary = store.get(k.POSITIONS_SUMMARY.at())
        except StoreError:
            summary = None
        held = summary.open if summary else None
        if held == 0:
            return 0
        time.sleep(_LOOK_SECONDS)
    return held
