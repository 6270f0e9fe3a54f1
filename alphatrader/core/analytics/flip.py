"""The zero-gamma flip: the spot at which a chain's gamma exposure, computed anew there, changes its sign. sources.md §4.

It is not the strike where the running sum over strikes crosses zero. Gamma is recomputed at every trial spot with each contract's
volatility fixed. The scan steps evenly, and where a contract's gamma is a hump narrower than such steps can see, as on an expiry
day, in steps of half the narrowest, on each strike and halfway to the next: two crossings may lie between two strikes. It goes
outwards from the spot, and ends with the first sign change that nothing farther out can be nearer than.
On a large chain that is dear: `FlipSearch` takes it in steps, so that it never stands before market data for long.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from alphatrader.core.analytics.exposure import ExposureChain
from alphatrader.core.options.greeks import Floats, years_to_expiry

_GRID: Final = 81
_NARROW: Final = 2.0
"""Even steps that a hump's standard deviation must span: wider ones, and sums of them, do not turn twice within one step."""
_MOST: Final = 2000
"""Steps where a hump is narrower: half the narrowest standard deviation each, at a volatility of 0.15 to the last minute."""
_BLOCK: Final = 24
"""Trials computed at once on the way outwards: few enough to end early and to stay in the processor's cache."""
_PRECISION: Final = 1e-9
_FAINT: Final = 1e-200
_SINGLE: Final = np.float32
_DOUBTFUL: Final = 1e-3
"""Share of the gross gamma under which the sign of a net one is not taken from single precision. Its error in d1 is some 1e-7 of
d1, which is under 14 where anything is left of gamma: 1e-4 of the gross gamma at the worst."""
_LEAST_EXPONENT: Final = -80.0
"""Held there, a single keeps all its bits and sums cost no more; what is less is nothing beside what is not doubtful."""
_CANCELLED: Final = 1e-13
"""Share of the gross gamma under which a net one is rounding: calls and puts that cancel have no flip wherever rounding turns."""


