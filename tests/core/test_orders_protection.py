"""Protection, against a small broker that obeys OCA groups: whatever is wanted and whatever fills, nothing is sold twice."""

from __future__ import annotations

import random
from dataclasses import replace as replaced
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.core.orders import refs
from alphatrader.core.orders.protection import (
    FLATTEN_AFTER_SECONDS,
    SETTLE_SECONDS,
    Action,
    BuyBack,
    Cancel,
    Case,
    Modify,
    PlaceExit,
    PlaceStop,
    decide,
    is_protected,
    live_protective_quantity,
    repriceable,
    working,
)
from alphatrader.core.orders.states import is_open
from tests.core.test_orders_book import record

GROUP = "oca-i"


def child(role: Any, remaining: int, **changes: Any) -> OrderRecord:
    prices = {"stop_price": Decimal("3.00"), "order_type": "STP", "limit_price": None} if role == "stop" else {}
    given = {"role": role, "side": "SELL", "state": "WORKING", "quantity": remaining, "remaining": remaining, "oca_group": GROUP}
    return record(f"i/{role}", **(given | prices | changes))


def case(
    held: int, *records: OrderRecord, hold: int | None = None, stop: str | None = None, naked: float = 0.0, quiet: float = 9.0
) -> Case:
    return Case(held, records, hold, Decimal(stop) if stop else None, naked, quiet)


ENTRY = record("i", state="WORKING", remaining=1)
COVER = child("exit", 2, side="BUY", oca_group="")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # whole and as wanted
        (case(2, child("stop", 2), child("target", 2)), []),
        # the trailing stop moves in place
        (case(2, child("stop", 2), stop="3.50"), [Modify("i/stop", 2, Decimal("3.50"))]),
        # orphans go, but only once the broker had time to end them itself, and never while the entry may still fill
        (case(0, child("stop", 2)), [Cancel("i/stop", "nothing is held")]),
        (case(0, child("stop", 2), quiet=0.1), []),
        (case(0, child("stop", 2), quiet=SETTLE_SECONDS), [Cancel("i/stop", "nothing is held")]),
        (case(0, child("stop", 2), ENTRY), []),
        # the stop is gone: another one, and the entry's rest goes
        (case(2, child("stop", 2, state="REJECTED")), [PlaceStop(2, Decimal("3.00"))]),
        (case(1, child("stop", 2, state="REJECTED"), ENTRY), [Cancel("i", "its stop is gone"), PlaceStop(1, Decimal("3.00"))]),
        # ... at the price of its last stop, whatever else of it came later
        (
            case(2, child("stop", 2, state="REJECTED", created_ns=1), child("target", 2, created_ns=2)),
            [PlaceStop(2, Decimal("3.00"))],
        ),
        # an unknown stop is asked about first
        (case(2, child("stop", 2, state="UNKNOWN"), naked=0.2), []),
        (case(2, child("stop", 2, state="UNKNOWN"), naked=0.5), [PlaceStop(2, Decimal("3.00"))]),
        # unprotected for too long, or without any stop price: out
        (
            case(2, child("stop", 2, state="SENT"), naked=FLATTEN_AFTER_SECONDS),
            [PlaceExit(2, True, "no stop was confirmed in time")],
        ),
        (case(2), [PlaceExit(2, True, "there is no stop price")]),
        # ... but somebody's own position is touched only as asked
        (replaced(case(2, naked=9.0), ours=False), []),
        (replaced(case(2, hold=0), ours=False), [PlaceExit(2, True, "exit")]),
        (replaced(case(2, hold=2, stop="1.00"), ours=False), [PlaceStop(2, Decimal("1.00"))]),
        # close: one order in the group, beside the standing stop; not a second one
        (case(2, child("stop", 2), hold=0), [PlaceExit(2, True, "exit")]),
        (case(2, child("stop", 2), child("exit", 2), hold=0), []),
        # ... alone: one that sells a part outside the group goes first, and one that would sell more than is held shrinks
        (case(3, child("stop", 1), child("exit", 2, oca_group=""), hold=0), [Cancel("i/exit", "all is to be closed")]),
        (case(2, child("stop", 2), child("exit", 3), hold=0), [Modify("i/exit", 2)]),
        # two stops: the one that stands is enough
        (
            case(2, child("stop", 2), child("stop", 2, id="i/stop-2"), child("target", 2)),
            [Cancel("i/stop-2", "one stop is enough")],
        ),
        # filled by the broker's word alone: an entry is not nothing, a stop has sold, an exit is not sent again
        (replaced(case(0, child("stop", 2), record("i", state="FILLED")), unbooked=True), []),
        (replaced(case(2, child("stop", 2, state="FILLED"), naked=9.0), unbooked=True), []),
        (replaced(case(2, child("stop", 2), child("exit", 2, state="FILLED"), hold=0), unbooked=True), []),
        # reduce: shrink first, sell then
        (case(3, child("stop", 3), child("target", 3), hold=1), [Modify("i/stop", 1), Modify("i/target", 1)]),
        (case(3, child("stop", 1), child("target", 1), hold=1), [PlaceExit(2, False, "reduce")]),
        # while the part is being sold the stop is raised all the same, in place and no larger than what stays
        (
            case(3, child("stop", 1), child("exit", 2, oca_group=""), hold=1, stop="3.50"),
            [Modify("i/stop", 1, Decimal("3.50"))],
        ),
        (
            case(3, child("stop", 1), hold=1, stop="3.50"),
            [PlaceExit(2, False, "reduce"), Modify("i/stop", 1, Decimal("3.50"))],
        ),
        # ... but its size goes first: a refused price must not hold that up
        (case(3, child("stop", 3), hold=1, stop="3.50"), [Modify("i/stop", 1)]),
        # a short: first nothing may sell or open any more, then it is bought back, once, no more than the broker shows as short
        (
            replaced(case(0, child("stop", 1), ENTRY), short=2, coverable=2),
            [Cancel("i", "more was sold than held"), Cancel("i/stop", "more was sold than held")],
        ),
        (replaced(case(0), short=2), []),
        (replaced(case(0), short=2, coverable=1), [BuyBack(1)]),
        (replaced(case(0, COVER), short=2, coverable=2), []),
        (replaced(case(0, COVER), short=1, coverable=1), [Modify("i/exit", 1)]),
        (case(0, COVER), [Cancel("i/exit", "nothing is short")]),
        # an exit outside the group could sell beside a new stop: it goes first
        (case(1, child("exit", 1, oca_group=""), hold=2), [Cancel("i/exit", "it is to be held")]),
        # one in the group cannot sell beside it: it goes, too, once the broker had its time
        (case(2, child("stop", 2), child("exit", 2)), [Cancel("i/exit", "it is to be held")]),
        (case(2, child("stop", 2), child("exit", 2), quiet=0.1), []),
        # a part is to be sold and no stop has ever stood: there is no price to protect the rest at
        (case(3, hold=1), [PlaceExit(2, False, "reduce")]),
        # a target that filled meanwhile has sold part of the surplus
        (case(2, child("exit", 2, oca_group=""), child("stop", 0, state="CANCELLED"), hold=1), [Modify("i/exit", 1)]),
        # no more may come in while an exit is wanted
        (case(1, child("stop", 2), ENTRY, hold=0), [Cancel("i", "an exit is wanted")]),
        # after a partial entry the stop follows what is held
        (case(1, child("stop", 2), child("target", 2)), [Modify("i/stop", 1), Modify("i/target", 1)]),
    ],
)
def test_the_next_step(given: Case, expected: list[Action]) -> None:
    assert decide(given) == expected


