"""Black-Scholes with a continuous dividend yield, vectorised: price, greeks, implied volatility, time to expiry.

Every argument may be a number or an array and broadcasts. Units stand in the names: theta is per calendar day, vega per
volatility point (0.01), years are of 365 days. Inputs that have no answer (a price under its bound, a vol that is not positive,
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
MIN_VOL: Final = 1e-4
MAX_VOL: Final = 10.0
_ROOT_TWO_PI: Final = float(np.sqrt(2.0 * np.pi))
_IV_ROUNDS: Final = 100
_IV_PRECISION: Final = 1e-12
_IV_LAST_STEP: Final = 1e-5


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
        d1 = (np.log(s / k) + (r - q + 0.5 * v * v) * t) / (v * root)
        d2 = d1 - v * root
        carried, discounted = s * np.exp(-q * t), k * np.exp(-r * t)
        density = np.exp(-0.5 * d1 * d1) / _ROOT_TWO_PI
        n1, n2 = ndtr(sign * d1), ndtr(sign * d2)
        price = sign * (carried * n1 - discounted * n2)
        theta = -carried * density * v / (2.0 * root) + sign * (q * carried * n1 - r * discounted * n2)
        return Greeks(
            price=price,
            delta=sign * np.exp(-q * t) * n1,
            gamma=np.exp(-q * t) * density / (s * v * root),
            theta_day=theta / DAYS_A_YEAR,
            vega_point=carried * density * root * 0.01,
        )


def price(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    return greeks(spot, strike, years, vol, call, rate, dividend).price


def delta(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    return greeks(spot, strike, years, vol, call, rate, dividend).delta


def gamma(spot: Input, strike: Input, years: Input, vol: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """The same for calls and puts."""
    s, k, t, v, r, q = _checked(spot, strike, years, vol, rate, dividend)
    with np.errstate(all="ignore"):
        scale = v * np.sqrt(t)
        d1 = (np.log(s / k) + (r - q + 0.5 * v * v) * t) / scale
        return np.asarray(np.exp(-q * t - 0.5 * d1 * d1) / (_ROOT_TWO_PI * s * scale))


def theta(spot: Input, strike: Input, years: Input, vol: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """Per calendar day."""
    return greeks(spot, strike, years, vol, call, rate, dividend).theta_day


def vega(spot: Input, strike: Input, years: Input, vol: Input, rate: Input = 0.0, dividend: Input = 0.0) -> Floats:
    """Per volatility point; the same for calls and puts."""
    return greeks(spot, strike, years, vol, True, rate, dividend).vega_point


def implied_vol(
    option_price: Input, spot: Input, strike: Input, years: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0
) -> Floats:
    """The volatility that gives this price; NaN where none in [0.0001, 10] does.

    Such is a price at or under intrinsic, or above its bound. Newton inside a bracket, on the out-of-the-money side of
    put-call parity, where the price is all time value."""
    s, k, t, _, r, q = _checked(spot, strike, years, 1.0, rate, dividend)
    p, is_call = np.broadcast_arrays(np.asarray(option_price, dtype=float), np.asarray(call, dtype=bool))
    with np.errstate(all="ignore"):
        forward_value = s * np.exp(-q * t) - k * np.exp(-r * t)
        otm_call = forward_value <= 0.0
        parity = np.where(is_call, forward_value, -forward_value)
        target = np.where(is_call == otm_call, p, p - parity)
        carried, discounted, side, root = s * np.exp(-q * t), k * np.exp(-r * t), np.where(otm_call, 1.0, -1.0), np.sqrt(t)
        least, most = (_value(carried, discounted, vol * root, side) for vol in (MIN_VOL, MAX_VOL))
        found = np.full(np.shape(target), np.nan)
        left = np.nonzero(((least < target) & (target < most)).ravel())[0]
        total, sign, f, d, goal = (x.ravel()[left] for x in np.broadcast_arrays(root, side, carried, discounted, target))
        distance = np.log(f / d)
        goal_log = np.log(goal)
        low, high = np.full(len(left), MIN_VOL), np.full(len(left), MAX_VOL)
        # At this volatility the price turns from convex to concave; the steps are of log price, which is gentle far out.
        guess = np.clip(np.sqrt(2.0 * np.abs(distance)) / total, 0.01, 5.0)
        for _round in range(_IV_ROUNDS):
            scale = guess * total
            d1 = distance / scale + 0.5 * scale
            value = _value(f, d, scale, sign)
            under = value < goal
            low, high = np.where(under, guess, low), np.where(under, high, guess)
            slope = f * np.exp(-0.5 * d1 * d1) / _ROOT_TWO_PI * total
            # Newton on log price, bent by its second derivative (Halley).
            error = np.log(value) - goal_log
            first = slope / value
            second = d1 * (d1 - scale) / guess - first
            step = guess - error / first / np.maximum(1.0 - 0.5 * error * second / first, 0.5)
            inside = (step > low) & (step < high)
            following = np.where(inside, step, 0.5 * (low + high))
            # A step of Halley's leaves about the cube of its own relative length.
            open_ = np.abs(following - guess) > np.where(inside, _IV_LAST_STEP * guess, _IV_PRECISION)
            found.ravel()[left[~open_]] = following[~open_]
            if not open_.any():
                break
            left, total, sign, f, d, goal, goal_log, distance, low, high, guess = (
                x[open_] for x in (left, total, sign, f, d, goal, goal_log, distance, low, high, following)
            )
        else:
            found.ravel()[left] = guess
        return found


def _value(carried: Floats, discounted: Floats, scale: Floats, sign: Floats) -> Floats:
    """Black-Scholes of the carried spot and the discounted strike; `scale` is vol times the root of time."""
    d1 = np.log(carried / discounted) / scale + 0.5 * scale
    return np.asarray(sign * (carried * ndtr(sign * d1) - discounted * ndtr(sign * (d1 - scale))))


def _checked(
    spot: Input, strike: Input, years: Input, vol: Input, rate: Input, dividend: Input
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Broadcast floats; what must be positive and is not becomes NaN."""
    s, k, t, v, r, q = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (spot, strike, years, vol, rate, dividend))
    )
    s, k, t, v = (np.where(np.isfinite(x) & (x > 0.0), x, np.nan) for x in (s, k, t, v))
    return s, k, t, v, r, q
