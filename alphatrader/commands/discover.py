"""`alphatrader discover [--symbol S] [--accept]`: runs discovery now, or says yes to what jumped and waits.

Asks the discovery worker through `discovery:requests`, shows how far it is, and ends with what changed.
Exit codes: 0 done, 1 something failed, still waits for a yes, or nobody answered in time, 2 used wrongly, 3 the servers cannot be
reached.
"""

from __future__ import annotations

import argparse
import getpass
import secrets
import sys
import threading
from typing import Any, Final

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import Access, open_access, print_json, say, show
from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import Candidates, DiscoveryProgress, DiscoveryRequest
from alphatrader.contract.modules import Module
from alphatrader.runtime.store import Store

LOOK_SECONDS: Final = 0.3
QUIET_SECONDS: Final = 120.0
"""A worker that says nothing for this long is not waited for."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--symbol", type=str.upper, help="only this one; without it all, and their correlation")
    parser.add_argument("--accept", action="store_true", help="let what jumped take effect now, without a second night")
    parser.add_argument(
        "--wait", type=float, default=QUIET_SECONDS, metavar="SECONDS", help="longest silence of the worker (default %(default)g)"
    )


def run(args: argparse.Namespace) -> int:
    access = open_access(Module.CLI)
    market = access.settings.market
    names = (*market.equities, *(future.root for future in market.futures))
    if args.symbol is not None and args.symbol not in names:
        sys.stderr.write(f"alphatrader discover: {args.symbol} is not followed; there are: {', '.join(names)}\n")
        return MISUSED
    store = access.store
    waiting = store.get(k.DISCOVERED_CANDIDATES.at())
    if args.accept and not _of(waiting, args.symbol):
        say("Nothing waits for a yes.") if not args.json else print_json({"state": "done", "changed": [], "waiting": []})
        return DONE
    asked = _ask(access, store, args)
    ended, why = _follow(access, store, asked, args.wait, shown=not args.json)
    waiting = store.get(k.DISCOVERED_CANDIDATES.at())
    if args.json:
        print_json(
            {"request": asked.id, "progress": ended, "unanswered": why or None, "waiting": waiting.waiting if waiting else []}
        )
    else:
        _show(ended, waiting, why)
    return DONE if ended is not None and ended.state == "done" and not ended.failed and not _of(waiting, args.symbol) else WRONG


def _of(waiting: Candidates | None, symbol: str | None) -> list[Any]:
    return [one for one in (waiting.waiting if waiting else ()) if symbol is None or one.symbol == symbol]


def _ask(access: Access, store: Store, args: argparse.Namespace) -> DiscoveryRequest:
    by = f"{getpass.getuser()} on the command line"
    kind: Any = "accept" if args.accept else "run"
    asked = DiscoveryRequest(secrets.token_hex(8), kind, args.symbol, by, access.clock.machine_ns())
    batch = store.batch()
    batch.append(k.DISCOVERY_REQUESTS.at(), asked)
    store.commit(batch)
    return asked


def _follow(
    access: Access, store: Store, asked: DiscoveryRequest, quiet: float, *, shown: bool
) -> tuple[DiscoveryProgress | None, str]:
    """How the run that answers it ended; None, and why, where nobody answered in time."""
    pause, told, heard = threading.Event(), "", access.clock.monotonic()
    seen = store.get(k.DISCOVERED_PROGRESS.at())
    while access.clock.monotonic() - heard < quiet:
        pause.wait(LOOK_SECONDS)
        progress = store.get(k.DISCOVERED_PROGRESS.at())
        if progress is None or progress == seen:
            continue
        seen, heard = progress, access.clock.monotonic()
        line = f"{progress.done} of {progress.of}: {progress.step}"
        if shown and line != told:
            say(line)
        told = line
        later = progress.kind == asked.kind == "run" and progress.started_machine_ns >= asked.machine_ns
        same = progress.symbol in (None, asked.symbol)
        if progress.state != "running" and (asked.id in progress.requests or (later and same)):
            return progress, ""
    if store.get(k.HEALTH.at(module=Module.DISCOVERY)) is None:
        return None, f"no discovery worker is up, and none took it in {quiet:g} s"
    after = f" after `{told}`" if told else ""
    return None, f"the discovery worker is up and said nothing for {quiet:g} s{after}"


def _show(ended: DiscoveryProgress | None, waiting: Candidates | None, why: str) -> None:
    if ended is None:
        sys.stderr.write(
            f"alphatrader discover: not done: {why}; the request stands, a worker that starts answers it (`alphatrader status`)\n"
        )
        return
    took = "" if ended.seconds is None else f" in {ended.seconds:.1f} s"
    say(f"{ended.state}{took}; {len(ended.changed)} changed" + (f"; report: reports/{ended.report}" if ended.report else ""))
    for line in (*ended.changed, *(f"FAILED {one}" for one in ended.failed)):
        say(f"  - {line}")
    if waiting and waiting.waiting:
        say("\nJumped, and waits for a second night or `alphatrader discover --accept`:")
        rows = (
            (one.symbol or "all", one.parameter, one.now_in_effect, one.found, one.jump, one.night) for one in waiting.waiting
        )
        show("Symbol", "What", "In effect", "Found", "Jump", "Since", rows=rows)
