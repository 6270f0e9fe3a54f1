"""Implied volatility of whole chains: vectorised, to an error of 1e-10 where the price determines it, NaN where it does not.

The price is normalised to its out-of-the-money side (Jaeckel): x = -|ln(F/K)|, s = vol sqrt(T), b = price / (D sqrt(F K)), with

    b(s) = exp(-(h^2 + t^2) / 2) / 2 (erfcx(-(h + t) / sqrt 2) - erfcx(-(h - t) / sqrt 2)),   h = x / s, t = s / 2,

which neither underflows nor cancels far out. A closed guess (Polya's N) and two Householder steps of order four on
(-ln b)^(-1/2), which is almost straight in s, settle nearly everything without a mask; what they do not settle is bracketed.
Sources: Jaeckel, Let's Be Rational (2015); Stefanica and Radoicic, An explicit implied volatility formula (2017).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx

Floats = npt.NDArray[np.float64]
Input = npt.ArrayLike

MIN_VOL: Final = 1e-4
MAX_VOL: Final = 10.0
WELL_POSED: Final = 1e-10
"""A volatility that the rounding of its own price moves by more than this is not determined: NaN."""
_ROUNDING: Final = 2.0 * float(np.finfo(np.float64).eps)
_LEAST_PRICE: Final = 1e-200
"""Relative to the bound: nearer to nothing doubles lose their bits."""
_BLOCK: Final = 2_048
"""Contracts at once: the dozen working columns stay in the second-level cache."""
_ROOT_HALF: Final = float(np.sqrt(0.5))
_ROOT_HALF_PI: Final = float(np.sqrt(np.pi / 2.0))
_SETTLED: Final = 3e-3
"""Relative length of a fourth-order step that leaves less than the precision of a double."""
_ROUNDS: Final = 200


class _Normal(NamedTuple):
    """A block of contracts by their out-of-the-money side. One-dimensional."""

    x: Floats
    log_inverse: Floats
    """-ln b of the price given: positive."""
    root_years: Floats


def implied_vol(
    option_price: Input, spot: Input, strike: Input, years: Input, call: Input, rate: Input = 0.0, dividend: Input = 0.0
) -> Floats:
    """The volatility between 0.0001 and 10 that gives each price; every argument broadcasts. NaN, only in its own place, where:

    the price is at or under its intrinsic value, at or over its bound, no number; another input is not positive; or vega is so
    small that the last bits of the price would move the volatility by more than 1e-10 (far in the money, near the bound)."""
    arrays = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (option_price, spot, strike, years, rate, dividend)),
        np.asarray(call, dtype=np.bool_),
    )
    shape, columns = arrays[0].shape, [array.ravel() for array in arrays]
    found = np.empty(arrays[0].size)
    with np.errstate(all="ignore"):
        for start in range(0, len(found), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = _block(*(column[part] for column in columns))
    return found.reshape(shape)


def _block(p: Floats, s: Floats, k: Floats, t: Floats, r: Floats, q: Floats, call: npt.NDArray[np.bool_]) -> Floats:
    carried, discounted = s * np.exp(-q * t), k * np.exp(-r * t)
    intrinsic = np.where(call, carried - discounted, discounted - carried)
    deep = intrinsic > 0.0
    target = np.where(deep, p - intrinsic, p)
    moneyness = np.log(carried / discounted)
    x = -np.abs(moneyness)
    least, most = np.minimum(carried, discounted), np.maximum(carried, discounted)
    root_years = np.sqrt(t)
    # NaN compares false, so that every bad input ends here.
    usable = (target > _LEAST_PRICE * least) & (target < least) & (t > 0.0) & (s > 0.0) & np.isfinite(x)
    normal = _Normal(x, -np.log(target / np.sqrt(carried * discounted)), root_years)
    total, _ = _step(_guess(target / most, x), normal)
    total, length = _step(total, normal)
    odd = usable & ~(np.abs(length) <= _SETTLED * total)
    if odd.any():
        where = np.flatnonzero(odd)
        total[where] = _bracketed(_Normal(*(column[where] for column in normal)))
    vol = total / root_years
    # What the rounding of the price does to the volatility: price / vega times the size of the terms the price is made of.
    ratio, out_term = _ratio(x, total)
    shift = _ROUNDING * (out_term + np.where(deep, ratio * most / target, 0.0)) / root_years
    # An end of the bracket is where the search stopped, not a root.
    good = usable & (shift <= WELL_POSED) & (vol > MIN_VOL * (1.0 + WELL_POSED)) & (vol < MAX_VOL * (1.0 - WELL_POSED))
    return np.where(good, vol, np.nan)


def _guess(alpha: Floats, x: Floats) -> Floats:
    """Stefanica and Radoicic for a call out of the money, alpha = price / discounted strike; a few per cent off."""
    e = np.exp(x)
    a = np.exp((2.0 / np.pi) * x)
    back = a / e  # exp(-(1 - 2/pi) x)
    forth = 1.0 / back
    r = 2.0 * alpha + 1.0 - e
    first = (forth - back) ** 2
    second = 4.0 * (a + 1.0 / a) - 2.0 * (forth + back) * (e * e + 1.0 - r * r) / e
    third = 4.0 * alpha * (alpha + 1.0 - e) * ((e + 1.0) ** 2 - r * r) / (e * e)
    gamma = -(np.pi / 2.0) * np.log(2.0 * third / (second + np.sqrt(second * second + 4.0 * first * third)))
    high, low = np.sqrt(gamma - x), np.sqrt(np.maximum(gamma + x, 0.0))
    # Polya's price at the volatility where d1 is nothing parts the two roots.
    parting = 0.5 * e - 0.5 + 0.5 * np.sqrt(1.0 - np.exp((4.0 / np.pi) * x))
    return np.asarray(np.where(alpha <= parting, -2.0 * x / (high + low), high + low))


def _ratio(x: Floats, total: Floats) -> tuple[Floats, Floats]:
    """b / b' and its first, larger term: N(d1) over the density."""
    h, t = x / total, 0.5 * total
    larger = erfcx(-_ROOT_HALF * (h + t))
    return _ROOT_HALF_PI * (larger - erfcx(_ROOT_HALF * (t - h))), _ROOT_HALF_PI * larger


