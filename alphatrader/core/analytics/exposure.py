"""Gamma and delta exposure of a chain: totals, expiries, strikes, walls. domain.md §4. The zero-gamma flip: flip.py.

Convention: dealers are long the calls and short the puts that customers hold: an assumption, so it is published with the number.
Greeks are recomputed here with the real time to expiry (floor one minute), each contract's implied volatility held fixed. Open
interest is yesterday's; today's positioning shows apart, as `zero_dte`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array
from scipy.special import ndtr

from alphatrader.contract.messages.options import OptionRow
from alphatrader.core.options.greeks import Floats, years_to_expiry

CONVENTION: Final = "dealers long calls, short puts (assumed); + means dealers are long gamma"
CONTRACT_SHARES: Final = 100.0
MIN_VOL: Final = 0.01
MAX_VOL: Final = 5.0
CHART_STRIKES: Final = 60
_ROOT_TWO_PI: Final = float(np.sqrt(2.0 * np.pi))


@dataclass(frozen=True)
class ExposureChain:
    """A chain as columns, only rows that can be priced. Made once a refresh."""

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
    grid: Floats
    """The strikes there are, ascending."""
    held: Any
    """int array: the rows with open interest, which alone add to any sum."""
    groups: Any
    """Sparse, (2 strikes + expiries) by held rows: sums a row's value to its strike's calls or puts, and to its expiry."""


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
    named = [row.expiry for row in rows]
    expiries = sorted(set(named))
    index = {expiry: i for i, expiry in enumerate(expiries)}
    expiry = np.fromiter(map(index.__getitem__, named), np.int64, len(named))
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
    expiry = expiry[good]
    live = np.flatnonzero(np.bincount(expiry, minlength=len(expiries)))
    position = np.searchsorted(live, expiry)
    strikes, interest = strikes[good], interest[good]
    call = np.array([row.right == "C" for row in rows], dtype=bool)[good]
    grid, at_strike = np.unique(strikes, return_inverse=True)
    held = np.flatnonzero(interest > 0)
    side = np.where(call, at_strike, len(grid) + at_strike)[held]
    group = np.concatenate((side, 2 * len(grid) + position[held]))
    member = np.tile(np.arange(len(held)), 2)
    return ExposureChain(
        strikes=strikes,
        call=call,
        vols=vols[good],
        interest=interest,
        expiry=position,
        expiries=tuple(expiries[i] for i in live),
        closes_ns=closes[good],
        dropped=dropped,
        grid=grid,
        held=held,
        groups=csr_array((np.ones(len(group)), (group, member)), shape=(2 * len(grid) + len(live), len(held))),
    )


class Pricing:
    """A chain at one instant, with all computed that the spot does not change: d1 of a row is `slope` log(spot) + `offset`.

    What one spot costs is one exp and one normal distribution a row."""

    def __init__(self, chain: ExposureChain, now_ns: int, rate: float, today: str) -> None:
        """`today` is YYYYMMDD of the session."""
        self._chain = chain
        years = years_to_expiry(now_ns, chain.closes_ns)
        live = np.isfinite(years)
        self.rows = int(live.sum())
        self.expired = len(live) - self.rows
        self.until_ns = int(chain.closes_ns[live].min()) if self.rows else now_ns
        """An expiry closes then: its rows have no price any more."""
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
        self._today = [i for i, expiry in enumerate(chain.expiries) if expiry == today]

    def at(self, spot: float) -> Exposure | None:
        """Exposure at this spot; None where no row is left to price."""
        if not self.rows:
            return None
        chain, n = self._chain, len(self._chain.grid)
        d1 = self._slope * np.log(spot)
        d1 += self._offset
        density = d1 * d1
        density *= -0.5
        np.exp(density, out=density)
        density *= self._gamma_weights
        below = ndtr(d1)
        below *= self._delta_weights
        # Gamma x spot is density / width: of each sum only the spot is left to put in. Delta of a put and its sum are negative.
        one_pct, delta = (chain.groups @ density) * (spot * 0.01), (chain.groups @ below) * spot
        calls, puts, per_expiry = one_pct[:n], one_pct[n : 2 * n], one_pct[2 * n :]
        call_delta, put_delta, delta_per_expiry = delta[:n], delta[n : 2 * n], delta[2 * n :]
        total, bought, sold = float(per_expiry.sum()), float(call_delta.sum()), float(put_delta.sum())
        near = _nearest(chain.grid, spot)
        return Exposure(
            spot=spot,
            rows=self.rows,
            gex_1pct=total,
            gex_1usd=total / (spot * 0.01),
            gross_1pct=float(calls.sum() - puts.sum()),
            zero_dte_1pct=float(per_expiry[self._today].sum()),
            by_expiry=dict(zip(chain.expiries, per_expiry.tolist(), strict=True)),
            strikes=tuple(chain.grid[near].tolist()),
            call_by_strike=tuple(calls[near].tolist()),
            put_by_strike=tuple(puts[near].tolist()),
            call_wall=float(chain.grid[np.argmax(calls)]) if calls.max(initial=0.0) > 0 else None,
            put_wall=float(chain.grid[np.argmin(puts)]) if puts.min(initial=0.0) < 0 else None,
            dex_net=bought + sold,
            dex_dealer=bought - sold,
            dex_zero_dte=float(delta_per_expiry[self._today].sum()),
            dex_by_expiry=dict(zip(chain.expiries, delta_per_expiry.tolist(), strict=True)),
            dex_by_strike=tuple((call_delta[near] + put_delta[near]).tolist()),
            expired=self.expired,
        )


def _nearest(grid: Floats, spot: float) -> slice:
    """The strikes of the chart, an unbroken run: `CHART_STRIKES` nearest the spot, the lower one of two as near."""
    low, high = 0, len(grid)
    first = int(np.searchsorted(grid, spot))
    low, high = max(low, first - CHART_STRIKES), min(high, first + CHART_STRIKES)
    while high - low > CHART_STRIKES:
        if spot - grid[low] > grid[high - 1] - spot:
            low += 1
        else:
            high -= 1
    return slice(low, high)


def measure(chain: ExposureChain, spot: float, now_ns: int, rate: float, today: str) -> Exposure | None:
    """Exposure at one spot and time; None where no row is left to price. `today` is YYYYMMDD of the session."""
    return Pricing(chain, now_ns, rate, today).at(spot)
