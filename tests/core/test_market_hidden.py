"""Icebergs and hidden executions, from their definitions: sources.md §3."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import BookEvent, Level, Part, QuoteEvent, Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import hidden_metric
from alphatrader.core.analytics.symbol import fresh
from alphatrader.core.market.hidden_prints import KEPT, HiddenDetector
from alphatrader.core.market.icebergs import IcebergDetector

MS = 1_000_000
SECOND = 1_000_000_000


# -- icebergs ------------------------------------------------------------------------------------------------------------


def level(price: float, **sizes: float) -> Level:
    """What venues show at a price."""
    parts = tuple(Part(venue, size) for venue, size in sizes.items())
    if len(parts) == 1:
        return Level(price, parts[0].size, parts[0].venue)
    return Level(price, sum(part.size for part in parts), ",".join(sizes), parts=parts)


def test_what_a_venue_shows_again_after_fills_that_ended_it_is_an_iceberg_there() -> None:
    detector = IcebergDetector()
    standing = level(10.01, ARCA=300, IEX=500)
    detector.book(0, (), (standing,))
    for n in range(3):  # given 300 shown at ARCA, each time taken whole and back after 100 ms
        detector.fill((n * 400 + 10) * MS, 10.01, 300, "buy", "ARCA")
        assert detector.count == (1 if n == 2 else 0), "one refill is none"
        if n == 0:
            detector.book(50 * MS, (), (level(10.01, IEX=500),))
        detector.book((n * 400 + 110) * MS, (), (standing,))
        assert detector.count == (1 if n >= 1 else 0)
    found = detector.icebergs[0]
    assert (found.side, found.price, found.venue, found.refills, found.executed) == ("ask", 10.01, "ARCA", 3, 900)
    assert found.peak == 300 and found.confidence == pytest.approx(1 - math.exp(-1.5))


def test_more_executed_than_was_shown_is_a_refill_though_no_book_was_seen_between() -> None:
    detector = IcebergDetector()
    detector.book(0, (level(9.99, ARCA=100),), ())
    for n in range(4):
        detector.fill(n * 100 * MS, 9.99, 100, "sell", "ARCA")
    # four fills of the 100 shown: the first took what stood there, three were shown anew
    assert [(i.side, i.peak, i.refills, i.executed) for i in detector.icebergs] == [("bid", 100, 3, 400)]


@pytest.mark.parametrize(("came", "refills"), [((200, 200, 200), 2), ((200, 300, 100), 0), ((100, 200, 200), 0), ((0, 0, 0), 0)])
def test_behind_others_the_same_size_come_on_top_of_what_fills_left_is_a_refill(came: tuple[int, ...], refills: int) -> None:
    """Others stand there with 900: no fill ends what is shown. The first that comes may be anybody's; the same again is not."""
    detector, shown = IcebergDetector(), 900
    detector.book(0, (), (level(10.01, ARCA=shown),))
    for n, more in enumerate(came):
        detector.fill((n * 300 + 10) * MS, 10.01, 250, "buy", "ARCA")
        shown += more - 250
        detector.book((n * 300 + 60) * MS, (), (level(10.01, ARCA=shown),))
        detector.book((n * 300 + 160) * MS, (), (level(10.01, ARCA=shown + 100 * n),))  # whoever joins later is no refill
        shown += 100 * n
    assert [(i.refills, i.peak) for i in detector.icebergs] == ([(refills, 200)] if refills else [])


def test_what_comes_back_in_another_size_is_what_refills_are_measured_by_from_then_on() -> None:
    """Given 700 shown, 500 of others before a reserve order's 200: once the others are filled it is seen alone."""
    detector = IcebergDetector()
    detector.book(0, (), (level(10.01, ARCA=700),))
    for n, (filled, left) in enumerate(((500, 200), (200, 200), (200, 200), (200, 200))):
        detector.fill((n * 300 + 10) * MS, 10.01, filled, "buy", "ARCA")
        detector.book((n * 300 + 60) * MS, (), (level(10.01, ARCA=left),))
    assert [(i.refills, i.peak) for i in detector.icebergs] == [(2, 200)]


def test_a_print_counts_against_its_own_venue_alone() -> None:
    # given a price where each fill ends what one venue shows and the next venue joins at once
    detector = IcebergDetector()
    venues = ("BATS", "ARCA", "MEMX", "EDGEA")
    detector.book(0, (), (level(10.01, IEX=300, BATS=100),))
    for n in range(8):
        now = n * 400 * MS + 10 * MS
        detector.fill(now, 10.01, 100, "buy", venues[n % 4])
        detector.book(now + 50 * MS, (), (level(10.01, IEX=300),))
        detector.book(now + 100 * MS, (), (level(10.01, IEX=300, **{venues[(n + 1) % 4]: 100.0}),))
    # then the sum over venues is back each time, but no venue's own is within half a second: nobody refilled
    assert detector.count == 0
    # but a book that names no venue is one exchange's: whatever is printed is printed there
    for n in range(4):
        detector.book((3_000 + n * 100) * MS, (), (Level(20.0, 5.0),))
        detector.fill((3_050 + n * 100) * MS, 20.0, 5, "buy", "CME")
    assert [(i.price, i.venue) for i in detector.icebergs] == [(20.0, "CME")]


def test_a_book_that_already_shows_the_fill_when_its_print_comes_is_no_refill() -> None:
    """Depth may come before the print that changed it: what is left then did not come back, it never went."""
    detector = IcebergDetector()
    left = 1_000.0
    detector.book(0, (), (level(10.01, ARCA=left),))
    for n in range(1, 8):
        left -= 120
        detector.book(n * 100 * MS, (), (level(10.01, ARCA=left),))
        detector.fill(n * 100 * MS + MS, 10.01, 120, "buy", "ARCA")
        detector.book(n * 100 * MS + 50 * MS, (), (level(10.01, ARCA=left),))
    assert detector.count == 0


