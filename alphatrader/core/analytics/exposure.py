"""Gamma and delta exposure of a chain: its columns and what they give. sources.md §4. The sums: pricing.py; the flip: flip.py.

Convention: dealers are long the calls and short the puts that customers hold: an assumption, so it is published with the number.
Greeks are recomputed here with the real time to expiry (floor one minute), each contract's implied volatility held fixed. Open
interest is yesterday's; today's positioning shows apart, as `zero_dte`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_array

from alphatrader.contract.messages.options import OptionRow
from alphatrader.core.options.greeks import Floats

CONVENTION: Final = "dealers long calls, short puts (assumed); + means dealers are long gamma"
CONTRACT_SHARES: Final = 100.0
MIN_VOL: Final = 0.01
MAX_VOL: Final = 5.0


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
    left_out: tuple[tuple[OptionRow, str], ...]
    """The same, each with its reason."""
    grid: Floats
    """The strikes there are, ascending."""
    held: Any
    """int array: the rows with open interest, which alone add to any sum."""
    group: Any
    """int array, 2 by held rows: a row's groups, of its strike and of its expiry. In order: calls by strike, puts by strike,
    calls by expiry, puts by expiry."""
    groups: Any
    """Sparse, (2 strikes + 2 expiries) by held rows: does it."""


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
    left_out: list[tuple[OptionRow, str]] = []
    for reason, wrong in (
        ("expiry is no session", ~known[expiry]),
        ("expired", closes <= now_ns),
        ("no usable implied volatility", ~((vols >= MIN_VOL) & (vols <= MAX_VOL))),
        ("strike or open interest out of range", ~(strikes > 0) | (interest < 0)),
        ("impossible greeks", (gammas < 0) | (np.abs(deltas) > 1)),
    ):
        left_out += [(rows[i], reason) for i in np.flatnonzero(good & wrong).tolist()]
        good &= ~wrong
    expiry = expiry[good]
    live = np.flatnonzero(np.bincount(expiry, minlength=len(expiries)))
    position = np.searchsorted(live, expiry)
    strikes, interest = strikes[good], interest[good]
    call = np.array([row.right == "C" for row in rows], dtype=bool)[good]
    grid, at_strike = np.unique(strikes, return_inverse=True)
    held = np.flatnonzero(interest > 0)
    by_strike = np.where(call, at_strike, len(grid) + at_strike)[held]
    by_expiry = (2 * len(grid) + position + np.where(call, 0, len(live)))[held]
    group = np.stack((by_strike, by_expiry))
    member = np.tile(np.arange(len(held)), 2)
    return ExposureChain(
        strikes=strikes,
        call=call,
        vols=vols[good],
        interest=interest,
        expiry=position,
        expiries=tuple(expiries[i] for i in live),
        closes_ns=closes[good],
        dropped=Counter(reason for _, reason in left_out),
        left_out=tuple(left_out),
        grid=grid,
        held=held,
        group=group,
        groups=csr_array((np.ones(group.size), (group.ravel(), member)), shape=(2 * (len(grid) + len(live)), len(held))),
    )
