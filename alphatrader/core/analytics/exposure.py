"""Gamma and delta exposure of a chain: totals, expiries, strikes, walls, and the true zero-gamma flip. domain.md §4.

Convention: dealers are long the calls and short the puts that customers hold: an assumption, so it is published with the number.
Greeks are recomputed here with the real time to expiry (floor one minute), each contract's implied volatility held fixed. Open
interest is yesterday's; today's positioning shows apart, as `zero_dte`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from alphatrader.contract.messages.options import OptionRow
from alphatrader.core.options.greeks import Floats, greeks, years_to_expiry

CONVENTION: Final = "dealers long calls, short puts (assumed); + means dealers are long gamma"
CONTRACT_SHARES: Final = 100.0
MIN_VOL: Final = 0.01
MAX_VOL: Final = 5.0
CHART_STRIKES: Final = 60
_GRID: Final = 81
_BLOCK: Final = 24
"""Trials computed at once on the way outwards: few enough to end early and to stay in the processor's cache."""
_FLIP_PRECISION: Final = 1e-9
_FAINT: Final = 1e-200
_CANCELLED: Final = 1e-13
"""Share of the gross gamma under which a net one is rounding: calls and puts that cancel have no flip wherever rounding turns."""


@dataclass(frozen=True)
class ExposureChain:
    """A chain as columns, only rows that can be priced. Made once a refresh; priced again whenever spot or time moves."""

    strikes: Floats
    call: Any
    """bool array."""
    vols: Floats
    interest: Floats
    expiry: Any
    """int array: index into `expiries`."""
    expiries: tuple[str, ...]
    closes_ns: Any
    """int64 array: each row's expiry close."""
    dropped: Mapping[str, int]
    """Rows left out, by reason."""


@dataclass(frozen=True)
class Exposure:
    """Dollars of delta. `gex_1pct`: to trade per 1 % move; `gex_1usd`: per $1 move."""

    spot: float
    rows: int
    gex_1pct: float
    gex_1usd: float
    gross_1pct: float
    zero_dte_1pct: float
    by_expiry: dict[str, float]
    strikes: tuple[float, ...]
    call_by_strike: tuple[float, ...]
    put_by_strike: tuple[float, ...]
    call_wall: float | None
    put_wall: float | None
    dex_net: float
    dex_dealer: float
    dex_zero_dte: float
    dex_by_expiry: dict[str, float]
    """Net, as `dex_net`."""
    dex_by_strike: tuple[float, ...]
    """Net, at `strikes`."""
    expired: int


def prepare(rows: Sequence[OptionRow], closes_ns: Mapping[str, int], now_ns: int) -> ExposureChain:
    """Columns of the rows that can be priced. `closes_ns`: expiry -> market instant its session closes; absent: no session."""
    expiries = sorted({row.expiry for row in rows})
    index = {expiry: i for i, expiry in enumerate(expiries)}
    expiry = np.array([index[row.expiry] for row in rows], dtype=np.int64)
    known = np.array([name in closes_ns for name in expiries], dtype=bool)
    close_of = np.array([closes_ns.get(name, 0) for name in expiries], dtype=np.int64)
    closes = close_of[expiry]
    # None becomes NaN here, which is in no range.
    vols = np.array([row.implied_vol for row in rows], dtype=np.float64)
    strikes = np.array([row.strike for row in rows], dtype=np.float64)
    interest = np.array([row.open_interest for row in rows], dtype=np.float64)
    gammas = np.array([row.gamma for row in rows], dtype=np.float64)
    deltas = np.array([row.delta for row in rows], dtype=np.float64)
    good = np.ones(len(rows), dtype=bool)
    dropped: dict[str, int] = {}
    for reason, wrong in (
        ("expiry is no session", ~known[expiry]),
        ("expired", closes <= now_ns),
        ("no usable implied volatility", ~((vols >= MIN_VOL) & (vols <= MAX_VOL))),
        ("strike or open interest out of range", ~(strikes > 0) | (interest < 0)),
        ("impossible greeks", (gammas < 0) | (np.abs(deltas) > 1)),
    ):
        if n := int(np.count_nonzero(good & wrong)):
            dropped[reason] = n
            good &= ~wrong
    live, position = np.unique(expiry[good], return_inverse=True)
    return ExposureChain(
        strikes=strikes[good],
        call=np.array([row.right == "C" for row in rows], dtype=bool)[good],
        vols=vols[good],
        interest=interest[good],
        expiry=position,
        expiries=tuple(expiries[i] for i in live),
        closes_ns=closes[good],
        dropped=dropped,
    )


