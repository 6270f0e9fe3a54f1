"""Exposure against sums computed row by row with QuantLib's gamma; walls, flip, expiry-day time, and what is dropped."""

from __future__ import annotations

import math
import random
from datetime import date

import numpy as np
import pytest
import QuantLib

from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.core.analytics.exposure import prepare
from alphatrader.core.analytics.flip import zero_gamma_flip
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.pricing import REACH, Pricing, measure
from alphatrader.runtime.calendar import nyse

NOW = nyse().on(date(2026, 11, 18)).open_ns + 1_800_000_000_000  # type: ignore[union-attr]
EXPIRIES = ("20261118", "20261119", "20261202")
CLOSES = {expiry: nyse().on(date.fromisoformat(expiry)).close_ns for expiry in EXPIRIES}  # type: ignore[union-attr]
RATE = 0.04


def row(expiry: str, strike: float, right: str, interest: int, vol: float | None = 0.2, **other: float) -> OptionRow:
    return OptionRow(
        expiry, strike, right, 1.0, 1.1, None, None, 10, interest, vol, other.get("delta"), other.get("gamma"), None, None
    )  # type: ignore[arg-type]


def quantlib(spot: float, r: OptionRow) -> tuple[float, float]:
    """(gamma, delta) by QuantLib."""
    years = (CLOSES[r.expiry] - NOW) / (365 * 86_400 * 10**9)
    payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if r.right == "C" else QuantLib.Option.Put, r.strike)
    assert r.implied_vol is not None
    black = QuantLib.BlackCalculator(
        payoff, spot * math.exp(RATE * years), r.implied_vol * math.sqrt(years), math.exp(-RATE * years)
    )
    return black.gamma(spot), black.delta(spot)


def random_chain(seed: int) -> list[OptionRow]:
    draw = random.Random(seed)
    return [
        row(expiry, strike, right, draw.randint(0, 5000), draw.uniform(0.1, 0.4))
        for expiry in EXPIRIES
        for strike in range(640, 681, 2)
        for right in "CP"
    ]


def test_totals_expiries_strikes_and_walls_are_the_sums_of_their_rows() -> None:
    # given a chain over three expiries
    rows, spot = random_chain(1), 660.3
    chain = prepare(rows, CLOSES, NOW)
    found = measure(chain, spot, NOW, RATE, EXPIRIES[0])
    assert found is not None and found.rows == len(rows)
    # when every row is summed alone, with QuantLib's greeks
    sign = {"C": 1, "P": -1}
    one_pct = {id(r): sign[r.right] * quantlib(spot, r)[0] * r.open_interest * 100 * spot**2 * 0.01 for r in rows}
    usd_delta = {id(r): quantlib(spot, r)[1] * r.open_interest * 100 * spot for r in rows}
    near = pytest.approx
    # then totals agree
    assert found.gex_1pct == near(sum(one_pct.values()), rel=1e-9)
    assert found.gex_1usd == near(sum(one_pct.values()) / spot / 0.01, rel=1e-9)
    assert found.dex_net == near(sum(usd_delta.values()), rel=1e-9)
    assert found.dex_dealer == near(sum(sign[r.right] * usd_delta[id(r)] for r in rows), rel=1e-9)
    # and today's expiry stands apart
    assert found.zero_dte_1pct == near(sum(one_pct[id(r)] for r in rows if r.expiry == EXPIRIES[0]), rel=1e-9)
    assert found.by_expiry == {e: near(sum(one_pct[id(r)] for r in rows if r.expiry == e), rel=1e-9) for e in EXPIRIES}
    # and so do strikes and walls
    calls = {k: sum(one_pct[id(r)] for r in rows if r.strike == k and r.right == "C") for k in found.strikes}
    puts = {k: sum(one_pct[id(r)] for r in rows if r.strike == k and r.right == "P") for k in found.strikes}
    assert found.dex_by_expiry == {e: near(sum(usd_delta[id(r)] for r in rows if r.expiry == e), rel=1e-9) for e in EXPIRIES}
    assert found.dex_by_strike == near([sum(usd_delta[id(r)] for r in rows if r.strike == k) for k in found.strikes], rel=1e-9)
    assert list(found.call_by_strike) == near(list(calls.values()), rel=1e-9)
    assert found.call_wall == max(calls, key=lambda k: calls[k]) and found.put_wall == min(puts, key=lambda k: puts[k])
    assert all(r.right == "P" or usd_delta[id(r)] >= 0 for r in rows)


