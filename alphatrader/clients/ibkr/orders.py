"""Orders at the broker: sending, changing and cancelling them, and hearing what becomes of them.

`BrokerOrders.bind` taps the wire of an IB before it connects (use it as BrokerConnection's `prepare`): orderStatus, openOrder,
execDetails and commissionReport are read from the frames themselves, because the library draws conclusions of its own (an error
makes an order "Cancelled"), drops commissions that come early, and says nothing of executions that answer a question. The library
still sees every frame. Used by `execution`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from ib_insync import IB, Contract, Order, Trade
from ib_insync.util import parseIBDatetime

from alphatrader.clients.ibkr.connection import GATEWAY_ZONE
from alphatrader.contract.messages.broker import (
    BrokerOrder,
    CommissionNews,
    ErrorNews,
    ExecutionNews,
    GarbledNews,
    LinkNews,
    News,
    StatusNews,
)
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import OrderRecord

ORDER_STATUS, OPEN_ORDER, EXECUTION, COMMISSION = 3, 5, 11, 59
LINK_CODES: Final = {1100: False, 1101: True, 1102: True}
OCA_REDUCE_WITH_BLOCK: Final = 2
"""A fill of one member reduces the others, and no two are on the market at once: no overfill."""
_UNSET: Final = 1e300
_IN_FRACTIONS: Final = frozenset({"STK", "CASH", "CRYPTO", "FUND"})
"""What somebody may trade by hand in parts of one; ours are whole options."""
_SIDES: Final[dict[str, Literal["BUY", "SELL"]]] = {"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL"}


class BrokerOrders:
    """The order side of one connection at a time. News go to `hear`, in the order of the wire, in the loop's own turn."""

    def __init__(self, hear: Callable[[News], None]) -> None:
        self._hear = hear
        self._ib: IB | None = None
        self._throttled = False
        self._log = logging.getLogger("alphatrader.orders")

    # -- hearing

    def bind(self, ib: IB) -> None:
        """Taps an IB that is about to connect; it becomes the one that sends."""
        self._ib, self._throttled = ib, False
        ib.client.throttleStart += lambda: self._throttle(ib, True)
        ib.client.throttleEnd += lambda: self._throttle(ib, False)
        handlers = ib.client.decoder.handlers
        readers: dict[int, Callable[[list[str]], News | None]] = {
            ORDER_STATUS: _read_status,
            OPEN_ORDER: _read_open_order,
            EXECUTION: _read_execution,
            COMMISSION: _read_commission,
        }
        for message, read in readers.items():
            handlers[message] = self._tap(handlers[message], read)
        ib.errorEvent += self._on_error

    def _tap(self, library: Callable[[list[str]], None], read: Callable[[list[str]], News | None]) -> Callable[[list[str]], None]:
        def handle(fields: list[str]) -> None:
            try:
                news = read(fields)
            except (ValueError, IndexError, KeyError, InvalidOperation) as error:
                reason = f"{type(error).__name__}: {error}"
                self._log.error("a frame of message %s could not be read: %s", fields[0], reason)
                news = GarbledNews(fields[0], reason)
            # The library first, so that whoever hears the news may ask it.
            try:
                library(fields)
            finally:
                if news is not None:
                    self._hear(news)

        return handle

    def _on_error(self, request_id: int, code: int, text: str, _contract: Any) -> None:
        if code in LINK_CODES:
            self._hear(LinkNews(LINK_CODES[code], code))
        if request_id > 0:
            self._hear(ErrorNews(request_id, code, text))

    # -- sending

    @property
    def ready(self) -> bool:
        return self._ib is not None and self._ib.client.isReady()

    def has_room(self, messages: int) -> bool:
        """Whether so many sent now leave now: the library queues beyond 45 messages a second, and the last leg of a bracket
        that waits in its queue would make the whole of it live when nobody looks at the halt any more."""
        if self._ib is None or self._throttled:
            return False
        client: Any = self._ib.client
        since = asyncio.get_running_loop().time() - client.RequestsInterval
        return sum(sent >= since for sent in client._timeQ) + messages <= client.MaxRequests

    def _throttle(self, ib: IB, begun: bool) -> None:
        if ib is self._ib:
            self._throttled = begun

    @property
    def client(self) -> IB:
        if self._ib is None or not self._ib.client.isReady():
            raise ConnectionError("there is no connection to the broker")
        return self._ib

    def next_order_id(self, above: int) -> int:
        """A free order id: over what the gateway said and over `above`, our own highest, should the gateway have begun again."""
        ib = self.client
        ib.client.updateReqId(above + 1)
        number: int = ib.client.getReqId()
        return number

    def place(self, record: OrderRecord, account: str, *, transmit: bool = True, parent_id: int = 0) -> None:
        """Sends a new order, or changes a live one (same order id). Raises ConnectionError."""
        ib = self.client
        order = broker_order(record, account)
        order.transmit, order.parentId = transmit, parent_id
        ib.client.placeOrder(record.order_id, broker_contract(record.contract), order)

    def cancel(self, order_id: int) -> None:
        self.client.client.cancelOrder(order_id, "")

    # -- asking

    async def open_orders(self) -> tuple[BrokerOrder, ...]:
        """Every open order of the account, of every client and by hand."""
        return _all_listed(await self.client.reqAllOpenOrdersAsync())

    async def completed_orders(self) -> tuple[BrokerOrder, ...]:
        """Today's ended orders."""
        return _all_listed(await self.client.reqCompletedOrdersAsync(False))

    async def ask_executions(self) -> None:
        """Today's executions and commissions come again, as news, before this returns."""
        await self.client.reqExecutionsAsync()