def measure(chain: ExposureChain, spot: float, now_ns: int, rate: float, today: str) -> Exposure | None:
    """Exposure at this spot and time; None where no row is left to price. `today` is YYYYMMDD of the session."""
    years = years_to_expiry(now_ns, chain.closes_ns)
    live = np.isfinite(years)
    if not live.any():
        return None
    g = greeks(spot, chain.strikes, years, chain.vols, chain.call, rate)
    shares = chain.interest * CONTRACT_SHARES
    sign = np.where(chain.call, 1.0, -1.0)
    gamma_usd = np.where(live, sign * g.gamma * shares * spot, 0.0)
    one_pct = gamma_usd * spot * 0.01
    net_delta = np.where(live, g.delta * shares * spot, 0.0)
    zero_dte = np.array([expiry == today for expiry in chain.expiries], dtype=bool)[chain.expiry]
    per_expiry = np.bincount(chain.expiry, one_pct, len(chain.expiries))
    strikes, position = np.unique(chain.strikes, return_inverse=True)
    calls = np.bincount(position[chain.call], one_pct[chain.call], len(strikes))
    puts = np.bincount(position[~chain.call], one_pct[~chain.call], len(strikes))
    deltas = np.bincount(position, net_delta, len(strikes))
    delta_per_expiry = np.bincount(chain.expiry, net_delta, len(chain.expiries))
    near = np.sort(np.argsort(np.abs(strikes - spot), kind="stable")[:CHART_STRIKES])
    return Exposure(
        spot=spot,
        rows=int(live.sum()),
        gex_1pct=float(one_pct.sum()),
        gex_1usd=float(gamma_usd.sum()),
        gross_1pct=float(np.abs(one_pct).sum()),
        zero_dte_1pct=float(one_pct[zero_dte].sum()),
        by_expiry={expiry: float(value) for expiry, value in zip(chain.expiries, per_expiry, strict=True)},
        strikes=tuple(strikes[near].tolist()),
        call_by_strike=tuple(calls[near].tolist()),
        put_by_strike=tuple(puts[near].tolist()),
        call_wall=float(strikes[np.argmax(calls)]) if calls.max(initial=0.0) > 0 else None,
        put_wall=float(strikes[np.argmin(puts)]) if puts.min(initial=0.0) < 0 else None,
        dex_net=float(net_delta.sum()),
        dex_dealer=float((sign * net_delta).sum()),
        dex_zero_dte=float(net_delta[zero_dte].sum()),
        dex_by_expiry={expiry: float(value) for expiry, value in zip(chain.expiries, delta_per_expiry, strict=True)},
        dex_by_strike=tuple(deltas[near].tolist()),
        expired=int((~live).sum()),
    )


