"""`alphatrader resume`: allow opening positions again. Asks first, unless `--yes`.

Exit codes: 0 trading is allowed, 1 it was refused or not confirmed, 2 no confirmation was given, 3 nothing can be reached.
"""

from __future__ import annotations

import argparse
import sys

from alphatrader.commands import MISUSED
from alphatrader.commands.access import open_access
from alphatrader.commands.control_request import common_arguments, request, show
from alphatrader.contract import keys as k


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    if not args.yes and not _agreed():
        sys.stderr.write("alphatrader resume: not confirmed; nothing was changed (`--yes` does not ask)\n")
        return MISUSED
    return show(request("resume", args.reason), args.json)


def _agreed() -> bool:
    halt = open_access().store.get(k.HALT.at())
    state = f"halted by {halt.by}: {halt.reason}" if halt and halt.halted else "not halted" if halt else "without a halt record"
    sys.stderr.write(f"Trading is {state}.\nAllow opening positions again? Type `resume`: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "resume"
