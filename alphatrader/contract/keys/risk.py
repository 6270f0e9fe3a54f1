"""Verdicts, the lease, and what the limits are measured against. Written by risk."""

from __future__ import annotations

from alphatrader.contract.keys.declaring import HASH, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import risk as r
from alphatrader.contract.modules import Module as M

EVENTS_APPROVALS = declare(
    "events:approvals",
    STREAM,
    r.Approval,
    M.RISK,
    (M.SIGNALS, M.EXECUTION, M.POSITIONS, M.DISTRIBUTION),
    "Risk's verdict on a signal; worth acting on for 1 s",
    server=STATE,
    maxlen=20_000,
)
LEDGER_APPROVALS = declare(
    "ledger:approvals",
    HASH,
    r.Approval,
    M.RISK,
    (M.EXECUTION, M.POSITIONS, M.WATCHDOG),
    "Every verdict by intent: one signal gets one, whatever is replayed",
    server=STATE,
)
LEASE = declare(
    "lease",
    VALUE,
    r.Lease,
    M.RISK,
    (M.EXECUTION, M.EMERGENCY, M.WATCHDOG),
    "Permission to trade, renewed each second",
    server=STATE,
    ttl=3.0,
)
RISK_CORRELATION = declare(
    "global:risk:correlation", VALUE, r.RiskMeasure, M.RISK, (M.WATCHDOG,), "How alike the positions are", server=STATE, plan=True
)
RISK_VAR = declare(
    "global:risk:var", VALUE, r.RiskMeasure, M.RISK, (M.WATCHDOG,), "Loss of one day at 95 %, USD", server=STATE, plan=True
)
RISK_STATE = declare(
    "ledger:risk", VALUE, r.RiskState, M.RISK, (M.WATCHDOG, M.ROUTINES), "What the limits are measured against", server=STATE
)