def test_a_first_print_larger_than_what_was_shown_tells_nothing() -> None:
    """The book may be of after it: what it shows is then what the print left."""
    detector = IcebergDetector()
    for n in range(4):
        detector.book(n * 700 * MS, (), (level(10.01, ARCA=280),))
        detector.fill((n * 700 + 1) * MS, 10.01, 320, "buy", "ARCA")
        detector.book((n * 700 + 100) * MS, (), (level(10.01, ARCA=280),))
    assert detector.count == 0


@pytest.mark.parametrize(
    ("back_ms", "size", "taken", "step_ms"),
    [
        (600, 300.0, 300, 1000),  # too late
        (100, 239.0, 300, 1000),  # under 80 %
        (100, 376.0, 300, 1000),  # over 125 %: somebody else's
        (100, 300.0, 200, 1000),  # the fills did not end what was shown
        (100, 300.0, 300, 2001),  # fills more than two seconds apart
    ],
)
def test_what_is_no_iceberg(back_ms: int, size: float, taken: float, step_ms: int) -> None:
    detector = IcebergDetector()
    for n in range(2):
        detector.book((n * step_ms - 300) * MS, (), (level(10.01, ARCA=300),))
        detector.fill(n * step_ms * MS, 10.01, taken, "buy", "ARCA")
        detector.book((n * step_ms + 1) * MS, (), ())
        detector.book((n * step_ms + back_ms) * MS, (), (level(10.01, ARCA=size),))
    assert detector.count == 0
    # nor is what was never shown, nor an unknown side
    for n in range(9):
        detector.fill(n * MS, 10.005, 100, "buy", "ARCA")
        detector.fill(n * MS, 10.005, 100, "unknown", "ARCA")
    assert detector.count == 0


def test_an_iceberg_that_goes_on_does_not_keep_those_found_after_it_beyond_five_minutes() -> None:
    detector = IcebergDetector()
    detector.book(0, (), (level(10.01, ARCA=100), level(10.02, ARCA=100)))
    for n in range(4):
        detector.fill(n * 100 * MS, 10.01, 100, "buy", "ARCA")
        detector.fill(n * 100 * MS + 1, 10.02, 100, "buy", "ARCA")
    for second in range(1, 302):
        detector.fill(second * SECOND, 10.01, 50, "buy", "ARCA")
        detector.forget(second * SECOND)
        assert [i.price for i in detector.icebergs] == ([10.01, 10.02] if second <= 300 else [10.01])


@given(st.lists(st.tuples(st.integers(1, 3_000), st.sampled_from([9.99, 10.0, 10.01]), st.integers(1, 900)), max_size=60))
def test_refills_by_execution_are_what_a_count_from_the_definition_gives(fills: list[tuple[int, float, int]]) -> None:
    """A print tells of a refill where it takes more than is left of 250 shown, unless it is the first: half a second after the
    last fill the book counts anew."""
    detector = IcebergDetector()
    detector.book(0, (), tuple(Level(price, 250.0) for price in (9.99, 10.0, 10.01)))
    now, expected = 0, 0
    last, left = dict[float, int](), dict[float, int]()
    refills: dict[float, list[int]] = {}
    told: set[float] = set()
    for wait_ms, price, shares in fills:
        now += wait_ms * MS
        detector.fill(now, price, shares, "buy", "ARCA")
        passed = now - last.get(price, -(10**18))
        if passed > 2 * SECOND:
            refills[price] = []
            told.discard(price)
        if passed > 500 * MS:
            left[price] = 250
        last[price] = now
        left[price] -= shares
        if left[price] < 0 and passed > 500 * MS:
            left[price] = 0
        elif left[price] < 0:
            refills[price].append(now)
            left[price] %= 250
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
    # when a quote within 250 ms shows 10.03 at the ask, then one of two speaks for that execution; one after that says nothing
    detector.quote(340 * MS, 10.00, 10.03)
    detector.quote(360 * MS, 10.00, 10.01)
    assert [x.confidence for x in detector.executions] == [1.0, 1 / 2]


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
    bids, asks = (Level(10.00, 500.0, "ARCA"),), (Level(10.04, 100.0, "ARCA"),)
    state.apply(QuoteEvent(1, 0, 0, 10.00, 500.0, 10.04, 100.0), hours)
    state.apply(BookEvent(2, 0, 0, True, bids, asks, 0, 0), hours)
    for n in range(4):
        state.apply(Trade(3 + n, n + 1, n + 1, 10.04, 100.0, "ARCA", "@", "buy", True, True, True), hours)
    # a print whose own quote stood wider than the newest
    state.apply(Trade(8, 9, 9, 10.05, 100.0, "IEX", "@", "buy", True, True, True, bid=10.00, ask=10.08), hours)
    state.apply(Trade(9, 9, 10, 10.02, 100.0, "FINRA", "@", "buy", True, True, True), hours)

    made = hidden_metric.hidden(state, 10, lambda instant_ns: None if instant_ns is None else 0.0, None)

    assert made.components["icebergs"] == [
        {
            "at_ms": 0,
            "side": "ask",
            "price": 10.04,
            "venue": "ARCA",
            "peak": 100,
            "refills": 3,
            "executed": 400,
            "confidence": pytest.approx(0.777, abs=1e-3),
        }
    ]
    assert [(x["price"], x["venue"], x["prints"]) for x in made.components["executions"]] == [(10.05, "IEX", 1)]
    assert made.value == 100 / 500
