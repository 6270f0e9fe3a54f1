"""What trades in a chain: call and put volume and premium, and contracts whose trading is unusual (sources.md §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec.structs import asdict

from alphatrader.contract.messages.options import Flow, Traded, UnusualItem
from alphatrader.core.options.columns import Columns, Floats

MULTIPLIER: Final = 100.0
MIN_RATIO: Final = 3.0
MIN_OPEN_INTEREST: Final = 50
MIN_VOLUME: Final = 100
MIN_ASK_SIDE: Final = 0.6
MOST_ITEMS: Final = 50


def flow(symbol: str, ts_ns: int, columns: Columns) -> Flow:
    """The day's volume and premium so far. A contract without a price adds volume and no premium."""
    premium = np.nan_to_num(premium_usd(columns))
    expiries, at = np.unique(columns.expiry, return_inverse=True)
    group = 2 * at + columns.call  # puts and calls of each expiry, side by side
    volumes = np.bincount(group, columns.volume, 2 * len(expiries)).reshape(-1, 2)
    premiums = np.bincount(group, premium, 2 * len(expiries)).reshape(-1, 2)
    by_expiry = {
        str(expiry): _traded(volume, paid)
        for expiry, volume, paid in zip(expiries.tolist(), volumes.tolist(), premiums.tolist(), strict=True)
    }
    whole = _traded(volumes.sum(axis=0).tolist(), premiums.sum(axis=0).tolist())
    return Flow(symbol=symbol, ts_ns=ts_ns, by_expiry=by_expiry, **asdict(whole))


def _traded(volume: Sequence[float], paid_usd: Sequence[float]) -> Traded:
    """Both are of (puts, calls)."""
    puts, calls = (int(side) for side in volume)
    return Traded(calls, puts, round(paid_usd[1], 2), round(paid_usd[0], 2), puts / calls if calls else None)


def premium_usd(columns: Columns) -> Floats:
    """Mid (else the vendor's mark) times volume times 100."""
    return np.where(np.isnan(columns.mid), columns.mark, columns.mid) * columns.volume * MULTIPLIER


@dataclass(frozen=True, slots=True)
class _Case:
    volume: int
    open_interest: int
    premium_usd: float
    ask_side: float
    call: bool

    def why(self, min_premium_usd: float) -> str:
        if self.open_interest == 0:
            against = "a new strike without open interest"
        else:
            against = f"{self.volume / self.open_interest:.1f} x its open interest {self.open_interest:,}"
        side = "bullish: calls" if self.call else "bearish: puts"
        return (
            f"volume {self.volume:,} is {against}; premium ${self.premium_usd:,.0f} is at least ${min_premium_usd:,.0f}; "
            f"{self.ask_side:.0%} towards the ask (approximate, from the last price); {side} bought"
        )


def unusual(columns: Columns, names: list[str], min_premium_usd: float) -> tuple[UnusualItem, ...]:
    """The unusual contracts, largest premium first, each with its reason.

    The vendor gives no prints: the ask side is (last - bid) / (ask - bid), so every item is approximate."""
    premium = premium_usd(columns)
    last = np.array([np.nan if row.last is None else row.last for row in columns.rows], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        ask_side = np.clip((last - columns.bid) / (columns.ask - columns.bid), 0.0, 1.0)
        crowded = (columns.open_interest >= MIN_OPEN_INTEREST) & (columns.volume >= MIN_RATIO * columns.open_interest)
        new = columns.open_interest == 0
        chosen = (crowded | new) & (columns.volume >= MIN_VOLUME) & (premium >= min_premium_usd) & (ask_side >= MIN_ASK_SIDE)
    found = np.flatnonzero(chosen)
    largest = found[np.argsort(-premium[found], kind="stable")][:MOST_ITEMS]
    items = []
    for i in largest.tolist():
        case = _Case(
            int(columns.volume[i]), int(columns.open_interest[i]), float(premium[i]), float(ask_side[i]), bool(columns.call[i])
        )
        items.append(
            UnusualItem(
                occ=names[i],
                volume=case.volume,
                open_interest=case.open_interest,
                premium_usd=round(case.premium_usd, 2),
                ask_side=round(case.ask_side, 4),
                why=case.why(min_premium_usd),
            )
        )
    return tuple(items)