def broker_contract(ref: OptionRef) -> Contract:
    return Contract(conId=ref.con_id or 0, symbol=ref.symbol, secType="OPT", exchange="SMART", currency="USD")


def broker_order(record: OrderRecord, account: str) -> Order:
    """The library's order of a record: every field that decides is explicit, tif above all (TWS's presets fill in others)."""
    order = Order(
        orderId=record.order_id or 0,
        action=record.side,
        totalQuantity=record.quantity,
        orderType=record.order_type,
        tif=record.tif,
        orderRef=record.id,
        account=account,
        outsideRth=False,
    )
    if record.limit_price is not None and "LMT" in record.order_type:
        order.lmtPrice = float(record.limit_price)
    if record.stop_price is not None and "STP" in record.order_type:
        order.auxPrice = float(record.stop_price)
    if record.oca_group:
        order.ocaGroup, order.ocaType = record.oca_group, OCA_REDUCE_WITH_BLOCK
    return order


def option_ref(
    symbol: str, sec_type: str, expiry: str, strike: str | float, right: str, multiplier: str, con_id: int
) -> OptionRef | None:
    """The option, or None for what is not one, or is described as none can be."""
    if sec_type != "OPT" or right[:1] not in ("C", "P"):
        return None
    try:
        shares = int(float(multiplier or 100))
        found = OptionRef(symbol, expiry.split()[0], float(strike), right[:1], con_id, shares)  # type: ignore[arg-type]
    except (ValueError, IndexError, OverflowError):
        return None
    return found if shares >= 1 and found.strike > 0 else None


def _price(value: str | float) -> Decimal | None:
    """A price field; None where it is unset. Raises InvalidOperation or ValueError for what is no number."""
    if value == "":
        return None
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError(f"price {value!r}")
    return None if number > Decimal(_UNSET) or number == 0 else number.normalize() + 0


def _whole(value: str, name: str) -> int:
    number = Decimal(value or "0")
    if number != int(number):
        raise ValueError(f"{name} {value!r} is not whole")
    return int(number)


def _read_status(fields: list[str]) -> StatusNews:
    return StatusNews(
        order_id=int(fields[1]),
        status=fields[2],
        filled=_whole(fields[3], "filled"),
        remaining=_whole(fields[4], "remaining"),
        perm_id=int(fields[6] or 0),
        client_id=int(fields[9] or 0),
    )


