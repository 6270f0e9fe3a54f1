"""SignalDistributor: what risk approved and what positions did, into the tiers' queues, each entry with its due time and payload.

Reads `events:signals`, `events:approvals`, `events:positions`; writes `distribution:{premium,basic,free}:queue`,
`telegram:signals:{symbol}:queue` and `distribution:signals:count`, with its place in the streams in the same MULTI, so that each
approval is told exactly once. Then wakes the delivery worker by a countdown task for each due time; a wake-up that is lost costs
time, not the message: the worker sweeps its queues. Sends nothing itself. Started by the Procfile line `distribution`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from kombu.exceptions import OperationalError

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.contract.messages.distribution import Delivery
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.messages.signals import Signal, SignalCount, SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.core.distribution import tiers
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor, Entry
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.store import BLOCK_SECONDS

STREAMS: Final = (k.EVENTS_SIGNALS.at(), k.EVENTS_APPROVALS.at(), k.EVENTS_POSITIONS.at())
QUEUES: Final = {"premium": k.PREMIUM_QUEUE, "basic": k.BASIC_QUEUE, "free": k.FREE_QUEUE}
REMEMBERED: Final = 2_000
"""Signals known by id: far more than can wait for a verdict."""
WAKES_WAITING: Final = 1_000
Wake = tuple[str, tuple[str, ...], int]
"""A task, its arguments, and the market instant it is wanted at."""


class SignalDistributor(StreamModule):
    name = Module.DISTRIBUTION
    wait_seconds = BLOCK_SECONDS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._signals: dict[str, Signal] = {}
        self._told: dict[str, None] = {}
        """Ids of signals distributed by this process: a verdict that is repeated is told once."""
        self._count = SignalCount("", 0)
        self._cursor = Cursor.at_end(STREAMS)
        self._kept: dict[str, str] = {}
        self._wakes: asyncio.Queue[Wake] = asyncio.Queue(WAKES_WAITING)

    # -- recovery

    async def recover(self) -> None:
        self._cursor = await self.store.saved_cursor(Cursor.at_end(STREAMS))
        self._kept = {}
        self._count = await self.store.get(k.DISTRIBUTION_COUNT.at()) or SignalCount("", 0)
        self._signals, self._told = {}, {}  # what was marked as told in a turn that was not booked is still to be told
        await self._remember_latest()
        self.log.info("recovered", signals=len(self._signals), session=self._count.session, distributed=self._count.count)

    async def _remember_latest(self) -> None:
        for event in reversed(await self.store.latest(k.EVENTS_SIGNALS.at(), REMEMBERED)):
            self._remember(event)

    def _remember(self, event: SignalEvent) -> None:
        if event.kind == "new":
            self._signals[event.signal.id] = event.signal
            while len(self._signals) > REMEMBERED:
                self._signals.pop(next(iter(self._signals)))

    # -- the loop

    async def run(self) -> None:
        waking = asyncio.create_task(self._wake_delivery(), name="wake")
        self.health.ready()
        try:
            while not self.stopping.is_set():
                if waking.done():
                    waking.result()
                # The first read does not wait: its place is kept at once, so that a restart knows where to go on.
                wait = self.wait_seconds if self._kept else None
                await self._turn(await self.store.read(self._cursor, block_seconds=wait))
        finally:
            waking.cancel()
            await asyncio.gather(waking, return_exceptions=True)

    async def _turn(self, entries: list[Entry]) -> None:
        """Books what came and the place it came from, in one MULTI; then wakes."""
        if not entries and self._kept == self._cursor.positions:
            return
        batch, wakes, count = self.store.batch(), set[Wake](), self._count
        for entry in entries:
            if isinstance(entry.event, SignalEvent):
                self._remember(entry.event)
        for entry in entries:
            if isinstance(entry.event, Approval):
                count = await self._tell_signal(batch, wakes, entry.event, count)
            elif isinstance(entry.event, PositionEvent):
                self._tell_position(batch, wakes, entry.event)
        if count is not self._count:
            batch.put(k.DISTRIBUTION_COUNT.at(), count)
        self._cursor.keep(batch, self.name)
        await self.store.commit(batch)
        self._count, self._kept = count, dict(self._cursor.positions)
        self.health.fact("distributed", {"session": count.session, "signals": count.count})
        for wake in wakes:
            if self._wakes.full():
                self.health.count("wakes dropped")
            else:
                self._wakes.put_nowait(wake)

    async def _tell_signal(self, batch: Batch, wakes: set[Wake], approval: Approval, count: SignalCount) -> SignalCount:
        if not approval.approved or approval.signal_id in self._told:
            return count
        if approval.signal_id not in self._signals:
            await self._remember_latest()
        signal = self._signals.get(approval.signal_id)
        if signal is None:
            self.health.count("approvals without a signal")
            self.log.error("approval_without_signal", signal=approval.signal_id)
            return count
        self._told[signal.id] = None
        while len(self._told) > REMEMBERED:
            self._told.pop(next(iter(self._told)))
        session = self.calendar.current(signal.ts_ns).name
        count = SignalCount(session, count.count + 1 if count.session == session else 1)
        deliveries = tiers.of_signal(signal, count.count, self.settings.distribution)
        self._enqueue(batch, wakes, deliveries)
        self.health.count("signals")
        self.log.info("signal_distributed", signal=signal.id, ordinal=count.count, tiers=[one.tier for one in deliveries])
        return count

    def _tell_position(self, batch: Batch, wakes: set[Wake], event: PositionEvent) -> None:
        deliveries = tiers.of_position(event, self.settings.distribution)
        if not deliveries:
            return
        self._enqueue(batch, wakes, deliveries)
        self.health.count(f"positions {event.kind}")
        if event.kind == "closed" and event.position.realized > 0:
            due_ns = event.ts_ns + tiers.delay_ns("free", self.settings.distribution)
            wakes.add(("twitter.announce", (event.position.id,), due_ns))

    def _enqueue(self, batch: Batch, wakes: set[Wake], deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            queues: tuple[BoundKey[Delivery], ...] = (
                QUEUES[delivery.tier].at(),
                k.TELEGRAM_SIGNALS_QUEUE.at(symbol=delivery.symbol),
            )
            for queue in queues:
                batch.enqueue(queue, delivery.due_ns, delivery)
                wakes.add(("delivery.deliver", (queue.name,), delivery.due_ns))

    # -- waking

    async def _wake_delivery(self) -> None:
        """Sends the countdown tasks, in a thread: a broker that hangs must not hold the stream."""
        while True:
            task, arguments, due_ns = await self._wakes.get()
            try:
                await asyncio.to_thread(self._send_task, task, arguments, due_ns)
            except (OperationalError, OSError) as error:
                self.health.count("wakes lost")
                self.log.warning("wake_lost", task=task, error=type(error).__name__)

    def _send_task(self, task: str, arguments: tuple[str, ...], due_ns: int) -> None:
        from alphatrader.runtime.celery_app import app  # reads this process's environment: only where a task is sent

        countdown = max(0.0, self.clock.machine_seconds_until(due_ns))
        app.send_task(task, args=list(arguments), countdown=countdown, queue="delivery")
