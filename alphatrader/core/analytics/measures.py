"""Metrics of a symbol, as messages, from what analytics has folded. A metric that is not ready is None with its reason.
The regime is in regime_metric.py.

Each function reads the state and the instant; `ages` turns market instants of reception into ages on machine time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import exposure as gamma_exposure
from alphatrader.core.analytics import imbalance, sweep_score
from alphatrader.core.analytics.adverse import Adverse, adjusted
from alphatrader.core.analytics.flow import Shares
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.sweep import RUNS_NEEDED
from alphatrader.core.analytics.symbol import SymbolState
from alphatrader.core.analytics.vpin import Vpin
from alphatrader.core.analytics.vpin_history import VpinRanks
from alphatrader.core.market.hidden_prints import WINDOW_SECONDS

AgeOf = Callable[[int | None], float | None]
"""Market instant of reception -> age in milliseconds of machine time; None for never."""
FAST: Final = ("vpin", "obi")
SLOW: Final = ("gex", "dex", "sweep", "hidden", "regime")
_CHAIN_LIFE_MS: Final = 30_000.0
_TAPE_SWEEPS: Final = 20


def make(
    metric: str,
    state: SymbolState,
    now_ns: int,
    value: float | None,
    reason: str | None,
    *,
    units: str,
    convention: str,
    n: int,
    components: dict[str, Any],
    ages: dict[str, float | None],
) -> Metric:
    """A metric's message. A value that is no finite number is not ready, whatever was thought of it."""
    if value is not None and not math.isfinite(value):
        value, reason = None, f"computed {value}"
    ready = value is not None and reason is None
    return Metric(
        metric=metric,
        symbol=state.symbol,
        ts_ns=now_ns,
        ready=ready,
        reason=reason if not ready else None,
        value=value if ready else None,
        units=units,
        convention=convention,
        n=n,
        components=_finite(components),
        input_age_ms=ages,
        source_seq=state.seq,
    )


def _finite(components: dict[str, Any]) -> dict[str, Any]:
    """The parts, those that are no number taken out: there is hardly ever one, and every event passes here."""
    for part in components.values():
        if type(part) is float and part - part != 0.0:
            return {name: None if type(one) is float and not math.isfinite(one) else one for name, one in components.items()}
    return components


def feed_reason(state: SymbolState, age_of: AgeOf, quiet_seconds: float) -> str | None:
    """Why nothing can be said of this symbol now: its feed never came or fell silent."""
    age = age_of(state.received_ns)
    if age is None:
        return "no market data yet"
    return f"feed silent for {age / 1000:.1f} s" if age > quiet_seconds * 1000 else None


class VpinParts:
    """What VPIN's full buckets say, kept until the next one is full: prints come many to a bucket."""

    def __init__(self, adjustment: float) -> None:
        self._adjustment = adjustment
        self._made_of: tuple[Any, ...] = ()
        self._parts: dict[str, Any] = {}
        self.flows = {f"flow_{seconds}s": Shares(seconds) for seconds in (30, 60, 180)}

    def of(self, v: Vpin, adverse: Adverse, ranks: VpinRanks) -> dict[str, Any]:
        made_of = (v, v.filled, v.total, v.warm, v.size, adverse.spread, adverse.markout_bps, ranks)
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
        }


def vpin(state: SymbolState, ranks: VpinRanks, now_ns: int, age_of: AgeOf, feed: str | None, parts: VpinParts) -> Metric:
    v = state.vpin
    reason = feed
    if reason is None and v.size is None:
        reason = "bucket size unknown: neither discovered nor daily volume"
    if reason is None and not v.ready:
        reason = f"{len(v.imbalances)} of {v.buckets} buckets full"
    return make(
        "vpin",
        state,
        now_ns,
        v.value,
        reason,
        units="share of volume, 0 to 1",
        convention="toxicity has no sign; signed parts: + buyers were the aggressors",
        n=len(v.imbalances),
        components={
            **parts.of(v, state.adverse, ranks),
            **{name: state.flow.share(now_ns, shares) for name, shares in parts.flows.items()},
            "prints": None if state.tick_by_tick is None else "tick_by_tick" if state.tick_by_tick else "quote_line",
            "bucket_shares": v.size,
            "bucket_source": v.size_source or None,
            "open_bucket": v.open_share,
            "filled": v.filled,
            "warm": v.warm,
            "carried": "buckets carry over sessions; regular hours only",
        },
        ages={"trades": age_of(state.trade_ns)},
    )


class BookParts:
    """What a book alone says, kept while it stands: prints come many to a book."""

    def __init__(self, symbol: str, settings: Analytics) -> None:
        self._tick = imbalance.tick_of(symbol)
        self._settings = settings
        self._book: tuple[imbalance.Levels, imbalance.Levels] | None = None
        self._parts: dict[str, float | None] = {}

    def of(self, bids: imbalance.Levels, asks: imbalance.Levels) -> dict[str, float | None]:
        """Volume, pressure, slope, micro; queue and the slope's elasticity. A book's levels are never changed in place."""
        if self._book is None or self._book[0] is not bids or self._book[1] is not asks:
            levels = self._settings.book_levels
            slope, elasticity = imbalance.slope_imbalance(bids, asks, levels)
            self._book = bids, asks
            self._parts = {
                "volume": imbalance.volume_imbalance(bids, asks, self._settings.obi_alpha, levels),
                "pressure": imbalance.pressure(bids, asks, self._tick, levels),
                "slope": slope,
                "micro": imbalance.microprice_lean(bids, asks),
                "queue": imbalance.volume_imbalance(bids, asks, 0.0, 1),
                "slope_elasticity": elasticity,
            }
        return self._parts


