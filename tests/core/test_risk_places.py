"""Never more than five positions and opening orders, never more than two of a symbol, whatever comes in whatever order (I2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace as with_fields
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import Reservation
from alphatrader.core.risk import places, verdict
from alphatrader.core.risk.alike import Bet
from alphatrader.core.risk.followed import Followed
from tests.core.test_positions_exits import held
from tests.core.test_risk_limits import RISK, STAMP, picture
from tests.core.test_risk_state import trade
from tests.support.holdings import MACHINE_NS, SPY, fill, order, signal

D = Decimal
SYMBOLS = ("SPY", "QQQ", "IWM", "AAPL")


def position(intent_id: str, quantity: int, opened: int, symbol: str = "SPY") -> Position:
    status: Any = "open" if quantity else "closed"
    return replace(held(quantity=quantity), id=intent_id, symbol=symbol, opened_quantity=opened, status=status)


@pytest.mark.parametrize(
    ("record", "bought", "at", "free"),
    [
        (None, 0, None, False),
        (order("i", "UNKNOWN"), 0, None, False),
        (order("i", "WORKING", filled=1), 0, position("i", 0, 1), False),
        (order("i", "REJECTED"), 0, None, True),
        (order("i", "CANCELLED"), 2, None, False),
        (order("i", "FILLED", filled=2), 0, None, False),
        (order("i", "FILLED", filled=2), 0, position("i", 2, 2), False),
        (order("i", "FILLED", filled=2), 0, position("i", 0, 1), False),
        (order("i", "FILLED", filled=2), 0, position("i", 0, 2), True),
        (order("i", "CANCELLED", filled=1), 1, position("i", 0, 1), True),
    ],
)
def test_a_place_is_free_only_at_a_confirmed_end(
    record: OrderRecord | None, bought: int, at: Position | None, free: bool
) -> None:
    assert places.ended(record, bought, at) is free


def test_what_a_place_can_lose_is_what_was_approved_until_the_entry_ended_and_then_what_was_paid() -> None:
    reservation = Reservation("i", "SPY", MACHINE_NS, D(800), "C")
    paid = replace(position("i", 1, 2), cost=D("401.30"))
    # approved, sent, partly filled: all of it may still be bought
    for orders, held_ in (([], []), ([order("i", "WORKING")], []), ([order("i", "WORKING", filled=1)], [paid])):
        assert places.bets({"i": reservation}, orders, held_) == {"i": Bet("SPY", "C", D(800))}
    # ended and held: what was paid for what is left; closed and not yet freed: as reserved
    assert places.bets({"i": reservation}, [order("i", "FILLED", filled=2)], [paid]) == {"i": Bet("SPY", "C", D("401.30"))}
    assert places.bets({"i": reservation}, [], [position("i", 0, 2)]) == {"i": Bet("SPY", "C", D(800))}
    # an entry that no approval is known of any more counts by its own terms
    adopted = places.bets({}, [order("i", "UNKNOWN", quantity=2, limit_price=D(4))], [])
    assert adopted == {"i": Bet("SPY", "C", D(800))}
    # ... at market by the mid it was sent at, and a stop of its own risks nothing more
    market = order("i", "SENT", limit_price=None, reference_price=D(3))
    assert places.bets({}, [market, order("i", "WORKING", id="i/stop", role="stop")], []) == {"i": Bet("SPY", "C", D(600))}


def test_what_may_be_a_position_or_become_one_holds_a_place_without_any_approval() -> None:
    # given an entry found again at the broker, one of which nothing is known, a trade by hand, and a position on its way out
    entries = [order("i-1", "WORKING"), order("i-2", "UNKNOWN", symbol="QQQ")]
    by_hand = replace(position("ext-7", 3, 3), status="external")
    leaving = replace(position("i-3", 1, 2, "IWM"), status="closing")
    expected = {"i-1": "SPY", "i-2": "QQQ", "ext-7": "SPY", "i-3": "IWM"}
    assert places.places({}, entries, [by_hand, leaving]) == expected
    # while what can only close, what has ended, and what is closed hold none; one intent holds one
    stop = order("i-4", "WORKING", id="i-4/stop", role="stop")
    over = [order("i-5", state) for state in ("FILLED", "CANCELLED", "REJECTED", "EXPIRED")]
    assert places.places({}, [stop, *over], [position("i-6", 0, 2)]) == {}
    assert places.places({"i": Reservation("i", "SPY", 0, D(1))}, [order("i", "SENT")], [position("i", 1, 1)]) == {"i": "SPY"}


def test_a_position_that_is_held_keeps_its_place_whatever_its_entry_says() -> None:
    # a correction took the entry's fill away and the position has not followed yet
    assert not places.ended(order("i", "CANCELLED"), 0, position("i", 1, 1))
    assert places.ended(order("i", "CANCELLED"), 0, position("i", 0, 1))
    late = MACHINE_NS + 61 * 10**9
    assert places.settled(order("i", "CANCELLED"), position("i", 0, 1), late)


def test_an_approval_nobody_acted_on_frees_its_place_after_a_while() -> None:
    reservation = Reservation("i", "SPY", MACHINE_NS, 1)  # type: ignore[arg-type]
    assert not places.unclaimed(reservation, None, MACHINE_NS + 10_000_000_000, 10)
    assert places.unclaimed(reservation, None, MACHINE_NS + 10_000_000_001, 10)
    assert not places.unclaimed(reservation, order("i", "UNKNOWN"), MACHINE_NS + 10**12, 10)


def test_a_reconciled_account_settles_an_end_that_left_no_trace() -> None:
    late = MACHINE_NS + 61 * 10**9
    assert places.settled(order("i", "FILLED", filled=2), None, late)
    assert not places.settled(order("i", "FILLED", filled=2), None, MACHINE_NS + 60 * 10**9)
    assert not places.settled(order("i", "FILLED", filled=2), position("i", 1, 2), late)
    assert not places.settled(order("i", "UNKNOWN"), None, late) and not places.settled(None, None, late)


def test_twenty_signals_at_once_get_five_places_and_no_symbol_more_than_two() -> None:
    now = picture()
    reservations: dict[str, Reservation] = {}
    for number in range(20):
        one = signal(f"s-{number}", contract=replace(SPY, symbol=SYMBOLS[number % 2 if number < 10 else 2 + number % 2]))
        approval = verdict.decide(now, RISK, one, STAMP)
        if approval.approved:
            reservations[approval.intent_id] = verdict.reserved(approval, one)
            now = with_fields(now, places=places.places(reservations, (), ()))
    assert len(reservations) == 5
    assert max(Counter(r.symbol for r in reservations.values()).values()) == 2


def test_what_executions_say_an_entry_bought_holds_its_place_until_a_position_has_counted_it() -> None:
    reservations = {"i": Reservation("i", "SPY", MACHINE_NS, D(800), "C")}

    def free(followed: Followed) -> list[str]:
        return list(followed.free(reservations, MACHINE_NS, RISK.unclaimed_seconds, reconciled=False))

    # given an entry that was cancelled, and two executions of it that its record does not count yet
    followed = Followed()
    followed.hear_order(order("i", "CANCELLED"), reservations)
    for key in ("a", "b", "b"):
        followed.hear_fill(fill("i", "BUY", 1, "4.00", key=key), reservations)
    assert free(followed) == [] and followed.bought == {"i": {"a": 1, "b": 1}}
    # then one that was booked alone is not the end, both are
    followed.hear_position(position("i", 0, 1), None)
    assert free(followed) == []
    followed.hear_position(position("i", 0, 2), None)
    assert free(followed) == ["i"]
    # and nothing of it is followed any more
    assert (followed.orders, followed.bought, followed.positions) == ({}, {}, {})
    # what a stop sold, or what an entry bought whose place is free, holds none
    followed.hear_order(order("i", "CANCELLED"), reservations)
    followed.hear_fill(fill("i/stop", "SELL", 2, "3.00"), reservations)
    followed.hear_fill(fill("i-2", "BUY", 2, "3.00"), reservations)
    assert followed.bought == {} and free(followed) == ["i"]


def test_trades_are_those_of_closed_positions_and_go_when_their_closing_is_taken_back() -> None:
    followed = Followed()
    followed.hear_position(position("i", 0, 2), trade(1, "-5"))
    assert list(followed.trades) == ["i"] and followed.held == 0
    followed.hear_position(position("i", 2, 2), None)
    assert followed.trades == {} and followed.held == 1


class Interleavings(RuleBasedStateMachine):
    """The broker's truth beside risk's books, which hear of it late: the truth must never exceed the limits."""

    def __init__(self) -> None:
        super().__init__()
        self.reservations: dict[str, Reservation] = {}
        self.truth_orders: dict[str, OrderRecord] = {}
        self.truth_held: dict[str, tuple[int, int]] = {}
        self.followed = Followed()
        self.symbols: dict[str, str] = {}

    def now(self) -> Any:
        for intent_id in self.followed.free(self.reservations, MACHINE_NS, RISK.unclaimed_seconds, reconciled=False):
            del self.reservations[intent_id]
        return picture(places=self.followed.places(self.reservations), unknown_orders=())

    @rule(symbol=st.sampled_from(SYMBOLS))
    def a_signal(self, symbol: str) -> None:
        one = signal(f"s-{len(self.symbols)}", contract=replace(SPY, symbol=symbol))
        approval = verdict.decide(self.now(), RISK, one, STAMP)
        self.symbols[one.id] = symbol
        if approval.approved:
            self.reservations[one.id] = verdict.reserved(approval, one)
            self.truth_orders[one.id] = order(one.id, "SENT", symbol=symbol)
            self.truth_held[one.id] = (0, 0)

    @rule(
        data=st.data(), state=st.sampled_from(["WORKING", "UNKNOWN", "CANCELLED", "REJECTED", "FILLED"]), size=st.integers(0, 2)
    )
    def the_broker_moves_an_order(self, data: st.DataObject, state: str, size: int) -> None:
        alive = [i for i, record in self.truth_orders.items() if record.state in ("SENT", "WORKING", "UNKNOWN")]
        if not alive:
            return
        intent_id = data.draw(st.sampled_from(alive))
        record = self.truth_orders[intent_id]
        more = 2 - record.filled if state == "FILLED" else min(size, 2 - record.filled) if state != "REJECTED" else 0
        state = "FILLED" if record.filled + more == 2 else "CANCELLED" if state == "REJECTED" and record.filled else state
        quantity, opened = self.truth_held[intent_id]
        self.truth_held[intent_id] = (quantity + more, opened + more)
        self.truth_orders[intent_id] = replace(record, state=state, filled=record.filled + more)

    @rule(data=st.data())
    def the_broker_closes_some(self, data: st.DataObject) -> None:
        held_now = [i for i, (quantity, _) in self.truth_held.items() if quantity]
        if held_now:
            intent_id = data.draw(st.sampled_from(held_now))
            quantity, opened = self.truth_held[intent_id]
            self.truth_held[intent_id] = (quantity - data.draw(st.integers(1, quantity)), opened)

    @rule(data=st.data())
    def risk_hears_of_an_order(self, data: st.DataObject) -> None:
        if self.truth_orders:
            intent_id = data.draw(st.sampled_from(sorted(self.truth_orders)))
            self.followed.hear_order(self.truth_orders[intent_id], self.reservations)

    @rule(data=st.data())
    def risk_hears_of_a_position(self, data: st.DataObject) -> None:
        seen = sorted(i for i, (_, opened) in self.truth_held.items() if opened)
        if seen:
            intent_id = data.draw(st.sampled_from(seen))
            quantity, opened = self.truth_held[intent_id]
            self.followed.hear_position(position(intent_id, quantity, opened, self.symbols[intent_id]), None)

    @invariant()
    def the_truth_stays_within_the_limits(self) -> None:
        live = [
            self.symbols[intent_id]
            for intent_id, record in self.truth_orders.items()
            if record.state in ("SENT", "WORKING", "UNKNOWN") or self.truth_held[intent_id][0]
        ]
        assert len(live) <= 5 and max(Counter(live).values(), default=0) <= 2

    def teardown(self) -> None:
        """Once all has ended, and risk has heard of it, every place is free."""
        for intent_id, record in self.truth_orders.items():
            ended = replace(record, state="CANCELLED") if record.state in ("SENT", "WORKING", "UNKNOWN") else record
            self.followed.hear_order(ended, self.reservations)
            _, opened = self.truth_held[intent_id]
            if opened:
                self.followed.hear_position(position(intent_id, 0, opened, self.symbols[intent_id]), None)
        assert self.now().places == {} and self.reservations == {} and self.followed.orders == {}


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=60, stateful_step_count=40)
