"""Execution: sends the orders that risk approved, makes the exits that positions wants, books what the broker says.

Reads events:approvals, control:*, events:halt, global:halt, lease, exits:*, quotes:*, and the broker over its own connection
(`broker.orders_client_id`). Writes orders:*, ledger:orders, ledger:fills, events:orders, events:fills, events:account,
global:buying_power, journal.jsonl. Started by `alphatrader run execution`.

Recovery comes before anything else: the ledgers are read, the broker is asked for open orders, completed orders, executions and
positions, missed fills are booked, and every open record is settled by its orderRef. Nothing is ever sent twice or late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

from ib_insync import IB
from ib_insync.wrapper import RequestError

from alphatrader.clients.ibkr.account import account_values, read_positions
from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.clients.ibkr.orders import BrokerOrders
from alphatrader.contract import keys as k
from alphatrader.contract.messages.broker import (
    BrokerOrder,
    BrokerSnapshot,
    CommissionNews,
    ErrorNews,
    ExecutionNews,
    GarbledNews,
    LinkNews,
    News,
    StatusNews,
)
from alphatrader.contract.messages.orders import Account, BrokerPosition, BuyingPower
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.messages.risk import ControlRequest, HaltEvent
from alphatrader.contract.modules import Module
from alphatrader.core.orders.book import OrderBook
from alphatrader.core.orders.permission import lapsed
from alphatrader.core.orders.states import is_open
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.journal import Journal
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.store import Cursor
from alphatrader.streams.execution.desk import Desk
from alphatrader.streams.execution.exits import Exits
from alphatrader.streams.execution.openings import Openings

REQUESTERS: Final = (Module.DASHBOARD, Module.TELEGRAM, Module.CLI, Module.RISK, Module.WATCHDOG)
TURN_SECONDS: Final = 0.1
PERMISSION_SECONDS: Final = 0.2
UNREADABLE_SECONDS: Final = 3.0
"""Permission that could not be read for this long is none: as long as a lease lives."""
ANSWER_SECONDS: Final = 4.0
ASK_FIRST_SECONDS, ASK_MOST_SECONDS = 0.3, 5.0
QUIET_ORDER_NS: Final = 2 * SECOND
"""A sent order of which nothing was heard for this long is asked about."""
POSITIONS_SETTLE_SECONDS: Final = 2.0
"""The broker's positions follow its executions: a list asked sooner after one may not have it yet."""
RENEW_SECONDS: Final = 60.0
REREAD_SECONDS: Final = 5.0
MISSING_FILLS_NS: Final = 3_600 * SECOND
"""Executions of a filled order are asked for this long; the broker has none of an earlier day."""
DAY_NS: Final = 86_400 * SECOND


