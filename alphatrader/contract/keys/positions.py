"""Positions, profit and loss, wanted exits. Written by positions."""

from __future__ import annotations

from alphatrader.contract.keys.declaring import HASH, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import orders as e
from alphatrader.contract.messages import positions as p
from alphatrader.contract.modules import Module as M

_HELD = (M.RISK, M.EXECUTION, M.DISTRIBUTION, M.TELEGRAM, M.ROUTINES, M.WATCHDOG)
POSITIONS = declare(
    "positions:{symbol}:{id}", VALUE, p.Position, M.POSITIONS, (*_HELD, M.DELIVERY), "One position", server=STATE, plan=True
)
POSITIONS_SUMMARY = declare(
    "positions:summary",
    VALUE,
    p.PositionsSummary,
    M.POSITIONS,
    (*_HELD, M.PULLS),
    "All positions in one line",
    server=STATE,
    plan=True,
)
POSITIONS_COUNT = declare("global:positions:count", VALUE, p.Count, M.POSITIONS, _HELD, "Open positions", server=STATE, plan=True)
PNL_REALIZED = declare("global:pnl:realized", VALUE, p.Pnl, M.POSITIONS, _HELD, "Realized today, USD", server=STATE, plan=True)
PNL_UNREALIZED = declare(
    "global:pnl:unrealized", VALUE, p.Pnl, M.POSITIONS, _HELD, "Unrealized now, USD", server=STATE, plan=True
)
EXITS = declare(
    "exits:{position}",
    VALUE,
    p.WantedExit,
    M.POSITIONS,
    (M.EXECUTION, M.EMERGENCY),
    "What should be held, and its stop",
    server=STATE,
)
LEDGER_TRADES = declare(
    "ledger:trades",
    HASH,
    p.ClosedTrade,
    M.POSITIONS,
    (M.RISK, M.SIGNALS, M.ROUTINES, M.DELIVERY),
    "Closed round trips",
    server=STATE,
)
LEDGER_ADJUSTMENTS = declare(
    "ledger:adjustments",
    HASH,
    e.Fill,
    M.POSITIONS,
    (M.WATCHDOG,),
    "What the broker's account taught us without an execution: adopted and vanished positions, as bookings",
    server=STATE,
)
EVENTS_POSITIONS = declare(
    "events:positions",
    STREAM,
    p.PositionEvent,
    M.POSITIONS,
    _HELD,
    "A position opened, changed, closed, or wants another exit",
    server=STATE,
    maxlen=20_000,
)
