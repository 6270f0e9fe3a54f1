"""Icebergs and hidden executions, from their definitions: domain.md §3."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import BookEvent, Level, QuoteEvent, Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import measures
from alphatrader.core.analytics.symbol import fresh
from alphatrader.core.market.hidden_prints import KEPT, HiddenDetector
from alphatrader.core.market.icebergs import IcebergDetector

MS = 1_000_000
SECOND = 1_000_000_000
ASKS = [(10.01, 300.0), (10.02, 500.0)]


# -- icebergs ------------------------------------------------------------------------------------------------------------


def test_displayed_size_that_comes_back_twice_after_fills_is_an_iceberg() -> None:
    detector = IcebergDetector()
    for n in range(3):  # given 300 shown, each time taken by 200 and back after 100 ms
        detector.fill(n * 400 * MS, 10.01, 200, "buy", 300)
        assert detector.count == (1 if n == 2 else 0), "one refill is none"
        if n == 0:
            detector.book(50 * MS, [], [(10.01, 100.0)])
        detector.book((n * 400 + 100) * MS, [], ASKS)
        assert detector.count == (1 if n >= 1 else 0)
    found = detector.icebergs[0]
    assert (found.side, found.price, found.refills, found.executed) == ("ask", 10.01, 3, 600)
    assert found.peak == 200 and found.confidence == pytest.approx(1 - math.exp(-1.5))


def test_more_executed_than_was_shown_is_a_refill_though_no_book_was_seen_between() -> None:
    detector = IcebergDetector()
    for n in range(4):
        detector.fill(n * 100 * MS, 9.99, 100, "sell", 100)
    # four fills of the 100 shown: the first took what stood there, three were shown anew
    assert [(i.side, i.peak, i.refills, i.executed) for i in detector.icebergs] == [("bid", 100, 3, 400)]


@pytest.mark.parametrize(
    ("back_ms", "size", "taken", "step_ms"),
    [
        (600, 300.0, 200, 1000),  # too late
        (100, 239.0, 200, 1000),  # under 80 %
        (100, 376.0, 200, 1000),  # over 125 %: somebody else's
        (100, 300.0, 50, 1000),  # the fills never took it under 80 %: nothing to come back from
        (100, 300.0, 200, 2001),  # fills more than two seconds apart
    ],
)
def test_what_is_no_iceberg(back_ms: int, size: float, taken: float, step_ms: int) -> None:
    detector = IcebergDetector()
    shown = 300.0
    for n in range(2):
        detector.fill(n * step_ms * MS, 10.01, taken, "buy", shown)
        detector.book((n * step_ms + back_ms) * MS, [], [(10.01, size)])
    assert detector.count == 0
    # nor is what was never shown, nor an unknown side
    for n in range(9):
        detector.fill(n * MS, 10.005, 100, "buy", None)
        detector.fill(n * MS, 10.005, 100, "unknown", 10)
    assert detector.count == 0


@given(st.lists(st.tuples(st.integers(1, 3_000), st.sampled_from([9.99, 10.0, 10.01]), st.integers(1, 900)), max_size=60))
def test_refills_by_execution_are_what_a_count_from_the_definition_gives(fills: list[tuple[int, float, int]]) -> None:
    """A print tells of a refill where it takes more than is left of 250 shown; half a second later a book was seen again."""
    detector = IcebergDetector()
    now, expected = 0, 0
    last, left = dict[float, int](), dict[float, int]()
    refills: dict[float, list[int]] = {}
    told: set[float] = set()
    for wait_ms, price, shares in fills:
        now += wait_ms * MS
        detector.fill(now, price, shares, "buy", 250)
        passed = now - last.get(price, -(10**18))
        if passed > 2 * SECOND:
            refills[price] = []
            told.discard(price)
        if passed > 500 * MS:
            left[price] = 250
        last[price] = now
        if shares > left[price]:
            refills[price].append(now)
        left[price] = (left[price] - shares) % 250 if shares > left[price] else left[price] - shares
        newest = refills[price][-2:]
        if len(newest) == 2 and now - newest[0] <= 2 * SECOND and price not in told:
            told.add(price)
            expected += 1
    assert detector.count == expected
    assert all(i.peak == 250 for i in detector.icebergs) and len(detector.icebergs) <= 20


# -- hidden executions -----------------------------------------------------------------------------------------------------


def test_prints_of_one_order_are_one_execution_and_quotes_around_it_are_its_confidence() -> None:
    detector = HiddenDetector()
    detector.quote(0, 10.00, 10.04)
    # given three prints of one instant, one of them at another price
    for price in (10.01, 10.01, 10.03):
        detector.add(100 * MS, price, 100, "ARCA", "buy", 10.00, 10.04, ts_ns=7)
    assert [(x.price, x.shares, x.prints, x.confidence) for x in detector.executions] == [
        (10.01, 200, 2, 1.0),
        (10.03, 100, 1, 1.0),
    ]
    # when a quote within 250 ms shows 10.03 at the ask, then that execution is less sure; one after that says nothing
    detector.quote(340 * MS, 10.00, 10.03)
    detector.quote(360 * MS, 10.00, 10.01)
    assert [x.confidence for x in detector.executions] == [1.0, 2 / 3]


def test_quotes_before_a_print_speak_too_and_the_list_is_bounded() -> None:
    detector = HiddenDetector()
    detector.quote(0, 10.00, 10.01)  # too old to count
    detector.quote(100 * MS, 10.00, 10.01)
    detector.add(300 * MS, 10.01, 100, "ARCA", "buy", 10.00, 10.02)
    assert detector.executions[0].confidence == 1 / 2 and detector.executions[0].at_mid
    for n in range(40):
        detector.add((400 + n) * MS, 10.01, 100, "ARCA", "buy", 10.00, 10.02, ts_ns=n + 1)
    assert len(detector.executions) == KEPT
    detector.forget(400 * SECOND)
    assert detector.executions == []


# -- as published ----------------------------------------------------------------------------------------------------------


def test_the_hidden_metric_tells_both() -> None:
    state = fresh("SPY", Analytics())
    hours = (0, 10**18)
    bids, asks = (Level(10.00, 500.0),), (Level(10.04, 100.0),)
    state.apply(QuoteEvent(1, 0, 0, 10.00, 500.0, 10.04, 100.0), hours)
    state.apply(BookEvent(2, 0, 0, True, bids, asks, 0, 0), hours)
    for n in range(4):
        state.apply(Trade(3 + n, n + 1, n + 1, 10.04, 100.0, "ARCA", "@", "buy", True, True, True), hours)
    # a print whose own quote stood wider than the newest
    state.apply(Trade(8, 9, 9, 10.05, 100.0, "IEX", "@", "buy", True, True, True, bid=10.00, ask=10.08), hours)
    state.apply(Trade(9, 9, 10, 10.02, 100.0, "FINRA", "@", "buy", True, True, True), hours)

    made = measures.hidden(state, 10, lambda instant_ns: None if instant_ns is None else 0.0, None)

    assert made.components["icebergs"] == [
        {
            "at_ms": 0,
            "side": "ask",
            "price": 10.04,
            "peak": 100,
            "refills": 3,
            "executed": 400,
            "confidence": pytest.approx(0.777, abs=1e-3),
        }
    ]
    assert [(x["price"], x["venue"], x["prints"]) for x in made.components["executions"]] == [(10.05, "IEX", 1)]
    assert made.value == 100 / 500
