"""The depth book: any legal stream of operations gives the list it describes, whichever way the gateway speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Level, Part
from alphatrader.core.market.book import ASK, BID, DELETE, INSERT, UPDATE, BookError, DepthBook, Row, consolidate
from alphatrader.core.market.checksum import checksum
from alphatrader.sandbox.gateway.depth import restate, shift
from alphatrader.sandbox.market.types import Row as SandboxRow

ROWS = 8
prices = st.integers(1, 40).map(lambda cents: 100 + cents / 100)
sizes = st.integers(1, 900).map(float)
venues = st.sampled_from(["ARCA", "NASDAQ", "BATS"])


@given(st.lists(st.tuples(st.sampled_from([INSERT, UPDATE, DELETE]), st.integers(0, 1), st.floats(0, 1), prices, sizes, venues)))
def test_any_legal_stream_of_operations_equals_a_list(stream: list[tuple[int, int, float, float, float, str]]) -> None:
    book = DepthBook(ROWS)
    reference: dict[int, list[Row]] = {ASK: [], BID: []}
    for operation, side, where, price, size, venue in stream:
        rows = reference[side]
        if operation != INSERT and not rows:
            continue
        position = round(where * (len(rows) if operation == INSERT else len(rows) - 1))
        row = Row(price, size, venue, "")
        if operation == INSERT:
            rows.insert(position, row)
            del rows[ROWS:]
        elif operation == UPDATE:
            rows[position] = row
        else:
            rows.pop(position)
        book.apply(operation, position, side, price, size, venue)
    assert book.asks == reference[ASK] and book.bids == reference[BID]


books = st.lists(st.tuples(prices, st.integers(1, 900), venues), max_size=ROWS, unique_by=lambda row: (row[0], row[2]))


@given(st.lists(books, min_size=1, max_size=8))
def test_both_styles_of_gateway_give_the_same_book(states: list[list[tuple[float, int, str]]]) -> None:
    for style in (shift, restate):
        book = DepthBook(ROWS)
        shown: list[SandboxRow] = []
        for state in states:
            wanted = [SandboxRow(*row) for row in sorted(state, reverse=True)]
            for operation, position, row in style(shown, wanted):
                book.apply(operation, position, BID, row.price, row.size, row.venue)
            shown = wanted
            assert [(row.price, row.size, row.venue) for row in book.bids] == [(r.price, r.size, r.venue) for r in wanted]


@pytest.mark.parametrize(
    ("operation", "position", "side", "price", "size"),
    [
        (INSERT, 2, BID, 100.0, 1.0),
        (INSERT, -1, BID, 100.0, 1.0),
        (UPDATE, 1, BID, 100.0, 1.0),
        (DELETE, 1, BID, 0.0, 0.0),
        (3, 0, BID, 100.0, 1.0),
        (INSERT, 0, 2, 100.0, 1.0),
        (INSERT, 0, BID, float("nan"), 1.0),
        (INSERT, 0, BID, 100.0, float("inf")),
        (INSERT, 0, BID, 100.0, -1.0),
    ],
)
def test_an_operation_that_does_not_fit_is_refused_and_changes_nothing(
    operation: int, position: int, side: int, price: float, size: float
) -> None:
    book = DepthBook(ROWS)
    book.apply(INSERT, 0, BID, 99.0, 5.0)
    with pytest.raises(BookError):
        book.apply(operation, position, side, price, size)
    assert book.bids == [Row(99.0, 5.0, "", "")] and book.asks == []


def test_a_row_that_falls_off_may_be_deleted_or_not() -> None:
    book = DepthBook(2)
    for price in (99.0, 98.0, 97.0):
        book.apply(INSERT, len(book.bids) if price != 97.0 else 2, BID, price, 1.0)
    assert [row.price for row in book.bids] == [99.0, 98.0]
    book.apply(DELETE, 2, BID, 0.0, 0.0)
    assert [row.price for row in book.bids] == [99.0, 98.0]


def test_rows_of_one_price_are_added_and_empty_ones_left_out() -> None:
    rows = [Row(10.0, 5, "ARCA", ""), Row(10.0, 9, "NASDAQ", ""), Row(9.9, 0, "BATS", ""), Row(10.1, 1, "IEX", "")]
    parts = (Part("NASDAQ", 9), Part("ARCA", 5))
    assert consolidate(rows, descending=True) == (Level(10.1, 1, "IEX"), Level(10.0, 14, "NASDAQ,ARCA", "", parts))


def test_the_checksum_is_krakens() -> None:
    """The example of Kraken's "Calculate book checksum" page (version 1)."""
    asks = [
        Level(price, 0.000005) for price in (0.05005, 0.0501, 0.05015, 0.0502, 0.05025, 0.0503, 0.05035, 0.0504, 0.05045, 0.0505)
    ]
    bids = [
        Level(price, 0.000005) for price in (0.05, 0.04995, 0.0499, 0.0498, 0.04975, 0.0497, 0.04965, 0.0496, 0.04955, 0.0495)
    ]
    assert checksum(bids, asks, price_decimals=5, size_decimals=8) == 974947235


def test_the_checksum_knows_sides_prices_and_sizes_apart() -> None:
    book = ([Level(100.0, 5.0)], [Level(100.01, 7.0)])
    others = [([Level(100.0, 7.0)], [Level(100.01, 5.0)]), ([Level(100.01, 7.0)], [Level(100.0, 5.0)]), ([], [])]
    assert len({checksum(*book), *(checksum(*other) for other in others)}) == 4
    assert checksum([], []) == 0


def test_a_row_of_no_size_keeps_its_place_and_is_no_level() -> None:
    """The broker numbers it among the others: without it the next operation would meet another row."""
    book = DepthBook(5)
    for position, size in enumerate((0.0, 3.0)):
        book.apply(INSERT, position, BID, 10.0 - position, size)
    assert book.best() == (9.0, None) and [(level.price, level.size) for level in book.levels()[0]] == [(9.0, 3.0)]
    book.apply(UPDATE, 0, BID, 10.0, 4.0)
    assert book.best() == (10.0, None)
