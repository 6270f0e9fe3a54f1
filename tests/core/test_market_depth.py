"""The depth line against independent answers: any legal stream, any damage to one, and the real tape of LOBSTER."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.market import Book, Level
from alphatrader.core.market.book import ASK, BID, DELETE, INSERT, UPDATE, BookError, DepthBook
from alphatrader.core.market.checksum import checksum, flaw, intact
from alphatrader.core.market.depth_line import DepthLine
from alphatrader.core.market.prints import TickRule

LOBSTER = Path(__file__).parents[3] / "shared" / "data" / "lobster"
TEN = 10
HIDDEN = 5
EXECUTED = 4
NOBODY = 9_999_999_999
"""LOBSTER's price of a level that does not exist."""

Op = tuple[int, int, int, float, float]
State = dict[float, float]


def side_ops(side: int, before: list[tuple[float, float]], after: list[tuple[float, float]], style: str) -> Iterator[Op]:
    """What a gateway sends to get from one list of rows to another: written anew, not the stand-in's."""
    if style == "restate":
        for i, row in enumerate(after):
            if i >= len(before):
                yield (INSERT, i, side, *row)
            elif before[i] != row:
                yield (UPDATE, i, side, *row)
        for i in range(len(before) - 1, len(after) - 1, -1):
            yield (DELETE, i, side, 0.0, 0.0)
        return
    rows = list(before)
    wanted = {price for price, _ in after}
    for i in range(len(rows) - 1, -1, -1):
        if rows[i][0] not in wanted:
            yield (DELETE, i, side, 0.0, 0.0)
            del rows[i]
    for i, row in enumerate(after):
        if i < len(rows) and rows[i][0] == row[0]:
            if rows[i] != row:
                yield (UPDATE, i, side, *row)
                rows[i] = row
        else:
            yield (INSERT, i, side, *row)
            rows.insert(i, row)


def ranked(state: State, side: int) -> list[tuple[float, float]]:
    """The dumb reference: a dict of prices, sorted anew each time."""
    return sorted(state.items(), reverse=side == BID)[:TEN]


states = st.lists(
    st.dictionaries(st.integers(1, 25).map(lambda cents: 50 + cents / 100), st.integers(1, 900).map(float), max_size=14),
    min_size=1,
    max_size=8,
)


@given(states, st.sampled_from([ASK, BID]), st.sampled_from(["shift", "restate"]))
def test_whatever_the_market_does_both_styles_give_the_reference_book(sequence: list[State], side: int, style: str) -> None:
    book, shown = DepthBook(TEN), list[tuple[float, float]]()
    for state in sequence:
        wanted = ranked(state, side)
        for op in side_ops(side, shown, wanted, style):
            book.apply(*op)
        shown = wanted
        levels = book.levels()[0 if side == BID else 1]
        assert [(level.price, level.size) for level in levels] == wanted
        assert book.out_of_order() is None


OPPOSITE = {BID: 50.26, ASK: 50.00}
"""The other side's only row: every price of `states` lies between."""


def stream(sequence: list[State], side: int, style: str) -> tuple[list[Op], list[tuple[float, float]]]:
    ops, shown = list[Op](), list[tuple[float, float]]()
    for state in sequence:
        wanted = ranked(state, side)
        ops += side_ops(side, shown, wanted, style)
        shown = wanted
    return ops, shown


def finding(ops: list[Op], side: int, best: float) -> str | None:
    """What the depth line says after these operations, beside a quote line that has the true best price; None: all is well."""
    line = DepthLine(TEN, 5.0)
    line.on = True
    line.apply(INSERT, 0, ASK if side == BID else BID, OPPOSITE[side], 1.0, "ARCA", "", 0.0)
    try:
        for op in ops:
            line.apply(*op, "ARCA", "", 0.0)
    except BookError:
        return "position"
    quote = (best, OPPOSITE[side]) if side == BID else (OPPOSITE[side], best)
    return line.why_not_ready(0.0, line.levels(), quote, continuous=True)


def replayed(ops: list[Op]) -> list[tuple[float, float]] | None:
    """The rows by a list of our own; None where an operation fits no row."""
    rows: list[tuple[float, float]] = []
    for operation, position, _, price, size in ops:
        if position > len(rows) or (operation != INSERT and position == len(rows)):
            return None
        rows[position : position + (operation != INSERT)] = [] if operation == DELETE else [(price, size)]
        del rows[TEN:]
    return rows


SIDES, STYLES = st.sampled_from([ASK, BID]), st.sampled_from(["shift", "restate"])
kept = states.filter(lambda s: len(s) > 1 and all(s))


@settings(max_examples=200)
@given(kept, SIDES, STYLES, st.sampled_from(["cut", "copy", "swap"]), st.data())
def test_a_cut_a_copy_or_a_swap_is_noticed_by_position_an_empty_side_or_the_order_and_else_not(
    sequence: list[State], side: int, style: str, kind: str, data: st.DataObject
) -> None:
    """Exactly the classes of docs/decisions/030: what leaves rows in order on both sides is not noticeable near the quote."""
    ops, shown = stream(sequence, side, style)
    where = data.draw(st.integers(0, len(ops) - 1))
    damaged = list(ops)
    if kind == "cut":
        del damaged[where]
    elif kind == "copy":
        damaged.insert(where, damaged[where])
    else:
        damaged[where : where + 2] = damaged[where : where + 2][::-1]
    assert finding(ops, side, shown[0][0]) is None
    said, rows = finding(damaged, side, shown[0][0]), replayed(damaged)
    if rows is None:
        assert said == "position"
    elif not rows:
        assert said == ("no bid" if side == BID else "no ask")
    elif [price for price, _ in rows] != sorted((price for price, _ in rows), reverse=side == BID):
        assert said is not None and "out of order" in said
    else:
        assert said is None


