"""What a minute's sweeps weigh, and to which side: a score of notional, venues, levels and share of condition F. sources.md §3.

Each part is 0 to 1; a sweep's strength is their sum by `analytics.sweep_weights`. A part that cannot be told yet (the notional's
percentile) adds nothing: it lowers the strength. A sweep fades linearly over the minute it is remembered, so that none leaves
with a jump. Sweeps of one side together are 1 - product(1 - strength x fading): one alone weighs its strength, many never more
than 1. The value is the buyers' weight less the sellers'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from alphatrader.core.analytics.sweep import MEMORY_NS, Sweep

PAST_NEEDED: Final = 20
FULL: Final = 5
"""Venues, and prices on one of them, from which more adds nothing; a single one counts nothing."""


def parts(sweep: Sweep, past: Sequence[float]) -> dict[str, float | None]:
    """notional: share of the symbol's past sweeps under this one's, equals half; None with fewer than PAST_NEEDED of them."""
    under = sum(one < sweep.notional for one in past) + sum(one == sweep.notional for one in past) / 2
    return {
        "notional": under / len(past) if len(past) >= PAST_NEEDED else None,
        "venues": _beyond_one(len(sweep.venues)),
        "levels": _beyond_one(sweep.levels),
        "f_share": sweep.iso_prints / sweep.prints,
    }


def _beyond_one(count: int) -> float:
    return min((count - 1) / (FULL - 1), 1.0)


def strength(of: Mapping[str, float | None], weights: Mapping[str, float]) -> float:
    return sum(weight * (of[name] or 0.0) for name, weight in weights.items())


def fading(sweep: Sweep, now_ns: int) -> float:
    return min(max(0.0, 1 - (now_ns - sweep.last_ns) / MEMORY_NS), 1.0)


def together(strengths: Sequence[float]) -> float:
    left = 1.0
    for one in strengths:
        left *= 1 - one
    return 1 - left
