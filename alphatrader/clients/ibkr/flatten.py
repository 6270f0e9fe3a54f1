"""Flattening at the broker itself: cancel every order, then close what is held, and no more than that, until nothing is left.

`Flattening` works on a connected IB: `emergency` uses it on its own idle connection, and `flatten_directly` connects by itself
for the CLI when emergency is dead. Prices come from this connection's own market data: Redis may be down. A position's orders
share one OCA group, so that closing order and protective stop can never both sell the same contract.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from random import Random
from typing import Any, Final

from ib_insync import IB, Contract, Order, Position, Trade
from ib_insync.wrapper import RequestError

from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.clients.ibkr.orders import OCA_REDUCE_WITH_BLOCK
from alphatrader.clients.ibkr.wiretap import Recorder, tap
from alphatrader.contract.price_steps import step
from alphatrader.contract.settings import Settings

ANSWER_SECONDS: Final = 4.0
CANCEL_WAIT_SECONDS: Final = 5.0
REPRICE_SECONDS: Final = 1.5
STOP_AFTER_SECONDS: Final = 20.0
"""A position that could not be closed for this long gets a protective stop beside its closing order."""
MOST_THROUGH: Final = Decimal("0.5")
"""How far through the other side a closing order reaches at most, as a share of it: the side moves with the market, and an order
that stands over a night must not meet a thin opening at any price."""
STOP_SHARE: Final = Decimal("0.5")
"""Where that stop stands, as a share of the last price: the closing order is what should fill."""
POSITIONS_LAG_SECONDS: Final = 3.0
PENNY: Final = Decimal("0.01")
DIRECT_CLIENT_OFFSET: Final = 100
DIRECT_SECONDS: Final = 60.0
"""How long `flatten_directly` goes on, beyond the first connection's time-out."""
DIRECT_BACKOFF_SECONDS: Final = 2.0
"""Its longest pause before a gateway is tried again: the operator waits for it, and nothing else is closing anything."""


@dataclass(frozen=True)
class FlattenReport:
    """How it ended. `left`: what is still held, by name."""

    flat: bool = False
    left: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass
class _Closing:
    contract: Contract
    ticker: Any
    tick: Decimal | None
    """The finest; None where the broker did not say: then only a market order is sure to be on its grid."""
    order_id: int
    quantity: int
    """Signed: what the order closes in all, its fills counted in."""
    since: float
    priced_at: float
    attempt: int = 0
    limit: Decimal | None = None
    """Of the order as it was last sent; None at market."""
    stop_id: int | None = None
    stop_price: float = 0.0
    ended_at: float | None = None

    def step(self, price: Decimal) -> Decimal:
        """Between its prices there."""
        finest = self.tick or PENNY
        return step(self.contract.symbol, finest, price) if self.contract.secType == "OPT" else finest


