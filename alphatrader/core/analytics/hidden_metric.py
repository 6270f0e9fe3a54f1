"""Hidden orders of a symbol as a metric's message."""

from __future__ import annotations

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.symbol import SymbolState
from alphatrader.core.market.hidden_prints import WINDOW_SECONDS


def hidden(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None) -> Metric:
    lit, bought, sold, at_mid = state.hidden.totals(now_ns)
    state.icebergs.forget(now_ns)
    inside = bought + sold
    reason = feed
    if reason is None and state.venue_ns is None:
        reason = "no venue in the prints: needs tick-by-tick"
    if reason is None and lit <= 0:
        reason = f"no lit print beside a quote in {WINDOW_SECONDS} s"
    return make(
        "hidden",
        state,
        now_ns,
        inside / lit if lit > 0 else None,
        reason,
        units=f"share of lit volume printed inside the quote, last {WINDOW_SECONDS} s",
        convention="signed: + hidden sellers were hit by buyers",
        n=len(state.hidden.slots),
        components={
            "lit_shares": lit,
            "inside_shares": inside,
            "at_mid_shares": at_mid,
            "signed": (bought - sold) / inside if inside > 0 else None,
            "icebergs": [
                {
                    "at_ms": i.last_ns // 1_000_000,
                    "side": i.side,
                    "price": i.price,
                    "venue": i.venue,
                    "peak": i.peak,
                    "refills": i.refills,
                    "executed": i.executed,
                    "confidence": i.confidence,
                }
                for i in state.icebergs.icebergs
            ],
            "icebergs_since_start": state.icebergs.count,
            "icebergs_watched": state.icebergs.sees,
            "executions": [
                {
                    "at_ms": x.received_ns // 1_000_000,
                    "side": x.side,
                    "price": x.price,
                    "shares": x.shares,
                    "prints": x.prints,
                    "venue": x.venue,
                    "at_mid": x.at_mid,
                    "confidence": x.confidence,
                }
                for x in state.hidden.executions
            ],
            "quote_before": "in force at the print by the feed, else the newest, conflated to 100 ms",
        },
        ages={"trades": age_of(state.venue_ns), "quote": age_of(state.quote_ns)},
    )
