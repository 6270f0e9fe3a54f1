"""`alphatrader why SYMBOL`: each strategy's gates on the way to a signal, with the value and what is needed.

Exit codes: 0 shown, 1 signals says nothing of the symbol now, 2 there is no such equity, 3 the servers cannot be reached.
"""

from __future__ import annotations

import argparse
import sys

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import Cell, open_access, print_json, say, show
from alphatrader.contract import keys as k
from alphatrader.runtime.clock import exchange_datetime


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", type=str.upper, help="such as SPY")


def run(args: argparse.Namespace) -> int:
    access = open_access()
    equities = access.settings.market.equities
    if args.symbol not in equities:
        sys.stderr.write(f"alphatrader why: signals are made for {', '.join(equities)}; not for {args.symbol}\n")
        return MISUSED
    message = access.store.get(k.SIGNALS_WHY.at(symbol=args.symbol))
    if message is None:
        sys.stderr.write(f"alphatrader why: signals has said nothing of {args.symbol} for 300 s; see `alphatrader status`\n")
        return WRONG
    if args.json:
        print_json(message)
        return DONE
    say(f"{args.symbol} at {exchange_datetime(message.ts_ns):%Y-%m-%d %H:%M:%S} ET")
    rows: list[tuple[Cell, ...]] = []
    for strategy, gates in message.by_strategy.items():
        for number, gate in enumerate(gates):
            passed = ("pass", "green") if gate.passed else ("STOP", "red")
            rows.append((strategy if number == 0 else "", passed, gate.name, gate.value, gate.needed))
    show("Strategy", "", "Gate", "Value", "Needed", rows=rows)
    return DONE
