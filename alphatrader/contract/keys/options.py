"""Option chains and what comes of them, news sentiment, the vendor's budget. Written by the pulls."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.keys.declaring import DATA, DAY, HASH, LOG, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import options as o
from alphatrader.contract.modules import Module as M

_CHAINED = (M.ANALYTICS, M.SIGNALS, M.WATCHDOG, M.ROUTINES)
_OPTIONS: Final[dict[str, Any]] = {"server": DATA, "ttl": 10.0, "plan": True}
OPTIONS_CHAIN = declare("options:{symbol}:chain", VALUE, o.Chain, M.PULLS, _CHAINED, "The chain, checked row by row", **_OPTIONS)
OPTIONS_GREEKS = declare("options:{symbol}:greeks", VALUE, o.Greeks, M.PULLS, _CHAINED, "Greeks recomputed by us", **_OPTIONS)
OPTIONS_FLOW = declare("options:{symbol}:flow", VALUE, o.Flow, M.PULLS, _CHAINED, "Call and put volume and premium", **_OPTIONS)
OPTIONS_UNUSUAL = declare(
    "options:{symbol}:unusual", VALUE, o.Unusual, M.PULLS, _CHAINED, "Unusual contracts, and why", **_OPTIONS
)
OPTIONS_VOLUMES = declare(
    "options:{symbol}:volumes:{day}",
    HASH,
    int,
    M.PULLS,
    (M.PULLS,),
    "OCC name -> volume at that session's close, or last seen: what `:unusual` compares a contract's volume with",
    server=DATA,
    ttl=32 * DAY,
)
SENTIMENT = declare(
    "sentiment:{symbol}:score",
    VALUE,
    o.Sentiment,
    M.PULLS,
    (M.SIGNALS, M.ROUTINES),
    "News sentiment, weighted by relevance and age",
    server=DATA,
    ttl=300.0,
    plan=True,
)
EVENTS_OPTIONS = declare(
    "events:options",
    STREAM,
    o.OptionsEvent,
    M.PULLS,
    (M.ANALYTICS, M.SIGNALS),
    "A chain was refreshed",
    server=DATA,
    maxlen=2_000,
)
AV_BUDGET = declare("budget:alphavantage", LOG, str, M.PULLS, (M.WATCHDOG,), "Calls granted in the last 60 s", server=STATE)
AV_PAUSE = declare(
    "budget:alphavantage:pause",
    HASH,
    int,
    M.PULLS,
    (M.WATCHDOG,),
    "Back-off of all processes: failures in a row, until when, who tries",
    server=STATE,
)
AV_STATE = declare(
    "budget:alphavantage:state",
    VALUE,
    dict[str, Any],
    M.PULLS,
    (M.WATCHDOG,),
    "The vendor's breaker, refusals counted by reason",
    server=STATE,
)
