"""The regime: its features against independent calculations, what each speaks for, and the hysteresis."""

from __future__ import annotations

import statistics
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alphatrader.contract.messages.market import Bar
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.adx import wilder_adx
from alphatrader.core.analytics.lookback import DEFAULT_BARS
from alphatrader.core.analytics.minutes import MINUTE_NS, Minutes
from alphatrader.core.analytics.regime import (
    DWELL_NS,
    WEIGHTS,
    Judged,
    Reading,
    Regime,
    evidence,
    judge,
    read,
    slope_t,
    slope_t_of_chance,
)
from alphatrader.core.analytics.regime_metric import regime as regime_metric
from alphatrader.core.analytics.symbol import fresh
from alphatrader.core.analytics.vol_state import NOT_DISCOVERED, Vol


def bar(start: int, close: float) -> Bar:
    return Bar(start, close, close + 0.5, close - 0.5, close, 100.0, close, 1)


def reading(slope: float | None = 0.0, adx: float | None = 0.0, vol: float | None = 0.5, n: int = DEFAULT_BARS) -> Reading:
    return Reading(0.3, slope, 0.001, vol, 0.1, n, adx)


# -- features ------------------------------------------------------------------------------------------------------------


def test_the_t_statistics_are_those_of_scipy() -> None:
    generator = np.random.default_rng(4)
    closes = 100 * np.exp(np.cumsum(generator.normal(0.0002, 0.001, 120)))
    minutes = Minutes()
    minutes.warm_up([bar(i * MINUTE_NS, float(close)) for i, close in enumerate(closes)])
    reading = read(minutes, 14)
    changes = np.diff(np.log(closes))
    assert reading.drift_t == pytest.approx(stats.ttest_1samp(changes[-20:], 0.0).statistic)
    assert reading.realised_vol == pytest.approx(statistics.stdev(changes[-20:]))
    fit = stats.linregress(np.arange(20), closes[-20:])
    assert slope_t(range(20), closes[-20:].tolist()) == pytest.approx(fit.slope / fit.stderr)
    past = [statistics.stdev(changes[i : i + 20]) for i in range(len(changes) - 19)]
    assert reading.vol_percentile == pytest.approx(np.mean([v <= past[-1] + 1e-18 for v in past]))
    assert read(Minutes(), 14).drift_t is None


@pytest.mark.parametrize("points", [5, 9, 13, 20, 25, 75, 120])
def test_the_slopes_bound_is_passed_by_one_random_walk_in_twenty(points: int) -> None:
    walks = np.cumsum(np.random.default_rng(2).normal(size=(20_000, points)), axis=1)
    x = np.arange(points) - (points - 1) / 2
    y = walks - walks.mean(axis=1, keepdims=True)
    slopes = y @ x / (x @ x)
    errors = np.sqrt(np.sum((y - np.outer(slopes, x)) ** 2, axis=1) / (points - 2) / (x @ x))
    passed = np.mean(np.abs(slopes / errors) > slope_t_of_chance(points))
    assert passed == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize("span", [5, 9, 60])
def test_what_is_looked_back_over_is_as_many_minutes_as_are_asked_for(span: int) -> None:
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0.0002, 0.001, 150)))
    minutes = Minutes()
    minutes.warm_up([bar(i * MINUTE_NS, float(close)) for i, close in enumerate(closes)])
    found, changes = read(minutes, 14, span), np.diff(np.log(closes))
    assert found.span == found.n == span
    assert found.drift_t == pytest.approx(stats.ttest_1samp(changes[-span:], 0.0).statistic)
    fit = stats.linregress(np.arange(span), closes[-span:])
    assert found.slope_t == pytest.approx(fit.slope / fit.stderr)
    past = [statistics.stdev(changes[i : i + span]) for i in range(len(changes) - span + 1)]
    assert found.vol_percentile == pytest.approx(np.mean([v <= past[-1] + 1e-18 for v in past]))
    # and a session that is one change short of it has none, though it would have of fewer
    few = Minutes()
    few.warm_up([bar(i * MINUTE_NS, float(close)) for i, close in enumerate(closes[:span])])
    assert read(few, 14, span).slope_t is None and read(few, 14, span).n == span - 1


