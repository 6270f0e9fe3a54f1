"""Which contract: |delta| near the target, a narrow spread, open interest or volume. sources.md §6.

The chain only chooses; it never prices. Delta is recomputed from the chain's own mid with the real time to expiry, because the
vendor's is of whole days. Prepared once a chain, asked as spot moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.settings.trading import Signals
from alphatrader.core.options.greeks import Floats, delta, years_to_expiry
from alphatrader.core.options.implied_vol import implied_vol

INCUMBENT_DELTA = 0.05
"""A candidate that is already quoted is kept until another stands this much nearer the target: subscriptions cost."""


@dataclass(frozen=True)
class Side:
    """The rows of one expiry and right that pass what does not depend on spot."""

    rows: tuple[OptionRow, ...]
    strikes: Floats
    vols: Floats
    spread_share: Floats
    close_ns: int


@dataclass(frozen=True)
class Candidate:
    contract: OptionRef
    delta: float
    spread_share: float


def listed(chain: Chain) -> tuple[str, ...]:
    return tuple(sorted({row.expiry for row in chain.rows}))


def prepare(
    chain: Chain, expiry: str, right: str, close_ns: int, spot: float, now_ns: int, rate: float, settings: Signals
) -> Side:
    """The tradable rows of one expiry and right, with the volatilities their mids imply."""
    rows = [row for row in chain.rows if row.expiry == expiry and row.right == right and _tradable(row, settings)]
    mids = np.array([((row.bid or 0.0) + (row.ask or 0.0)) / 2 for row in rows], dtype=float)
    spreads = np.array([(row.ask or 0.0) - (row.bid or 0.0) for row in rows], dtype=float)
    strikes = np.array([row.strike for row in rows], dtype=float)
    years = years_to_expiry(now_ns, close_ns)
    vols = np.asarray(implied_vol(mids, spot, strikes, years, right == "C", rate)) if rows else np.empty(0)
    known = np.isfinite(vols)
    kept = tuple(row for row, good in zip(rows, known, strict=True) if good)
    return Side(kept, strikes[known], vols[known], (spreads / mids)[known] if rows else spreads, close_ns)


def _tradable(row: OptionRow, settings: Signals) -> bool:
    if row.bid is None or row.ask is None or not 0 < row.bid < row.ask:
        return False
    spread, mid = row.ask - row.bid, (row.bid + row.ask) / 2
    narrow = spread <= settings.max_spread_usd + 1e-9 or spread <= settings.max_spread_share * mid
    return narrow and (row.open_interest >= settings.min_open_interest or row.volume >= settings.min_volume)


def select(
    side: Side, symbol: str, right: str, spot: float, now_ns: int, rate: float, settings: Signals, incumbent: OptionRef | None
) -> Candidate | None:
    """The row nearest the target delta within its bounds; on a tie the tighter spread. None where none is within."""
    if not side.rows:
        return None
    deltas: Any = np.abs(delta(spot, side.strikes, years_to_expiry(now_ns, side.close_ns), side.vols, right == "C", rate))
    distance = np.where(
        (deltas >= settings.min_delta) & (deltas <= settings.max_delta), np.abs(deltas - settings.target_delta), np.inf
    )
    best = int(np.lexsort((side.spread_share, np.round(distance, 6)))[0])
    if not np.isfinite(distance[best]):
        return None
    if incumbent is not None:
        best = _keep(side.rows, distance, best, incumbent)
    row = side.rows[best]
    sign = 1.0 if right == "C" else -1.0
    contract = OptionRef(symbol=symbol, expiry=row.expiry, strike=row.strike, right=row.right)
    return Candidate(contract, sign * float(deltas[best]), float(side.spread_share[best]))


def _keep(rows: Sequence[OptionRow], distance: Floats, best: int, incumbent: OptionRef) -> int:
    for i, row in enumerate(rows):
        if row.strike == incumbent.strike and row.expiry == incumbent.expiry and np.isfinite(distance[i]):
            return i if distance[i] <= distance[best] + INCUMBENT_DELTA else best
    return best
