"""What an order's record says after each word of the broker: whose it is, its terms, its fills, its end and the reason."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.broker import ErrorNews, StatusNews
from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.core.orders.book import OrderBook
from alphatrader.core.orders.holdings import fold
from tests.core.test_orders_book import CLIENT, at, execution, fill, listed, record, snapshot

OTHER_CLIENT = CLIENT + 1


def only(book: OrderBook) -> OrderRecord:
    return book.records["i-1"]


def test_a_status_names_the_order_by_its_number_and_its_client() -> None:
    book = OrderBook(CLIENT, [record(reason="as approved")])
    # another client's order of the same number is none of ours
    book.hear_status(StatusNews(5, OTHER_CLIENT, 98, "Submitted", 0, 3), at(6))
    assert only(book) == record(reason="as approved")
    # ours tells its permanent number and what is left; the state's age begins with it
    book.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 1, 2), at(7))
    now = only(book)
    assert (now.state, now.perm_id, now.remaining, now.machine_ns) == ("WORKING", 99, 2, at(7).machine_ns)
    # said again, later and without that number, it changes nothing but what is left
    book.hear_status(StatusNews(5, CLIENT, 0, "Submitted", 2, 1), at(9))
    assert only(book) == replace(now, remaining=1, updated_ns=at(9).ts_ns)


def test_what_an_ended_order_has_left_is_nothing() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING", remaining=3), record("i-2", state="WORKING", order_id=6, remaining=3)])
    book.hear_status(StatusNews(5, CLIENT, 99, "Cancelled", 0, 3), at(1))
    book.hear_snapshot(snapshot(completed=(listed("Cancelled", "i-2"),)), at(2))
    assert [(r.state, r.remaining) for r in book.records.values()] == [("CANCELLED", 0), ("CANCELLED", 0)]


def test_a_word_that_changes_no_state_leaves_the_reason_and_one_that_ends_a_doubt_takes_it_away() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING", reason="adopted from the broker")])
    book.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 0, 3), at(1))
    assert only(book).reason == "adopted from the broker"
    book.doubt("1100", at(2))
    assert only(book).reason == "1100"
    book.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 0, 3), at(3))
    assert only(book).reason is None


def test_a_change_is_there_where_a_record_or_a_fill_is_new() -> None:
    book = OrderBook(CLIENT, [record()])
    assert not book.drain()
    book.doubt("1100", at(1))
    assert book.drain() and not book.drain()
    assert book.restore(fill("a", "i-1", "BUY", 1, 1), at(2)) and book.drain()
    assert not book.restore(fill("a", "i-1", "BUY", 1, 1), at(3)) and not book.drain()


def test_a_fill_that_only_the_journal_had_counts_in_its_order_once() -> None:
    # given an order of three of which the journal, and not the ledger, has two
    book = OrderBook(CLIENT, [record(state="WORKING")])
    assert book.restore(fill("a.1", "i-1", "BUY", 2, 1), at(1))
    assert (only(book).filled, only(book).state, book.fills.net()) == (2, "WORKING", {7: 2})
    # then the broker's word of it changes nothing, and its word of the third makes it full
    assert not book.hear_execution(execution("a.1.01", 2, "4.00", "i-1"), at(2))
    assert book.hear_execution(execution("a.2.01", 1, "4.00", "i-1"), at(3))
    assert (only(book).filled, only(book).state) == (3, "FILLED")
    # and its commission, which has a line of its own in the journal, is told as one and not as another fill
    again = OrderBook(CLIENT, [record(state="WORKING")])
    first = fill("a.1", "i-1", "BUY", 2, 1)
    paid, corrected = (
        replace(first, commission=Decimal("1.30")),
        replace(first, revision=2, quantity=1, commission=Decimal("0.65")),
    )
    assert all(again.restore(one, at(2)) for one in (replace(first, commission=None), paid, corrected))
    assert [news for news, _ in again.drain().booked] == ["fill", "commission", "correction"]
    # and one of nobody's order is booked all the same
    assert book.restore(fill("b", "i-9", "BUY", 1, 1), at(4)) and set(book.records) == {"i-1"}


def test_an_execution_of_an_order_that_nobody_knows_is_booked_all_the_same() -> None:
    book = OrderBook(CLIENT)
    assert book.hear_execution(execution("a.1.01", 1, "4.00", "i-9"), at(1))
    assert [one.order_ref for one in book.drain().fills] == ["i-9"] and book.records == {}
    assert not book.hear_execution(execution("a.1.01", 1, "4.00", "i-9"), at(2))


def test_what_another_client_trades_is_nobodys_whatever_it_is_called() -> None:
    """Taken for an intent of ours without a stop, it would be sold at once."""
    book = OrderBook(CLIENT, [record("i-1", client_id=OTHER_CLIENT)])
    for n, ref in enumerate(("my idea", "my idea/stop", "flatten-4-7", "i-1", "")):
        assert book.hear_execution(replace(execution(f"{n}.01", 1, "4.00", ref), client_id=OTHER_CLIENT), at(1))
    # emergency's closing keeps its name, and so does an order of ours from before the client's number was changed
    assert [one.order_ref for one in book.drain().fills] == ["", "", "flatten-4-7", "i-1", ""]
    assert {i: h.quantity for i, h in fold(book.fills.by_key.values()).items()} == {"ext-7": 4, "i-1": 1}


@pytest.mark.parametrize(
    ("news", "found"),
    [
        ({"ref": ""}, True),  # the broker's lists may drop the ref: then the number names it
        ({"ref": "i-8"}, False),  # numbers begin anew after a reset: where a ref stands it alone names the order
        ({"ref": "", "client_id": OTHER_CLIENT}, False),
        ({"ref": "", "order_id": 0}, False),
    ],
)
def test_an_order_is_found_by_its_ref_else_by_its_number(news: dict[str, Any], found: bool) -> None:
    ref, changes = news["ref"], {name: value for name, value in news.items() if name != "ref"}
    book = OrderBook(CLIENT, [record(state="UNKNOWN")])
    book.hear_order(listed(ref=ref, quantity=2, **changes), at(1))
    assert only(book).quantity == (2 if found else 3)
    book = OrderBook(CLIENT, [record(state="UNKNOWN")])
    book.hear_snapshot(snapshot(open_orders=(listed(ref=ref, **changes),), asked=1), at(1))
    assert only(book).state == ("WORKING" if found else "UNKNOWN")


def test_another_clients_order_is_not_settled_by_one_of_ours_without_a_ref() -> None:
    book = OrderBook(CLIENT, [record(state="UNKNOWN", client_id=OTHER_CLIENT)])
    book.hear_snapshot(snapshot(open_orders=(listed(ref=""),), asked=1), at(1))
    assert only(book).state == "UNKNOWN"


def test_an_order_that_is_known_is_not_adopted_again() -> None:
    book = OrderBook(CLIENT, [record(state="UNKNOWN")])
    assert book.hear_snapshot(snapshot(open_orders=(listed(),)), at(1)) == []


def test_the_terms_are_those_that_stand_at_the_broker() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING"), record("i-1/stop", order_type="STP", order_id=6, stop_price=Decimal(3))])
    entry = listed(quantity=2, limit_price=Decimal("4.05"), stop_price=Decimal(9), perm_id=77)
    stop = listed(ref="i-1/stop", order_id=6, order_type="STP", limit_price=Decimal(9), stop_price=Decimal("3.10"), perm_id=0)
    for order in (entry, stop):
        book.hear_order(order, at(4))
    now, guard = only(book), book.records["i-1/stop"]
    assert (now.quantity, now.limit_price, now.stop_price, now.perm_id) == (2, Decimal("4.05"), None, 77)
    assert (guard.limit_price, guard.stop_price, guard.perm_id) == (Decimal("4.00"), Decimal("3.10"), None)
    # the number is the one it bears there, from the first on
    first = OrderBook(CLIENT, [record(order_id=None)])
    first.hear_order(listed(order_id=1), at(4))
    first.hear_order(listed(ref="", order_id=1, quantity=2), at(5))
    assert (only(first).order_id, only(first).quantity) == (1, 2)
    # an order that another client of ours sent is that client's by number, whatever number ours had
    book.hear_order(listed(client_id=OTHER_CLIENT, order_id=0), at(5))
    assert (only(book).client_id, only(book).order_id) == (OTHER_CLIENT, 5)


def test_an_order_called_inactive_says_so() -> None:
    book = OrderBook(CLIENT, [record(state="WORKING")])
    book.hear_snapshot(snapshot(open_orders=(listed("Inactive", quantity=2),)), at(1))
    assert (only(book).reason, only(book).quantity) == ("the broker lists it as Inactive", 2)


def test_filled_by_word_alone_is_short_of_executions_until_they_come() -> None:
    book = OrderBook(CLIENT, [record()])
    book.hear_status(StatusNews(5, CLIENT, 99, "Filled", 3, 0), at(1))
    assert book.short_of_fills() == [only(book)]
    book.hear_execution(execution("a.1.01", 3, "4.00"), at(2))
    assert book.short_of_fills() == [] and only(book).filled == 3
    # one that is open, or ended unfilled, is short of nothing
    others = OrderBook(CLIENT, [record(state="WORKING"), record("i-2", state="CANCELLED", order_id=6)])
    assert others.short_of_fills() == []


def test_the_fills_of_an_ended_order_are_counted_with_its_end() -> None:
    known = [fill("a", "i-1", "BUY", 1, 1)]
    book = OrderBook(CLIENT, [record(state="UNKNOWN")], known)
    book.hear_snapshot(snapshot(completed=(listed("Cancelled"),)), at(2))
    assert (only(book).state, only(book).filled, only(book).average_price) == ("CANCELLED", 1, Decimal("4.00"))


def test_an_order_that_is_nowhere_was_refused_where_an_error_named_it_and_has_expired_where_none_did() -> None:
    refused = OrderBook(CLIENT, [record()])
    refused.hear_error(ErrorNews(5, 201, "no margin"), at(5))
    refused.hear_snapshot(snapshot(asked=5), at(6))  # asked at once: an error need not be waited for
    assert (only(refused).state, only(refused).reason) == ("REJECTED", "201: no margin")
    # ... also after the broker listed it as Inactive, which clears nothing
    unclear = OrderBook(CLIENT, [record()])
    unclear.hear_error(ErrorNews(5, 201, "no margin"), at(5))
    unclear.hear_snapshot(snapshot(open_orders=(listed("Inactive"),), asked=6), at(6))
    unclear.hear_snapshot(snapshot(asked=20), at(21))
    assert (only(unclear).state, only(unclear).reason) == ("REJECTED", "201: no margin")
    # an error of an order that worked on after it explains no later end
    worked = OrderBook(CLIENT, [record()])
    worked.hear_error(ErrorNews(5, 201, "odd lot"), at(5))
    worked.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 0, 3), at(6))
    worked.doubt("1100", at(7))
    worked.hear_snapshot(snapshot(asked=20), at(21))
    assert (only(worked).state, only(worked).reason) == ("EXPIRED", "the broker knows no such order")


def test_an_order_that_works_after_we_took_it_for_refused_is_unknown_until_the_broker_lists_it() -> None:
    # given an error about an order on its way, and lists that do not hold it yet
    for word in ("its own status", "the broker's list"):
        book = OrderBook(CLIENT, [record()])
        book.hear_error(ErrorNews(5, 10999, "a warning of next year"), at(5))
        book.hear_snapshot(snapshot(asked=5), at(6))
        assert only(book).state == "REJECTED" and book.open() == []
        # when it works after all, then it is open again and in doubt: it holds its place and blocks opening
        if word == "its own status":
            book.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 0, 3), at(7))
        else:
            book.hear_snapshot(snapshot(open_orders=(listed(),), asked=7), at(7))
        assert [(r.state, r.remaining) for r in book.open()] == [("UNKNOWN", 3)]
        # and works as soon as the broker lists it
        book.hear_snapshot(snapshot(open_orders=(listed(),), asked=8), at(8))
        assert [(r.state, r.remaining) for r in book.open()] == [("WORKING", 3)]
    # while a cancel is the broker's own word: a status that was overtaken by it is nothing
    book = OrderBook(CLIENT, [record(state="CANCELLED", remaining=0)])
    book.hear_status(StatusNews(5, CLIENT, 99, "Submitted", 0, 3), at(7))
    assert book.open() == []


def test_what_is_adopted_has_the_prices_of_its_kind_and_the_fills_that_are_known() -> None:
    entry = listed(ref="i-9", stop_price=Decimal(9))
    stop = listed(ref="i-9/stop", order_id=6, order_type="STP", limit_price=Decimal(9), stop_price=Decimal("3.00"))
    both = listed(ref="i-9/x", order_id=7, order_type="STP LMT", stop_price=Decimal("3.00"))
    odd = listed(ref="", order_id=8, order_type="TRAIL")
    book = OrderBook(CLIENT, fills=[fill("a", "i-9", "BUY", 1, 1)])
    adopted = book.hear_snapshot(snapshot(open_orders=(entry, stop, both, odd)), at(1))
    four = Decimal("4.00")
    assert [(o.order_type, o.limit_price, o.stop_price) for o in adopted] == [
        ("LMT", four, None),
        ("STP", None, Decimal("3.00")),
        ("STP LMT", four, Decimal("3.00")),
        ("LMT", four, None),
    ]
    assert [o.filled for o in adopted] == [1, 0, 0, 0] and adopted[3].id == "unnamed-99"
    assert book.highest_order_id() == 8 and OrderBook(CLIENT).highest_order_id() == 0
