"""Closing imbalances of the listed equities: Arca from an hour before the close, Nasdaq from ten minutes before (sources.md §7).

Cboe-listed names (VXX) have none here. Sizes shrink and may change sign as the close nears. Used by `simulation.py`.
"""

from __future__ import annotations

from math import sin

from .hashing import key64, unit
from .types import Auction

MINUTE_NS = 60_000_000_000
STARTS_BEFORE_CLOSE = {"ARCA": 60 * MINUTE_NS, "NASDAQ": 10 * MINUTE_NS}


def closing_imbalance(
    seed: int, con_id: int, day: str, price: float, daily_volume: int, lot: int, left_ns: int, ts_ns: int
) -> Auction:
    key = key64(seed, "auction", con_id, day)
    left = left_ns / (60 * MINUTE_NS)
    paired = int(daily_volume * 0.06 * (1 - 0.7 * left) * (0.8 + 0.4 * unit(key, 1)))
    swing = (unit(key, 2) * 2 - 1) + 0.5 * sin(6.283 * (3 * left + unit(key, 3)))
    imbalance = int(daily_volume * 0.012 * (0.25 + left) * swing) // lot * lot
    return Auction(con_id, ts_ns, paired // lot * lot, price, imbalance, imbalance)
