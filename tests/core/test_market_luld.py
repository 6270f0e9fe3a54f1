"""Price bands against the plan's words in exact arithmetic: any price, any session of prints, and the states at a band."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Luld
from alphatrader.core.market.luld import SECOND_NS, LuldEstimate, Security, bands, pause_ends_ns

MINUTE = 60 * SECOND_NS
OPEN = 1_800_000_000 * SECOND_NS
CLOSE = OPEN + 390 * MINUTE


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
        st.sampled_from([0, 1, SECOND_NS, 29 * SECOND_NS, 30 * SECOND_NS - 1, 30 * SECOND_NS, 300 * SECOND_NS, 301 * SECOND_NS]),
        st.sampled_from(["print", "print", "print", "look", "reopen"]),
        st.sampled_from([-200, -100, -99, -10, 0, 10, 99, 100, 150]),
    ),
    max_size=40,
)


@given(steps)
@example([(0, "print", 1000), (301 * SECOND_NS, "print", -110), (0, "look", 0)])  # from 110.00 to 108.90 it is one percent
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
        window = [one for ns, one in prints if ns >= at - 300 * SECOND_NS]
        if reference is not None and window and at - since >= 30 * SECOND_NS:
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
        told = luld.estimate(OPEN + second * SECOND_NS, bid, ask)
    assert told and (told.state, told.limit_since_ns) == ("limit_down", OPEN + 2 * SECOND_NS)
    luld.restart()  # a reopening ends it
    luld.add(OPEN + 3 * SECOND_NS, 95.0)
    told = luld.estimate(OPEN + 3 * SECOND_NS, 94.9, 95.0)
    assert told and (told.state, told.reference, told.limit_since_ns) == ("inside", 95.0, None)


@pytest.mark.parametrize("early", [0, 180 * MINUTE])
@pytest.mark.parametrize(("before", "auction"), [(15 * MINUTE + 1, False), (15 * MINUTE, True), (10 * MINUTE, True), (1, True)])
def test_a_pause_that_would_end_in_the_last_ten_minutes_ends_with_the_close(early: int, before: int, auction: bool) -> None:
    close = CLOSE - early
    assert pause_ends_ns(close - before, close) == (close if auction else close - before + 5 * MINUTE)
