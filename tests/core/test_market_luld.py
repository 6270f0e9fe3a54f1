"""Price bands: known answers, then any price, any session of prints and any state at a band by the plan's words, exactly."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Luld
from alphatrader.core.market.luld import LuldEstimate, Security, bands, pause_ends_ns

SECOND = 1_000_000_000
MINUTE_NS = 60 * SECOND
OPEN = 1_800_000_000 * SECOND
CLOSE = OPEN + 390 * MINUTE_NS
TIER_1, TIER_2 = Security(1), Security(2)


@pytest.mark.parametrize(
    ("reference", "previous", "security", "doubled", "lower", "upper"),
    [
        (100, 100, TIER_1, False, 95, 105),
        (100, 100, TIER_1, True, 90, 110),
        (100, 100, TIER_2, False, 90, 110),
        (100, 100, TIER_2, True, 90, 110),  # Tier 2 over $3.00 is not doubled
        (3.01, 3.01, TIER_1, False, 2.86, 3.16),
        (3.00, 3.00, TIER_1, False, 2.40, 3.60),
        (2.00, 2.00, TIER_2, True, 1.20, 2.80),
        (0.75, 0.75, TIER_2, False, 0.60, 0.90),
        (1.00, 0.75, TIER_2, False, 0.80, 1.20),  # $0.75 itself is of the class above
        (0.50, 0.50, TIER_1, True, 0.20, 0.80),  # doubled, dollars are, too
        (0.50, 0.50, TIER_1, False, 0.35, 0.65),  # $0.15 is less than 75 %
        (0.10, 0.10, TIER_1, False, 0.03, 0.18),  # 75 % is less than $0.15; to the cent, halves up
        (50, 50, Security(2, 3.0), False, 35, 65),  # leveraged three times
        (2.90, 3.10, TIER_1, False, 2.76, 3.05),  # the class goes by the previous close, not by the price
    ],
)
def test_bands(reference: float, previous: float, security: Security, doubled: bool, lower: float, upper: float) -> None:
    band = bands(reference, previous, security, doubled=doubled)
    assert (band.lower, band.upper) == pytest.approx((lower, upper), abs=1e-9)


def test_the_reference_moves_by_a_percent_and_after_thirty_seconds() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    assert luld.estimate(OPEN, 99.99, 100.01) is None
    luld.add(OPEN, 100.0)
    for second in range(1, 30):
        luld.add(OPEN + second * SECOND, 103.0)
    at = luld.estimate(OPEN + 29 * SECOND, 103, 103.01)
    assert at and at.reference == 100.0  # far enough, too soon
    luld.add(OPEN + 30 * SECOND, 103.0)
    at = luld.estimate(OPEN + 30 * SECOND, 103, 103.01)
    assert at and at.reference == pytest.approx((100 + 30 * 103) / 31, abs=1e-4)
    moved = at.reference
    for second in range(61, 120):
        luld.add(OPEN + second * SECOND, moved * 1.005)
    at = luld.estimate(OPEN + 120 * SECOND, 103, 103.01)
    assert at and at.reference == moved  # less than a percent away


@pytest.mark.parametrize(("after_ns", "reference"), [(0, 100.0), (1, 101.0)])
def test_a_print_is_of_the_mean_for_five_minutes_and_one_percent_is_enough(after_ns: int, reference: float) -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    now = OPEN + 300 * SECOND + after_ns
    luld.add(now, 101.0)
    at = luld.estimate(now, 100.99, 101.01)
    assert at and at.reference == reference


def test_bands_are_of_the_regular_session_and_its_prints_alone() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN - 1, 80.0)
    assert luld.estimate(OPEN, 99, 101) is None
    luld.add(OPEN, 100.0)
    luld.add(CLOSE, 80.0)
    told = [luld.estimate(ns, 99, 101) for ns in (OPEN - 1, CLOSE - 1, CLOSE)]
    assert [at and at.reference for at in told] == [None, 100.0, None]


def test_bands_double_in_the_last_25_minutes_and_not_at_the_open() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    shares = [at.share for ns in (OPEN, CLOSE - 25 * MINUTE_NS - 1, CLOSE - 25 * MINUTE_NS) if (at := luld.estimate(ns, 99, 101))]
    assert shares == [0.05, 0.05, 0.10]


def test_a_limit_state_says_since_when_and_when_it_becomes_a_pause() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    at = luld.estimate(OPEN + SECOND, 105.0, 105.01)
    assert at and at.state == "limit_up"
    assert (at.limit_since_ns, at.pause_due_ns) == (OPEN + SECOND, OPEN + 16 * SECOND)
    at = luld.estimate(OPEN + 5 * SECOND, 105.0, 105.2)
    assert at and at.limit_since_ns == OPEN + SECOND
    at = luld.estimate(OPEN + 6 * SECOND, 100.0, 100.1)
    assert at and (at.state, at.limit_since_ns) == ("inside", None)
    at = luld.estimate(OPEN + 7 * SECOND, 94.0, 95.0)
    assert at and at.state == "limit_down"
    at = luld.estimate(OPEN + 8 * SECOND, 94.0, 96.0)
    assert at and at.state == "straddle"
    assert pause_ends_ns(OPEN, CLOSE) == OPEN + 5 * MINUTE_NS
    assert pause_ends_ns(CLOSE - 9 * MINUTE_NS, CLOSE) == CLOSE
    assert pause_ends_ns(CLOSE - 15 * MINUTE_NS, CLOSE) == CLOSE  # it would reopen as the last ten minutes begin
    assert pause_ends_ns(CLOSE - 15 * MINUTE_NS - 1, CLOSE) == CLOSE - 10 * MINUTE_NS - 1


def cents(price: Fraction) -> int:
    """Halves up."""
    return floor(price * 100 + Fraction(1, 2))


def width(reference: Fraction, previous: Fraction, tier: int, leverage: int, *, doubled: bool) -> Fraction:
    """Of the band on either side, in dollars."""
    if previous > 3:
        percent, most = 5 if tier == 1 else 10, None
    elif previous >= Fraction(75, 100):
        percent, most = 20, None
    else:
        percent, most = 75, Fraction(15, 100)
    twice = 2 if doubled and (tier == 1 or previous <= 3) else 1
    share = reference * percent * twice * (leverage if tier == 2 else 1) / 100
    return share if most is None else min(share, most * twice)


@given(
    st.integers(1, 10_000_000),
    st.one_of(st.sampled_from([74, 75, 300, 301]), st.integers(1, 500_000)),
    st.sampled_from([(1, 1), (2, 1), (2, 2), (2, 3)]),
    st.booleans(),
)
@example(46, 300, (2, 1), True)
@example(10_046, 30_000, (1, 1), False)
def test_the_bands_of_any_price(reference: int, previous: int, kind: tuple[Literal[1, 2], int], doubled: bool) -> None:
    """`reference` in hundredths of a cent, as a mean of prints is no whole cent; `previous` in cents."""
    tier, leverage = kind
    told = bands(reference / 10_000, previous / 100, Security(tier, float(leverage)), doubled=doubled)
    middle = Fraction(reference, 10_000)
    half = width(middle, Fraction(previous, 100), tier, leverage, doubled=doubled)
    assert (round(told.lower * 100), round(told.upper * 100)) == (max(0, cents(middle - half)), cents(middle + half))


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, SECOND, 29 * SECOND, 30 * SECOND - 1, 30 * SECOND, 300 * SECOND, 301 * SECOND]),
        st.sampled_from(["print", "print", "print", "look", "reopen"]),
        st.sampled_from([-200, -100, -99, -10, 0, 10, 99, 100, 150]),
    ),
    max_size=40,
)


@given(steps)
@example([(0, "print", 1000), (301 * SECOND, "print", -110), (0, "look", 0)])  # from 110.00 to 108.90 it is one percent
def test_the_reference_price_is_the_plans(sequence: list[tuple[int, str, int]]) -> None:
    """The mean of the prints of five minutes, once it is 1 % or more away and the one in force has stood 30 s; the first print,
    and the first after a reopening, at once; where nothing printed in five minutes, the one in force."""
    luld = LuldEstimate(Security(1), 100.0, (OPEN, CLOSE))
    prints, reference, since, at, price = list[tuple[int, Fraction]](), None, 0, OPEN, 10_000
    for later, what, change in sequence:
        at, price = at + later, max(100, price + change)
        if what == "print":
            luld.add(at, price / 100)
            prints.append((at, Fraction(price, 100)))
            if reference is None:
                reference, since = prints[-1][1], at
        elif what == "reopen":
            luld.restart()
            prints, reference = [], None
        window = [one for ns, one in prints if ns >= at - 300 * SECOND]
        if reference is not None and window and at - since >= 30 * SECOND:
            mean = sum(window, Fraction(0)) / len(window)
            if abs(mean - reference) >= reference / 100:
                reference, since = mean, at
        if what != "look":
            continue
        told = luld.estimate(at, None, None)
        assert (told and told.reference) == (None if reference is None else pytest.approx(float(reference), abs=6e-5))


def estimate(bid: float | None, ask: float | None) -> Luld:
    luld = LuldEstimate(Security(1), 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    told = luld.estimate(OPEN, bid, ask)
    assert told is not None and (told.lower, told.upper) == (95.0, 105.0)
    return told


@pytest.mark.parametrize(
    ("bid", "ask", "state"),
    [
        (99.99, 100.01, "inside"),
        (104.99, 105.0, "inside"),  # an offer at the upper band may trade
        (95.0, 95.01, "inside"),  # and so may a bid at the lower
        (105.0, 105.01, "limit_up"),
        (105.0, None, "limit_up"),
        (94.99, 95.0, "limit_down"),
        (None, 95.0, "limit_down"),
        (94.99, 96.0, "straddle"),  # the bid is under the band, the offer is not at it
        (94.99, None, "straddle"),
        (104.0, 105.01, "straddle"),
        (None, 105.01, "straddle"),
        (None, None, "inside"),
    ],
)
def test_where_the_best_bid_and_offer_stand_to_the_bands(bid: float | None, ask: float | None, state: str) -> None:
    told = estimate(bid, ask)
    limit = state in ("limit_up", "limit_down")
    assert (told.state, told.limit_since_ns) == (state, OPEN if limit else None)


def test_the_other_bands_limit_state_begins_anew() -> None:
    luld = LuldEstimate(Security(1), 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    for second, (bid, ask) in enumerate(((105.0, 105.1), (105.0, 105.1), (94.9, 95.0), (94.9, 95.0))):
        told = luld.estimate(OPEN + second * SECOND, bid, ask)
    assert told and (told.state, told.limit_since_ns) == ("limit_down", OPEN + 2 * SECOND)
    luld.restart()  # a reopening ends it
    luld.add(OPEN + 3 * SECOND, 95.0)
    told = luld.estimate(OPEN + 3 * SECOND, 94.9, 95.0)
    assert told and (told.state, told.reference, told.limit_since_ns) == ("inside", 95.0, None)


@pytest.mark.parametrize("early", [0, 180 * MINUTE_NS])
@pytest.mark.parametrize(
    ("before", "auction"), [(15 * MINUTE_NS + 1, False), (15 * MINUTE_NS, True), (10 * MINUTE_NS, True), (1, True)]
)
def test_a_pause_that_would_end_in_the_last_ten_minutes_ends_with_the_close(early: int, before: int, auction: bool) -> None:
    close = CLOSE - early
    assert pause_ends_ns(close - before, close) == (close if auction else close - before + 5 * MINUTE_NS)
