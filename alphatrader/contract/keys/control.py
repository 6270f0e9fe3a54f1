"""The halt, and requests to halt, resume or flatten."""

from __future__ import annotations

from alphatrader.contract.key import SELF
from alphatrader.contract.keys.declaring import STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import risk as r
from alphatrader.contract.modules import Module as M

_OBEY = (M.RISK, M.EXECUTION, M.EMERGENCY)
HALT = declare(
    "global:halt",
    VALUE,
    r.Halt,
    M.EMERGENCY,
    (*_OBEY, M.SIGNALS, M.POSITIONS, M.TELEGRAM, M.WATCHDOG, M.ROUTINES),
    "Missing means halted",
    server=STATE,
    plan=True,
)
EVENTS_HALT = declare(
    "events:halt",
    STREAM,
    r.HaltEvent,
    M.EMERGENCY,
    (*_OBEY, M.POSITIONS, M.DISTRIBUTION),
    "The halt changed",
    server=STATE,
    maxlen=5_000,
)
CONTROL = declare(
    "control:{module}",
    STREAM,
    r.ControlRequest,
    SELF,
    _OBEY,
    "Requests to halt, resume or flatten, one stream for each requester",
    server=STATE,
)
