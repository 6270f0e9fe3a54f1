"""Value at risk and book correlation: against closed forms, another simulation, and sums by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphatrader.core.options.greeks import DAYS_A_YEAR, price
from alphatrader.core.risk.portfolio import DAY_NS, Held, NotKnown, book_correlation, daily_vol, value_at_risk

NOW_NS = 1_800_000_000 * 10**9
VOL = 0.012
"""A day."""
RATE = 0.04
ALIKE = {("SPY", "QQQ"): 0.9, ("QQQ", "SPY"): 0.9}


def held(symbol: str = "SPY", *, call: bool = True, strike: float = 660.0, days: float = 14.0, contracts: int = 2) -> Held:
    """Two contracts at the money, marked where the model has them."""
    mark = float(price(660.0, strike, max(days, 1e-3) / DAYS_A_YEAR, 0.2, call, RATE))
    closes_ns = NOW_NS + int(days * DAY_NS)
    return Held(symbol, contracts, 100, strike, call, closes_ns, mark, 660.0, 0.2, 0.5 if call else -0.5)


def premium(*positions: Held) -> float:
    return sum(one.contracts * one.multiplier * one.mark for one in positions)


def var(*positions: Held, matrix: dict[tuple[str, str], float] = ALIKE) -> float:
    return value_at_risk(positions, {"SPY": VOL, "QQQ": VOL}, matrix, NOW_NS, RATE)


def test_what_is_linear_has_the_closed_form() -> None:
    """Deep in the money and expired by tomorrow, a call is the stock less its strike: the quantile is that of the stock."""
    deep = replace(held(strike=400.0, days=0.5), mark=260.0)
    worst = 660.0 * math.exp(-NormalDist().inv_cdf(0.95) * VOL - VOL**2 / 2)
    assert var(deep) == pytest.approx(200 * (260.0 - (worst - 400.0)), rel=0.04)


def test_two_underlyings_agree_with_another_simulation_of_their_own() -> None:
    # given calls on one and puts on the other, priced by a formula written here
    positions = held(days=14.0), held("QQQ", call=False, strike=650.0, days=30.0, contracts=3)
    chance, losses = random.Random(1), []
    for _ in range(40_000):
        first, second = chance.gauss(0, 1), chance.gauss(0, 1)
        moves = first, 0.9 * first + math.sqrt(1 - 0.81) * second
        loss = 0.0
        for one, move in zip(positions, moves, strict=True):
            spot = one.spot * math.exp(VOL * move - VOL**2 / 2)
            years = (one.closes_ns - NOW_NS - DAY_NS) / DAY_NS / DAYS_A_YEAR
            loss += one.contracts * 100 * (one.mark - black_scholes(spot, one.strike, years, one.vol, one.call))
        losses.append(loss)
    assert var(*positions) == pytest.approx(sorted(losses)[int(0.95 * len(losses))], rel=0.05)


def black_scholes(spot: float, strike: float, years: float, vol: float, call: bool) -> float:
    root = vol * math.sqrt(years)
    d1 = (math.log(spot / strike) + (RATE + vol**2 / 2) * years) / root
    n, discounted = NormalDist().cdf, strike * math.exp(-RATE * years)
    value = spot * n(d1) - discounted * n(d1 - root)
    return value if call else value - spot + discounted


def test_what_expires_far_out_of_the_money_can_lose_its_premium_and_no_more() -> None:
    lottery = held(strike=680.0, days=0.2)
    assert var(lottery) == pytest.approx(premium(lottery), rel=1e-12)


def test_opposite_bets_on_what_moves_together_risk_less_than_their_sum() -> None:
    call, put = held(days=30), held("QQQ", call=False, days=30)
    assert var(call, put) < 0.6 * (var(call) + var(put))
    # and the same bet twice risks the sum
    again = held("QQQ", days=30)
    assert var(call, again) > 0.9 * (var(call) + var(again))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["SPY", "QQQ"]), st.booleans(), st.floats(500, 800), st.floats(0.05, 60), st.integers(1, 20)),
        min_size=1,
        max_size=5,
    )
)
def test_bought_options_never_risk_more_than_they_are_worth_nor_less_than_nothing(
    rows: list[tuple[str, bool, float, float, int]],
) -> None:
    positions = [held(symbol, call=call, strike=strike, days=days, contracts=n) for symbol, call, strike, days, n in rows]
    assert 0.0 <= var(*positions) <= premium(*positions) * (1 + 1e-9)


def test_nothing_held_risks_nothing() -> None:
    assert var() == 0.0


@pytest.mark.parametrize(
    ("positions", "vols", "matrix", "says"),
    [
        ([held()], {}, {}, "no daily volatility of SPY"),
        ([held()], {"SPY": math.nan}, {}, "no daily volatility of SPY"),
        ([held(), held("QQQ")], {"SPY": VOL, "QQQ": VOL}, {}, "no correlation of QQQ and SPY"),
        ([replace(held(), mark=math.nan)], {"SPY": VOL}, {}, "no price"),
        ([replace(held(), vol=0.0)], {"SPY": VOL}, {}, "no price"),
    ],
)
def test_what_is_not_known_is_said_and_not_filled_in(
    positions: list[Held], vols: dict[str, float], matrix: dict, says: str
) -> None:
    with pytest.raises(NotKnown, match=says):
        value_at_risk(positions, vols, matrix, NOW_NS, RATE)


def test_a_daily_volatility_is_of_log_returns_and_needs_twenty() -> None:
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.02, 61)))
    returns = np.log(closes[1:] / closes[:-1])
    assert daily_vol(closes.tolist()) == pytest.approx(math.sqrt(((returns - returns.mean()) ** 2).sum() / 59))
    with pytest.raises(NotKnown, match="19 daily returns, 20 are needed"):
        daily_vol(closes[:20].tolist())


def test_book_correlation_weighs_each_pair_by_signed_delta_dollars() -> None:
    matrix = {(a, b): rho for (a, b), rho in {("SPY", "QQQ"): 0.8, ("SPY", "GLD"): -0.1, ("QQQ", "GLD"): 0.2}.items()}
    matrix |= {(b, a): rho for (a, b), rho in matrix.items()}
    spy, qqq, gld = held(contracts=4), held("QQQ", call=False), held("GLD", contracts=1)
    # delta-dollars 4, -2 and 1 times 33,000
    expected = (4 * -2 * 0.8 + 4 * 1 * -0.1 + -2 * 1 * 0.2) / (8 + 4 + 2)
    assert book_correlation([spy, qqq, gld], matrix) == pytest.approx(expected)
    assert book_correlation([spy, held(contracts=1)], {}) == 1.0  # two positions in one underlying are one bet
    assert book_correlation([spy, held(call=False)], {}) == -1.0
    with pytest.raises(NotKnown, match="1 of two positions"):
        book_correlation([spy], matrix)
    with pytest.raises(NotKnown, match="no correlation of TSLA and SPY"):
        book_correlation([spy, held("TSLA")], matrix)