@pytest.mark.parametrize(
    ("given", "modified"),
    [
        # the stop has sold three of ten by its executions, its status is still on the way: seven are left, not ten
        (case(7, child("stop", 10, filled=3), stop="3.50", quiet=0.0), Modify("i/stop", 7, Decimal("3.50"))),
        # the target has sold three, the reduced stop's own words are on the way
        (case(7, child("stop", 10), child("target", 7), stop="3.50", quiet=0.0), Modify("i/stop", 7, Decimal("3.50"))),
        # while the entry works its stop is of all that it may buy, less what the stop has sold
        (case(2, ENTRY, child("stop", 10), stop="3.50"), Modify("i/stop", 10, Decimal("3.50"))),
        (case(2, ENTRY, child("stop", 10, filled=1), stop="3.50"), Modify("i/stop", 9, Decimal("3.50"))),
        # while a part is being sold
        (
            case(8, child("stop", 6, filled=2), child("exit", 2, oca_group=""), hold=6, stop="3.50"),
            Modify("i/stop", 4, Decimal("3.50")),
        ),
    ],
)
def test_a_new_price_of_a_stop_gives_it_nothing_back_that_it_or_its_sibling_has_sold(given: Case, modified: Modify) -> None:
    assert decide(given) == [modified]


def test_an_exit_follows_the_market_with_what_is_left_to_close_and_never_while_it_is_being_changed() -> None:
    whole, part = child("exit", 5), child("exit", 2, oca_group="")
    assert repriceable(case(5, child("stop", 5), whole), []) == [(whole, 5)]
    # a sibling has sold two, the broker's reduction of the exit is on its way
    assert repriceable(case(3, whole), []) == [(whole, 3)]
    # it has sold two itself, by its executions or by its status alone
    for known in (replace(whole, filled=2), replace(whole, remaining=3)):
        assert repriceable(case(3, known), []) == [(known, 3)]
    # what is bought back is no more than is short
    assert repriceable(replaced(case(0, COVER), short=1), []) == [(COVER, 1)]
    # nothing left or not known how much, not at work, no exit, or being changed besides
    assert repriceable(replaced(case(5, child("stop", 5, state="FILLED"), whole), unbooked=True), []) == []
    assert repriceable(case(0, whole), []) == []
    assert repriceable(case(5, replace(whole, state="UNKNOWN"), child("target", 5), ENTRY), []) == []
    for action in (Modify("i/exit", 1), Cancel("i/exit", "it is to be held")):
        assert repriceable(case(3, part, child("stop", 1)), [action]) == []
    assert repriceable(case(3, part, child("stop", 1)), [PlaceStop(1, Decimal(3)), Modify("i/stop", 1)]) == [(part, 2)]


