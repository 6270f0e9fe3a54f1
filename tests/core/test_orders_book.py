"""The order book: any shuffle, repetition or late redelivery of what the broker says gives the same ledger."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.broker import BrokerOrder, BrokerSnapshot, CommissionNews, ErrorNews, ExecutionNews, StatusNews
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.core.orders import holdings
from alphatrader.core.orders.book import Now, OrderBook
from alphatrader.core.orders.fills import FillBook, split_exec_id

CLIENT = 12
OPTION = OptionRef("SPY", "20261218", 600.0, "C", 7)
SECOND = 1_000_000_000


def at(seconds: float) -> Now:
    return Now(int(seconds * SECOND), int(seconds * SECOND))


def record(ref: str = "i-1", **changes: Any) -> OrderRecord:
    made = OrderRecord(
        id=ref,
        intent_id=ref.partition("/")[0],
        role="entry",
        symbol="SPY",
        contract=OPTION,
        side="BUY",
        quantity=3,
        order_type="LMT",
        limit_price=Decimal("4.00"),
        stop_price=None,
        state="SENT",
        filled=0,
        average_price=None,
        order_id=5,
        perm_id=None,
        client_id=CLIENT,
        reason=None,
        strategy="0DTE",
        signal_id=None,
        created_ns=0,
        updated_ns=0,
        machine_ns=0,
        fence=1,
        halt_epoch=1,
    )
    return replace(made, **changes)


def execution(exec_id: str, quantity: int, price: str, ref: str = "i-1", side: Any = "BUY", ts: int = 1) -> ExecutionNews:
    return ExecutionNews(exec_id, 5, CLIENT, 99, ref, 7, "SPY", OPTION, side, quantity, Decimal(price), "DUSIM0001", ts)


def listed(status: str = "Submitted", ref: str = "i-1", **changes: Any) -> BrokerOrder:
    order = BrokerOrder(5, CLIENT, 99, ref, 7, "SPY", OPTION, "BUY", 3, "LMT", Decimal("4.00"), None, "DAY", "", status)
    return replace(order, **changes)


def snapshot(
    *, open_orders: tuple[BrokerOrder, ...] = (), completed: tuple[BrokerOrder, ...] = (), asked: float = 10.0
) -> BrokerSnapshot:
    return BrokerSnapshot(open_orders, completed, (), int(asked * SECOND))


STORY: tuple[Any, ...] = (
    StatusNews(5, CLIENT, 99, "Submitted", 0, 3),
    execution("a.1.01.01", 1, "4.00"),
    CommissionNews("a.1.01.01", Decimal("0.65")),
    execution("a.2.01.01", 2, "4.10"),
    execution("a.2.01.02", 2, "4.05"),
    CommissionNews("a.2.01.01", Decimal("1.30")),
    CommissionNews("a.2.01.02", Decimal("1.20")),
    StatusNews(5, CLIENT, 99, "Filled", 3, 0),
)


def tell(book: OrderBook, news: Any) -> None:
    match news:
        case StatusNews():
            book.hear_status(news, at(1))
        case ExecutionNews():
            book.hear_execution(news, at(1))
        case CommissionNews():
            book.hear_commission(news)


@pytest.mark.parametrize("seed", range(60))
def test_any_delivery_gives_the_same_ledger(seed: int) -> None:
    # given what the broker says in order, each once
    truth = OrderBook(CLIENT, [record()])
    for news in STORY:
        tell(truth, news)
    # when it comes shuffled, doubled, with some dropped, and all of it again at the end
    chance = random.Random(seed)
    delivery = [news for news in STORY for _ in range(chance.choice((0, 1, 1, 3)))]
    chance.shuffle(delivery)
    again = list(STORY)
    chance.shuffle(again)
    book = OrderBook(CLIENT, [record()])
    for news in delivery + again:
        tell(book, news)
    # then the books are equal
    assert book.fills.by_key == truth.fills.by_key
    mine, true = book.records["i-1"], truth.records["i-1"]
    assert (
        (mine.state, mine.filled, mine.average_price)
        == (true.state, true.filled, true.average_price)
        == ("FILLED", 3, mine.average_price)
    )
    assert {fill.key: fill.commission for fill in book.fills.by_key.values()} == {
        "a.1.01": Decimal("0.65"),
        "a.2.01": Decimal("1.20"),
    }
    # and a book rebuilt from the ledger takes all of it again as nothing new
    rebuilt = OrderBook(CLIENT, book.records.values(), book.fills.by_key.values())
    for news in again:
        tell(rebuilt, news)
    assert not rebuilt.drain().fills


def test_what_is_new_about_a_fill_is_named() -> None:
    book = OrderBook(CLIENT, [record()])
    for news in STORY:
        tell(book, news)
    assert [(what, fill.key) for what, fill in book.drain().booked] == [
        ("fill", "a.1.01"),
        ("commission", "a.1.01"),
        ("fill", "a.2.01"),
        ("correction", "a.2.01"),
        ("commission", "a.2.01"),
        ("commission", "a.2.01"),
    ]


def test_an_order_that_is_listed_as_inactive_is_unknown_and_remembered_until_it_is_not() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING")])
    book.hear_snapshot(snapshot(open_orders=(listed("Inactive"),)), at(1))
    assert (book.records["i-1"].state, book.inactive) == ("UNKNOWN", {"i-1"})
    book.hear_snapshot(snapshot(open_orders=(listed("Submitted"),)), at(2))
    assert (book.records["i-1"].state, book.inactive) == ("WORKING", set())
    book.hear_snapshot(snapshot(open_orders=(listed("Inactive"),)), at(3))
    book.hear_status(StatusNews(5, CLIENT, 99, "Cancelled", 0, 0), at(4))
    assert (book.records["i-1"].state, book.inactive) == ("CANCELLED", set())


def test_execution_ids_split_into_key_and_revision() -> None:
    assert split_exec_id("0000e0d5.6917a3f1.01.02") == ("0000e0d5.6917a3f1.01", 2)
    assert split_exec_id("plain") == ("plain", 0)
    assert split_exec_id("a.b") == ("a.b", 0)


def test_executions_alone_fill_an_order_whose_status_never_comes() -> None:
    book = OrderBook(CLIENT, [record()])
    book.hear_execution(execution("a.1.01", 3, "4.00"), at(1))
    assert book.records["i-1"].state == "FILLED"


def test_an_error_makes_an_order_unknown_and_only_the_broker_settles_it() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING")])
    book.hear_error(ErrorNews(5, 201, "refused"), at(1))
    assert book.records["i-1"].state == "UNKNOWN"
    # it is listed as open, though the library calls it cancelled: it lives
    book.hear_snapshot(snapshot(open_orders=(listed("Cancelled"),)), at(2))
    assert book.records["i-1"].state == "WORKING"


@pytest.mark.parametrize(
    ("state", "seen", "expected"),
    [
        ("INTENT", snapshot(asked=10), "EXPIRED"),
        ("SENT", snapshot(asked=1), "SENT"),
        ("SENT", snapshot(asked=10), "EXPIRED"),
        ("UNKNOWN", snapshot(open_orders=(listed(),)), "WORKING"),
        ("UNKNOWN", snapshot(open_orders=(listed("Inactive"),)), "UNKNOWN"),
        ("UNKNOWN", snapshot(completed=(listed("Cancelled", order_id=0),)), "CANCELLED"),
        ("UNKNOWN", snapshot(completed=(listed("Filled", order_id=0),)), "FILLED"),
        ("UNKNOWN", snapshot(completed=(listed("Inactive", order_id=0),)), "REJECTED"),
        ("WORKING", snapshot(asked=10), "UNKNOWN"),
        ("WORKING", snapshot(asked=-1), "WORKING"),
        ("CANCELLED", snapshot(asked=10), "CANCELLED"),
    ],
)
def test_the_brokers_lists_settle_what_is_open(state: Any, seen: BrokerSnapshot, expected: str) -> None:
    book = OrderBook(CLIENT, [record(state=state)])
    book.hear_snapshot(seen, at(10))
    assert book.records["i-1"].state == expected


def test_an_order_of_a_lost_ledger_is_adopted() -> None:
    book = OrderBook(CLIENT)
    stop = listed(
        "PreSubmitted", "i-9/stop", side="SELL", order_type="STP", stop_price=Decimal("3.00"), tif="GTC", oca_group="oca-i-9"
    )
    (adopted,) = book.hear_snapshot(snapshot(open_orders=(stop,)), at(1))
    assert (adopted.id, adopted.intent_id, adopted.role, adopted.state, adopted.tif) == (
        "i-9/stop",
        "i-9",
        "stop",
        "WORKING",
        "GTC",
    )
    # orders of other clients are not ours to keep
    assert not OrderBook(CLIENT).hear_snapshot(snapshot(open_orders=(replace(stop, client_id=0),)), at(1))


def test_a_lost_link_puts_every_open_order_in_doubt() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING"), record("i-2", state="FILLED", order_id=6)])
    book.doubt("1100", at(1))
    assert {r.id: r.state for r in book.records.values()} == {"i-1": "UNKNOWN", "i-2": "FILLED"}


def fill(key: str, ref: str, side: Any, quantity: int, ts: int) -> Fill:
    made = FillBook().hear(execution(f"{key}.01", quantity, "4.00", ref, side, ts), None)
    assert made is not None
    return made


def test_holdings_by_intent_hand_trades_take_the_oldest_and_the_broker_bounds_all() -> None:
    fills = [
        fill("1", "a", "BUY", 2, 1),
        fill("2", "b", "BUY", 3, 2),
        fill("3", "b/exit-1", "SELL", 1, 3),
        fill("4", "", "SELL", 3, 4),
    ]
    assert {i: h.quantity for i, h in holdings.fold(fills).items()} == {"b": 1}
    assert {i: h.quantity for i, h in holdings.fold(fills, {7: 1}).items()} == {"b": 1}
    assert holdings.fold(fills, {}) == {}
    more = [*fills, fill("5", "flatten-4-7", "SELL", 1, 5)]
    assert holdings.fold(more) == {}
    assert {i: h.quantity for i, h in holdings.fold([fill("6", "", "BUY", 1, 1)]).items()} == {"ext-7": 1}


def test_what_is_oversold_is_short_as_far_as_nobody_else_and_not_the_broker_says_otherwise() -> None:
    oversold = [fill("1", "a", "BUY", 2, 1), fill("2", "", "SELL", 2, 2), fill("3", "a/stop", "SELL", 2, 3)]
    assert {i: h.quantity for i, h in holdings.fold(oversold).items()} == {"a": -2}
    assert {i: h.quantity for i, h in holdings.fold(oversold, {7: -2}).items()} == {"a": -2}
    # bought back without an execution that we saw
    assert {i: h.quantity for i, h in holdings.fold(oversold, {7: -1}).items()} == {"a": -1}
    assert holdings.fold(oversold, {}) == {}
    # an account holds one quantity of a contract: what one intent oversold another no longer holds
    beside = [*oversold, fill("4", "b", "BUY", 3, 4)]
    assert {i: h.quantity for i, h in holdings.fold(beside).items()} == {"b": 1}


_FILLS = st.lists(
    st.tuples(
        st.sampled_from([7, 8]),
        st.sampled_from(["a", "b", "a/stop", "b/exit-1", "", "flatten-1"]),
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 5),
        st.integers(1, 3),
    ),
    max_size=15,
)


@given(
    _FILLS, st.lists(st.tuples(st.integers(0, 14), st.integers(1, 5)), max_size=4), st.sampled_from([None, {}, {7: 2}, {8: -1}])
)
def test_folding_only_what_changed_equals_folding_all(
    told: list[Any], corrections: list[tuple[int, int]], broker: dict[int, int] | None
) -> None:
    # given executions of two contracts as they come, each intent of one contract, and corrections of some
    heard = [
        replace(
            execution(f"{n}.01", quantity, "4.00", f"{con_id}{ref}" if ref[:1] in "ab" and ref else ref, side, ts), con_id=con_id
        )
        for n, (con_id, ref, side, quantity, ts) in enumerate(told)
    ]
    heard += [replace(heard[n], exec_id=f"{n}.02", quantity=quantity) for n, quantity in corrections if n < len(told)]
    book = FillBook()
    folded = holdings.Holdings(book)
    for news in heard:
        book.hear(news, None)
        # then after each of them both ways hold the same
        assert folded.held(broker) == holdings.fold(book.by_key.values(), broker)
    nets: dict[int, int] = {}
    for one in book.by_key.values():
        nets[one.con_id] = nets.get(one.con_id, 0) + (one.quantity if one.side == "BUY" else -one.quantity)
    assert book.net() == nets