def adx_by_the_book(bars: list[tuple[int, int, int]], n: int) -> Fraction | None:
    """Wilder's worksheet, column by column, in fractions: sums of n, then less an n-th plus the newest; DI, DX, their mean."""
    tr, plus, minus = [], [], []
    for (h0, l0, c0), (h, low, _) in pairwise(bars):
        tr.append(Fraction(max(h, c0) - min(low, c0)))
        up, down = h - h0, l0 - low
        plus.append(Fraction(up) if up > down and up > 0 else Fraction(0))
        minus.append(Fraction(down) if down > up and down > 0 else Fraction(0))

    def smoothed(column: list[Fraction]) -> list[Fraction]:
        sums = [sum(column[:n], Fraction(0))]
        for value in column[n:]:
            sums.append(sums[-1] - sums[-1] / n + value)
        return sums

    if len(tr) < 2 * n - 1:
        return None
    dxs = []
    for t, p, m in zip(smoothed(tr), smoothed(plus), smoothed(minus), strict=True):
        di_plus, di_minus = (100 * p / t, 100 * m / t) if t else (Fraction(0), Fraction(0))
        both = di_plus + di_minus
        dxs.append(100 * abs(di_plus - di_minus) / both if both else Fraction(0))
    adx = sum(dxs[:n], Fraction(0)) / n
    for dx in dxs[n:]:
        adx = (adx * (n - 1) + dx) / n
    return adx


BARS = st.lists(st.tuples(st.integers(90, 110), st.integers(0, 5), st.integers(0, 5)), max_size=30)


@given(BARS, st.integers(2, 6))
def test_adx_is_wilders_worksheet(made: list[tuple[int, int, int]], period: int) -> None:
    bars = [(low + up + more, low, low + up) for low, up, more in made]
    found, expected = wilder_adx(bars, period), adx_by_the_book(bars, period)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


def test_adx_by_hand_with_period_two() -> None:
    bars = [(10.0, 9.0, 9.5), (11.0, 9.5, 10.5), (11.0, 10.0, 10.2), (10.5, 8.5, 9.0)]
    # +DM 1, 0, 0; -DM 0, 0, 1.5. First sums of two: 1 and 0, DX 100. Then 0.5 and 1.5: DX 50. Their mean.
    assert wilder_adx(bars, 2) == pytest.approx(75.0)
    assert wilder_adx(bars[:3], 2) is None
    assert wilder_adx([(10.0, 10.0, 10.0)] * 9, 2) == 0.0
    assert wilder_adx([(10.0 + i, 9.0 + i, 9.5 + i) for i in range(40)], 14) == pytest.approx(100.0)


def test_adx_is_of_the_newest_session_alone() -> None:
    minutes = Minutes()
    night = 1000 * MINUTE_NS
    minutes.warm_up([bar(i * MINUTE_NS, 100.0 + i) for i in range(40)] + [bar(night + i * MINUTE_NS, 100.0) for i in range(27)])
    assert read(minutes, 14).adx is None
    minutes.warm_up([bar(night + 27 * MINUTE_NS, 100.0)])
    assert read(minutes, 14).adx == 0.0


# -- what speaks for what ------------------------------------------------------------------------------------------------