class FlipSearch:
    """One search, around `spot` at `now_ns`. `done` when `flip` is its answer."""

    def __init__(self, chain: ExposureChain, spot: float, now_ns: int, rate: float, share: float) -> None:
        self.spot, self.now_ns = spot, now_ns
        self.flip: float | None = None
        """The flip nearest to `spot` within ±`share` of it; None where there is none."""
        years = years_to_expiry(now_ns, chain.closes_ns)
        use = np.isfinite(years) & (chain.interest > 0)
        self.done = not use.any()
        self.rows = int(use.sum())
        strikes, years, vols = chain.strikes[use], years[use], chain.vols[use]
        width = vols * np.sqrt(years)
        # d1 of a spot x is log(x) / width + offset; what is common to all contracts is left out of gamma: only its sign is asked.
        self._slope, self._offset = 1.0 / width, (rate + 0.5 * vols * vols) * years / width - np.log(strikes) / width
        gross = chain.interest[use] / width
        self._weights = np.column_stack((np.where(chain.call[use], gross, -gross), gross))
        self._single = (
            self._slope.astype(_SINGLE),
            (self._offset + self._slope * np.log(spot)).astype(_SINGLE),  # d1 at `spot`: small numbers lose less
            self._weights.astype(_SINGLE),
        )
        self._hidden = float(gross.sum()) * np.exp(_LEAST_EXPONENT) / _DOUBTFUL
        """Gross gamma that what single precision leaves out could be a doubtful share of."""
        low, high = spot * (1 - share), spot * (1 + share)
        narrow = width < _NARROW * 2 * share / (_GRID - 1)
        near = np.unique(strikes[narrow & (strikes > low) & (strikes < high)])
        steps = min(int(4 * share / width[narrow].min()), _MOST) if near.size else 0
        fine = np.concatenate((near, (near[1:] + near[:-1]) / 2, np.linspace(low, high, steps + 1)))
        self._trials = np.unique(np.concatenate((np.linspace(low, high, _GRID), [spot], fine)))
        self._away = np.sort(np.abs(self._trials - spot))
        self._first = self._last = int(np.searchsorted(self._trials, spot))
        """The trials [first, last) have been tried."""
        self._values = np.empty(0)

    def step(self) -> None:
        """A block of trials farther outwards, and where the sign changes in it."""
        trials, spot = self._trials, self.spot
        reach = self._away[min(self._last - self._first + _BLOCK, len(self._away)) - 1]
        begin = min(self._first, int(np.searchsorted(trials, spot - reach)))
        end = max(self._last, int(np.searchsorted(trials, spot + reach, side="right")))
        if (begin, end) == (self._first, self._last):  # what is left is a rounding error farther out than the edge
            begin, end = 0, len(trials)
        lower, upper = self._scanned(trials[begin : self._first]), self._scanned(trials[self._last : end])
        self._values = np.concatenate((lower, self._values, upper))
        self._first, self._last = begin, end
        left, right, at_left, at_right = self._turns()
        if left.size:
            below = spot - trials[begin] if begin > 0 else np.inf
            above = trials[end - 1] - spot if end < len(trials) else np.inf
            found = self._refined(left, right, at_left, at_right)
            nearest = float(found[np.argmin(np.abs(found - spot))])
            if abs(nearest - spot) <= min(below, above):
                self.flip, self.done = nearest, True
        self.done = self.done or (begin == 0 and end == len(trials))

    def _scanned(self, trials: Floats) -> Floats:
        """`_total`, but where the sign is beyond doubt its value in single precision, for a third of the time."""
        slope, offset, weights = self._single
        exponent = np.multiply.outer(np.log(trials / self.spot).astype(_SINGLE), slope)
        exponent += offset
        np.multiply(exponent, exponent, out=exponent)
        exponent *= _SINGLE(-0.5)
        np.maximum(exponent, _SINGLE(_LEAST_EXPONENT), out=exponent)
        np.exp(exponent, out=exponent)
        sums = (exponent @ weights).astype(np.float64)
        net, gross = sums[:, 0], sums[:, 1]
        doubtful = np.flatnonzero((np.abs(net) <= _DOUBTFUL * gross) | (gross <= self._hidden))
        net[doubtful] = self._total(trials[doubtful])
        return net

    def _total(self, trials: Floats) -> Floats:
        """Net gamma at each trial but for a positive factor; exactly 0 where calls and puts cancel to rounding."""
        exponent = np.multiply.outer(np.log(trials), self._slope)
        exponent += self._offset
        np.multiply(exponent, exponent, out=exponent)
        exponent *= -0.5
        sums = np.exp(exponent) @ self._weights
        faint = np.flatnonzero(sums[:, 1] < _FAINT)
        if faint.size:  # minutes before the close gamma between two strikes underflows, its sign does not
            exponent = exponent[faint]
            exponent -= exponent.max(axis=1, keepdims=True)
            sums[faint] = np.exp(exponent) @ self._weights
        return np.asarray(np.where(np.abs(sums[:, 0]) > _CANCELLED * sums[:, 1], sums[:, 0], 0.0))

    def _turns(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Brackets (left, right) of what was tried in which the sign changes, and the values at both. Touching zero, or being
        zero everywhere, is no change."""
        signed = np.flatnonzero(self._values)
        trials, values = self._trials[self._first : self._last][signed], self._values[signed]
        turns = np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) < 0)
        return trials[turns], trials[turns + 1], values[turns], values[turns + 1]

    def _refined(self, left: Floats, right: Floats, at_left: Floats, at_right: Floats) -> Floats:
        """The crossings, to _PRECISION of themselves, of those brackets that can hold the nearest.

        ITP: as quick as the secant where it may be, never more than one trial slower than halving. Oliveira and Takahashi, ACM
        Trans. Math. Softw. 47:1 (2020), with their kappa_1 = 0.2 / width, kappa_2 = 2, n_0 = 1."""
        nearer, farther = _distances(left, right, self.spot)
        may = nearer <= farther.min()
        left, right, at_left, at_right = left[may], right[may], at_left[may], at_right[may]
        left_sign = np.sign(at_left)
        first, least = right - left, _PRECISION * left / 2
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
            value = self._total(trial)
            same = np.sign(value) == left_sign
            left, at_left = np.where(same, trial, left), np.where(same, value, at_left)
            right, at_right = np.where(same, right, trial), np.where(same, at_right, value)
            longest = longest / 2
        return np.asarray((left + right) / 2)


def _distances(left: Floats, right: Floats, spot: float) -> tuple[Floats, Floats]:
    """Least and most distance from `spot` of anything in each bracket."""
    ends = np.abs(np.stack((left, right)) - spot)
    inside = (left <= spot) & (spot <= right)
    return np.where(inside, 0.0, ends.min(axis=0)), ends.max(axis=0)


def zero_gamma_flip(chain: ExposureChain, spot: float, now_ns: int, rate: float, share: float) -> float | None:
    """The whole search at once."""
    search = FlipSearch(chain, spot, now_ns, rate, share)
    while not search.done:
        search.step()
    return search.flip