def test_the_flip_is_where_gamma_recomputed_at_that_spot_is_zero_and_not_the_crossing_of_the_strikes() -> None:
    # given puts below and calls above: short gamma under, long gamma over
    rows = [row(EXPIRIES[2], k, "P", 3000) for k in range(630, 656, 5)] + [
        row(EXPIRIES[2], k, "C", 2500) for k in range(660, 691, 5)
    ]
    chain, spot = prepare(rows, CLOSES, NOW), 655.0
    flip = zero_gamma_flip(chain, spot, NOW, RATE, 0.1)
    assert flip is not None

    def total(at: float) -> float:
        return sum((1 if r.right == "C" else -1) * quantlib(at, r)[0] * r.open_interest for r in rows)

    # then the sum of QuantLib's gammas changes its sign there
    assert total(flip - 0.01) < 0 < total(flip + 0.01)
    # while the running sum over strikes at today's spot crosses elsewhere
    by_strike = sorted((r.strike, (1 if r.right == "C" else -1) * quantlib(spot, r)[0] * r.open_interest) for r in rows)
    running = np.cumsum([gamma for _, gamma in by_strike])
    crossing = [by_strike[i][0] for i in range(1, len(running)) if running[i - 1] < 0 <= running[i]]
    assert not crossing or min(abs(c - flip) for c in crossing) > 1


def test_of_several_flips_the_nearest_is_told_and_of_none_none() -> None:
    # long gamma in the middle, short on both sides: two flips
    rows = [row(EXPIRIES[2], 660, "C", 4000), row(EXPIRIES[2], 630, "P", 3000), row(EXPIRIES[2], 690, "P", 3000)]
    chain = prepare(rows, CLOSES, NOW)
    low, high = (zero_gamma_flip(chain, spot, NOW, RATE, 0.1) for spot in (650.0, 670.0))
    assert low is not None and high is not None and low < 655 < 665 < high
    assert zero_gamma_flip(prepare([row(EXPIRIES[2], 660, "C", 9)], CLOSES, NOW), 660.0, NOW, RATE, 0.1) is None
    assert zero_gamma_flip(prepare([row(EXPIRIES[2], 660, "C", 0)], CLOSES, NOW), 660.0, NOW, RATE, 0.1) is None


def test_the_narrow_humps_of_an_expiry_day_are_not_stepped_over() -> None:
    late = CLOSES[EXPIRIES[0]] - 20 * 60_000_000_000
    rows = [row(EXPIRIES[0], 660, "C", 5000, 0.1), row(EXPIRIES[0], 661, "P", 5000, 0.1)]
    flip = zero_gamma_flip(prepare(rows, CLOSES, late), 660.2, late, RATE, 0.1)
    assert flip is not None and 660 < flip < 661


@pytest.mark.parametrize("seed", range(12))
def test_the_flip_is_the_nearest_that_a_scan_of_twenty_thousand_spots_finds(seed: int) -> None:
    """Against every row's gamma in double precision: steps that widen with the humps, and single precision, lose none."""
    draw = random.Random(seed)
    # given alternating interest over a day that is nearly over, a day, and two weeks
    rows = [
        row(expiry, strike, right, draw.randint(0, 3000), draw.uniform(0.08, 0.3))
        for expiry in EXPIRIES[seed % 3 :]
        for strike in range(600, 721, draw.choice((1, 2, 5)))
        for right in "CP"
    ]
    now = CLOSES[EXPIRIES[0]] - draw.choice((2, 20, 200)) * 60_000_000_000
    spot = draw.uniform(630, 690)
    # when it is sought, then it is the nearest of the scan's, within its step
    nearest, step = min(crossings(rows, spot, now), key=lambda one: abs(one[0] - spot))
    flip = zero_gamma_flip(prepare(rows, CLOSES, now), spot, now, RATE, 0.1)
    assert flip == pytest.approx(nearest, abs=step)


def crossings(rows: list[OptionRow], spot: float, now: int, touching: float = 1e-13) -> list[tuple[float, float]]:
    """(where within a tenth of this spot the sum of all rows' gamma changes its sign, how exactly), by trying 20,001 spots.
    `touching`: the share of the gross gamma under which it is said to touch zero."""
    spots = np.linspace(spot * 0.9, spot * 1.1, 20_001)
    held = [r for r in rows if r.open_interest]
    exponents, signed = np.empty((len(held), len(spots))), np.empty((len(held), 1))
    for at, r in enumerate(held):
        years = (CLOSES[r.expiry] - now) / (365 * 86_400 * 10**9)
        deviation = r.implied_vol * math.sqrt(years)  # type: ignore[operator]
        exponents[at] = -(((np.log(spots / r.strike) + RATE * years) / deviation + deviation / 2) ** 2) / 2
        signed[at] = (1 if r.right == "C" else -1) * r.open_interest / deviation
    gamma = np.exp(exponents - exponents.max(axis=0)) * signed  # but for a factor of each spot: nothing underflows
    total, gross = gamma.sum(axis=0), np.abs(gamma).sum(axis=0)
    told = np.flatnonzero(np.abs(total) > touching * gross)
    turns = np.flatnonzero(total[told][1:] * total[told][:-1] < 0)
    left, right = spots[told][turns], spots[told][turns + 1]
    return list(zip((left + right) / 2, right - left, strict=True))