class ExecutionManager(StreamModule):
    name = Module.EXECUTION

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        broker = self.settings.broker
        self.orders = BrokerOrders(self._hear)
        self.connection = BrokerConnection(
            broker.gateways,
            broker.orders_client_id,
            account=self._wanted_account(),
            mode=self.settings.mode,
            readonly=False,
            connect_timeout_seconds=broker.connect_timeout_seconds,
            backoff_first_seconds=broker.backoff_first_seconds,
            backoff_most_seconds=broker.backoff_most_seconds,
            log=self.log,
            random=Random(broker.orders_client_id),  # noqa: S311 only spreads reconnects
            prepare=self.orders.bind,
        )
        self.journal = Journal(self.data_dir)
        self.desk: Desk | None = None
        self._asking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._link_up = True
        self._ask_wanted: str | None = None
        self._ask_at = 0.0
        self._ask_pause = ASK_FIRST_SECONDS
        self._garbled = 0
        self._executed_at = 0.0
        self._difference: dict[int, int] = {}
        """Contract -> what the broker holds beyond all fills we know: asked about once, then known."""

    def _wanted_account(self) -> str:
        return self.settings.broker.account or (self.settings.sandbox.account if self.settings.mode == "sandbox" else "")

    # -- start-up is recovery

    async def recover(self) -> None:
        """The book from the ledgers, and from the journal what Redis lost of the last day."""
        self.health.waiting("reading the ledgers")
        records = await self.store.fields(k.LEDGER_ORDERS.at())
        fills = await self.store.fields(k.LEDGER_FILLS.at())
        book = OrderBook(self.settings.broker.orders_client_id, records.values(), fills.values())
        self.desk = desk = Desk(
            clock=self.clock,
            store=self.store,
            orders=self.orders,
            journal=self.journal,
            health=self.health,
            log=self.log,
            client_id=self.settings.broker.orders_client_id,
            book=book,
            account=lambda: self.connection.account,
            fence=self.fence,
            max_quote_age_seconds=self.settings.orders.max_quote_age_seconds,
        )
        for line in self.journal.tail(self.clock.machine_ns() - DAY_NS):
            if line.order is not None and line.order.id not in book.records:
                book.put(line.order)
                self.health.count("orders_from_journal")
            if line.fill is not None and book.fills.restore(line.fill):
                book.rebook(line.fill)
                self.health.count("fills_from_journal")
        self.openings = Openings(desk, self.settings, self.calendar)
        self.exits = Exits(desk, self.settings, self.calendar)
        await self.exits.read_all()
        await desk.read_permission()
        await self._read_standing_requests()
        self._approvals = await self.store.saved_cursor([k.EVENTS_APPROVALS.at()])
        self._requests = Cursor.at_end(
            [*(k.CONTROL.at(module=m) for m in REQUESTERS), k.EVENTS_HALT.at(), k.EVENTS_POSITIONS.at()]
        )
        await desk.flush()

    async def _read_standing_requests(self) -> None:
        """Requests to halt that came while nobody listened, and that emergency has not recorded yet."""
        for module in REQUESTERS:
            for request in await self.store.latest(k.CONTROL.at(module=module), 5):
                self._obey(request)

    async def run(self) -> None:
        desk = self._desk()
        workers: dict[str, Coroutine[Any, Any, None]] = {
            "broker": self.connection.run(self.stopping, self._connected, self._lost),
            "approvals": self._read_approvals(),
            "requests": self._read_requests(),
            "permission": self._watch_permission(),
            "turns": self._turns(),
            "flush": self._flush_news(),
            "account": self._publish_account(),
        }
        tasks = [asyncio.create_task(worker, name=name) for name, worker in workers.items()]
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Without anybody here to watch them, working entries end; stops and targets stay at the broker.
            with contextlib.suppress(ConnectionError):
                desk.cancel_openings("execution leaves")
            desk.settled = False
            for task in (*tasks, stop):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def shut(self) -> None:
        self.journal.close()

    def _desk(self) -> Desk:
        if self.desk is None:
            raise RuntimeError("execution has not recovered yet")
        return self.desk

    # -- the broker

    async def _connected(self, ib: IB) -> None:
        """Everything open is settled before anything may be sent. A question without its answer gives the connection up."""
        self._link_up = True
        await self._ask("connected")

    def _lost(self, reason: str) -> None:
        self._doubt(f"connection lost: {reason}")

    def _doubt(self, reason: str) -> None:
        desk = self._desk()
        desk.settled = False
        self.exits.broker = None
        desk.book.doubt(reason, desk.now())
        self._wake.set()

    def _hear(self, news: News) -> None:
        """The broker's word, folded into the book in the turn it came; writing follows."""
        desk = self.desk
        if desk is None:
            return
        now = desk.now()
        match news:
            case StatusNews():
                desk.book.hear_status(news, now)
            case BrokerOrder():
                desk.book.hear_order(news, now)
            case ExecutionNews():
                if news.account == (
                    self.connection.account or self._wanted_account() or news.account
                ) and desk.book.hear_execution(news, now):
                    # What the broker listed before this execution must not be held against it.
                    self.exits.broker = None
                    self._executed_at = self.clock.monotonic()
            case CommissionNews():
                desk.book.hear_commission(news)
            case ErrorNews():
                record = desk.book.hear_error(news, now)
                if record is not None:
                    self.log.warning("order_error", order=record.id, code=news.code, text=news.text)
                    desk.refused(record.id, f"{news.code}: {news.text}")
                    self._want(f"error {news.code} about {record.id}")
            case LinkNews():
                self._link_up = news.up
                self.log.warning("broker_link", up=news.up, code=news.code)
                if news.up:
                    self._want(f"link restored ({news.code})")
                else:
                    self._doubt("the gateway lost its link to the broker")
            case GarbledNews():
                self.health.count("frames_garbled")
                self._garbled += 1
                if self._garbled <= 10:
                    self._want("a frame could not be read")
        self._wake.set()

    def _want(self, reason: str) -> None:
        """The broker is to be asked at the next turn."""
        if self._ask_wanted is None:
            self._ask_pause = ASK_FIRST_SECONDS
            self._ask_at = 0.0
        self._ask_wanted = reason

    async def _ask(self, reason: str) -> None:
        """Asks for everything and settles every open order by it. Raises TimeoutError or ConnectionError."""
        desk = self._desk()
        async with self._asking:
            asked_ns, asked_at = self.clock.machine_ns(), self.clock.monotonic()
            answered = await asyncio.wait_for(self._answers(), ANSWER_SECONDS)
        open_orders, completed, positions = answered
        if not self._link_up:
            raise ConnectionError("the gateway has no link to the broker")
        self._take_positions(positions, asked_at)
        snapshot = BrokerSnapshot(open_orders, completed, positions, asked_ns)
        for record in desk.book.hear_snapshot(snapshot, desk.now()):
            self.log.warning("order_adopted", order=record.id, role=record.role, quantity=record.quantity)
        self._cancel_naked_entries()
        await desk.flush()
        if not desk.settled:
            self.log.info("orders_settled", reason=reason, open=len(desk.book.open()), fills=len(desk.book.fills.by_key))
        desk.settled = True
        self._ask_wanted = None

    def _take_positions(self, positions: tuple[BrokerPosition, ...], asked_at: float) -> None:
        """What the broker holds bounds what we think is held, once its list is surely younger than the last execution."""
        if asked_at - self._executed_at >= POSITIONS_SETTLE_SECONDS:
            self.exits.broker = {position.con_id: int(position.quantity) for position in positions}

    async def _answers(self) -> tuple[tuple[BrokerOrder, ...], tuple[BrokerOrder, ...], tuple[BrokerPosition, ...]]:
        # Executions first: an order that the lists no longer hold has its fills booked before it is judged.
        await self.orders.ask_executions()
        open_orders = await self.orders.open_orders()
        completed = await self.orders.completed_orders()
        positions = await read_positions(self.orders.client, self.connection.account)
        await self.orders.ask_executions()
        return open_orders, completed, positions

    def _cancel_naked_entries(self) -> None:
        """An entry that works without its stop (a crash between the legs, a refused child) must not fill."""
        desk = self._desk()
        for entry in desk.book.open():
            stops = [r for r in desk.book.of_intent(entry.intent_id) if r.role == "stop" and is_open(r.state)]
            if entry.role == "entry" and entry.state == "WORKING" and not stops:
                desk.cancel(entry, "its stop is not at the broker")

    # -- what is read

    async def _read_approvals(self) -> None:
        while not self.stopping.is_set():
            entries = await self.store.read(self._approvals, count=1)
            await self.openings.take([entry.event for entry in entries], self._approvals) if entries else None

    async def _read_requests(self) -> None:
        while not self.stopping.is_set():
            for entry in await self.store.read(self._requests):
                event = entry.event
                if isinstance(event, ControlRequest):
                    self._obey(event)
                elif isinstance(event, HaltEvent) and (event.halted or event.flatten):
                    await self._desk().read_permission()
                    self._stop_opening(f"halted: {event.reason}")
                elif isinstance(event, PositionEvent):
                    await self.exits.read(event.position.id)
                    self._wake.set()

    def _obey(self, request: ControlRequest) -> None:
        """A request to halt is obeyed before it is recorded; one that is recorded already stands in global:halt."""
        permission = self._desk().permission
        recorded_ns = permission.halt.machine_ns if permission.halt else 0
        if request.kind in ("halt", "flatten") and request.machine_ns > recorded_ns:
            permission.requested_ns = max(permission.requested_ns, request.machine_ns)
            if request.kind == "flatten" and self.connection.connected:
                permission.flatten_requested = self.clock.monotonic()
            self.log.warning("halt_obeyed", by=request.by, reason=request.reason, kind=request.kind)
            with contextlib.suppress(ConnectionError):
                self._desk().cancel_openings(f"{request.kind} requested by {request.by}")

    def _stop_opening(self, reason: str) -> None:
        desk = self._desk()
        if not desk.flattening:
            with contextlib.suppress(ConnectionError):
                desk.cancel_openings(reason)

    async def _watch_permission(self) -> None:
        """A lapsed lease, a halt, or a Redis that does not answer ends working entries."""
        desk = self._desk()
        reading: asyncio.Task[None] | None = None
        while not self.stopping.is_set():
            if reading is None:
                reading = asyncio.create_task(desk.read_permission())
            await asyncio.wait({reading}, timeout=PERMISSION_SECONDS)
            if reading.done():
                reading.result()
                reading = None
                reason = lapsed(desk.permission.lease, desk.permission.halt, self.clock.machine_ns())
            elif self.clock.monotonic() - desk.permission.read_monotonic > UNREADABLE_SECONDS:
                reason = "the state server does not answer"
            else:
                continue
            self.health.fact("permission", reason or "granted")
            if reason is not None:
                self._stop_opening(reason)
            await self.pause(PERMISSION_SECONDS)

    # -- what is done in turns

    async def _flush_news(self) -> None:
        while not self.stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._desk().flush()

    async def _turns(self) -> None:
        renewed = reread = self.clock.monotonic()
        while not self.stopping.is_set():
            desk = self._desk()
            now = self.clock.monotonic()
            if now - renewed > RENEW_SECONDS:
                renewed = now
                await desk.renew_views()
            if now - reread > REREAD_SECONDS:
                reread = now
                await self.exits.read_all()
            self._end_old_entries()
            await self._settle()
            await self.exits.turn()
            await desk.flush()
            self._tell()
            await self.pause(TURN_SECONDS)

    def _end_old_entries(self) -> None:
        """An entry that did not fill in its time is cancelled."""
        desk = self._desk()
        if desk.flattening:
            return
        limit_ns = int(self.settings.orders.entry_life_seconds * SECOND)
        for record in desk.book.open():
            if record.role == "entry" and self.clock.market_ns() - record.created_ns > limit_ns:
                desk.cancel(record, "it did not fill in time")

    async def _settle(self) -> None:
        """Asks the broker while something is in doubt, at first at once, then more and more slowly."""
        desk = self._desk()
        if not self.connection.connected or not self._link_up:
            return
        doubt = self._doubtful()
        if doubt is not None and self._ask_wanted is None:
            self._want(doubt)
        if self._ask_wanted is None or self.clock.monotonic() < self._ask_at:
            return
        self._ask_at = self.clock.monotonic() + self._ask_pause
        try:
            await self._ask(self._ask_wanted)
        except (TimeoutError, ConnectionError, RequestError) as error:
            self.log.warning("broker_did_not_answer", error=str(error) or type(error).__name__)
        if self._doubtful() is not None:
            self._ask_wanted = self._doubtful()
            self._ask_pause = min(self._ask_pause * 2, ASK_MOST_SECONDS)
            self._ask_at = self.clock.monotonic() + self._ask_pause
        desk.health.count("broker_asked")

    def _doubtful(self) -> str | None:
        """What only the broker can answer."""
        desk = self._desk()
        old = self.clock.machine_ns() - QUIET_ORDER_NS
        for record in desk.book.open():
            if record.state == "UNKNOWN" or (record.state in ("INTENT", "SENT") and record.machine_ns < old):
                return f"order {record.id} is {record.state}"
        recent = self.clock.machine_ns() - MISSING_FILLS_NS
        for record in desk.book.short_of_fills():
            if record.machine_ns > recent:
                return f"fills of {record.id} are missing"
        return None if desk.settled else "orders are not settled"

    def _tell(self) -> None:
        desk = self._desk()
        late_ns = int(self.settings.orders.unconfirmed_alarm_seconds * SECOND)
        now_ns = self.clock.machine_ns()
        late = [r.id for r in desk.book.open() if r.state in ("INTENT", "SENT", "UNKNOWN") and now_ns - r.machine_ns > late_ns]
        self.health.fact("open_orders", len(desk.book.open()))
        self.health.fact("held", {intent: holding.quantity for intent, holding in self.exits.holdings().items()})
        if late:
            self.health.degraded(f"the broker has said nothing of {', '.join(sorted(late)[:5])} for over {late_ns // SECOND} s")
        elif not self.connection.connected:
            self.health.waiting(f"broker: {self.connection.problem}")
        elif not desk.settled:
            self.health.waiting("orders are not settled with the broker")
        elif desk.journal_problem:
            self.health.degraded("the journal on disk cannot be written: nothing opens")
        elif self.connection.decode_errors or self._garbled:
            self.health.degraded(f"{self.connection.decode_errors + self._garbled} frames of the broker could not be read")
        else:
            self.health.ready()

    # -- the account

    async def _publish_account(self) -> None:
        while not self.stopping.is_set():
            await self.pause(self.settings.orders.account_poll_seconds)
            if not self.connection.connected or not self._link_up:
                continue
            asked_at = self.clock.monotonic()
            try:
                async with self._asking:
                    asked_at = self.clock.monotonic()
                    positions = await asyncio.wait_for(
                        read_positions(self.orders.client, self.connection.account), ANSWER_SECONDS
                    )
                    open_orders = await asyncio.wait_for(self.orders.open_orders(), ANSWER_SECONDS)
            except (TimeoutError, ConnectionError, RequestError) as error:
                self.log.warning("account_not_read", error=str(error) or type(error).__name__)
                self._doubt("the broker did not answer for the account")
                self._want("the account could not be read")
                continue
            await self._account(positions, open_orders, asked_at)

    async def _account(
        self, positions: tuple[BrokerPosition, ...], open_orders: tuple[BrokerOrder, ...], asked_at: float
    ) -> None:
        desk = self._desk()
        values = account_values(self.connection.ib, self.connection.account)
        if values is None:
            self.health.count("account_values_missing")
            return
        self._take_positions(positions, asked_at)
        held = {position.con_id: int(position.quantity) for position in positions}
        net = {con_id: quantity for con_id, quantity in desk.book.fills.net().items() if quantity}
        difference = {con_id: held.get(con_id, 0) - net.get(con_id, 0) for con_id in held | net}
        difference = {con_id: quantity for con_id, quantity in difference.items() if quantity}
        if difference != self._difference and difference:
            self._want("positions differ from the fills")
        self._difference = difference
        now = desk.now()
        batch = self.store.batch()
        batch.append(
            k.EVENTS_ACCOUNT.at(),
            Account(
                account=values.account,
                net_liquidation=values.net_liquidation,
                cash=values.cash,
                buying_power=values.buying_power,
                positions=positions,
                open_orders=len(open_orders),
                unknown_orders=sum(1 for record in desk.book.open() if record.state == "UNKNOWN"),
                confirmed=desk.settled and self._link_up,
                ts_ns=now.ts_ns,
                machine_ns=now.machine_ns,
            ),
        )
        batch.put(k.BUYING_POWER.at(), BuyingPower(values.buying_power, now.ts_ns, now.machine_ns))
        await self.store.commit(batch)
