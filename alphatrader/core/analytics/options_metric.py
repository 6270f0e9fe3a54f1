"""Gamma and delta exposure of a symbol's options as metrics' messages."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics import exposure as gamma_exposure
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.symbol import SymbolState

_CHAIN_LIFE_MS: Final = 30_000.0


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