def obi(state: SymbolState, now_ns: int, age_of: AgeOf, feed: str | None, settings: Analytics, book: BookParts) -> Metric:
    state.ofi.forget(now_ns)
    levels = state.book_levels()
    parts: dict[str, float | None] = {}
    components: dict[str, Any] = {}
    reason = feed
    if reason is None and state.book is not None and not state.book.ready:
        reason = "book not ready"
    if reason is None and levels is None:
        reason = "no book"
    value: float | None = None
    if levels is not None:
        bids, asks, source = levels
        ofi, ofi_share, ofi_n = state.ofi.value()
        still = book.of(bids, asks)
        parts = {**{name: still[name] for name in ("volume", "pressure", "slope")}, "ofi": ofi_share, "micro": still["micro"]}
        value = imbalance.blend(parts, settings.obi_weights)
        if value is None and reason is None:
            reason = "no part of the book can be measured"
        if value is not None and reason is None:
            state.obi.add(now_ns, value)
        components = {
            **parts,
            "queue": still["queue"],
            "ofi_depths": ofi,
            "ofi_events": ofi_n,
            "ofi_window_seconds": settings.ofi_window_seconds,
            "slope_elasticity": still["slope_elasticity"],
            "missing": [name for name, part in parts.items() if part is None],
            "one_sided": not bids or not asks,
            "source": source,
            "levels": min(len(bids), len(asks)),
            "bid": bids[0][0] if bids else None,
            "ask": asks[0][0] if asks else None,
        }
    components["smoothed_20s"] = state.obi.value if reason is None else None
    book_ns = state.book.received_ns if state.book is not None else None
    return make(
        "obi",
        state,
        now_ns,
        value,
        reason,
        units="-1 to 1",
        convention="+ is bid heavy",
        n=int(components.get("levels", 0)),
        components=components,
        ages={"book": age_of(book_ns), "quote": age_of(state.quote_ns)},
    )


def options(state: SymbolState, view: OptionsView | None, now_ns: int, age_of: AgeOf, feed: str | None) -> tuple[Metric, Metric]:
    """(gex, dex)."""
    reason = feed
    if view is None:
        reason = "no options on this symbol"
    chain = view.chain if view else None
    chain_age = age_of(chain.ts_ns) if chain else None
    if reason is None and view is not None:
        reason = view.reason
    if reason is None and chain_age is not None and chain_age > _CHAIN_LIFE_MS:
        reason = f"options chain is {chain_age / 1000:.0f} s old"
    e = view.exposure if view else None
    ages = {"chain": chain_age, "spot": age_of(state.quote_ns or state.trade_ns)}
    common: dict[str, Any] = {
        "spot": e.spot if e else None,
        "rows": e.rows if e else 0,
        "dropped": view.dropped if view else {},
        "expired": e.expired if e else None,
        "chain_quality": chain.quality if chain else None,
        "chain_stale": chain.stale if chain else None,
        "open_interest_of": "the previous session",
    }
    gex_parts = common | {
        "gex_1usd": e.gex_1usd if e else None,
        "gross_1pct": e.gross_1pct if e else None,
        "net_share": e.gex_1pct / e.gross_1pct if e and e.gross_1pct > 0 else None,
        "zero_dte_1pct": e.zero_dte_1pct if e else None,
        "without_zero_dte_1pct": e.gex_1pct - e.zero_dte_1pct if e else None,
        "call_wall": e.call_wall if e else None,
        "put_wall": e.put_wall if e else None,
        "flip": view.flip if view else None,
        "flip_age_ms": age_of(view.flip_ns) if view else None,
        "by_expiry": e.by_expiry if e else {},
        "strikes": list(e.strikes) if e else [],
        "call_by_strike": list(e.call_by_strike) if e else [],
        "put_by_strike": list(e.put_by_strike) if e else [],
    }
    dex_parts = common | {
        "dex_net": e.dex_net if e else None,
        "dex_dealer": e.dex_dealer if e else None,
        "dex_zero_dte": e.dex_zero_dte if e else None,
        "dex_without_zero_dte": e.dex_net - e.dex_zero_dte if e else None,
        "by_expiry": e.dex_by_expiry if e else {},
        "strikes": list(e.strikes) if e else [],
        "net_by_strike": list(e.dex_by_strike) if e else [],
    }
    n = e.rows if e else 0
    gex = make(
        "gex", state, now_ns, e.gex_1pct if e else None, reason, units="USD of delta per 1 % move",
        convention=gamma_exposure.CONVENTION, n=n, components=gex_parts, ages=ages,
    )  # fmt: skip
    dex = make(
        "dex", state, now_ns, e.dex_net if e else None, reason, units="USD of delta",
        convention="net: sum of delta x open interest as held by customers; dealer: dealers long calls, short puts (assumed)",
        n=n, components=dex_parts, ages=ages,
    )  # fmt: skip
    return gex, dex


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
