"""A contract's volume against its own days (sources.md §5): what is kept of a day, and an unusual contract's z-score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Final

import msgspec

from alphatrader.contract.messages.options import Chain, Unusual, UnusualItem
from alphatrader.core.options.columns import occ_names

DAYS: Final = 20
"""Sessions before the present one that a volume is compared with."""
MIN_DAYS: Final = 5
"""With fewer there is no z-score: a standard deviation of less says nothing."""
MOST_CONTRACTS: Final = 12_000
"""Kept of a symbol's day, the busiest; SPY lists about as many."""


def volumes(chain: Chain) -> dict[str, int]:
    """OCC name -> the volume so far, of the MOST_CONTRACTS busiest. A listed contract that did not trade has a volume of 0."""
    rows = sorted(chain.rows, key=lambda row: -row.volume)[:MOST_CONTRACTS]
    return dict(zip(occ_names(chain.symbol, rows), (row.volume for row in rows), strict=True))


def grown(now: Mapping[str, int], kept: Mapping[str, int]) -> dict[str, int]:
    """What has to be written of a day. A day's volume only grows: an answer with less is of another day, or damaged."""
    return {occ: volume for occ, volume in now.items() if volume > kept.get(occ, -1)}


def compared(unusual: Unusual, history: Mapping[str, Sequence[int]]) -> Unusual:
    """The same contracts, each with its z-score. `history`: OCC name -> its volume at the close of each earlier day known."""
    return msgspec.structs.replace(unusual, items=tuple(_scored(item, history.get(item.occ, ())) for item in unusual.items))


def _scored(item: UnusualItem, days: Sequence[int]) -> UnusualItem:
    z, missing = None, None
    if len(days) < MIN_DAYS:
        missing = f"{len(days)} of the {MIN_DAYS} days of its own history that it needs"
    elif (deviation := stdev(days)) == 0:
        missing = f"its volume was {days[0]:,} on each of its {len(days)} days"
    else:
        z = round((item.volume - fmean(days)) / deviation, 2)
    if z is None:
        says = f"no z-score: {missing}"
    else:
        side = "over" if z >= 0 else "under"
        says = f"{abs(z):.1f} standard deviations {side} its mean {fmean(days):,.0f} of {len(days)} days"
    return msgspec.structs.replace(item, why=f"{item.why}; {says}", volume_z=z, volume_days=len(days), volume_z_missing=missing)