def test_what_a_group_may_sell_is_its_widest_order_and_what_stands_alone_adds_to_it() -> None:
    group = (child("stop", 2), child("target", 3), child("exit", 1))
    assert live_protective_quantity(group) == 3
    assert live_protective_quantity((*group, child("exit", 2, oca_group="", id="i/exit-2"), ENTRY)) == 5
    # of an order whose rest the broker has not told it is what has not filled; of one that ended nothing
    untold = replace(child("stop", 5), remaining=None, filled=2)
    assert (working(untold), working(replace(untold, filled=6)), working(replace(untold, state="CANCELLED"))) == (3, 0, 0)


def test_protected_is_what_has_a_stop_at_work_whatever_else_is_on_its_way() -> None:
    assert is_protected(case(2, child("stop", 2), child("target", 2, state="SENT")))
    assert not is_protected(case(2, child("stop", 2, state="SENT"), child("target", 2)))


class Broker:
    """Executes what is decided, as the broker would: OCA members reduce each other, modifications are taken or refused."""

    def __init__(self, chance: random.Random, held: int) -> None:
        self.chance = chance
        self.held = held
        self.records = {r.id: r for r in (child("stop", held), child("target", held))}

    def do(self, action: Action) -> None:
        match action:
            case Cancel(ref, _):
                self.records[ref] = replace(self.records[ref], state="CANCELLED", remaining=0)
            case Modify(ref, remaining, stop):
                if self.chance.random() < 0.7 and is_open(self.records[ref].state):
                    old = self.records[ref]
                    self.records[ref] = replace(
                        old, remaining=remaining, quantity=old.filled + remaining, stop_price=stop or old.stop_price
                    )
            case PlaceStop(quantity, price):
                self._add("stop", quantity, GROUP, stop_price=price)
            case PlaceExit(quantity, in_group, _):
                self._add("exit", quantity, GROUP if in_group else "")

    def _add(self, role: Any, quantity: int, group: str, **changes: Any) -> None:
        ref = refs.child("i", role, self.records)
        state = "WORKING" if self.chance.random() < 0.8 else "REJECTED"
        made = child(role, quantity, oca_group=group, state=state, **changes)
        self.records[ref] = replace(made, id=ref, remaining=quantity if state == "WORKING" else 0)

    def fill(self) -> None:
        live = [r for r in self.records.values() if working(r) > 0 and r.state == "WORKING"]
        if not live:
            return
        chosen = self.chance.choice(live)
        before = working(chosen)
        shares = self.chance.randint(1, before)
        self.held -= shares
        filled = chosen.filled + shares
        done = {"state": "FILLED"} if shares == before else {}
        self.records[chosen.id] = replace(chosen, filled=filled, remaining=before - shares, **done)
        for other in [r for r in live if r.id != chosen.id and r.oca_group and r.oca_group == chosen.oca_group]:
            left = working(other) - round(working(other) * shares / before)
            state = "WORKING" if left > 0 else "CANCELLED"
            self.records[other.id] = replace(other, remaining=left, quantity=other.filled + left, state=state)


@pytest.mark.parametrize("seed", range(150))
def test_nothing_is_ever_sold_twice_and_nothing_stays_naked(seed: int) -> None:
    chance = random.Random(seed)
    broker = Broker(chance, held=chance.randint(1, 5))
    hold: int | None = None
    stop = Decimal("3.00")
    for _ in range(60):
        # given any wish that only ever closes more, and any fill in between
        if chance.random() < 0.1:
            hold = chance.randint(0, hold if hold is not None else broker.held)
        if chance.random() < 0.1:
            stop += Decimal("0.10")
        if chance.random() < 0.2:
            broker.fill()
        records = tuple(broker.records.values())
        for action in decide(case(max(0, broker.held), *records, hold=hold, stop=str(stop))):
            if isinstance(action, Modify):  # I15: in place and never back
                assert action.stop_price is None or action.stop_price > (broker.records[action.ref].stop_price or stop)
            broker.do(action)
            # then at no instant may more be sold than is held
            assert live_protective_quantity(tuple(broker.records.values())) <= max(0, broker.held)
        assert broker.held >= 0
    # and in the end it is flat, held as wanted, or stopped
    for _ in range(20):
        for action in decide(case(broker.held, *broker.records.values(), hold=hold, stop=str(stop))):
            broker.do(action)
    stops = [r for r in broker.records.values() if r.role == "stop" and r.state == "WORKING"]
    assert broker.held == 0 or stops
    # ... and the stop stands where it was wanted last, an exit at work or not
    assert broker.held == 0 or hold == 0 or {record.stop_price for record in stops} == {stop}
