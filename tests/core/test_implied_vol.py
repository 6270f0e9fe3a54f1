"""Implied volatility: right to 1e-10 wherever the price determines it, NaN wherever it does not."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.options import greeks as bs
from alphatrader.core.options.implied_vol import WELL_POSED, implied_vol

N = 60_000
EPS = float(np.finfo(np.float64).eps)


def contracts(widest: float, seed: int) -> tuple[np.ndarray, ...]:
    """(spot, strike, years, vol, call, rate, dividend): a minute to two years, vols of 2 to 500 %, strikes up to `widest`
    standard deviations from the forward."""
    random = np.random.default_rng(seed)
    years = np.exp(random.uniform(np.log(1 / 525_600), np.log(2.0), N))
    vol = np.exp(random.uniform(np.log(0.02), np.log(5.0), N))
    rate, dividend = random.uniform(-0.02, 0.08, N), random.uniform(0.0, 0.05, N)
    spot = np.exp(random.uniform(np.log(5.0), np.log(5000.0), N))
    forward = spot * np.exp((rate - dividend) * years)
    strike = forward * np.exp(random.uniform(-widest, widest, N) * vol * np.sqrt(years))
    return spot, strike, years, vol, random.random(N) < 0.5, rate, dividend


@pytest.mark.parametrize("widest", [0.0, 0.01, 1.0, 2.5, 5.0, 10.0])
def test_it_is_right_wherever_the_price_carries_the_volatility(widest: float) -> None:
    # given prices of contracts at, in and out of the money
    s, k, t, vol, call, r, q = contracts(widest, 11)
    here = bs.greeks(s, k, t, vol, call, r, q)
    # when they are inverted
    found = implied_vol(here.price, s, k, t, call, r, q)
    # then every answer is right
    answered = ~np.isnan(found)
    assert np.abs(found - vol)[answered].max() <= WELL_POSED
    # and none is missing where it could be known: out of the money always, in the money where ten roundings of the terms that the
    # price is made of move the volatility by less than that
    carried, discounted = s * np.exp(-q * t), k * np.exp(-r * t)
    out = (carried <= discounted) == call
    known = 10.0 * EPS * np.maximum(carried, discounted) < WELL_POSED * here.vega_point * 100.0
    assert answered[out & (here.price > 1e-150)].all()
    assert answered[known].all()
    # and where not half a rounding is needed to lose it, none is made up
    lost = ~out & (0.5 * EPS * np.maximum(carried, discounted) > WELL_POSED * here.vega_point * 100.0)
    assert not answered[lost].any()


def test_it_is_the_inverse_of_quantlibs_price_too() -> None:
    for years in (1 / 525_600, 1 / 365, 30 / 365, 2.0):
        for distance in (-3.0, -1.0, 0.0, 1.0, 3.0):
            for vol in (0.1, 0.6, 1.5):
                forward = 600.0 * np.exp(0.03 * years)
                strike = forward * np.exp(distance * vol * np.sqrt(years))
                payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Put if distance < 0 else QuantLib.Option.Call, strike)
                price = QuantLib.BlackCalculator(payoff, forward, vol * np.sqrt(years), np.exp(-0.03 * years)).value()
                found = implied_vol(price, 600.0, strike, years, distance >= 0, 0.03)
                assert float(found) == pytest.approx(vol, abs=WELL_POSED)


@pytest.mark.parametrize(
    ("price", "spot", "call", "why"),
    [
        (-1.0, 100.0, True, "negative"),
        (0.0, 100.0, True, "nothing"),
        (100.0, 100.0, True, "a call at its spot"),
        (101.0, 100.0, True, "a call above its spot"),
        (100.0, 100.0, False, "a put at its strike"),
        (np.nan, 100.0, True, "no number"),
        (np.inf, 100.0, True, "no number"),
        (19.0, 120.0, True, "under intrinsic"),
        (20.0, 120.0, True, "at intrinsic"),
        (50.0 + 1e-14, 150.0, True, "a rounding over intrinsic"),
        (99.99999999999999, 100.0, True, "a rounding under its bound"),
    ],
)
def test_an_impossible_price_has_none_and_its_neighbours_do_not_suffer(price: float, spot: float, call: bool, why: str) -> None:
    good = float(bs.price(spot, 100.0, 0.1, 0.6, call))
    found = implied_vol(np.array([good, price, good]), spot, 100.0, 0.1, call)
    assert np.isnan(found[1]), why
    assert found[[0, 2]] == pytest.approx(0.6, abs=WELL_POSED)


@pytest.mark.parametrize("field", range(1, 6))
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_an_input_that_makes_no_sense_gives_nan(field: int, bad: float) -> None:
    values = [8.0, 100.0, 100.0, 0.5, 0.04, 0.01]
    values[field] = bad
    price, spot, strike, years, rate, dividend = values
    found = implied_vol(price, spot, strike, years, True, rate, dividend)
    assert np.isnan(found) or (field >= 4 and bad in (0.0, -1.0))  # a rate may be nothing or negative


def test_shapes_broadcast_and_a_chain_longer_than_a_block_is_whole() -> None:
    strikes = np.linspace(80.0, 120.0, 5_001)
    prices = bs.price(100.0, strikes, 0.25, 0.3, True, 0.04)
    assert np.abs(implied_vol(prices, 100.0, strikes, 0.25, True, 0.04) - 0.3).max() <= WELL_POSED
    assert implied_vol(5.0, 100.0, 100.0, 0.25, True).shape == ()
    assert implied_vol([[5.0], [6.0]], 100.0, [95.0, 100.0, 105.0], 0.25, True).shape == (2, 3)
    assert implied_vol([], 100.0, 100.0, 0.25, True).shape == (0,)


@given(
    price=st.floats(allow_nan=True, allow_infinity=True),
    spot=st.floats(1e-3, 1e6),
    ratio=st.floats(1e-3, 1e3),
    years=st.floats(1e-6, 3.0),
    call=st.booleans(),
)
def test_whatever_is_asked_the_answer_prices_back_or_is_nan(
    price: float, spot: float, ratio: float, years: float, call: bool
) -> None:
    found = float(implied_vol(price, spot, spot * ratio, years, call, 0.04))
    if not np.isnan(found):
        here = bs.greeks(spot, spot * ratio, years, found, call, 0.04)
        slack = max(4.0 * EPS * spot * max(ratio, 1.0), 2.0 * WELL_POSED * float(here.vega_point) * 100.0)
        assert abs(float(here.price) - price) <= slack
