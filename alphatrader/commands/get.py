"""`alphatrader get KEY`: one key, decoded, as the operator's read-only user. Of a stream or queue, the newest entries."""

from __future__ import annotations

import argparse
import sys

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import open_access, print_json
from alphatrader.contract.key import BoundKey, Kind
from alphatrader.contract.keys import find


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", help="such as market:SPY:book")
    parser.add_argument("--count", type=_count, default=5, help="entries of a stream or queue (5)")


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return count


def run(args: argparse.Namespace) -> int:
    key = find(args.key)
    if key is None:
        sys.stderr.write(f"alphatrader get: {args.key} is not in the contract; see `alphatrader keys`\n")
        return MISUSED
    access = open_access()
    bound = BoundKey(key, args.key)
    match key.kind:
        case Kind.VALUE:
            value = access.store.get(bound)
        case Kind.HASH:
            value = access.store.fields(bound) or None
        case Kind.STREAM:
            value = access.store.latest(bound, args.count) or None
        case Kind.QUEUE:
            value = access.store.due(bound, 2**62, args.count) or None
        case Kind.LOG:
            value = {"entries": access.store.length(bound)}
    if value is None:
        sys.stderr.write(f"alphatrader get: {args.key} does not exist now ({key.about}; written by {key.writer})\n")
        return WRONG
    print_json(value)
    return DONE
