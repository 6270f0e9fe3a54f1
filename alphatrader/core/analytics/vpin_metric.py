"""VPIN of a symbol as a metric's message."""

from __future__ import annotations

from typing import Any

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics.adverse import Adverse, adjusted
from alphatrader.core.analytics.flow import Shares
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.symbol import SymbolState
from alphatrader.core.analytics.vpin import Vpin
from alphatrader.core.analytics.vpin_history import VpinRanks


class VpinParts:
    """What VPIN's full buckets say, kept until the next one is full: prints come many to a bucket."""

    def __init__(self, adjustment: float) -> None:
        self._adjustment = adjustment
        self._made_of: tuple[Any, ...] = ()
        self._parts: dict[str, Any] = {}
        self.flows = {f"flow_{seconds}s": Shares(seconds) for seconds in (30, 60, 180)}

    def of(self, v: Vpin, adverse: Adverse, ranks: VpinRanks) -> dict[str, Any]:
        made_of = (v, v.filled, v.total, v.warm, v.size, v.size_source, adverse.spread, adverse.markout_bps, ranks)
        if made_of != self._made_of:  # ranks change with the session, which a full bucket begins
            self._made_of = made_of
            self._parts = self._make(v, adverse, ranks)
        return self._parts

    def _make(self, v: Vpin, adverse: Adverse, ranks: VpinRanks) -> dict[str, Any]:
        value = v.value
        rank = ranks.rank(value)
        inputs = {"spread": ranks.spread.rank(adverse.spread), "markout": ranks.markout.rank(adverse.markout_bps)}
        to = adjusted(value, {name: found.percentile for name, found in inputs.items()}, self._adjustment)
        return {
            "vpin_adj": to.value,
            "vpin_adj_reason": to.reason,
            "vpin_adj_z": to.z,
            "spread": adverse.spread,
            "markout_30s_bps": adverse.markout_bps,
            "input_percentiles": {name: found.percentile for name, found in inputs.items()},
            "input_reasons": {name: found.reason for name, found in inputs.items() if found.reason},
            "percentile": rank.percentile,
            "percentile_n": rank.n,
            "percentile_days": rank.sessions,
            "percentile_reason": rank.reason,
            "signed_10": v.signed(10),
            "bucket_shares": v.size,
            "bucket_source": v.size_source or None,
            "filled": v.filled,
            "warm": v.warm,
            "carried": "buckets carry over sessions; regular hours only",
        }


def vpin(state: SymbolState, ranks: VpinRanks, now_ns: int, age_of: AgeOf, feed: str | None, parts: VpinParts) -> Metric:
    v = state.vpin
    reason = feed
    if reason is None and v.size is None:
        reason = "bucket size unknown: neither discovered nor daily volume"
    if reason is None and not v.ready:
        reason = f"{len(v.imbalances)} of {v.buckets} buckets full"
    components = parts.of(v, state.adverse, ranks).copy()
    components["open_bucket"] = v.open_share
    for name, seconds in parts.flows.items():
        components[name] = state.flow.share(now_ns, seconds)
    components["prints"] = None if state.tick_by_tick is None else "tick_by_tick" if state.tick_by_tick else "quote_line"
    return make(
        "vpin",
        state,
        now_ns,
        v.value,
        reason,
        units="share of volume, 0 to 1",
        convention="toxicity has no sign; signed parts: + buyers were the aggressors",
        n=len(v.imbalances),
        components=components,
        ages={"trades": age_of(state.trade_ns)},
    )