def _step(total: Floats, normal: _Normal) -> tuple[Floats, Floats]:
    """One step of order four on f = (-ln b)^(-1/2): the derivatives of b over b' are rational in x and s.

    Also the length of Newton's plain step: how far off it was. A long step's higher terms may cancel it until it looks short."""
    x, wanted, _ = normal
    h, t = x / total, 0.5 * total
    difference = erfcx(-_ROOT_HALF * (h + t)) - erfcx(_ROOT_HALF * (t - h))
    have = 0.5 * (h * h + t * t) - np.log(0.5 * difference)
    ratio = _ROOT_HALF_PI * difference
    newton = 2.0 * have * ratio * (np.sqrt(have / wanted) - 1.0)
    second_b = h * h / total - 0.25 * total
    third_b = second_b * second_b - 3.0 * (h / total) ** 2 - 0.25
    bend, inverse = 1.5 / have - 1.0, 1.0 / ratio
    second = bend * inverse + second_b
    third = (bend * (bend - 1.0) + 1.5 / (have * have)) * inverse * inverse + 3.0 * bend * inverse * second_b + third_b
    step = newton * (1.0 + 0.5 * second * newton) / (1.0 + newton * (second + third * newton / 6.0))
    return total + step, newton


def _bracketed(normal: _Normal) -> Floats:
    """The same steps inside a bracket that halves where a step leaves it: slow and certain, for the few that need it."""
    low, high = MIN_VOL * normal.root_years, MAX_VOL * normal.root_years
    total = np.clip(np.sqrt(-2.0 * normal.x), low, high)
    for _round in range(_ROUNDS):
        h, t = normal.x / total, 0.5 * total
        have = 0.5 * (h * h + t * t) - np.log(0.5 * (erfcx(-_ROOT_HALF * (h + t)) - erfcx(_ROOT_HALF * (t - h))))
        under = have > normal.log_inverse
        low, high = np.where(under, total, low), np.where(under, high, total)
        stepped, length = _step(total, normal)
        inside = (stepped > low) & (stepped < high)
        total = np.where(inside, stepped, 0.5 * (low + high))
        if np.all((inside & (np.abs(length) <= 1e-6 * total)) | (high - low <= 1e-15 * total)):
            break
    return total
