"""A position's life as its messages tell it: its plan, what it is worth, each change once, the trade at its end."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.orders import Fill
from alphatrader.contract.messages.positions import Position, WantedExit
from alphatrader.contract.messages.risk import Approval
from alphatrader.core.positions import records
from alphatrader.core.positions.booking import EXPIRED, Booked, book
from alphatrader.core.positions.records import Mark
from alphatrader.runtime.clock import SECOND, exchange_datetime
from tests.support.holdings import NOW_NS, SPY, fill

D = Decimal
APPROVAL = Approval(
    "i", "s-1", True, "", "0DTE", "SPY", SPY, 3, D("4.02"), D("3.00"), D("8.00"), 1, 1, 4, "1", 3, 70.0, (D(5), D(6), D(8))
)
DAY = 86_400


def held(*fills: Fill) -> Booked:
    (one,) = book(fills, {}).values()
    return one


BOUGHT = fill("i", "BUY", 2, "4.00")
SOLD = fill("i/stop", "SELL", 2, "3.00", at=60)
WISH = WantedExit("i", SPY, 0, D("3.00"), "time", "now", 2, 1)


def told(of: Booked, *, before: Position | None = None, approval: Approval | None = None, **more: Any) -> Position:
    return records.position(of, approval, before, more.get("mark", Mark()), more.get("wanted"))


def session_of(ts_ns: int) -> str:
    return f"{exchange_datetime(ts_ns):%Y-%m-%d}"


def test_it_begins_as_it_was_approved_and_goes_on_as_it_was() -> None:
    first = told(held(BOUGHT), approval=APPROVAL)
    assert (first.strategy, first.signal_id, first.planned_quantity, first.confidence) == ("0DTE", "s-1", 3, 70.0)
    assert (first.stop, first.initial_stop, first.targets) == (D("3.00"), D("3.00"), (D(5), D(6), D(8)))
    assert (first.best_mark, first.targets_hit) == (None, 0)
    # what has been moved since stands, whatever was approved
    moved = replace(first, stop=D("4.50"), best_mark=D("5.40"), targets_hit=1, planned_quantity=2, strategy="MOC", confidence=1.0)
    later = told(held(BOUGHT), before=moved, approval=APPROVAL)
    assert (later.stop, later.initial_stop, later.best_mark, later.targets_hit) == (D("4.50"), D("3.00"), D("5.40"), 1)
    assert (later.planned_quantity, later.strategy, later.confidence, later.signal_id) == (2, "MOC", 1.0, "s-1")
    # an approval that names one target names the last
    assert told(held(BOUGHT), approval=replace(APPROVAL, targets=())).targets == (D("8.00"),)


def test_what_nobody_approved_has_no_plan_and_says_whose_it_is() -> None:
    lost, foreign = told(held(BOUGHT)), told(held(fill("", "BUY", 2, "4.00")))
    assert [(p.strategy, p.status, p.planned_quantity) for p in (lost, foreign)] == [
        ("unknown", "open", 0),
        ("external", "external", 0),
    ]
    for one in (lost, foreign):
        assert (one.stop, one.initial_stop, one.targets, one.signal_id, one.confidence) == (None, None, (), None, None)


def test_it_is_worth_its_mark_less_its_cost_as_long_as_there_is_one() -> None:
    at = told(held(BOUGHT), mark=Mark(D("4.50"), 12.0))
    assert (at.mark, at.mark_age_ms, at.cost, at.unrealized) == (D("4.50"), 12.0, D("801.30"), D("98.70"))
    blind = told(held(BOUGHT), mark=Mark(None, 12.0))
    assert (blind.mark, blind.mark_age_ms, blind.unrealized) == (None, None, None)
    assert told(held(fill("i", "BUY", 1, "4.00")), mark=Mark(D("4.50"), 12.0)).unrealized == D("49.35")
    assert told(held(BOUGHT, SOLD)).unrealized == 0  # what is closed needs no mark
    over = told(held(BOUGHT, SOLD), mark=Mark(D("4.50"), 12.0))
    assert (over.mark, over.mark_age_ms, over.unrealized, over.status) == (None, None, D(0), "closed")


@pytest.mark.parametrize(("wanted", "status"), [(None, "open"), (replace(WISH, hold=1), "open"), (WISH, "closing")])
def test_it_is_closing_while_all_of_it_is_to_go(wanted: WantedExit | None, status: str) -> None:
    assert told(held(BOUGHT), wanted=wanted).status == status
    assert told(held(BOUGHT, SOLD), wanted=wanted).status == "closed"


def test_each_change_is_told_once_and_a_mark_alone_is_none() -> None:
    opened, closed = told(held(BOUGHT)), told(held(BOUGHT, SOLD))
    more = told(held(BOUGHT, fill("i", "BUY", 1, "4.10", at=5)))
    assert records.change(None, opened) == "opened"
    assert records.change(None, closed) == "closed"  # all of it happened while we were away
    assert records.change(opened, more) == "changed"
    assert records.change(opened, told(held(BOUGHT), wanted=WISH)) == "changed"
    assert records.change(opened, closed) == "closed"
    assert records.change(closed, opened) == "opened"  # its closing was busted
    assert records.change(closed, closed) is None
    assert records.change(closed, replace(closed, realized=D(1))) == "changed"  # a commission came later
    assert records.change(opened, told(held(BOUGHT), mark=Mark(D(9), 1.0))) is None
    # only a closing says why
    assert records.closing_event(closed, held(BOUGHT, SOLD), 7, "closed").reason == "stop"
    assert records.closing_event(opened, held(BOUGHT), 7, "changed").reason is None


def test_a_trade_says_how_it_ended_and_in_which_session() -> None:
    stopped = records.trade(told(held(BOUGHT, SOLD), approval=APPROVAL), held(BOUGHT, SOLD), WISH, session_of)
    assert (stopped.reason, stopped.session, stopped.pnl, stopped.quantity) == ("stop", session_of(NOW_NS), D("-202.60"), 2)
    assert (stopped.entry_price, stopped.exit_price, stopped.commissions) == (D(4), D(3), D("2.60"))
    assert (stopped.closed_ns, stopped.exit_known, stopped.confidence) == (NOW_NS + 60 * SECOND, True, 70.0)
    untold = held(BOUGHT, replace(SOLD, commission=None))
    assert [records.trade(told(h), h, WISH, session_of).commissions_known for h in (held(BOUGHT, SOLD), untold)] == [True, False]
    assert not told(untold).commissions_known
    out = held(BOUGHT, fill("i/exit-1", "SELL", 2, "4.40", at=60))
    assert records.trade(told(out), out, WISH, session_of).reason == "exit: time"
    assert records.trade(told(out), out, None, session_of).reason == "exit"
    gone = held(BOUGHT, fill("", "SELL", 2, "0", at=60, exec_id=EXPIRED))
    trade = records.trade(told(gone), gone, WISH, session_of)
    assert trade.reason.startswith("expired: the broker no longer holds it") and not trade.exit_known


def test_a_days_result_is_what_its_fills_realized() -> None:
    over_night = held(BOUGHT, fill("i/exit-1", "SELL", 1, "5.00", at=10), fill("i/stop", "SELL", 1, "3.00", at=DAY))
    today, tomorrow = session_of(NOW_NS), session_of(NOW_NS + DAY * SECOND)
    assert records.realized_in([over_night], today, session_of, 0) == D("98.70")
    assert records.realized_in([over_night], tomorrow, session_of, NOW_NS + DAY * SECOND) == D("-101.30")
    # what was not touched since then had nothing in it
    assert records.realized_in([over_night], tomorrow, session_of, NOW_NS + DAY * SECOND + 1) == 0


def test_a_sum_of_which_a_part_is_not_known_is_not_known() -> None:
    assert records.total([D(1), D("-3")]) == D(-2) and records.total([]) == 0
    assert records.total([D(1), None, D(2)]) is None