class Flattening:
    """One flattening of one account over one connection. `monotonic` measures; `epoch` names its orders."""

    def __init__(
        self,
        ib: IB,
        account: str,
        epoch: int,
        *,
        decode_errors: Callable[[], int],
        monotonic: Callable[[], float],
        log: Any,
    ) -> None:
        self._ib = ib
        self._decode_errors = decode_errors
        self._account = account
        self._epoch = epoch
        self._monotonic = monotonic
        self._log = log
        self._cancelled = False
        self._closing: dict[int, _Closing] = {}

    async def run(self, limit_seconds: float) -> FlattenReport:
        """Works until flat or for `limit_seconds`; may be called again to go on.

        A broker that does not answer is a problem, never an empty account."""
        deadline = self._monotonic() + limit_seconds
        left: dict[str, str] = {}
        try:
            while self._monotonic() < deadline:
                if not self._cancelled and not await self._cancel_everything():
                    continue
                positions = await self._positions()
                left = {p.contract.localSymbol or str(p.contract.conId): f"{p.position:g}" for p in positions}
                if not positions and await self._cancel_everything():
                    for closing in self._closing.values():
                        self._ib.cancelMktData(closing.ticker.contract)
                    return FlattenReport(flat=True)
                live = {trade.order.orderId for trade in await self._open() if trade.order.clientId == self._ib.client.clientId}
                await self._close_all(positions, live)
                await asyncio.sleep(0.2)
        except TimeoutError:
            # Its answer, come late, would be taken for the next question's: positions of before would be sold again.
            self._ib.disconnect()
            return FlattenReport(left=left, problem=f"the broker did not answer within {ANSWER_SECONDS:g} s")
        except (ConnectionError, RequestError) as error:
            return FlattenReport(left=left, problem=str(error) or type(error).__name__)
        return FlattenReport(
            left=left, problem="not all could be closed: " + ", ".join(f"{q} {name}" for name, q in left.items())
        )

    async def _cancel_everything(self) -> bool:
        """Asks for the cancel of all orders of all clients, and waits for their ends. Whether all have ended."""
        if not await self._open():
            self._cancelled = True
            return True
        self._ib.reqGlobalCancel()
        deadline = self._monotonic() + CANCEL_WAIT_SECONDS
        while open_orders := await self._open():
            if self._monotonic() > deadline:
                self._log.error("orders_not_cancelled", orders=len(open_orders))
                return False
            await asyncio.sleep(0.1)
        self._cancelled = True
        return True

    async def _open(self) -> list[Trade]:
        async with asyncio.timeout(ANSWER_SECONDS):
            return list(await self._ib.reqAllOpenOrdersAsync())

    async def _positions(self) -> list[Position]:
        """Raises ConnectionError where a frame could not be read meanwhile: it may have been a position."""
        unread = self._decode_errors()
        async with asyncio.timeout(ANSWER_SECONDS):
            positions = await self._ib.reqPositionsAsync()
        if self._decode_errors() != unread:
            raise ConnectionError("a frame of the broker could not be read while it told the positions")
        latest = {p.contract.conId: p for p in positions if p.account == self._account}
        return [position for position in latest.values() if position.position]

    async def _close_all(self, positions: list[Position], live: set[int]) -> None:
        """Each position for itself: one that cannot be closed holds up no other, and none is begun twice."""
        held = {position.contract.conId for position in positions}
        for con_id, closing in self._closing.items():
            if con_id not in held:
                self._cancel(closing, live)
        ends = await asyncio.gather(*(self._close(position, live) for position in positions), return_exceptions=True)
        for position, end in zip(positions, ends, strict=True):
            if isinstance(end, ConnectionError):
                raise end
            if isinstance(end, BaseException):
                name = position.contract.localSymbol or position.contract.conId
                self._log.error("flatten_not_closed", contract=name, error=str(end) or type(end).__name__)

    async def _close(self, position: Position, live: set[int]) -> None:
        """Sends the closing order of a position, follows the market with it, and puts a stop beside what cannot be closed."""
        con_id, held = position.contract.conId, int(position.position)
        now = self._monotonic()
        closing = self._closing.get(con_id)
        if closing is None:
            closing = self._closing[con_id] = await self._begin(position.contract, held)
            self._place(closing)
        elif closing.order_id in live:
            if self._closes_more(closing, held, live):
                return
            if now - closing.priced_at >= REPRICE_SECONDS:
                closing.attempt, closing.priced_at = closing.attempt + 1, now
                if self._price(closing) != closing.limit:
                    self._place(closing)
            if now - closing.since >= STOP_AFTER_SECONDS and closing.stop_id is None:
                self._stop(closing, held)
        else:
            # The order ended. Another goes out only for what is surely still held: positions may follow executions late.
            closing.ended_at = closing.ended_at or now
            expected = abs(closing.quantity) - self._filled(closing)
            if now - closing.ended_at >= POSITIONS_LAG_SECONDS or (
                expected == abs(held) and now - closing.ended_at >= REPRICE_SECONDS
            ):
                closing.quantity, closing.ended_at = held, None
                closing.order_id = self._ib.client.getReqId()
                self._place(closing)

    def _filled(self, closing: _Closing) -> int:
        """Contracts that executions say the order closed; a correction replaces what it corrects."""
        ours = (self._ib.client.clientId, closing.order_id)
        executions = [f.execution for f in self._ib.fills() if (f.execution.clientId, f.execution.orderId) == ours]
        latest = {e.execId.rpartition(".")[0]: e for e in sorted(executions, key=lambda e: e.execId)}
        return sum(int(e.shares) for e in latest.values())

    def _closes_more(self, closing: _Closing, held: int, live: set[int]) -> bool:
        """Whether the order would close more than is held still: somebody else closed a part meanwhile. Then it shrinks to what
        is left, and where the position has turned round it ends."""
        filled = self._filled(closing)
        if closing.quantity * held < 0:
            self._cancel(closing, live)
            return True
        if abs(held) >= abs(closing.quantity) - filled:
            return False
        closing.quantity = (filled + abs(held)) * (1 if held > 0 else -1)
        self._place(closing)
        if closing.stop_id in live:
            self._place_stop(closing, held)
        return True

    def _cancel(self, closing: _Closing, live: set[int]) -> None:
        for order_id in live.intersection((closing.order_id, closing.stop_id)):
            self._ib.client.cancelOrder(order_id, "")
            self._log.warning("flatten_order_cancelled", contract=closing.contract.localSymbol, reason="it is held no more")

    async def _begin(self, contract: Contract, held: int) -> _Closing:
        """The contract as it can be traded, and its quotes: positions come without an exchange."""
        wanted = Contract(conId=contract.conId, exchange="SMART" if contract.secType in ("OPT", "STK") else "")
        details = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                details = await self._ib.reqContractDetailsAsync(wanted)
        except (TimeoutError, RequestError) as error:
            name = contract.localSymbol or contract.conId
            self._log.error("flatten_without_details", contract=name, error=str(error) or "no answer")
        tick = Decimal(str(details[0].minTick)) if details and details[0].minTick else None
        if details and details[0].contract is not None and not wanted.exchange:
            wanted.exchange = details[0].contract.exchange
        wanted.secType, wanted.symbol, wanted.localSymbol = contract.secType, contract.symbol, contract.localSymbol
        wanted.currency = contract.currency or "USD"
        ticker = self._ib.reqMktData(wanted, "", False, False)
        await asyncio.sleep(0.3)  # the first quotes arrive; without them it is a market order
        now = self._monotonic()
        return _Closing(wanted, ticker, tick, self._ib.client.getReqId(), held, since=now, priced_at=now)

    @staticmethod
    def _price(closing: _Closing) -> Decimal | None:
        """A limit through the other side, further each time; None without a quote."""
        selling = closing.quantity > 0
        side = closing.ticker.bid if selling else closing.ticker.ask
        if closing.tick is None or side is None or not 0 < side < 1e9:  # NaN compares false
            return None
        other = Decimal(str(side))
        through = min(closing.step(other) * (closing.attempt + 1), max(other * MOST_THROUGH, closing.step(other)))
        price = other - through if selling else other + through
        tick = closing.step(price)
        rounded = (price / tick).quantize(Decimal(1), ROUND_FLOOR if selling else ROUND_CEILING) * tick
        return max(rounded, tick)

    def _order(self, closing: _Closing, order_id: int, quantity: int, kind: str, tif: str) -> Order:
        name = f"flatten-{self._epoch}-{closing.contract.conId}"
        return Order(
            orderId=order_id,
            action="SELL" if closing.quantity > 0 else "BUY",
            totalQuantity=quantity,
            orderType=kind,
            tif=tif,
            account=self._account,
            orderRef=name,
            ocaGroup=f"{name}-{closing.order_id}",
            ocaType=OCA_REDUCE_WITH_BLOCK,
        )

    def _place(self, closing: _Closing) -> None:
        """Sends the closing order, or moves its price or its size."""
        price = self._price(closing)
        order = self._order(closing, closing.order_id, abs(closing.quantity), "MKT" if price is None else "LMT", "DAY")
        if price is not None:
            order.lmtPrice = float(price)
        closing.priced_at, closing.limit = self._monotonic(), price
        self._ib.client.placeOrder(closing.order_id, closing.contract, order)
        self._log.warning(
            "flatten_order",
            contract=closing.contract.localSymbol,
            quantity=closing.quantity,
            limit=str(price),
            attempt=closing.attempt,
        )

    def _stop(self, closing: _Closing, held: int) -> None:
        ticker = closing.ticker
        known = next((p for p in (ticker.last, ticker.close, ticker.bid) if p is not None and 0 < p < 1e9), None)
        if known is None or held < 0:
            self._log.error(
                "flatten_without_stop", contract=closing.contract.localSymbol, reason="no price is known, or it is short"
            )
            return
        wanted = Decimal(str(known)) * STOP_SHARE
        tick = closing.step(wanted)
        price = max((wanted / tick).quantize(Decimal(1), ROUND_FLOOR) * tick, tick)
        closing.stop_id, closing.stop_price = self._ib.client.getReqId(), float(price)
        self._place_stop(closing, held)
        self._log.error("flatten_keeps_stop", contract=closing.contract.localSymbol, quantity=held, stop=str(price))

    def _place_stop(self, closing: _Closing, held: int) -> None:
        if closing.stop_id is not None:
            stop = self._order(closing, closing.stop_id, held, "STP", "GTC")
            stop.auxPrice = closing.stop_price
            self._ib.client.placeOrder(closing.stop_id, closing.contract, stop)


