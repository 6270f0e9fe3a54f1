"""Our positions against the broker's: in flight, standing, settled at its word."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.orders import Account
from alphatrader.core.positions.booking import ADOPTED, EXPIRED, VANISHED
from alphatrader.core.positions.ledger import Ledger
from alphatrader.core.positions.reconciliation import Difference, Reconciler, outdated, settled
from alphatrader.runtime.clock import SECOND
from tests.support.holdings import MACHINE_NS, NOW_NS, SPY, account, broker_position, fill

D = Decimal


def at(seconds: float, *held: int) -> Account:
    positions = [broker_position(SPY, quantity) for quantity in held]
    return account(*positions, machine_ns=MACHINE_NS + int(seconds * SECOND))


def now(seconds: float) -> int:
    return MACHINE_NS + int(seconds * SECOND)


def test_before_the_first_agreement_nothing_is_reconciled() -> None:
    reconciler = Reconciler(10)
    assert not reconciler.compare({}, None, now(0)).reconciled
    assert not reconciler.compare({}, replace(at(0), confirmed=False), now(0)).reconciled
    assert not reconciler.compare({7: 2}, at(0), now(0)).reconciled
    assert reconciler.compare({7: 2}, at(1, 2), now(1)).reconciled


def test_a_fill_in_flight_is_named_and_does_not_alarm_until_the_patience_ends() -> None:
    reconciler = Reconciler(10)
    reconciler.compare({}, at(0), now(0))
    flying = reconciler.compare({7: 2}, at(1), now(1))
    assert flying.reconciled and "ours 2, broker 0" in flying.differences[0] and flying.standing == ()
    # another fill is another difference: its time starts anew
    assert reconciler.compare({7: 3}, at(9), now(9)).reconciled
    assert reconciler.compare({7: 3}, at(18.9, 2), now(18.9)).reconciled
    late = reconciler.compare({7: 3}, at(29, 2), now(29))
    assert not late.reconciled and [d.con_id for d in late.standing] == [7]


def test_an_old_statement_of_the_broker_settles_nothing() -> None:
    reconciler = Reconciler(10)
    reconciler.compare({}, at(0), now(0))
    reconciler.compare({7: 2}, at(0), now(1))
    blind = reconciler.compare({7: 2}, at(0), now(30))
    assert not blind.reconciled and blind.standing == ()


def test_what_we_never_saw_is_adopted_at_the_brokers_cost() -> None:
    difference = Difference(7, 0, D(3), broker_position(SPY, 3, "412.50"), 0)
    (one,) = settled(difference, SPY, account="DU1", mark=None, expired=False, ts_ns=NOW_NS)
    assert (one.exec_id, one.side, one.quantity, one.price) == (ADOPTED, "BUY", 3, D("4.125"))
    ledger = Ledger()
    ledger.hear(one)
    held = ledger.positions()["ext-7"]
    assert held.external and held.cost == D("1237.5") and ledger.quantities() == {7: 3}


@pytest.mark.parametrize(("cost", "price"), [("0", "0"), ("-412.50", "0"), ("NaN", "0"), ("0.50", "0.005")])
def test_a_cost_that_is_none_is_not_taken(cost: str, price: str) -> None:
    (one,) = settled(Difference(7, 0, D(3), broker_position(SPY, 3, cost), 0), SPY, account="", mark=None, expired=False, ts_ns=1)
    assert one.price == D(price)


def test_a_short_that_vanished_was_bought_at_the_last_mark_as_far_as_anybody_knows() -> None:
    ledger = Ledger()
    for one in (fill("a", "BUY", 1, "4.00"), fill("a/stop", "SELL", 3, "3.00", at=1)):
        ledger.hear(one)
    (one,) = settled(Difference(7, -2, D(0), None, 0), SPY, account="", mark=D("3.10"), expired=False, ts_ns=NOW_NS + 9 * SECOND)
    assert (one.exec_id, one.side, one.quantity, one.price, one.perm_id, one.revision) == (VANISHED, "BUY", 2, D("3.10"), 0, 0)
    # then it is no gain of all that it was sold for, and none that anybody saw
    ledger.hear(one)
    held = ledger.positions()["a"]
    assert (held.quantity, held.realized, held.exit_known) == (0, D("-122.60"), False)


@pytest.mark.parametrize(
    ("ours", "broker", "booked"),
    [
        (-2, -1, [(VANISHED, "BUY", 1)]),
        (-2, 1, [(VANISHED, "BUY", 2), (ADOPTED, "BUY", 1)]),
        (-2, -3, [(ADOPTED, "SELL", 1)]),
        (2, 1, [(VANISHED, "SELL", 1)]),
        (2, 3, [(ADOPTED, "BUY", 1)]),
        (2, -1, [(VANISHED, "SELL", 2), (ADOPTED, "SELL", 1)]),
    ],
)
def test_what_the_broker_has_less_of_vanished_and_what_it_has_more_of_is_adopted(ours: int, broker: int, booked: Any) -> None:
    at_broker = broker_position(SPY, broker)
    fills = settled(Difference(7, ours, D(broker), at_broker, 0), SPY, account="", mark=D(4), expired=False, ts_ns=1)
    assert [(f.exec_id, f.side, f.quantity) for f in fills] == booked
    assert ours + sum(f.quantity if f.side == "BUY" else -f.quantity for f in fills) == broker


def test_a_difference_says_of_what_and_for_how_long() -> None:
    named = Difference(7, 2, D(3), broker_position(SPY, 3), MACHINE_NS)
    assert named.words(now(12)) == f"conId 7 ({SPY.occ}): ours 2, broker 3, for 12 s"
    unnamed = replace(broker_position(SPY, 3), local_symbol="")
    assert "conId 7 (SPY): " in Difference(7, 2, D(3), unnamed, MACHINE_NS).words(now(12))
    assert Difference(7, 2, D(0), None, MACHINE_NS).words(now(0)) == "conId 7: ours 2, broker 0, for 0 s"
    why = [Reconciler(10).compare({}, said, now(0)).differences for said in (None, replace(at(0), confirmed=False))]
    assert why == [("the account is not known yet",), ("the broker has not confirmed positions and orders",)]


def test_what_expired_is_closed_at_nothing_and_what_vanished_at_the_last_mark() -> None:
    for expired, price, why in ((True, D(0), EXPIRED), (False, D("4.40"), VANISHED)):
        ledger = Ledger()
        ledger.hear(fill("a", "BUY", 2, "4.00"))
        (one,) = settled(
            Difference(7, 2, D(0), None, 0), SPY, account="DU1", mark=D("4.40"), expired=expired, ts_ns=NOW_NS + SECOND
        )
        assert (one.exec_id, one.side, one.quantity, one.price) == (why, "SELL", 2, price)
        ledger.hear(one)
        held = ledger.positions()["a"]
        assert held.quantity == 0 and not held.exit_known and held.closed_by == why.partition(":")[2]


def test_what_is_no_option_is_never_settled() -> None:
    assert settled(Difference(5, 0, D(100), None, 0), None, account="", mark=None, expired=False, ts_ns=1) == []


def test_a_late_execution_withdraws_what_the_account_taught() -> None:
    # given a position closed at the broker's word
    (taught,) = settled(Difference(7, 2, D(0), None, 0), SPY, account="", mark=D(4), expired=False, ts_ns=NOW_NS + SECOND)
    ledger = Ledger()
    for one in (fill("a", "BUY", 2, "4.00", at=-5), taught):
        ledger.hear(one)
    # when its execution comes after all, we hold two too few
    ledger.hear(fill("a/stop", "SELL", 2, "3.10", at=-1))
    difference = Difference(7, ledger.quantities()[7], D(0), None, 0)
    # then the adjustment goes, and the sale is what it was
    for one in outdated(difference, [taught]):
        ledger.forget(one)
    assert ledger.quantities() == {} and ledger.positions()["a"].closed_by == "stop"
    assert outdated(Difference(7, 5, D(2), None, 0), [taught]) == []
    # one that was adopted goes the same way, and of several only those that explain it
    (adopted,) = settled(Difference(7, 0, D(2), broker_position(SPY, 2), 0), SPY, account="", mark=None, expired=False, ts_ns=1)
    assert outdated(Difference(7, 4, D(2), None, 0), [taught, adopted]) == [adopted]
    assert outdated(Difference(7, 2, D(2), None, 0), [taught, adopted]) == [taught, adopted]
