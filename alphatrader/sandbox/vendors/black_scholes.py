"""European Black-Scholes greeks without dividends, in the units in which Alpha Vantage publishes them.

The stand-in's own copy on purpose: it must not grade the product's formulas with the product's formulas.
"""

from __future__ import annotations

import math
from typing import NamedTuple

DAYS_PER_YEAR = 365.0
RATE = 0.04


class Greeks(NamedTuple):
    delta: float
    gamma: float
    theta: float  # per calendar day
    vega: float  # per volatility point
    rho: float  # per percent of rate


def greeks(right: str, spot: float, strike: float, days: int, volatility: float) -> Greeks:
    """`right` is "C" or "P"; `days` are whole calendar days to expiry, floored at one as the vendor does."""
    years = max(days, 1) / DAYS_PER_YEAR
    root = volatility * math.sqrt(years)
    d1 = (math.log(spot / strike) + (RATE + volatility * volatility / 2) * years) / root
    d2 = d1 - root
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    discounted = strike * math.exp(-RATE * years)
    sign = 1.0 if right == "C" else -1.0
    carry = sign * RATE * discounted * _cumulative(sign * d2)
    return Greeks(
        delta=_cumulative(d1) if right == "C" else _cumulative(d1) - 1.0,
        gamma=density / (spot * root),
        theta=(-spot * density * volatility / (2 * math.sqrt(years)) - carry) / DAYS_PER_YEAR,
        vega=spot * density * math.sqrt(years) / 100.0,
        rho=sign * years * discounted * _cumulative(sign * d2) / 100.0,
    )


def _cumulative(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