@given(kept, SIDES, STYLES, st.data())
def test_a_size_damaged_on_the_way_is_not_noticed(sequence: list[State], side: int, style: str, data: st.DataObject) -> None:
    ops, shown = stream(sequence, side, style)
    where = data.draw(st.sampled_from([i for i, op in enumerate(ops) if op[0] != DELETE]))
    operation, position, _, price, size = ops[where]
    damaged = [*ops[:where], (operation, position, side, price, size + 1), *ops[where + 1 :]]
    assert finding(damaged, side, shown[0][0]) is None


@given(kept, SIDES, STYLES, st.floats(0.03, 0.5))
def test_a_best_price_far_from_the_quote_line_is_noticed(sequence: list[State], side: int, style: str, share: float) -> None:
    ops, shown = stream(sequence, side, style)
    away = shown[0][0] * (1 - share if side == BID else 1 + share)
    only = [*ops, *((DELETE, i, side, 0.0, 0.0) for i in range(len(shown) - 1, 0, -1)), (UPDATE, 0, side, away, 1.0)]
    said = finding(only, side, shown[0][0])
    assert said is not None and "depth stands at" in said


@given(states.filter(lambda s: bool(s[-1])), st.integers(0, 9), st.sampled_from(["size", "price", "cut"]))
def test_a_reader_notices_any_book_but_the_one_that_was_written(sequence: list[State], where: int, damage: str) -> None:
    rows = tuple(Level(price, size) for price, size in ranked(sequence[-1], BID))
    book = Book("X", 1, 1, True, None, "depth", rows, (), checksum(rows, ()))
    assert intact(book)
    i = where % len(rows)
    other = {
        "size": (*rows[:i], Level(rows[i].price, rows[i].size + 1), *rows[i + 1 :]),
        "price": (*rows[:i], Level(rows[i].price + 0.01, rows[i].size), *rows[i + 1 :]),
        "cut": (*rows[:i], *rows[i + 1 :]),
    }[damage]
    assert not intact(Book("X", 1, 1, True, None, "depth", other, (), book.crc32))


@given(states.filter(lambda s: len(s[-1]) > 1), st.sampled_from([BID, ASK]), st.integers(0, 9))
def test_a_reader_refuses_rows_in_no_order_whatever_their_checksum(sequence: list[State], side: int, where: int) -> None:
    """Rows of one price may stand in any order, as of two makers in a makers' book."""
    rows = [Level(price, size) for price, size in ranked(sequence[-1], side)]
    i = where % (len(rows) - 1)
    rows[i], rows[i + 1] = rows[i + 1], rows[i]
    bids, asks = ((), tuple(rows)) if side == ASK else (tuple(rows), ())
    swapped = Book("X", 1, 1, True, None, "depth", bids, asks, checksum(bids, asks))
    assert flaw(swapped) == "levels out of order"
    two = (Level(50.0, 1.0), Level(50.0, 2.0))
    assert flaw(replace(swapped, bids=two, asks=two, crc32=checksum(two, two))) is None
    assert flaw(replace(swapped, ready=False)) is None  # such a book says itself that it is none
    assert flaw(replace(swapped, crc32=swapped.crc32 ^ 1)) == "wrong checksum"


def lobster(kind: str) -> list[list[int]]:
    found = list(LOBSTER.glob(f"*_{kind}_10_*.csv"))
    if not found:
        pytest.skip("the LOBSTER sample is not here: ../shared/data/lobster")
    with found[0].open(newline="") as file:
        return [[int(float(cell)) if "." not in cell else round(float(cell)) for cell in row] for row in csv.reader(file)]


def rows_of(row: list[int], side: int) -> list[tuple[float, float]]:
    first = 0 if side == ASK else 2
    pairs = [(row[i + first], row[i + first + 1]) for i in range(0, 4 * TEN, 4)]
    return [(price / 10_000, float(size)) for price, size in pairs if abs(price) < NOBODY]


@pytest.mark.parametrize("style", ["shift", "restate"])
def test_the_folded_book_is_the_tapes_after_every_event(style: str) -> None:
    book = DepthBook(TEN)
    shown: dict[int, list[tuple[float, float]]] = {ASK: [], BID: []}
    events = lobster("orderbook")
    for row in events:
        for side in (ASK, BID):
            wanted = rows_of(row, side)
            for op in side_ops(side, shown[side], wanted, style):
                book.apply(*op)
            shown[side] = wanted
        bids, asks = book.levels()
        assert [(level.price, level.size) for level in bids] == shown[BID]
        assert [(level.price, level.size) for level in asks] == shown[ASK]
    assert len(events) > 900


def test_sides_of_prints_against_the_resting_orders_of_the_tape() -> None:
    """An execution's resting side is known, so the aggressor is: all visible ones must be right, hidden ones are printed."""
    rule, right, seen = TickRule(), {EXECUTED: 0, HIDDEN: 0}, {EXECUTED: 0, HIDDEN: 0}
    books = lobster("orderbook")
    for event, before in zip(lobster("message")[1:], books, strict=False):
        _, kind, _, _, price, resting = event
        if kind not in right:
            continue
        side = rule.side(price / 10_000, before[2] / 10_000, before[0] / 10_000, moves=True)
        seen[kind] += 1
        right[kind] += side == ("sell" if resting == 1 else "buy")
    print(f"sides right: visible {right[EXECUTED]} of {seen[EXECUTED]}, hidden {right[HIDDEN]} of {seen[HIDDEN]}")
    assert seen[EXECUTED] > 0 and seen[HIDDEN] > 0
    assert right[EXECUTED] == seen[EXECUTED]
