"""`alphatrader futures [ROOT] [--on DATE]`: each contract's last trading day and time, first notice day, hard roll, front month.

By the exchanges' rules, so it works with the system down (and says so). With the system up the broker's own dates are shown, and
where they are not the rules'. Exit codes: 0 shown, 1 the broker and the rules differ, 2 there is no such root or date.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from alphatrader.commands import DONE, MISUSED, WRONG
from alphatrader.commands.access import Access, Cell, open_access, print_json, say, show
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import FutureRoot
from alphatrader.core.market import futures
from alphatrader.runtime.calendar import Calendar, CalendarError, nyse
from alphatrader.runtime.store import StoreError, WrongServerError

_CONTRACTS: Final = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", nargs="?", type=str.upper, help=f"one of {', '.join(futures.RULES)}; all without it")
    parser.add_argument("--on", metavar="DATE", help="YYYY-MM-DD, a day in New York; today without it")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--on: {text!r} is no date such as 2026-11-18") from None


def run(args: argparse.Namespace) -> int:
    access, calendar = open_access(), nyse()
    today = access.clock.session_date()
    roots = tuple(futures.RULES) if args.root is None else (args.root,)
    known, why_not = _broker(access)
    try:
        on = _day(args.on) if args.on else today
        answers = [_answer(root, on, today, calendar, known.get(root)) for root in roots]
    except (futures.UnknownRootError, CalendarError, ValueError) as error:
        sys.stderr.write(f"alphatrader futures: {error}\n")
        return MISUSED
    differ = [text for answer in answers for text in answer.differences]
    if args.json:
        print_json(
            {
                "on": on.isoformat(),
                "broker": why_not is None,
                "broker_missing": why_not,
                "differences": differ,
                "roots": {answer.root: answer.as_json() for answer in answers},
            }
        )
    else:
        _show(answers, on, why_not, differ)
    return WRONG if differ else DONE


def _broker(access: Access) -> tuple[dict[str, FutureRoot], str | None]:
    """What `ibkr` knows of the broker's contracts; why it is not known."""
    try:
        known = access.store.fields(k.FUTURES.at())
    except (StoreError, WrongServerError):
        return {}, "the system is down"
    return known, None if known else "ibkr has not asked the broker yet"


@dataclass(frozen=True)
class _Row:
    month: futures.Month
    broker_day: date | None

    def as_json(self) -> dict[str, Any]:
        month, notice = self.month, self.month.first_notice_day
        return {
            "contract_month": month.contract_month,
            "code": month.code,
            "last_trading_day": month.last_trading_day.isoformat(),
            "ends_at": month.ends_at,
            "first_notice_day": notice.isoformat() if notice else None,
            "hard_roll_day": month.hard_roll_day.isoformat(),
            "traded": month.traded,
            "by": "broker" if self.broker_day else "rules",
        }


@dataclass(frozen=True)
class _Answer:
    root: str
    rows: list[_Row]
    front: str
    """YYYYMM; of a day that is not today, by the hard rolls alone: its volumes are not known."""
    front_by: str
    differences: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "front_month": self.front,
            "front_by": self.front_by,
            "contracts": [row.as_json() for row in self.rows],
            "differences": list(self.differences),
            "source": futures.rule_of(self.root).source,
        }


@dataclass(frozen=True)
class _Contract:
    contract_month: str
    last_trading_day: str


def _answer(root: str, on: date, today: date, calendar: Calendar, known: FutureRoot | None) -> _Answer:
    def is_session(day: date) -> bool:
        return calendar.on(day) is not None

    theirs = {c.contract_month: futures.as_date(c.last_trading_day) for c in known.contracts} if known else {}
    rows = []
    for month in futures.months(root, on, is_session, _CONTRACTS):
        day = theirs.get(month.contract_month)
        rows.append(_Row(futures.month(root, month.contract_month, is_session, last=day), day))
    contracts = [_Contract(row.month.contract_month, f"{row.month.last_trading_day:%Y%m%d}") for row in rows]
    chosen = futures.front(root, contracts, on, is_session)
    front, by = chosen.month, "hard rolls"
    if known is not None and on == today:
        front, by = known.front, f"{known.reason}, since {known.since}"
    return _Answer(root, rows, front, by, known.differences if known else ())


def _show(answers: list[_Answer], on: date, why_not: str | None, differ: list[str]) -> None:
    said = "the broker's dates where it lists the month" if why_not is None else f"dates by the exchanges' rules: {why_not}"
    say(f"On {on:%A %Y-%m-%d}, New York; {said}")
    rows: list[tuple[Cell, ...]] = []
    for answer in answers:
        for number, row in enumerate(answer.rows):
            month = row.month
            is_front = month.contract_month == answer.front
            mark: Cell = (f"front ({answer.front_by})", "green") if is_front else "" if month.traded else ("hardly trades", "dim")
            rows.append(
                (
                    answer.root if number == 0 else "",
                    month.code,
                    f"{month.last_trading_day} {month.ends_at}",
                    str(month.first_notice_day or "-"),
                    str(month.hard_roll_day),
                    "broker" if row.broker_day else "rules",
                    mark,
                )
            )
    show("Root", "Month", "Last trading day", "First notice", "Hard roll", "By", "", rows=rows)
    for text in differ:
        say(f"DIFFERS: {text}. The broker's date is used.")
