"""Positions are what the fills say, whatever order they come in and however often."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.orders import Fill
from alphatrader.core.orders import holdings
from alphatrader.core.positions.booking import Booked, book, fault, newer
from alphatrader.core.positions.ledger import BadFillError, Ledger
from alphatrader.runtime.clock import SECOND
from tests.support.holdings import NEXT_WEEK, NOW_NS, SPY, fill

D = Decimal


def booked(*fills: Fill) -> dict[str, Booked]:
    return book(fills, {})


def test_a_round_trip_with_commissions_has_its_known_result() -> None:
    # given 3 bought at 4.00 and sold in two parts at 5.00 and 3.50, 0.65 a contract
    held = booked(
        fill("i", "BUY", 3, "4.00"), fill("i/exit-1", "SELL", 1, "5.00", at=10), fill("i/stop", "SELL", 2, "3.50", at=20)
    )["i"]
    # then 100 - 1.30 on the first, -100 - 2.60 on the rest
    assert held.quantity == 0 and held.cost == 0
    assert held.realized == D("98.70") + D("-102.60")
    assert [amount for _, amount in held.realizations] == [D("98.7000"), D("-102.6000")]
    assert held.commissions == D("3.90")
    assert (held.average_price, held.exit_price, held.closed_by) == (D("4.0000"), D("4.0000"), "stop")


def test_a_partial_close_leaves_its_share_of_the_cost() -> None:
    held = booked(fill("i", "BUY", 2, "4.00"), fill("i", "BUY", 1, "4.30", at=1), fill("i/exit-1", "SELL", 1, "5.00", at=9))["i"]
    # cost 2*400 + 430 + 1.95 = 1231.95; a third of it, 410.65, leaves with the sale of 500 - 0.65
    assert held.quantity == 2
    assert held.cost == D("821.30")
    assert held.realized == D("88.70")
    assert held.average_price == D("4.1000")


def test_a_commission_that_comes_later_changes_the_result_and_nothing_else() -> None:
    ledger = Ledger()
    early = fill("i", "BUY", 1, "4.00", commission=None)
    assert ledger.hear(early) and ledger.positions()["i"].cost == D("400.00")
    assert not ledger.positions()["i"].commissions_known
    assert ledger.hear(replace(early, commission=D("1.05")))
    assert ledger.positions()["i"].cost == D("401.05") and ledger.positions()["i"].commissions_known
    assert not ledger.hear(early)
    assert ledger.positions()["i"].cost == D("401.05")
    # one of several that is not known leaves the whole unknown, whichever it is; none at all is a commission, too
    exit_ = fill("i/stop", "SELL", 1, "3.00", at=9, commission=None)
    assert [booked(early, replace(exit_, commission=D(0)))["i"].commissions_known, ledger.hear(exit_)] == [False, True]
    assert not ledger.positions()["i"].commissions_known
    assert ledger.hear(replace(exit_, commission=D(0))) and ledger.positions()["i"].commissions_known


def test_a_correction_replaces_and_an_old_revision_is_no_news() -> None:
    ledger = Ledger()
    first = fill("i", "BUY", 2, "4.00")
    second = replace(first, revision=2, exec_id="x.02", quantity=1, price=D("4.10"), commission=D("0.65"))
    ledger.hear(second)
    assert not ledger.hear(first)
    assert (ledger.positions()["i"].quantity, ledger.positions()["i"].cost) == (1, D("410.65"))
    # a bust is a correction to nothing
    ledger.hear(replace(second, revision=3, quantity=0))
    assert ledger.positions() == {} and ledger.quantities() == {}


def test_a_trade_by_hand_closes_the_oldest_of_its_contract_and_the_rest_is_external() -> None:
    held = booked(
        fill("a", "BUY", 2, "4.00"),
        fill("b", "BUY", 1, "4.20", at=5),
        fill("", "SELL", 4, "4.50", at=9),
        fill("c", "BUY", 1, "1.00", contract=NEXT_WEEK),
    )
    assert {i: b.quantity for i, b in held.items()} == {"a": 0, "b": 0, "ext-7": -1, "c": 1}
    assert held["a"].closed_by == "by hand"
    # the commission of the fill is shared out: 2.60 over 4 contracts
    assert [held[i].commissions for i in ("a", "b", "ext-7")] == [D("2.60"), D("1.30"), D("0.65")]


def test_an_emergency_flatten_closes_what_it_sold() -> None:
    held = booked(fill("a", "BUY", 2, "4.00"), fill("flatten-3-7", "SELL", 2, "3.00", at=5))
    assert list(held) == ["a"] and held["a"].quantity == 0 and held["a"].closed_by == "flatten"


def test_slippage_is_measured_against_the_mid_and_not_known_without_it() -> None:
    mid = D("3.97")
    held = booked(
        fill("a", "BUY", 2, "4.00", reference_price=mid), fill("a/exit-1", "SELL", 2, "4.40", at=3, reference_price=D("4.45"))
    )
    assert held["a"].slippage == D("6.00") + D("10.00")
    assert booked(fill("b", "BUY", 2, "4.00"))["b"].slippage is None
    # an exit of which no mid is known (a stop at the broker) is left out, the entry's is kept
    held = booked(fill("c", "BUY", 2, "4.00", reference_price=mid), fill("c/stop", "SELL", 2, "3.00", at=3))
    assert held["c"].slippage == D("6.00")


def test_a_position_opens_with_its_first_fill_and_closes_with_its_last() -> None:
    fills = [
        fill("i", "BUY", 2, "4.00"),
        fill("i", "BUY", 1, "4.10", at=5),
        fill("i/exit-1", "SELL", 1, "5.00", at=10),
        fill("i/stop", "SELL", 2, "3.50", at=20),
    ]
    held = [booked(*fills[: n + 1])["i"] for n in range(4)]
    assert [one.opened_ns - NOW_NS for one in held] == [0, 0, 0, 0]
    assert [one.closed_ns for one in held] == [None, None, None, NOW_NS + 20 * SECOND]
    # what comes after its end concerns it no more
    again = booked(*fills, fill("", "SELL", 1, "3.00", at=30))
    assert again["i"].updated_ns == again["i"].closed_ns == NOW_NS + 20 * SECOND and again["ext-7"].quantity == -1


def test_one_contract_bought_by_hand_closes_one_that_was_sold() -> None:
    held = booked(fill("", "SELL", 2, "4.00"), fill("", "BUY", 1, "3.00", at=5, key="back"))
    assert (held["ext-7"].quantity, held["ext-7"].closed_by) == (-1, "by hand")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"price": D("NaN")}, "price"),
        ({"price": D("-1")}, "price"),
        ({"price": D("Infinity")}, "price"),
        ({"quantity": -1}, "quantity"),
        ({"con_id": 0}, "con_id"),
        ({"key": ""}, "key"),
        ({"commission": D("NaN")}, "commission"),
    ],
)
def test_what_cannot_be_booked_is_refused_by_name(changes: dict[str, object], field: str) -> None:
    bad = replace(fill("a", "BUY", 1, "4.00"), **changes)
    assert (fault(bad) or "").startswith(f"{field}:")
    with pytest.raises(BadFillError, match=field):
        Ledger().hear(bad)


def test_a_contract_nobody_named_is_not_booked_and_is_said() -> None:
    ledger = Ledger()
    ledger.hear(replace(fill("", "BUY", 1, "6"), contract=None))
    assert ledger.positions() == {} and ledger.unnamed() == [7]
    ledger.name(7, SPY)
    assert ledger.positions()["ext-7"].quantity == 1 and ledger.unnamed() == []


_REFS = st.sampled_from(["a", "a/stop", "a/exit-1", "b", "b/target", "", "flatten-2-7"])


@st.composite
def _histories(draw: st.DrawFn) -> list[Fill]:
    fills = []
    for number in range(draw(st.integers(1, 8))):
        ref = draw(_REFS)
        side = "BUY" if ref in ("a", "b") else draw(st.sampled_from(["SELL", "SELL", "BUY"])) if ref == "" else "SELL"
        one = fill(
            ref,
            side,
            draw(st.integers(1, 4)),
            str(draw(st.integers(1, 900)) / D(100)),
            key=f"k{number}",
            at=draw(st.integers(0, 3)),
        )
        fills.append(replace(one, commission=None))
        if draw(st.booleans()):
            fills.append(one)
        if draw(st.booleans()):
            corrected = replace(one, revision=2, exec_id=f"k{number}.02", quantity=draw(st.integers(0, 4)))
            fills.append(corrected)
            if draw(st.booleans()):  # and its own commission, less than the one it bore until then
                fills.append(replace(corrected, commission=D("0.01"), commission_revision=2))
    return fills


@settings(max_examples=150)
@given(history=_histories(), seed=st.integers(0, 1000))
def test_any_shuffle_duplication_or_redelivery_gives_the_same_ledger(history: list[Fill], seed: int) -> None:
    straight, shuffled = Ledger(), Ledger()
    for one in history:
        straight.hear(one)
    rng = random.Random(seed)
    again = [*history, *rng.choices(history, k=len(history))]
    rng.shuffle(again)
    for one in again:
        shuffled.hear(one)
        shuffled.positions()
    assert shuffled.positions() == straight.positions()
    # and money is conserved: what was realized is cash in and out, less the cost of what is held
    latest: dict[str, Fill] = {}
    for one in history:
        known = latest.get(one.key)
        rank = [(f.revision, f.commission is not None, f.commission_revision) for f in (one, known or one)]
        if known is None or rank[0] > rank[1]:
            latest[one.key] = one
    cash = sum(
        (one.quantity * one.price * 100 * (-1 if one.side == "BUY" else 1) - (one.commission or 0) * bool(one.quantity))
        for one in latest.values()
    )
    books = straight.positions().values()
    difference = sum((held.realized - held.cost for held in books), D(0)) - cash
    assert abs(difference) < D("0.01")
    signed = sum(one.quantity if one.side == "BUY" else -one.quantity for one in latest.values())
    assert straight.quantities().get(7, 0) == signed


@settings(max_examples=300)
@given(history=_histories())
def test_execution_holds_of_each_position_what_is_booked_where_nothing_is_short(history: list[Fill]) -> None:
    """A trade by hand closes the oldest in the books of both: what one exits, the other must hold."""
    ledger = Ledger()
    latest: dict[str, Fill] = {}
    for one in history:
        ledger.hear(one)
        latest[one.key] = newer(latest.get(one.key), one)
    books = {name: held.quantity for name, held in ledger.positions().items() if held.quantity}
    held = {name: holding.quantity for name, holding in holdings.fold(latest.values()).items()}
    assert books == held or min([*books.values(), *held.values()]) < 0


def test_money_is_counted_by_the_contracts_own_shares() -> None:
    # given a mini option of 10 shares: 2 bought at 4.00, mid 3.90, and sold at 5.00, 0.65 a contract
    mini = replace(SPY, multiplier=10)
    bought = replace(fill("i", "BUY", 2, "4.00"), contract=mini, reference_price=D("3.90"))
    sold = replace(fill("i/exit-1", "SELL", 2, "5.00", at=10), contract=mini)
    # then it cost 80 + 1.30, brought 100 - 1.30, and slipped by 2
    assert booked(bought)["i"].cost == D("81.30")
    held = booked(bought, sold)["i"]
    assert (held.realized, held.slippage) == (D("17.40"), D("2.00"))
