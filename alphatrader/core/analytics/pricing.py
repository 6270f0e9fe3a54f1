"""What a chain's exposure is at a spot: priced exactly once a second and far from there, by series close to it. sources.md §4.

d1 of a contract is linear in the logarithm of the spot, so its gamma x spot and its delta have power series in it, and so have
their sums over strikes and expiries: a tick of the underlying costs a product of the few powers with the sums' coefficients, not
an exponential and a normal distribution a contract. The series is cut where what is left out is under the rounding of the sums
(`TERMS`); contracts too close to their expiry for that are always priced exactly.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy.special import ndtr

from alphatrader.core.analytics.exposure import CONTRACT_SHARES, Exposure, ExposureChain
from alphatrader.core.options.greeks import Floats, years_to_expiry

CHART_STRIKES: Final = 60
REACH: Final = 4e-4
"""How far, in the logarithm of the spot, a series is used: a quarter of a dollar of SPY."""
STEEPEST: Final = 100.0
"""Change of d1 a unit of that logarithm, 1 / (volatility x root of years), above which a contract is priced exactly: at a
volatility of 15 % in its last day and a half."""
TERMS: Final = 8
"""With REACH x STEEPEST = 0.04 the next term is at most 0.43 x 0.04^9 / sqrt(9!) = 2e-16 of a contract's weight, by Cramer's
bound of the Hermite functions."""
_ROOT_TWO_PI: Final = float(np.sqrt(2.0 * np.pi))


class Pricing:
    """A chain at one instant: d1 of a row is `slope` log(spot) + `offset`."""

    def __init__(self, chain: ExposureChain, now_ns: int, rate: float, today: str) -> None:
        """`today` is YYYYMMDD of the session."""
        self._chain = chain
        self._grid: list[float] = chain.grid.tolist()
        years = years_to_expiry(now_ns, chain.closes_ns)
        live = np.isfinite(years)
        self.rows = int(live.sum())
        self.expired = len(live) - self.rows
        held, alive = chain.held, live[chain.held]
        vols, sign = chain.vols[held], np.where(chain.call[held], 1.0, -1.0)
        left = np.where(alive, years[held], 1.0)
        width = vols * np.sqrt(left)
        shares = np.where(alive, chain.interest[held] * CONTRACT_SHARES, 0.0)
        # Of a put it is -d1 that is computed: its square is the same, and its delta is -N(-d1).
        self._slope = sign / width
        self._offset = sign * ((rate + 0.5 * vols * vols) * left - np.log(chain.strikes[held])) / width
        self._gamma_weights = sign * shares / (width * _ROOT_TWO_PI)
        self._delta_weights = sign * shares
        self._smooth = 2 * np.count_nonzero(np.abs(self._slope) > STEEPEST) <= len(held)
        """Whether series save anything."""
        self._today = [i for i, expiry in enumerate(chain.expiries) if expiry == today]
        self._base: tuple[float, Floats, Floats, Floats] | None = None
        """log(spot) that was priced exactly, and there of each row: d1, gamma x spot, delta x open interest."""
        self._series: _Series | None = None

    def at(self, spot: float) -> Exposure | None:
        """Exposure at this spot; None where no row is left to price."""
        return self._exposure(spot, *self._sums(math.log(spot))) if self.rows else None

    def _sums(self, log: float) -> tuple[Floats, Floats]:
        """Gamma x spot and delta, times open interest, of each group of the chain."""
        chain = self._chain
        if self._smooth and self._base is not None and abs(log - self._base[0]) <= REACH:
            if self._series is None:  # at the second spot: a chain that is priced once needs none
                self._series = _Series(chain, self._slope, self._offset, self._gamma_weights, self._delta_weights, self._base)
            return self._series.at(log)
        d1, gamma, delta = _priced(log, self._slope, self._offset, self._gamma_weights, self._delta_weights)
        self._base, self._series = (log, d1, gamma, delta), None
        return chain.groups @ gamma, chain.groups @ delta

    def _exposure(self, spot: float, gamma: Floats, delta: Floats) -> Exposure:
        chain, grid = self._chain, self._grid
        n, expiries = len(grid), len(chain.expiries)
        # Gamma x spot is density / width: of each sum only the spot is left to put in. Delta of a put and its sum are negative.
        one_pct, delta = gamma * (spot * 0.01), delta * spot
        calls, puts = one_pct[:n], one_pct[n : 2 * n]
        call_delta, put_delta = delta[:n], delta[n : 2 * n]
        per_expiry = (one_pct[2 * n : 2 * n + expiries] + one_pct[2 * n + expiries :]).tolist()
        delta_per_expiry = (delta[2 * n : 2 * n + expiries] + delta[2 * n + expiries :]).tolist()
        call_gamma, put_gamma = float(calls.sum()), float(puts.sum())
        bought, sold = float(call_delta.sum()), float(put_delta.sum())
        total = call_gamma + put_gamma
        near = _nearest(grid, spot)
        highest, lowest = (int(calls.argmax()), int(puts.argmin())) if n else (0, 0)
        return Exposure(
            spot=spot,
            rows=self.rows,
            gex_1pct=total,
            gex_1usd=total / (spot * 0.01),
            gross_1pct=call_gamma - put_gamma,
            zero_dte_1pct=math.fsum(per_expiry[i] for i in self._today),
            by_expiry=dict(zip(chain.expiries, per_expiry, strict=True)),
            strikes=tuple(grid[near]),
            call_by_strike=tuple(calls[near].tolist()),
            put_by_strike=tuple(puts[near].tolist()),
            call_wall=grid[highest] if n and calls[highest] > 0 else None,
            put_wall=grid[lowest] if n and puts[lowest] < 0 else None,
            dex_net=bought + sold,
            dex_dealer=bought - sold,
            dex_zero_dte=math.fsum(delta_per_expiry[i] for i in self._today),
            dex_by_expiry=dict(zip(chain.expiries, delta_per_expiry, strict=True)),
            dex_by_strike=tuple((call_delta[near] + put_delta[near]).tolist()),
            expired=self.expired,
        )


class _Series:
    """Power series of every group's sums around one spot, of the rows that are not too steep; those are priced exactly."""

    def __init__(
        self,
        chain: ExposureChain,
        slope: Floats,
        offset: Floats,
        gamma_weights: Floats,
        delta_weights: Floats,
        base: tuple[float, Floats, Floats, Floats],
    ) -> None:
        self._log, d1, gamma, delta = base
        steep = np.abs(slope) > STEEPEST
        self._steep = slope[steep], offset[steep], gamma_weights[steep], delta_weights[steep]
        groups = chain.groups.shape[0]
        where = chain.group[:, steep].ravel()
        self._where = np.concatenate((where, where + groups))
        # The density c exp(-(d + s x)^2 / 2) is its own series' a: (k + 1) a[k+1] = -(s d a[k] + s^2 a[k-1]).
        now, before = np.where(steep, 0.0, gamma), np.zeros(len(gamma))
        first, second = slope * d1, slope * slope
        rows = [chain.groups @ now]
        for k in range(1, TERMS + 1):
            before *= second
            before += first * now
            before *= -1.0 / k
            now, before = before, now
            rows.append(chain.groups @ now)
        # Delta's derivative is gamma x spot, which carries the sign of its side.
        n, expiries = len(chain.grid), len(chain.expiries)
        sides = np.repeat((1.0, -1.0, 1.0, -1.0), (n, n, expiries, expiries))
        self._powers = np.arange(TERMS + 2, dtype=np.float64)
        self._coefficients = np.zeros((TERMS + 2, 2 * groups))
        self._coefficients[:-1, :groups] = rows
        self._coefficients[0, groups:] = chain.groups @ np.where(steep, 0.0, delta)
        self._coefficients[1:, groups:] = self._coefficients[:-1, :groups] * sides / self._powers[1:, None]

    def at(self, log: float) -> tuple[Floats, Floats]:
        sums: Floats = np.power(log - self._log, self._powers) @ self._coefficients
        if len(self._where):
            _, gamma, delta = _priced(log, *self._steep)
            sums += np.bincount(self._where, np.concatenate((gamma, gamma, delta, delta)), len(sums))
        middle = len(sums) // 2
        return sums[:middle], sums[middle:]


def _priced(
    log: float, slope: Floats, offset: Floats, gamma_weights: Floats, delta_weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """Of each row: d1, gamma x spot and delta, both times open interest."""
    d1 = slope * log
    d1 += offset
    gamma = d1 * d1
    gamma *= -0.5
    np.exp(gamma, out=gamma)
    gamma *= gamma_weights
    delta = ndtr(d1)
    delta *= delta_weights
    return d1, gamma, delta


def _nearest(grid: list[float], spot: float) -> slice:
    """The strikes of the chart, an unbroken run: `CHART_STRIKES` nearest the spot, the lower one of two as near."""
    low, high = 0, max(0, len(grid) - CHART_STRIKES)
    while low < high:
        middle = (low + high) // 2
        if spot - grid[middle] > grid[middle + CHART_STRIKES] - spot:
            low = middle + 1
        else:
            high = middle
    return slice(low, low + CHART_STRIKES)


def measure(chain: ExposureChain, spot: float, now_ns: int, rate: float, today: str) -> Exposure | None:
    """Exposure at one spot and time; None where no row is left to price. `today` is YYYYMMDD of the session."""
    return Pricing(chain, now_ns, rate, today).at(spot)
