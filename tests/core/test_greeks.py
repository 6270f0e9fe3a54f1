"""Greeks against QuantLib from one second to two years, and what must be NaN."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import QuantLib

from alphatrader.core.options import greeks as bs

GRID = [
    (spot, strike, years, vol, rate, dividend, call)
    for spot, strike, years, vol, rate, dividend, call in itertools.product(
        (34.0, 100.0, 660.0),
        (0.5, 0.8, 0.97, 1.0, 1.02, 1.3, 2.0),
        (60 / 525_600 / 60, 1 / 525_600, 0.5 / 365, 1 / 365, 14 / 365, 1.0, 2.0),
        (0.05, 0.15, 0.6, 2.0),
        (0.0, 0.04),
        (0.0, 0.013),
        (True, False),
    )
]


def quantlib(spot: float, strike: float, years: float, vol: float, rate: float, dividend: float, call: bool) -> tuple[float, ...]:
    payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if call else QuantLib.Option.Put, strike)
    forward = spot * np.exp((rate - dividend) * years)
    calculator = QuantLib.BlackCalculator(payoff, forward, vol * np.sqrt(years), np.exp(-rate * years))
    return (
        calculator.value(),
        calculator.delta(spot),
        calculator.gamma(spot),
        calculator.theta(spot, years) / 365.0,
        calculator.vega(years) / 100.0,
        calculator.rho(years) / 100.0,
    )


def test_every_greek_is_quantlibs_over_the_grid() -> None:
    # given a grid from one second to two years, deep in and out of the money, computed in one vectorised call
    rows = [(s, s * m, t, v, r, q, c) for s, m, t, v, r, q, c in GRID]
    s, k, t, v, r, q, c = (np.array(column) for column in zip(*rows, strict=True))
    ours = np.array(bs.greeks(s, k, t, v, c, r, q))
    # when QuantLib computes each alone
    theirs = np.array([quantlib(*row) for row in rows]).T
    # then each agrees within 1e-6, absolute or relative
    assert ours.shape == theirs.shape == (6, len(GRID))
    assert np.all(np.abs(ours - theirs) <= 1e-6 * np.maximum(1.0, np.abs(theirs)))


def test_the_single_functions_say_what_the_bundle_says() -> None:
    at = (660.0, 663.0, 3 / 365, 0.14)
    bundle = bs.greeks(*at, False, 0.04)
    assert bs.price(*at, False, 0.04) == bundle.price
    assert bs.delta(*at, False, 0.04) == bundle.delta
    assert bs.gamma(*at, 0.04) == pytest.approx(float(bundle.gamma), rel=1e-14)
    assert bs.theta(*at, False, 0.04) == bundle.theta_day
    assert bs.vega(*at, 0.04) == bundle.vega_point
    assert bs.rho(*at, False, 0.04) == bundle.rho_point


@pytest.mark.parametrize("field", range(4))
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_an_input_that_must_be_positive_gives_nan_and_never_a_number(field: int, bad: float) -> None:
    values = [100.0, 100.0, 0.1, 0.2]
    values[field] = bad
    for result in bs.greeks(*values, True):
        assert np.isnan(result)
    assert np.isnan(bs.gamma(*values))


def test_time_to_expiry_has_a_floor_of_a_minute_and_ends_at_the_close() -> None:
    close = 1_000 * bs.MINUTE_NS
    one_day, half_minute, after = close - 1440 * bs.MINUTE_NS, close - bs.MINUTE_NS // 2, close + 1
    years = bs.years_to_expiry(np.array([one_day, half_minute, close, after]), close)
    assert years[0] == pytest.approx(1 / 365)
    assert years[1] == pytest.approx(1 / 525_600)
    assert np.isnan(years[2]) and np.isnan(years[3])
