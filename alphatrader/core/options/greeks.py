"""Black-Scholes with a continuous dividend yield, vectorised: price, greeks, time to expiry (the inverse: implied_vol.py).

Every argument may be a number or an array and broadcasts. Units stand in the names: theta is per calendar day, vega per
volatility point and rho per interest point (0.01), years are of 365 days. Inputs that have no answer (a vol that is not positive,
NaN) give NaN in that place and touch no other; callers drop and count those rows. Used by analytics, signals and the Alpha
Vantage tasks.
Source: Hull, Options, Futures and Other Derivatives, ch. 15, 17 and 19.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
Input = npt.ArrayLike

DAYS_A_YEAR: Final = 365.0
MINUTE_NS: Final = 60_000_000_000
YEAR_NS: Final = 365 * 24 * 60 * MINUTE_NS
_ROOT_TWO_PI: Final = float(np.sqrt(2.0 * np.pi))


class Greeks(NamedTuple):
    """Per share. Arrays of the broadcast shape of the inputs."""

    price: Floats
    delta: Floats
    gamma: Floats
    """Change of delta per $1."""
    theta_day: Floats
    """Change of price per calendar day that passes."""
    vega_point: Floats
    """Change of price per volatility point (0.01)."""
    rho_point: Floats
    """Change of price per point of the interest rate (0.01)."""


def years_to_expiry(now_ns: Input, close_ns: Input) -> Floats:
    """Time to the close of the expiry's session, in years of 365 days, never under a minute.

    NaN once the close is past: an expired contract has no greeks."""
    left = np.asarray(close_ns, dtype=np.int64) - np.asarray(now_ns, dtype=np.int64)
    return np.where(left <= 0, np.nan, np.maximum(left, MINUTE_NS) / YEAR_NS)


def greeks(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Greeks:
    """All of them at once; `call` is True for calls and False for puts."""
    s, k, t, v, r, q = _checked(spot, strike, years, vol, rate, dividend)
    sign = np.where(np.asarray(call, dtype=bool), 1.0, -1.0)
    with np.errstate(all="ignore"):
        root = np.sqrt(t)
        scale = v * root
        d1 = _d1(s, k, t, v, r, q, scale)
        d2 = d1 - scale
        carried, discounted = s * np.exp(-q * t), k * np.exp(-r * t)
        density = np.exp(-0.5 * d1 * d1) / _ROOT_TWO_PI
        n1, n2 = ndtr(sign * d1), ndtr(sign * d2)
        price = sign * (carried * n1 - discounted * n2)
        theta = -carried * density * v / (2.0 * root) + sign * (q * carried * n1 - r * discounted * n2)
        return Greeks(
            price=price,
            delta=sign * np.exp(-q * t) * n1,
            gamma=np.exp(-q * t) * density / (s * scale),
            theta_day=theta / DAYS_A_YEAR,
            vega_point=carried * density * root * 0.01,
            rho_point=sign * discounted * t * n2 * 0.01,
        )


def price(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    return greeks(spot, strike, years, vol, call, rate, dividend).price


def delta(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    s, k, t, v, r, q = _checked(spot, strike, years, vol, rate, dividend)
    sign = np.where(np.asarray(call, dtype=bool), 1.0, -1.0)
    with np.errstate(all="ignore"):
        return np.asarray(sign * np.exp(-q * t) * ndtr(sign * _d1(s, k, t, v, r, q, v * np.sqrt(t))))


def gamma(spot: Input, strike: Input, years: Input, vol: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """The same for calls and puts."""
    s, k, t, v, r, q = _checked(spot, strike, years, vol, rate, dividend)
    with np.errstate(all="ignore"):
        scale = v * np.sqrt(t)
        d1 = _d1(s, k, t, v, r, q, scale)
        return np.asarray(np.exp(-q * t - 0.5 * d1 * d1) / (_ROOT_TWO_PI * s * scale))


def theta(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """Per calendar day."""
    return greeks(spot, strike, years, vol, call, rate, dividend).theta_day


def vega(spot: Input, strike: Input, years: Input, vol: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """Per volatility point; the same for calls and puts."""
    return greeks(spot, strike, years, vol, True, rate, dividend).vega_point


def rho(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """Per point of the interest rate (0.01)."""
    return greeks(spot, strike, years, vol, call, rate, dividend).rho_point


def _d1(s: Floats, k: Floats, t: Floats, v: Floats, r: Floats, q: Floats, scale: Floats) -> Floats:
    """`scale` is the volatility over the whole time to expiry, vol * sqrt(years)."""
    return np.asarray((np.log(s / k) + (r - q + 0.5 * v * v) * t) / scale)


def _checked(
    spot: Input, strike: Input, years: Input, vol: Input, rate: Input, dividend: Input
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Broadcast floats; what must be positive and is not becomes NaN."""
    s, k, t, v, r, q = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (spot, strike, years, vol, rate, dividend))
    )
    s, k, t, v = (np.where(np.isfinite(x) & (x > 0.0), x, np.nan) for x in (s, k, t, v))
    return s, k, t, v, r, q