def test_strengths_by_hand() -> None:
    # a slope of half the bound, an ADX of 30, and dealers short of gamma
    trending = reading(slope_t_of_chance(DEFAULT_BARS) / 2, 30.0, 0.6)
    judged = judge(trending, evidence(trending, 0.7, -1e9, None))
    assert judged["TREND_UP"].strength == pytest.approx(0.4 * 0.5 + 0.4 * 0.75 + 0.2)
    assert judged["TREND_UP"].confidence == judged["TREND_UP"].strength
    assert judged["TREND_DOWN"].strength == 0.0
    # volatility: percentiles count from the middle up, over the four fifths of the weight that are there
    assert judged["HIGH_VOL"].strength == pytest.approx((0.4 * 0.2 + 0.2 * 0.4 + 0.2) / 0.8)
    assert judged["HIGH_VOL"].confidence == pytest.approx(0.4 * 0.2 + 0.2 * 0.4 + 0.2)
    assert judged["RANGE"].strength == pytest.approx(1 - judged["TREND_UP"].strength)
    # dealers long of gamma speak for neither
    assert judge(trending, evidence(trending, 0.7, 1e9, None))["TREND_UP"].strength == pytest.approx(0.5)
    falling = reading(-20.0, 60.0)
    assert judge(falling, evidence(falling, None, -1.0, None))["TREND_DOWN"].strength == 1.0


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_missing_feature_lowers_the_confidence_and_is_not_neutral(name: str) -> None:
    slope = -9.0 if name == "TREND_DOWN" else 9.0
    look = reading(slope, 30.0, 0.9)
    whole = {"slope_t": 0.8, "adx": 0.8, "vol_percentile": 0.8, "vpin_percentile": 0.8, "gex_negative": 0.8, "vol_state": 0.8}
    full = judge(look, whole)[name]
    assert full.confidence == pytest.approx(0.8)
    main = "vol_percentile" if name == "HIGH_VOL" else "slope_t"
    for feature in WEIGHTS[name].keys() - {main}:
        lacking = judge(look, whole | {feature: None})[name]
        assert lacking.confidence == pytest.approx(0.8 * (1 - WEIGHTS[name][feature]))
    # without its main feature a class is not entered, whatever else says
    assert judge(look, whole | {main: None})[name].strength == 0.0
    # a neutral 0.5 would have given another number
    assert judge(look, whole | {"gex_negative": None})[name].strength == pytest.approx(0.8)
    # and RANGE, which rests on all of them, is less sure too
    assert judge(look, whole | {"gex_negative": None})["RANGE"].there == pytest.approx(0.8)


# -- hysteresis ----------------------------------------------------------------------------------------------------------


def test_a_regime_is_entered_late_left_later_and_stands_five_minutes() -> None:
    def judged(**strengths: float) -> dict[str, Judged]:
        return {name: Judged(strengths.get(name, 0.0), 1.0) for name in (*WEIGHTS, "RANGE")}

    regime = Regime()
    assert regime.update(judged(TREND_UP=0.59), 1) == "RANGE"
    assert regime.update(judged(TREND_UP=0.8), DWELL_NS) == "RANGE"  # five minutes have not passed
    assert regime.update(judged(TREND_UP=0.6), DWELL_NS + 1) == "TREND_UP"
    # it stands through another's strength, while its own is at the leaving bound
    assert regime.update(judged(TREND_UP=0.4, HIGH_VOL=0.9), 2 * DWELL_NS + 1) == "TREND_UP"
    assert regime.update(judged(TREND_UP=0.39, TREND_DOWN=0.7, HIGH_VOL=0.9), 2 * DWELL_NS + 2) == "HIGH_VOL"
    assert regime.update(judged(), 3 * DWELL_NS + 1) == "HIGH_VOL"
    assert regime.update(judged(HIGH_VOL=0.39), 3 * DWELL_NS + 2) == "RANGE"
    assert regime.since_ns == 3 * DWELL_NS + 2


def test_the_metric_carries_each_feature_and_says_what_is_missing() -> None:
    state = fresh("SPY", Analytics())

    def metric(look: Reading, vpin: float | None, gex: float | None, feed: str | None = None) -> Metric:
        return regime_metric(
            state, look, 0, lambda instant_ns: 0.0, feed, 0.1, vpin, gex, Vol(None, None, NOT_DISCOVERED, {}), "nobody looked"
        )

    # given too few minutes, or no feed, then no class is taken
    early = metric(Reading(None, None, None, None, None, 3), 0.9, -5.0)
    assert early.value is None and early.components["class"] is None and early.components["confidence"] is None
    assert metric(reading(20.0, 50.0), 0.9, -5.0, "feed silent").components["class"] is None
    # when there are enough, then the class, its confidence, and what each feature was and spoke
    made = metric(reading(20.0, 50.0, 0.55), None, -5.0).components
    assert made["class"] == "TREND_UP" and made["confidence"] == pytest.approx(1.0)
    assert (made["slope_t"], made["adx"], made["vol_percentile"], made["gex_sign"]) == (20.0, 50.0, 0.55, -1)
    assert made["vpin_percentile"] is None and made["vol_state"] is None and made["vol_state_reason"] == NOT_DISCOVERED
    assert made["missing"] == ["vpin_percentile", "vol_state"] and made["evidence"]["adx"] == 1.0
    # and without options the same trend is less sure
    lacking = metric(reading(20.0, 50.0, 0.55), None, None).components
    assert lacking["gex_sign"] is None and lacking["confidence"] == pytest.approx(0.8)
