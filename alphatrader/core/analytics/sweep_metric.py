"""The sweeps of a symbol as a metric's message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics import sweep_score
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.sweep import RUNS_NEEDED
from alphatrader.core.analytics.symbol import SymbolState

_TAPE_SWEEPS: Final = 20


def sweep(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None, weights: Mapping[str, float]) -> Metric:
    detector = state.sweeps
    detector.forget(now_ns)
    found = detector.sweeps
    parts = [sweep_score.parts(one, detector.past) for one in found]
    strengths = [sweep_score.strength(one, weights) for one in parts]
    weighed = [(s.side, weight * sweep_score.fading(s, now_ns)) for s, weight in zip(found, strengths, strict=True)]
    bought, sold = (sweep_score.together([weight for side, weight in weighed if side == of]) for of in ("buy", "sell"))
    threshold, runs = detector.threshold_usd, len(detector.runs.newest)
    reason = feed
    if reason is None and state.venue_ns is None:
        reason = "no venue in the prints: needs tick-by-tick"
    if reason is None and (age_of(state.venue_ns) or 0.0) > 60_000:
        reason = "no print with a venue for a minute: tick-by-tick went elsewhere"
    if reason is None and threshold is None:
        reason = f"{runs} of {RUNS_NEEDED} runs of prints to tell a large notional by"
    if reason is None and not detector.seen(now_ns):
        reason = "a minute of prints has not been seen yet"
    newest = found[-1] if found else None
    return make(
        "sweep",
        state,
        now_ns,
        bought - sold,
        reason,
        units="strength of the sweeps of the last 60 s, fading, -1 to 1",
        convention="+ buyers swept; in one window of reception 2 F on 2 venues, or much notional on 3 lit venues or at 3 prices",
        n=len(found),
        components={
            "buy_strength": bought,
            "sell_strength": sold,
            "buy_usd": math.fsum(s.notional for s in found if s.side == "buy"),
            "sell_usd": math.fsum(s.notional for s in found if s.side == "sell"),
            "newest_side": newest.side if newest else None,
            "newest_rule": newest.rule if newest else None,
            "newest_strength": strengths[-1] if newest else None,
            "newest_parts": parts[-1] if newest else {},
            "newest_usd": newest.notional if newest else None,
            "newest_venues": newest.venues if newest else [],
            "newest_levels": newest.levels if newest else None,
            "newest_iso_share": newest.iso_prints / newest.prints if newest else None,
            "newest_age_ms": age_of(newest.last_ns) if newest else None,
            "since_start": detector.count,
            "threshold_usd": threshold,
            "runs": runs,
            "past_sweeps": len(detector.past),
            "tape": [
                {
                    "at_ms": s.last_ns // 1_000_000,
                    "side": s.side,
                    "rule": s.rule,
                    "strength": weight,
                    "notional_usd": s.notional,
                    "notional_percentile": part["notional"],
                    "shares": s.shares,
                    "venues": s.venues,
                    "levels": s.levels,
                    "f_share": part["f_share"],
                }
                for s, part, weight in list(zip(found, parts, strengths, strict=True))[-_TAPE_SWEEPS:]
            ],
        },
        ages={"trades": age_of(state.venue_ns)},
    )