async def flatten_directly(
    settings: Settings,
    epoch: int,
    *,
    monotonic: Callable[[], float],
    log: Any,
    limit_seconds: float = DIRECT_SECONDS,
    random: Random | None = None,
    recorder: Recorder | None = None,
) -> FlattenReport:
    """Connects to the gateway itself and flattens: for the operator's command when emergency does not answer. `recorder` is told
    every byte of that connection.

    Halt first: execution may be alive. A gateway that cannot be reached is a report with a problem."""
    broker = settings.broker
    stopping = asyncio.Event()
    result: list[FlattenReport] = []
    account = broker.account or (settings.sandbox.account if settings.mode == "sandbox" else "")
    connection = BrokerConnection(
        broker.gateways,
        # Emergency's own id may be held by its dead connection's last seconds, or by a process that hangs.
        broker.emergency_client_id + DIRECT_CLIENT_OFFSET,
        account=account,
        mode=settings.mode,
        readonly=False,
        connect_timeout_seconds=broker.connect_timeout_seconds,
        backoff_first_seconds=broker.backoff_first_seconds,
        backoff_most_seconds=min(broker.backoff_most_seconds, DIRECT_BACKOFF_SECONDS),
        log=log,
        random=random or Random(epoch),  # noqa: S311 only spreads reconnects
        prepare=None if recorder is None else lambda ib: tap(ib, recorder),
    )

    async def connected(ib: IB) -> None:
        flattening = Flattening(
            ib, connection.account, epoch, decode_errors=lambda: connection.decode_errors, monotonic=monotonic, log=log
        )
        result.append(await flattening.run(limit_seconds))
        stopping.set()

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_seconds + broker.connect_timeout_seconds):
            await connection.run(stopping, connected, lambda reason: None)
    return result[-1] if result else FlattenReport(problem=f"no gateway could be reached: {connection.problem}")