@pytest.mark.parametrize("minutes", [5, 20, 60])
def test_two_crossings_between_two_strikes_are_not_stepped_over(minutes: int) -> None:
    """Puts on both sides outweigh a call between them only at its foot: there and back again within a strike's distance."""
    now = CLOSES[EXPIRIES[0]] - minutes * 60_000_000_000
    found = 0
    for seed in range(80):
        draw = random.Random(1000 * minutes + seed)
        # given a smile, and interest that differs from strike to strike, five times as much on one side of each right
        turn, spot = draw.uniform(640, 680), 660.0
        rows = []
        for strike in np.arange(640.0, 680.1, draw.choice((0.66, 1.65))):
            vol = max(0.06, 0.15 + 0.8 * math.log(strike / spot) ** 2 - 0.3 * math.log(strike / spot))
            for right in "CP":
                interest = draw.randint(0, 3000) * (5 if (strike > turn) == (right == "C") else 1)
                rows.append(row(EXPIRIES[0], round(float(strike), 2), right, interest, vol))
        there = crossings(rows, spot, now, touching=1e-3)
        if not there:
            continue
        found += 1
        flip = zero_gamma_flip(prepare(rows, CLOSES, now), spot, now, RATE, 0.1)
        nearest, step = min(((abs(at - spot), step) for at, step in there))
        # then none of them is nearer than the one that is told
        assert flip is not None
        assert abs(flip - spot) <= nearest + step, seed
    assert found > 70


def test_gamma_that_underflows_between_strikes_or_cancels_is_no_flip() -> None:
    # given calls alone a minute before the close: between two strikes their gamma is 0 in floating point, never negative
    late = CLOSES[EXPIRIES[0]] - 60_000_000_000
    calls = [row(EXPIRIES[0], strike, "C", 100, 0.1) for strike in range(600, 721, 10)]
    assert zero_gamma_flip(prepare(calls, CLOSES, late), 655.0, late, RATE, 0.1) is None
    # and calls and puts of equal interest and volatility at every strike: no net gamma anywhere, but for rounding
    both = [row(expiry, strike, right, 100 + strike) for expiry in EXPIRIES for strike in range(600, 721, 5) for right in "CP"]
    assert zero_gamma_flip(prepare(both, CLOSES, NOW), 655.0, NOW, RATE, 0.1) is None
    # while calls above and puts below, both out of floating point's reach at the crossing, still have theirs: halfway in d1
    apart = [row(EXPIRIES[0], 640, "P", 100, 0.1), row(EXPIRIES[0], 670, "C", 100, 0.1)]
    flip = zero_gamma_flip(prepare(apart, CLOSES, late), 655.0, late, RATE, 0.1)
    assert flip == pytest.approx(math.sqrt(640 * 670), rel=1e-5)


def test_time_to_expiry_is_real_with_a_floor_of_a_minute_and_expired_rows_vanish() -> None:
    rows, close = [row(EXPIRIES[0], 660, "C", 100)], CLOSES[EXPIRIES[0]]
    chain = prepare(rows, CLOSES, NOW)

    def gex(at: int) -> float:
        found = measure(chain, 660.0, at, RATE, EXPIRIES[0])
        assert found is not None
        return found.gex_1pct

    hour, minute = 3_600_000_000_000, 60_000_000_000
    assert gex(close - hour) == pytest.approx(2 * gex(close - 4 * hour), rel=1e-2)
    assert gex(close - 1) == gex(close - minute)
    assert measure(chain, 660.0, close, RATE, EXPIRIES[0]) is None


