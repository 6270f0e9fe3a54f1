"""`alphatrader report`: closed trades in numbers, by strategy, and whether the paper gate is met.

In paper mode the gate's verdict is also kept in `data/paper/paper_gate.json`, which `doctor` reads in live mode.
Exit codes: 0 shown, 1 it cannot be computed, 3 the servers cannot be reached.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from alphatrader.commands import DONE, WRONG
from alphatrader.commands.access import Access, open_access, print_json, say, show
from alphatrader.contract import keys as k
from alphatrader.core.performance import statistics
from alphatrader.core.performance.paper_gate import PaperGate, paper_gate
from alphatrader.core.performance.statistics import Performance
from alphatrader.runtime.calendar import nyse

GATE_FILE = "paper_gate.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    access = open_access()
    trades = list(access.store.fields(k.LEDGER_TRADES.at()).values())
    risk = access.store.get(k.RISK_STATE.at())
    starting = risk.starting_equity if risk else None
    if starting is None:
        sys.stderr.write("alphatrader report: risk has not recorded the starting equity yet: has it ever run with an account?\n")
        return WRONG
    report = statistics.report(trades, starting, _sessions(access, [trade.session for trade in trades]))
    gate = paper_gate(report.all)
    if access.settings.mode == "paper":
        content = msgspec.json.encode({"gate": asdict(gate), "machine_ns": access.clock.machine_ns()})
        (access.folder / GATE_FILE).write_bytes(content)
    if args.json:
        print_json(
            {"mode": access.settings.mode, "starting_equity": starting, "report": asdict(report), "paper_gate": asdict(gate)}
        )
        return DONE
    _show(access, report, gate, starting)
    return DONE


def _sessions(access: Access, names: list[str]) -> list[str]:
    """Every session from the first trade's to the present one, so that idle days count."""
    if not names:
        return []
    calendar = nyse()
    last = calendar.current(access.clock.market_ns())
    session, found = calendar.from_day(date.fromisoformat(min(names))), []
    while session.day <= last.day:
        found.append(session.name)
        session = calendar.next(session)
    return found


def _show(access: Access, report: statistics.Report, gate: PaperGate, starting: Decimal) -> None:
    say(f"Closed trades in {access.settings.mode} mode, starting equity ${starting:,.2f}")
    columns = ("Strategy", "Trades", "Win rate", "P&L", "Avg win", "Avg loss", "Profit factor", "Sharpe", "Drawdown", "Slippage")
    performances = {"all": report.all} | report.by_strategy
    show(*columns, rows=((name, *_cells(performance)) for name, performance in performances.items()), right=True)
    if report.by_hand or report.unseen_exits:
        say(f"Left out: {report.by_hand} by hand, {report.unseen_exits} without a loss whose exit nobody saw")
    say(f"\nPaper gate: {'MET' if gate.met else 'not met'}")
    conditions = ((one.name, one.value, one.needed, "met" if one.met else "not met") for one in gate.conditions)
    show("Condition", "Value", "Needed", "", rows=conditions)


def _cells(p: Performance) -> list[str]:
    def said(value: Any, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        str(p.trades), said(p.win_rate, ".1%"), said(p.pnl, "+,.2f"), said(p.average_win, "+,.2f"), said(p.average_loss, "+,.2f"),
        said(p.profit_factor, ".2f"), said(p.sharpe, ".2f"), said(p.max_drawdown_share, ".1%"), said(p.slippage, "+,.2f"),
    ]  # fmt: skip
