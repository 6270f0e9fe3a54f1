"""`alphatrader watch PATTERN`: what changes in the keys and streams that match, until Ctrl-C."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from typing import Any

from alphatrader.commands import DONE, MISUSED
from alphatrader.commands.access import open_access, plain, say
from alphatrader.contract.key import BoundKey, Kind
from alphatrader.contract.keys import ALL
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import Store

_PAUSE_SECONDS = 0.25


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", help="such as 'metrics:SPY:*' or events:signals")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this long")


def run(args: argparse.Namespace) -> int:
    store = open_access().store
    names = [bound for key in ALL for bound in store.scan(key) if fnmatch.fnmatchcase(bound.name, args.pattern)]
    if not names:
        sys.stderr.write(f"alphatrader watch: no key matches {args.pattern!r} now\n")
        return MISUSED
    streams = [bound for bound in names if bound.key.kind == Kind.STREAM]
    cursors = [Cursor.at_end([bound]) for bound in streams]
    seen: dict[str, Any] = {}
    until = monotonic() + args.seconds if args.seconds else None
    while until is None or monotonic() < until:
        for bound in names:
            if bound.key.kind in (Kind.VALUE, Kind.HASH):
                _show_change(store, bound, seen)
        for cursor in cursors:
            for entry in store.read(cursor):
                say(f"{entry.stream} {entry.id} {json.dumps(plain(entry.event))}")
        time.sleep(_PAUSE_SECONDS)
    return DONE


def _show_change(store: Store, bound: BoundKey[Any], seen: dict[str, Any]) -> None:
    value = store.get(bound) if bound.key.kind == Kind.VALUE else store.fields(bound)
    if seen.get(bound.name, seen) != value:
        seen[bound.name] = value
        say(f"{bound.name} {json.dumps(plain(value))}")
