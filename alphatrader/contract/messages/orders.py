"""What `execution` sends and hears: order records, fills, the account."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from alphatrader.contract.messages import Event, Message
from alphatrader.contract.messages.contracts import OptionRef

OrderState = Literal["INTENT", "SENT", "WORKING", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN"]
"""INTENT: written, not sent. UNKNOWN: the broker must be asked; it counts against the limits until it has answered."""

OPEN_STATES: frozenset[str] = frozenset({"INTENT", "SENT", "WORKING", "UNKNOWN"})


class OrderRecord(Message, frozen=True):
    """One order, durable in `ledger:orders` before it is sent, and its view in `orders:pending|working:{id}`."""

    id: str
    """orderRef: the intent id, with `/stop`, `/target` or `/exit-n` for its children."""
    intent_id: str
    role: Literal["entry", "stop", "target", "exit"]
    symbol: str
    contract: OptionRef
    side: Literal["BUY", "SELL"]
    quantity: int
    order_type: Literal["LMT", "MKT", "STP", "STP LMT"]
    limit_price: Decimal | None
    stop_price: Decimal | None
    state: OrderState
    filled: int
    average_price: Decimal | None
    order_id: int | None
    """The broker's id for our clientId."""
    perm_id: int | None
    client_id: int | None
    reason: str | None
    strategy: str
    signal_id: str | None
    created_ns: int
    updated_ns: int
    machine_ns: int
    """Machine time of the last change of state."""
    fence: int
    halt_epoch: int
    remaining: int | None = None
    """What the broker says still works; None until it has said."""
    tif: Literal["DAY", "GTC"] = "DAY"
    oca_group: str = ""
    """Orders of one group cancel or reduce each other at the broker: together they never sell more than is held."""
    reference_price: Decimal | None = None
    """Mid of the quote when it was sent."""


class OrderEvent(Event, frozen=True):
    record: OrderRecord
    ts_ns: int


class Fill(Event, frozen=True):
    """One execution. Counted once by `key`: the execId without its last dotted field; a correction replaces."""

    key: str
    exec_id: str
    revision: int
    order_ref: str
    """Empty for trades that were not ours."""
    con_id: int
    symbol: str
    contract: OptionRef | None
    side: Literal["BUY", "SELL"]
    quantity: int
    price: Decimal
    commission: Decimal | None
    """None until the broker has reported it."""
    ts_ns: int
    perm_id: int
    account: str
    reference_price: Decimal | None = None
    """Mid of the quote when the order was sent: slippage is measured against it."""
    commission_revision: int = 0
    """Of which revision the commission was reported: an older one's counts until the newer one's comes."""


class BrokerPosition(Event, frozen=True, tag=False):
    con_id: int
    symbol: str
    sec_type: str
    local_symbol: str
    quantity: Decimal
    average_cost: Decimal
    contract: OptionRef | None


class Account(Event, frozen=True):
    """The account as the broker states it. `confirmed` only when positions and orders were read whole."""

    account: str
    net_liquidation: Decimal
    cash: Decimal
    buying_power: Decimal
    positions: tuple[BrokerPosition, ...]
    open_orders: int
    unknown_orders: int
    confirmed: bool
    ts_ns: int
    machine_ns: int


class BuyingPower(Message, frozen=True):
    value: Decimal
    ts_ns: int
    machine_ns: int
