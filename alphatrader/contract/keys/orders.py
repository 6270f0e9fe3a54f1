"""Orders, fills and the account. Written by execution."""

from __future__ import annotations

from alphatrader.contract.keys.declaring import HASH, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import orders as e
from alphatrader.contract.modules import Module as M

_ORDERED = (M.RISK, M.POSITIONS, M.EMERGENCY, M.WATCHDOG)
ORDERS_PENDING = declare(
    "orders:pending:{id}",
    VALUE,
    e.OrderRecord,
    M.EXECUTION,
    _ORDERED,
    "An order written but not yet known to work; renewed while it lives",
    server=STATE,
    ttl=300.0,
    plan=True,
)
ORDERS_WORKING = declare(
    "orders:working:{id}",
    VALUE,
    e.OrderRecord,
    M.EXECUTION,
    _ORDERED,
    "An order that works at the broker; renewed while it lives",
    server=STATE,
    ttl=300.0,
    plan=True,
)
LEDGER_ORDERS = declare(
    "ledger:orders", HASH, e.OrderRecord, M.EXECUTION, _ORDERED, "Every order of ours, durable before it is sent", server=STATE
)
LEDGER_FILLS = declare(
    "ledger:fills", HASH, e.Fill, M.EXECUTION, (*_ORDERED, M.ROUTINES), "Every execution, once; corrections replace", server=STATE
)
EVENTS_ORDERS = declare(
    "events:orders", STREAM, e.OrderEvent, M.EXECUTION, _ORDERED, "An order changed state", server=STATE, maxlen=20_000
)
EVENTS_FILLS = declare(
    "events:fills", STREAM, e.Fill, M.EXECUTION, (*_ORDERED, M.DISTRIBUTION), "An execution, or its correction", server=STATE,
    maxlen=20_000,
)  # fmt: skip
EVENTS_ACCOUNT = declare(
    "events:account", STREAM, e.Account, M.EXECUTION, (*_ORDERED, M.ROUTINES, M.SIGNALS), "The account, as the broker has it",
    server=STATE, maxlen=5_000,
)  # fmt: skip
BUYING_POWER = declare(
    "global:buying_power", VALUE, e.BuyingPower, M.EXECUTION, (M.RISK,), "Buying power, from the broker", server=STATE, plan=True
)
