"""Execution: sends the orders that risk approved, makes the exits that positions wants, books what the broker says.

Reads events:approvals, control:*, events:halt, global:halt, lease, exits:*, quotes:*, and the broker over its own connection
(`broker.orders_client_id`). Writes orders:*, ledger:orders, ledger:fills, events:orders, events:fills, events:account,
global:buying_power, journal.jsonl, and every raw message of its connection to the audit log. Started by
`alphatrader run execution`.

Recovery comes before anything else: the ledgers are read, the broker is asked for open orders, completed orders, executions and
positions, missed fills are booked, and every open record is settled by its orderRef. Nothing is ever sent twice or late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

from alphatrader.clients.ibkr.connection import IB, BrokerConnection
from alphatrader.clients.ibkr.orders import BrokerOrders
from alphatrader.clients.ibkr.wiretap import tap
from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.broker import News
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.messages.risk import ControlRequest, HaltEvent
from alphatrader.contract.modules import Module
from alphatrader.core.orders.book import Now, OrderBook
from alphatrader.core.orders.permission import lapsed
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.journal import Journal
from alphatrader.runtime.module import StreamModule, end_tasks
from alphatrader.streams.execution.desk import Desk
from alphatrader.streams.execution.exits import Exits
from alphatrader.streams.execution.openings import Openings
from alphatrader.streams.execution.settling import Settlement

REQUESTERS: Final = (Module.DASHBOARD, Module.TELEGRAM, Module.CLI, Module.RISK, Module.WATCHDOG)
TURN_SECONDS: Final = 0.1
PERMISSION_SECONDS: Final = 0.2
UNREADABLE_SECONDS: Final = 3.0
"""Permission that could not be read for this long is none: as long as a lease lives."""
RENEW_SECONDS: Final = 60.0
REREAD_SECONDS: Final = 5.0
DAY_NS: Final = 86_400 * SECOND


class ExecutionManager(StreamModule):
    name = Module.EXECUTION
    needs = (Server.STATE,)
    wire_logged = True

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
            prepare=self._prepare,
        )
        self.journal = Journal(self.data_dir)
        self.desk: Desk | None = None
        self.settlement: Settlement | None = None
        self._wake = asyncio.Event()

    def _wanted_account(self) -> str:
        return self.settings.broker.account or (self.settings.sandbox.account if self.settings.mode == "sandbox" else "")

    def _prepare(self, ib: IB) -> None:
        self.orders.bind(ib)
        if self.wire is not None:
            tap(ib, self.wire)

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
        self._add_from_journal(book)
        self.exits = Exits(desk, self.settings, self.calendar)
        self.openings = Openings(desk, self.exits, self.settings, self.calendar)
        self.settlement = Settlement(desk, self.exits, self.connection, self._wake, self.settings.orders.inactive_seconds)
        await self.exits.read_all()
        await desk.read_permission()
        self._approvals = await self.store.saved_cursor(Cursor.at_end([k.EVENTS_APPROVALS.at()]))
        self._requests = Cursor.at_end(
            [*(k.CONTROL.at(module=m) for m in REQUESTERS), k.EVENTS_HALT.at(), k.EVENTS_POSITIONS.at()]
        )
        # The end first, then what stands: a request between the two is heard twice rather than never.
        await self.store.fix(self._requests)
        await self._read_standing_requests()
        await desk.flush()

    def _add_from_journal(self, book: OrderBook) -> None:
        """What Redis lost of the last day: orders it does not have, and fills."""
        lines = list(self.journal.tail(self.clock.machine_ns() - DAY_NS))
        orders = (line.order for line in lines if line.order is not None)
        for record in {order.id: order for order in orders if order.id not in book.records}.values():
            book.put(record)
            self.health.count("orders_from_journal")
        # Then the fills, which are counted in their orders: the broker's own word of a fill that is known changes nothing.
        now = Now(self.clock.market_ns(), self.clock.machine_ns())
        for line in lines:
            if line.fill is not None and book.restore(line.fill, now):
                self.health.count("fills_from_journal")

    async def _read_standing_requests(self) -> None:
        """Requests to halt that came while nobody listened, and that emergency has not recorded yet."""
        for module in REQUESTERS:
            for request in await self.store.latest(k.CONTROL.at(module=module), 5):
                self._obey(request)

    async def run(self) -> None:
        desk = self._desk()
        if self.wire is not None:
            self.wire.start()
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
            failed = await end_tasks((*tasks, stop), self.log)
        if failed:
            raise failed[0]

    async def shut(self) -> None:
        self.journal.close()
        if self.wire is not None:
            await asyncio.to_thread(self.wire.close)

    def _desk(self) -> Desk:
        if self.desk is None:
            raise RuntimeError("execution has not recovered yet")
        return self.desk

    def _settlement(self) -> Settlement:
        if self.settlement is None:
            raise RuntimeError("execution has not recovered yet")
        return self.settlement

    # -- the broker

    async def _connected(self, ib: IB) -> None:
        """Everything open is settled before anything may be sent. A question without its answer gives the connection up."""
        settlement = self._settlement()
        settlement.link_up = True
        await settlement.ask("connected")

    def _lost(self, reason: str) -> None:
        self._settlement().doubt(f"connection lost: {reason}")

    def _hear(self, news: News) -> None:
        if self.settlement is not None:
            self.settlement.hear(news)

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
        reading: asyncio.Task[None] | None = None
        try:
            while not self.stopping.is_set():
                reading = reading or asyncio.create_task(self._desk().read_permission())
                await asyncio.wait({reading}, timeout=PERMISSION_SECONDS)
                if reading.done():
                    done, reading = reading, None
                    done.result()
                self._end_without_permission()
                await self.pause(PERMISSION_SECONDS)
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def _end_without_permission(self) -> None:
        """A server that does not answer renews nothing: the last lease seen lapses by its own age."""
        permission = self._desk().permission
        reason = lapsed(permission.lease, permission.halt, self.clock.machine_ns())
        if self.clock.monotonic() - permission.read_monotonic > UNREADABLE_SECONDS:
            reason = f"the state server does not answer; {reason or 'the last lease was live'}"
        self.health.fact("permission", reason or "granted")
        if reason is not None:
            self._stop_opening(reason)

    # -- what is done in turns

    async def _flush_news(self) -> None:
        while not self.stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._desk().flush()

    async def _turns(self) -> None:
        renewed, reread = float("-inf"), self.clock.monotonic()  # views may have lapsed while nobody was here
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
            await self._settlement().settle()
            await self.exits.turn()
            await desk.flush()
            self._tell()
            await self.pause(TURN_SECONDS)

    async def _publish_account(self) -> None:
        while not self.stopping.is_set():
            await self.pause(self.settings.orders.account_poll_seconds)
            await self._settlement().publish_account()

    def _end_old_entries(self) -> None:
        """An entry that did not fill in its time, or whose strategy's window is over, is cancelled."""
        desk = self._desk()
        if desk.flattening:
            return
        limit_ns = int(self.settings.orders.entry_life_seconds * SECOND)
        for record in desk.book.open():
            if record.role != "entry":
                continue
            if self.clock.market_ns() - record.created_ns > limit_ns:
                desk.cancel(record, "it did not fill in time")
            elif (reason := self.openings.untimely(record.strategy)) is not None:
                desk.cancel(record, reason)

    def _tell(self) -> None:
        desk = self._desk()
        late_seconds = self.settings.orders.unconfirmed_alarm_seconds
        late = self._settlement().unconfirmed(late_seconds)
        self.health.fact("open_orders", len(desk.book.open()))
        self.health.fact("audit_dropped", self.wire.dropped if self.wire else None)
        self.health.fact("short", self.exits.shorts())
        self.health.fact("held", {intent: holding.quantity for intent, holding in self.exits.holdings().items()})
        if late:
            names = ", ".join(f"{ref} ({desk.book.records[ref].reason or 'no word'})" for ref in late[:5])
            self.health.degraded(f"not confirmed by the broker for over {late_seconds:g} s: {names}")
        elif not self.connection.connected:
            self.health.waiting(f"broker: {self.connection.problem}", "broker")
        elif short := self.exits.shorts():
            what = ", ".join(f"{position} by {quantity}" for position, quantity in short.items())
            self.health.degraded(f"short: {what}; nothing opens, ours are bought back, others are left to you")
        elif not desk.settled:
            self.health.waiting("orders are not settled with the broker", "broker")
        elif desk.journal_problem:
            self.health.degraded("the journal on disk cannot be written: nothing opens")
        elif unread := self.connection.decode_errors + self._settlement().garbled:
            self.health.degraded(f"{unread} frames of the broker could not be read")
        elif self.wire is not None and self.wire.problem:
            self.health.degraded(f"audit log: {self.wire.problem}")
        else:
            self.health.ready()
