"""The regime of a symbol as a metric's message: the trend's strength, its class, and the state of volatility."""

from __future__ import annotations

import math
from typing import Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics.measures import AgeOf, make
from alphatrader.core.analytics.regime import Reading, evidence, judge
from alphatrader.core.analytics.symbol import SymbolState
from alphatrader.core.analytics.vol_state import Vol

_TREND_SECONDS: Final = (60, 180)


def regime(
    state: SymbolState,
    reading: Reading,
    now_ns: int,
    age_of: AgeOf,
    feed: str | None,
    atr: float | None,
    vpin_percentile: float | None,
    gex_usd: float | None,
    vol: Vol,
    no_lookback: str | None,
) -> Metric:
    """`vpin_percentile` and `gex_usd` are None where their metric is not ready; `no_lookback` says why the default's bars are
    looked back over, None where discovery's are."""
    found = evidence(reading, vpin_percentile, gex_usd, vol.high)
    judged = judge(reading, found)
    known = feed is None and reading.n >= reading.span
    name = state.regime.update(judged, now_ns) if known else state.regime.name
    strength = None if reading.drift_t is None else max(-1.0, min(1.0, reading.drift_t / 3.0))
    reason = feed
    if reason is None and strength is None and known:
        reason = f"the price did not move in {reading.span} minutes"
    if reason is None and strength is None:
        reason = f"{reading.n} of {reading.span} one-minute changes of this session"
    trends = {f"trend_{seconds}s": trend(state, reading, now_ns, seconds) for seconds in _TREND_SECONDS}
    return make(
        "regime",
        state,
        now_ns,
        strength,
        reason,
        units="trend strength, -1 to 1",
        convention="+ is up; class by strength with hysteresis: enter 0.6, leave 0.4, stays five minutes",
        n=reading.n,
        components={
            "class": name,
            "class_age_s": (now_ns - state.regime.since_ns) / 1e9 if name else None,
            "confidence": judged[name].confidence if known and name else None,
            "strengths": {of: one.strength for of, one in judged.items()} if known else {},
            "evidence": found,
            "missing": [feature for feature, part in found.items() if part is None],
            "lookback_bars": reading.span,
            "lookback_reason": no_lookback,
            "drift_t": reading.drift_t,
            "slope_t": reading.slope_t,
            "adx": reading.adx,
            "vpin_percentile": vpin_percentile,
            "gex_sign": None if gex_usd is None else (gex_usd > 0) - (gex_usd < 0),
            "vol_state": vol.state,
            "vol_state_reason": vol.reason,
            **vol.told,
            "realised_vol_1m": reading.realised_vol,
            "vol_percentile": reading.vol_percentile,
            "minute_sigma": reading.minute_sigma,
            "atr_1m": atr,
            "price": state.minutes.last,
            **trends,
        },
        ages={"trades": age_of(state.trade_ns), "quote": age_of(state.quote_ns)},
    )


def trend(state: SymbolState, reading: Reading, now_ns: int, seconds: int) -> float | None:
    """The move of the last `seconds` in standard deviations of such a move."""
    last, before = state.minutes.last, state.minutes.closes_ago(now_ns, seconds)
    if last is None or before is None or not reading.minute_sigma:
        return None
    return (last - before) / (reading.minute_sigma * math.sqrt(seconds / 60))