def test_rows_that_cannot_be_priced_are_dropped_and_counted() -> None:
    rows = [
        row("20261117", 660, "C", 5),
        row("20261121", 660, "C", 5),
        row(EXPIRIES[0], 660, "C", 5, None),
        row(EXPIRIES[0], 660, "C", 5, float("nan")),
        row(EXPIRIES[0], 660, "C", 5, 9.0),
        row(EXPIRIES[0], 660, "C", 5, 0.2, gamma=-0.1),
        row(EXPIRIES[0], 660, "C", 5, 0.2, delta=1.5),
        row(EXPIRIES[0], 660, "C", -5, 0.2),
        row(EXPIRIES[0], 660, "C", 5, 0.2),
    ]
    chain = prepare(rows, CLOSES | {"20261117": NOW - 1}, NOW)
    assert len(chain.strikes) == 1
    assert chain.dropped == {
        "expired": 1,
        "expiry is no session": 1,
        "no usable implied volatility": 3,
        "impossible greeks": 2,
        "strike or open interest out of range": 1,
    }
    assert measure(prepare([], CLOSES, NOW), 660.0, NOW, RATE, EXPIRIES[0]) is None


def test_what_stands_at_a_bound_is_priced_and_what_is_beyond_it_is_not() -> None:
    """And an expiry that closes at this instant is over."""
    kept = [
        row(EXPIRIES[0], 660, "C", 0, 0.01, delta=1.0, gamma=0.0),
        row(EXPIRIES[0], 660, "P", 5, 5.0, delta=-1.0, gamma=0.01),
    ]
    beyond = [
        row(EXPIRIES[0], 660, "C", 5, 0.0099),
        row(EXPIRIES[0], 660, "C", 5, 5.01),
        row(EXPIRIES[0], 660, "C", 5, 0.2, delta=1.0001),
        row(EXPIRIES[0], 660, "P", 5, 0.2, delta=-1.0001),
        row(EXPIRIES[0], 660, "C", 5, 0.2, gamma=-0.0001),
        row(EXPIRIES[0], 0, "C", 5, 0.2),
        row(EXPIRIES[0], 660, "C", -1, 0.2),
        row("20261117", 660, "C", 5),
    ]
    chain = prepare(kept + beyond, CLOSES | {"20261117": NOW}, NOW)
    assert chain.vols.tolist() == [0.01, 5.0] and [one for one, _ in chain.left_out] == [
        beyond[i] for i in (7, 0, 1, 5, 6, 2, 3, 4)
    ]
    assert chain.dropped["expired"] == 1 and sum(chain.dropped.values()) == len(beyond)


def view_of(rows: list[OptionRow]) -> OptionsView:
    view = OptionsView(RATE, 0.1)
    view.take(Chain("SPY", NOW, 0, 1.0, False, None, 0, tuple(rows)), CLOSES, NOW)
    return view


def test_every_move_of_the_spot_is_priced_and_time_without_one_once_a_second() -> None:
    # given a chain that has been priced
    rows = random_chain(3)
    view = view_of(rows)
    assert view.price(660.0, NOW, EXPIRIES[0])
    # when the spot moves by a tick a millisecond later, then the sums are those of the new spot
    assert view.price(660.01, NOW + 1_000_000, EXPIRIES[0])
    assert view.exposure is not None and view.exposure.spot == 660.01
    one_pct = sum((1 if r.right == "C" else -1) * quantlib(660.01, r)[0] * r.open_interest * 660.01**2 for r in rows)
    assert view.exposure.gex_1pct == pytest.approx(one_pct, rel=1e-9)
    # and a turn in which neither moved computes nothing
    assert not view.price(660.01, NOW + 2_000_000, EXPIRIES[0])
    # and after a second time itself is priced
    later = NOW + 1_100_000_000
    assert view.price(660.01, later, EXPIRIES[0])
    assert view.exposure == measure(prepare(rows, CLOSES, NOW), 660.01, NOW + 1_000_000_000, RATE, EXPIRIES[0])