def _is_fraction(sec_type: str, quantity: str) -> bool:
    return sec_type in _IN_FRACTIONS and Decimal(quantity or "0") % 1 != 0


def _read_open_order(fields: list[str]) -> BrokerOrder | None:
    con_id, symbol, sec_type = int(fields[2]), fields[3], fields[4]
    if _is_fraction(sec_type, fields[14]):
        return None
    return BrokerOrder(
        order_id=int(fields[1]),
        client_id=int(fields[24] or 0),
        perm_id=int(fields[25] or 0),
        order_ref=fields[23],
        con_id=con_id,
        symbol=symbol,
        contract=option_ref(symbol, sec_type, fields[5], fields[6], fields[7], fields[8], con_id),
        side=_SIDES[fields[13]],
        quantity=_whole(fields[14], "totalQuantity"),
        order_type=fields[15],
        limit_price=_price(fields[16]),
        stop_price=_price(fields[17]),
        tif=fields[18],
        oca_group=fields[19],
    )


def _read_execution(fields: list[str]) -> ExecutionNews | None:
    """None for a combination, whose legs have executions of their own, and for what is no whole share."""
    con_id, symbol, sec_type = int(fields[3]), fields[4], fields[5]
    if sec_type == "BAG" or _is_fraction(sec_type, fields[19]):
        return None
    price = Decimal(fields[20]).normalize() + 0  # 0 where an option expired or was assigned
    quantity = _whole(fields[19], "shares")
    if not 0 <= price < Decimal(_UNSET) or quantity <= 0 or not fields[14]:
        raise ValueError(f"execution {fields[14]!r}: {fields[19]!r} at {fields[20]!r}")
    when: Any = parseIBDatetime(fields[15])
    if when.tzinfo is None:
        when = when.replace(tzinfo=GATEWAY_ZONE)
    order_id = int(fields[2] or 0)
    return ExecutionNews(
        exec_id=fields[14],
        order_id=0 if order_id >= 2**31 - 1 else order_id,
        client_id=int(fields[22] or 0),
        perm_id=int(fields[21] or 0),
        order_ref=fields[26],
        con_id=con_id,
        symbol=symbol,
        contract=option_ref(symbol, sec_type, fields[6], fields[7], fields[8], fields[9], con_id),
        side=_SIDES[fields[18]],
        quantity=quantity,
        price=price,
        account=fields[16],
        ts_ns=int(when.timestamp()) * 1_000_000_000,
    )


def _read_commission(fields: list[str]) -> CommissionNews | None:
    amount = Decimal(fields[3] or "0")
    if not amount.is_finite() or abs(amount) > Decimal(_UNSET):
        return None
    return CommissionNews(fields[2], amount)


def _all_listed(trades: Iterable[Trade]) -> tuple[BrokerOrder, ...]:
    """The lines of one of the broker's lists. Raises ConnectionError where one cannot be read: a list is whole or unknown."""
    try:
        return tuple(order for trade in trades if (order := _listed(trade)) is not None)
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise ConnectionError(f"an order of the broker's list cannot be read: {error}") from error


def _listed(trade: Trade) -> BrokerOrder | None:
    """A line of the broker's lists; None for an order without the fields that name it."""
    contract, order = trade.contract, trade.order
    side = _SIDES.get(order.action)
    if side is None:
        return None
    filled = order.filledQuantity if 0 < order.filledQuantity < _UNSET else 0
    return BrokerOrder(
        order_id=order.orderId,
        client_id=order.clientId,
        perm_id=order.permId,
        order_ref=order.orderRef,
        con_id=contract.conId,
        symbol=contract.symbol,
        contract=option_ref(
            contract.symbol,
            contract.secType,
            contract.lastTradeDateOrContractMonth or "-",
            contract.strike,
            contract.right,
            contract.multiplier,
            contract.conId,
        ),
        side=side,
        quantity=int(order.totalQuantity or filled),
        order_type=order.orderType,
        limit_price=_price(order.lmtPrice),
        stop_price=_price(order.auxPrice),
        tif=order.tif,
        oca_group=order.ocaGroup,
        status=trade.orderStatus.status,
    )
