"""What the broker said, as `clients/ibkr` hands it to `core/orders`. These never stand in Redis."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import BrokerPosition


class BrokerOrder(msgspec.Struct, frozen=True):
    """An order as the broker holds it: news of an open order, or a line of its lists."""

    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    con_id: int
    symbol: str
    contract: OptionRef | None
    side: Literal["BUY", "SELL"]
    quantity: int
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    oca_group: str
    status: str = ""
    """Empty in news of an open order: its status comes in a message of its own."""


class StatusNews(msgspec.Struct, frozen=True):
    """orderStatus, from the wire: the library's own conclusions are not in it."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: int
    remaining: int


class ExecutionNews(msgspec.Struct, frozen=True):
    """execDetails, live or as the answer to a question."""

    exec_id: str
    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    con_id: int
    symbol: str
    contract: OptionRef | None
    side: Literal["BUY", "SELL"]
    quantity: int
    price: Decimal
    account: str
    ts_ns: int


class CommissionNews(msgspec.Struct, frozen=True):
    exec_id: str
    amount: Decimal


class ErrorNews(msgspec.Struct, frozen=True):
    """An error about one of our orders."""

    order_id: int
    code: int
    text: str


class LinkNews(msgspec.Struct, frozen=True):
    """The gateway lost its own link to the broker (1100), or has it again (1101, 1102)."""

    up: bool
    code: int


class GarbledNews(msgspec.Struct, frozen=True):
    """A frame about orders that could not be read: what it said is unknown, so the broker must be asked."""

    message: str
    reason: str


News = BrokerOrder | StatusNews | ExecutionNews | CommissionNews | ErrorNews | LinkNews | GarbledNews


class AccountValues(msgspec.Struct, frozen=True):
    account: str
    net_liquidation: Decimal
    cash: Decimal
    buying_power: Decimal


class BrokerSnapshot(msgspec.Struct, frozen=True):
    """Everything the broker holds, asked in one go and answered whole. Executions came as news before it."""

    open_orders: tuple[BrokerOrder, ...]
    completed: tuple[BrokerOrder, ...]
    positions: tuple[BrokerPosition, ...]
    asked_machine_ns: int
    """When the questions left: what was sent after it may be missing here."""