def zero_gamma_flip(chain: ExposureChain, spot: float, now_ns: int, rate: float, share: float) -> float | None:
    """The spot nearest to `spot` within ±`share` at which the chain's gamma exposure changes sign; None where it does not.

    Gamma is recomputed at every trial spot with each contract's volatility fixed. The scan steps on the strikes and between them
    as well as evenly, so that the narrow humps of an expiry day are not stepped over. It goes outwards from `spot`, and ends with
    the first sign change that nothing farther out can be nearer than."""
    years = years_to_expiry(now_ns, chain.closes_ns)
    use = np.isfinite(years) & (chain.interest > 0)
    if not use.any():
        return None
    strikes, years, vols = chain.strikes[use], years[use], chain.vols[use]
    width = vols * np.sqrt(years)
    # d1 of a spot x is log(x) / width + offset; what is common to all contracts is left out of gamma: only its sign is asked for.
    slope, offset = 1.0 / width, (rate + 0.5 * vols * vols) * years / width - np.log(strikes) / width
    gross = chain.interest[use] / width
    weights = np.column_stack((np.where(chain.call[use], gross, -gross), gross))

    def total(trials: Floats) -> Floats:
        """Net gamma at each trial but for a positive factor; exactly 0 where calls and puts cancel to rounding."""
        exponent = np.multiply.outer(np.log(trials), slope)
        exponent += offset
        np.multiply(exponent, exponent, out=exponent)
        exponent *= -0.5
        sums = np.exp(exponent) @ weights
        faint = np.flatnonzero(sums[:, 1] < _FAINT)
        if faint.size:  # minutes before the close gamma between two strikes underflows, its sign does not
            exponent = exponent[faint]
            exponent -= exponent.max(axis=1, keepdims=True)
            sums[faint] = np.exp(exponent) @ weights
        return np.asarray(np.where(np.abs(sums[:, 0]) > _CANCELLED * sums[:, 1], sums[:, 0], 0.0))

    low, high = spot * (1 - share), spot * (1 + share)
    near = np.unique(strikes[(strikes > low) & (strikes < high)])
    trials = np.unique(np.concatenate((np.linspace(low, high, _GRID), [spot], near, (near[1:] + near[:-1]) / 2)))
    away = np.sort(np.abs(trials - spot))
    first = last = int(np.searchsorted(trials, spot))
    """The trials [first, last) have been tried."""
    values = np.empty(0)
    while first > 0 or last < len(trials):
        reach = away[min(last - first + _BLOCK, len(away)) - 1]
        begin = min(first, int(np.searchsorted(trials, spot - reach)))
        end = max(last, int(np.searchsorted(trials, spot + reach, side="right")))
        if (begin, end) == (first, last):  # what is left is a rounding error farther out than the edge
            begin, end = 0, len(trials)
        values = np.concatenate((total(trials[begin:first]), values, total(trials[last:end])))
        first, last = begin, end
        found = _sign_changes(trials[first:last], values, total)
        if not found.size:
            continue
        nearest = float(found[np.argmin(np.abs(found - spot))])
        below = spot - trials[first] if first > 0 else np.inf
        above = trials[last - 1] - spot if last < len(trials) else np.inf
        if abs(nearest - spot) <= min(below, above):
            return nearest
    return None


def _sign_changes(trials: Floats, values: Floats, total: Callable[[Floats], Floats]) -> Floats:
    """Where `total` passes from one sign to the other. Touching zero, or being zero everywhere, is no change of sign."""
    signed = np.flatnonzero(values)
    trials, values = trials[signed], values[signed]
    turns = np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0)
    if not turns.size:
        return np.empty(0)
    left, right, at_left, at_right = trials[turns], trials[turns + 1], values[turns], values[turns + 1]
    left_sign = np.sign(at_left)
    # ITP: as quick as the secant where it may be, never more than one trial slower than halving.
    # Oliveira and Takahashi, ACM Trans. Math. Softw. 47:1 (2020), with their kappa_1 = 0.2 / width, kappa_2 = 2, n_0 = 1.
    first, least = right - left, _FLIP_PRECISION * left / 2
    longest = least * 2.0 ** (np.ceil(np.log2(first / (2 * least))) + 1)
    while (wide := right - left > 2 * least).any():
        middle = (left + right) / 2
        secant = (at_right * left - at_left * right) / (at_right - at_left)
        towards = np.sign(middle - secant)
        inwards = 0.2 / first * (right - left) ** 2
        nudged = np.where(inwards <= np.abs(middle - secant), secant + towards * inwards, middle)
        reach = np.maximum(longest - (right - left) / 2, 0.0)
        trial = np.where(np.abs(nudged - middle) <= reach, nudged, middle - towards * reach)
        trial = np.where(wide, trial, middle)
        value = total(trial)
        same = np.sign(value) == left_sign
        left, at_left = np.where(same, trial, left), np.where(same, value, at_left)
        right, at_right = np.where(same, right, trial), np.where(same, at_right, value)
        longest = longest / 2
    return np.asarray((left + right) / 2)
