"""Signals and why there was none. Written by signals."""

from __future__ import annotations

from alphatrader.contract.keys.declaring import STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import signals as s
from alphatrader.contract.modules import Module as M

_TOLD = (M.RISK, M.DISTRIBUTION, M.EXECUTION, M.POSITIONS, M.TELEGRAM)
SIGNALS_PENDING = declare(
    "signals:{symbol}:pending",
    VALUE,
    s.SignalMap,
    M.SIGNALS,
    (*_TOLD, M.PULLS),
    "Signals that wait for risk's verdict",
    server=STATE,
    ttl=60.0,
    plan=True,
)
SIGNALS_ACTIVE = declare(
    "signals:{symbol}:active",
    VALUE,
    s.SignalMap,
    M.SIGNALS,
    (*_TOLD, M.PULLS),
    "Signals that risk approved",
    server=STATE,
    ttl=60.0,
    plan=True,
)
SIGNALS_COUNT = declare(
    "signals:global:count",
    VALUE,
    s.SignalCount,
    M.SIGNALS,
    (*_TOLD, M.ROUTINES),
    "Signals of the session",
    server=STATE,
    plan=True,
)
SIGNALS_WHY = declare(
    "signals:{symbol}:why", VALUE, s.WhyNot, M.SIGNALS, (), "Which gate stopped each window's signal", server=STATE, ttl=300.0
)
EVENTS_SIGNALS = declare(
    "events:signals",
    STREAM,
    s.SignalEvent,
    M.SIGNALS,
    (M.RISK, M.DISTRIBUTION),
    "A signal was made or ended",
    server=STATE,
    maxlen=20_000,
)