@pytest.mark.parametrize("seed", range(10))
def test_close_to_a_priced_spot_the_series_gives_what_pricing_gives(seed: int) -> None:
    """Near and far from expiry, on both sides of the reach: every sum within 1e-12 of what its rows hold."""
    draw = random.Random(seed)
    rows, now = random_chain(seed), CLOSES[EXPIRIES[0]] - draw.choice((1, 30, 90, 300)) * 60_000_000_000
    chain, spot = prepare(rows, CLOSES, now), draw.uniform(640, 680)
    pricing, by_series = Pricing(chain, now, RATE, EXPIRIES[0]), 0
    pricing.at(spot)
    for _ in range(40):
        at = spot * math.exp(draw.uniform(-1.2, 1.2) * REACH)
        found, exact = pricing.at(at), measure(chain, at, now, RATE, EXPIRIES[0])
        assert found is not None and exact is not None
        by_series += found != exact
        for name in ("gex_1pct", "zero_dte_1pct", "dex_net", "dex_dealer", "dex_zero_dte"):
            most = exact.gross_1pct if name.endswith("1pct") else exact.dex_dealer
            assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0, abs=1e-12 * most)
        for name, most in (
            ("call_by_strike", max(exact.call_by_strike)),
            ("put_by_strike", -min(exact.put_by_strike)),
            ("dex_by_strike", exact.dex_dealer),
        ):
            assert getattr(found, name) == pytest.approx(getattr(exact, name), rel=0, abs=1e-12 * most)
        assert found.by_expiry == pytest.approx(exact.by_expiry, rel=0, abs=1e-12 * exact.gross_1pct)
        assert found.dex_by_expiry == pytest.approx(exact.dex_by_expiry, rel=0, abs=1e-12 * exact.dex_dealer)
        assert (found.strikes, found.call_wall, found.put_wall) == (exact.strikes, exact.call_wall, exact.put_wall)
    assert by_series > 10  # most were not priced again


def test_when_analytics_began_says_nothing_of_its_exposure() -> None:
    """Given one that is started anew between two moves: from the next second on both tell the same to the last bit."""
    rows = random_chain(5)
    whole, again = view_of(rows), view_of(rows)
    moves = [(NOW + n * 330_000_000, 660.0 + n % 5 / 100) for n in range(40)]
    for at, spot in moves[:7]:
        whole.price(spot, at, EXPIRIES[0])
    for at, spot in moves[7:]:
        whole.price(spot, at, EXPIRIES[0])
        again.price(spot, at, EXPIRIES[0])
        if at >= NOW + 3_000_000_000:
            assert again.exposure == whole.exposure
        if at >= NOW + 5_000_000_000:
            assert (again.flip, again.flip_ns) == (whole.flip, whole.flip_ns)
    assert whole.flip_ns is not None and whole.flip_ns >= NOW + 10_000_000_000


def test_an_expiry_that_closes_is_gone_at_once() -> None:
    close = CLOSES[EXPIRIES[0]]
    view = view_of([row(EXPIRIES[0], 660, "C", 10), row(EXPIRIES[1], 660, "C", 10)])
    view.price(660.0, close - 1_000_000, EXPIRIES[0])
    assert view.exposure is not None and (view.exposure.rows, view.exposure.expired) == (2, 0)
    view.price(660.5, close, EXPIRIES[0])
    assert (view.exposure.rows, view.exposure.expired) == (1, 1) and view.exposure.by_expiry[EXPIRIES[0]] == 0


def test_the_flip_says_of_when_it_is_and_is_sought_again_when_the_spot_has_crossed_it() -> None:
    # given two flips, and a spot that is nearer to the lower
    rows = [row(EXPIRIES[2], 660, "C", 4000), row(EXPIRIES[2], 630, "P", 3000), row(EXPIRIES[2], 690, "P", 3000)]
    view, chain = view_of(rows), prepare(rows, CLOSES, NOW)
    view.price(650.0, NOW, EXPIRIES[0])
    assert view.flip == zero_gamma_flip(chain, 650.0, NOW, RATE, 0.1) and view.flip_ns == NOW
    # when the spot moves on the same side, then the flip is that of the last search
    view.price(652.0, NOW + 1_000_000, EXPIRIES[0])
    assert view.flip_ns == NOW
    # when it crosses into the other sign, then it is of now
    assert view.flip is not None
    crossed = view.flip - 1.0
    view.price(crossed, NOW + 2_000_000, EXPIRIES[0])
    assert view.flip_ns == NOW + 2_000_000 and view.flip == zero_gamma_flip(chain, crossed, NOW + 2_000_000, RATE, 0.1)
    # and after five seconds anyway
    view.price(crossed, NOW + 5_100_000_000, EXPIRIES[0])
    assert view.flip_ns == NOW + 5_100_000_000


def test_the_search_on_a_large_chain_takes_turns_and_ends_with_the_same_flip() -> None:
    rows = [row(EXPIRIES[2], k, "P", 3000) for k in range(630, 656, 5)] + [
        row(EXPIRIES[2], k, "C", 2500) for k in range(660, 691, 5)
    ]
    view = view_of(rows * 800)
    turns = 0
    while view.flip_ns is None:
        view.price(690.0, NOW + turns, EXPIRIES[0])
        turns += 1
        assert turns < 100
    assert turns > 1
    assert view.flip == pytest.approx(zero_gamma_flip(prepare(rows, CLOSES, NOW), 690.0, NOW, RATE, 0.1), rel=2e-9)
