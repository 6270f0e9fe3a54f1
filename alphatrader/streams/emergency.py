"""Emergency: records every halt, and can always flatten. The single writer of `global:halt` and `events:halt`.

Reads control:* (cursor kept with what was recorded), its own loopback door (runtime/emergency_socket.py) and the broker over its
own idle connection. Writes data/<mode>/halt.json first, then Redis. The door, the connection and flattening start before Redis is
asked for and live through its absence; only reading requests and telling the others need it. Started by
`alphatrader run emergency`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from random import Random
from typing import Final

from msgspec.structs import replace

from alphatrader.clients.ibkr.connection import IB, BrokerConnection
from alphatrader.clients.ibkr.flatten import Flattening, FlattenReport
from alphatrader.clients.ibkr.wiretap import tap
from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.risk import ControlRequest, Halt, HaltEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime import halt_file
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.emergency_socket import Answer, EmergencyDoor, Request
from alphatrader.runtime.module import StreamModule, end_tasks
from alphatrader.runtime.store import StoreLost

REQUESTERS: Final = (Module.DASHBOARD, Module.TELEGRAM, Module.CLI, Module.RISK, Module.WATCHDOG)
CHECK_SECONDS: Final = 1.0
ROUND_SECONDS: Final = 60.0
"""A flattening that takes longer than this alarms; it goes on, and only then may a person end it with `resume`."""
LEAST_SECONDS: Final = 1.0
"""A flatten epoch stands at least this long, so that everybody has seen it."""
RESUME_LIFE_NS: Final = 60_000_000_000
"""A request to resume older than this is worth nothing: what it was about may have changed."""
TELL_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.5
"""A flattening that broke off is begun anew after this."""


class EmergencyManager(StreamModule):
    name = Module.EMERGENCY
    needs = (Server.STATE,)
    wire_logged = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        broker = self.settings.broker
        account = broker.account or (self.settings.sandbox.account if self.settings.mode == "sandbox" else "")
        self.connection = BrokerConnection(
            broker.gateways,
            broker.emergency_client_id,
            account=account,
            mode=self.settings.mode,
            readonly=False,
            connect_timeout_seconds=broker.connect_timeout_seconds,
            backoff_first_seconds=broker.backoff_first_seconds,
            backoff_most_seconds=broker.backoff_most_seconds,
            log=self.log,
            random=Random(broker.emergency_client_id),  # noqa: S311 only spreads reconnects
            prepare=self._prepare,
        )
        self.door = EmergencyDoor(self.data_dir, self.secrets.require("emergency_token"), self._answer)
        self.halt: Halt | None = None
        """What was recorded last; None on a first start until Redis has been asked."""
        self.report: FlattenReport | None = None
        """How the last round of flattening ended."""
        self._told_epoch = 0
        self._flatten_wanted = asyncio.Event()
        self._connected = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []
        self._telling = asyncio.Lock()
        self._only: int | None = None
        self._disk_problem: str | None = None
        """Why halt.json is not what was recorded last."""

    def _prepare(self, ib: IB) -> None:
        if self.wire is not None:
            tap(ib, self.wire)

    # -- what lives without Redis

    async def begin(self) -> None:
        if self._background:
            return
        await self._be_the_only_one()
        try:
            self.halt = halt_file.read(self.data_dir)
        except halt_file.HaltFileError as error:
            self.log.error("halt_file_unreadable", error=str(error))
            self.halt = self._make(halted=True, flatten=False, reason=str(error), by="emergency")
        if self.halt is not None and self.halt.flatten:
            self._flatten_wanted.set()
        await self.door.open()
        if self.wire is not None:
            self.wire.start()
        self._background = [
            asyncio.create_task(self.connection.run(self.stopping, self._on_connected, self._on_lost), name="broker"),
            asyncio.create_task(self._flatten_when_wanted(), name="flatten"),
        ]
        for task in self._background:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Without Redis nobody else would see that the connection or the flattening died: the process is started anew."""
        if not self.stopping.is_set() and not task.cancelled():
            self.log.error("background_ended", task=task.get_name(), error=str(task.exception()))
            self.stopping.set()

    async def _be_the_only_one(self) -> None:
        """The lock in Redis may be out of reach: a lock on the disk keeps a second instance from taking the door."""
        self._only = os.open(self.data_dir / "emergency.lock", os.O_RDWR | os.O_CREAT, 0o600)
        while not self.stopping.is_set():
            try:
                fcntl.flock(self._only, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                self.log.warning("another_emergency_runs")
                await self.pause(1.0)

    async def _on_connected(self, _ib: IB) -> None:
        self._connected.set()

    def _on_lost(self, reason: str) -> None:
        self._connected.clear()

    async def _answer(self, request: Request) -> Answer:
        """What came through the door; recorded on disk before it is answered."""
        detail = "as it stands"
        if request.kind != "status":
            detail = self._apply(request.kind, request.by, request.reason, self.clock.machine_ns())
            with contextlib.suppress(*StoreLost, TimeoutError):
                await self._tell_soon()
        halt = self.halt or self._make(halted=True, flatten=False, reason="Redis has not been asked yet", by="emergency")
        return Answer(not detail.startswith("refused"), halt.epoch, halt.halted, halt.flatten, detail)

    async def _flatten_when_wanted(self) -> None:
        while not self.stopping.is_set():
            await self._flatten_wanted.wait()
            try:
                await self._flatten()
            except Exception as error:
                self.report = FlattenReport(problem=f"{type(error).__name__}: {error}")
                self.log.exception("flatten_failed")
                await self.pause(AGAIN_SECONDS)

    async def _flatten(self) -> None:
        """Rounds, until flat or ended by a person. A new connection starts anew with the cancel of everything."""
        with contextlib.suppress(*StoreLost, TimeoutError):
            # Execution falls silent first, so that it protects nothing that is being cancelled.
            await self._tell_soon()
        began = self.clock.monotonic()
        flattening: Flattening | None = None
        on: IB | None = None
        while self._flatten_wanted.is_set() and self.halt is not None and not self.stopping.is_set():
            if not self.connection.connected:
                self.report = FlattenReport(problem=f"broker: {self.connection.problem}")
                await asyncio.sleep(0.1)
                continue
            if flattening is None or on is not self.connection.ib:
                on = self.connection.ib
                flattening = Flattening(
                    on,
                    self.connection.account,
                    self.halt.epoch,
                    decode_errors=lambda: self.connection.decode_errors,
                    monotonic=self.clock.monotonic,
                    log=self.log,
                )
            self.report = await flattening.run(ROUND_SECONDS)
            left = LEAST_SECONDS - (self.clock.monotonic() - began)
            if self.report.flat and left > 0:
                await asyncio.sleep(left)  # and looked at once more: somebody may have sent an order while all was cancelled
            elif self.report.flat:
                self._flatten_wanted.clear()
                self._record(halted=True, flatten=False, reason="flattened", by=self.halt.by)
                with contextlib.suppress(*StoreLost, TimeoutError):
                    await self._tell_soon()
            else:
                self.log.error("flatten_goes_on", problem=self.report.problem, left=self.report.left)
                await asyncio.sleep(0.2)

    # -- recording

    def _make(self, *, halted: bool, flatten: bool, reason: str, by: str) -> Halt:
        epoch = (self.halt.epoch if self.halt else 0) + 1
        return Halt(halted, flatten, epoch, reason, by, self.clock.market_ns(), self.clock.machine_ns())

    def _record(self, *, halted: bool, flatten: bool, reason: str, by: str) -> bool:
        """On disk, with a higher epoch; `_tell` brings it to Redis. Whether it stands.

        A disk that takes nothing holds up no halt: that stands without it, alarms, and is written as soon as it can be. But
        nothing is allowed that a restart would not know of."""
        halt = self._make(halted=halted, flatten=flatten, reason=reason, by=by)
        self._write(halt)
        if self._disk_problem is not None and not halted:
            return False
        self.halt = halt
        say = self.log.warning if halted else self.log.info
        say("halt_recorded", halted=halted, flatten=flatten, epoch=halt.epoch, reason=reason, by=by)
        return True

    def _write(self, halt: Halt) -> None:
        try:
            halt_file.write(self.data_dir, halt)
            self._disk_problem = None
        except OSError as error:
            self._disk_problem = f"{halt_file.FILE} cannot be written: {error}"
            self.health.count("halt_file_failed")
            self.log.error("halt_file_failed", error=str(error))

    def _apply(self, kind: str, by: str, reason: str, requested_ns: int) -> str:
        """Records a request. Says what is done, or `refused: why`."""
        flattening = self._flatten_wanted.is_set()
        match kind:
            case "halt":
                self._record(halted=True, flatten=flattening, reason=reason, by=by)
                return "halted"
            case "flatten":
                self._record(halted=True, flatten=True, reason=reason, by=by)
                self.report = None
                self._flatten_wanted.set()
                return "flattening"
            case _:
                if self.clock.machine_ns() - requested_ns > RESUME_LIFE_NS:
                    return "refused: the request is too old"
                if self.halt is not None and requested_ns <= self.halt.machine_ns:
                    return f"refused: {self.halt.reason!r} was recorded after the request was made"
                if flattening and self.report is None:
                    return "refused: it is flattening"
                if not self._record(halted=False, flatten=False, reason=reason, by=by):
                    return f"refused: {self._disk_problem}"
                self._flatten_wanted.clear()
                return "resumed"

    async def _tell_soon(self) -> None:
        """As `_tell`, but never waits long. Raises StoreLost or TimeoutError."""
        # Not wait_for: on Python 3.11 it may swallow a cancel that comes in the moment of its result.
        async with asyncio.timeout(TELL_SECONDS):
            await self._tell()

    async def _tell(self, cursor: Cursor | None = None) -> None:
        """Brings `global:halt` up to the disk, with the cursor of what was read. Raises StoreLost."""
        async with self._telling:
            batch = self.store.batch()
            halt = self.halt
            if halt is not None and halt.epoch != self._told_epoch:
                batch.put(k.HALT.at(), halt)
                event = HaltEvent(halt.halted, halt.flatten, halt.epoch, halt.reason, halt.by, halt.ts_ns, halt.machine_ns)
                batch.append(k.EVENTS_HALT.at(), event)
            if cursor is not None:
                cursor.keep(batch, Module.EMERGENCY)
            await self.store.commit(batch)
            if halt is not None:
                self._told_epoch = halt.epoch

    # -- with Redis

    async def recover(self) -> None:
        """Disk and Redis are made equal; the more careful and the newer one wins."""
        await self.begin()
        self._told_epoch = 0
        await self._compare()
        saved = await self.store.fields(k.CURSOR.at(module=Module.EMERGENCY))
        self._cursor = Cursor.at_start([k.CONTROL.at(module=module) for module in REQUESTERS])
        self._cursor.positions |= {name: position for name, position in saved.items() if name in self._cursor.keys}

    async def _compare(self) -> None:
        key, mine = await self.store.get(k.HALT.at()), self.halt
        if key is None and mine is None:
            halted = self.settings.risk.start_halted
            self._record(halted=halted, flatten=False, reason="first start", by="emergency")
        elif key is None and mine is not None:
            self._record(halted=True, flatten=mine.flatten, reason="Redis lost global:halt", by="emergency")
        elif key is not None and (mine is None or key.epoch > mine.epoch):
            if key.flatten:
                self._flatten_wanted.set()
            flatten = self._flatten_wanted.is_set()
            halted = flatten or key.halted or (mine is not None and mine.halted)
            self.halt = replace(key, halted=halted, flatten=flatten)
            reason = "halt.json was behind Redis" if mine else key.reason
            self._record(halted=halted, flatten=flatten, reason=reason, by="emergency")
        elif key == mine and mine is not None:
            self._told_epoch = mine.epoch
        await self._tell()

    async def run(self) -> None:
        reading = asyncio.create_task(self._read(), name="requests")
        checking = asyncio.create_task(self._check(), name="check")
        stop = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({reading, checking, stop, *self._background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed = await end_tasks((reading, checking, stop), self.log)
        ended = (task.exception() for task in self._background if task.done() and not task.cancelled())
        failed += [error for error in ended if isinstance(error, Exception)]
        if failed:
            raise failed[0]

    async def _read(self) -> None:
        while not self.stopping.is_set():
            entries = await self.store.read(self._cursor)
            for entry in entries:
                request: ControlRequest = entry.event
                done = self._apply(request.kind, request.by, request.reason, request.machine_ns)
                if done.startswith("refused"):
                    self.health.count("requests_refused")
                    self.log.error("request_refused", kind=request.kind, by=request.by, why=done)
            if entries:
                await self._tell(self._cursor)

    async def _check(self) -> None:
        """`global:halt` must be there and be ours: a Redis that was emptied while it runs is a lost one, and a write of ours
        that a stalled network delivers late must not bring back what stood before."""
        while not self.stopping.is_set():
            mine, told = self.halt, self._told_epoch
            key = await self.store.get(k.HALT.at())
            if mine is not None and mine is self.halt and told == mine.epoch and key != mine:
                if key is None:
                    flattening = self._flatten_wanted.is_set()
                    self._record(halted=True, flatten=flattening, reason="Redis lost global:halt", by="emergency")
                else:
                    self.log.error("halt_was_another", epoch=key.epoch, halted=key.halted, ours=mine.epoch)
                    self.health.count("halt_was_another")
                    self._told_epoch = 0
            if self._disk_problem is not None and self.halt is not None:
                self._write(self.halt)
            await self._tell()
            self._tell_health()
            await self.pause(CHECK_SECONDS)

    def _tell_health(self) -> None:
        self.health.fact("halted", self.halt.halted if self.halt else None)
        self.health.fact("epoch", self.halt.epoch if self.halt else None)
        self.health.fact("audit_dropped", self.wire.dropped if self.wire else None)
        if self._flatten_wanted.is_set():
            problem = self.report.problem if self.report else None
            self.health.degraded(f"flattening: {problem or 'under way'}")
        elif self._disk_problem is not None:
            self.health.degraded(self._disk_problem)
        elif not self.connection.connected:
            self.health.degraded(f"no connection to the broker, a flatten would wait for it: {self.connection.problem}", "broker")
        elif self.wire is not None and self.wire.problem:
            self.health.degraded(f"audit log: {self.wire.problem}")
        else:
            self.health.ready()

    async def shut(self) -> None:
        self.door.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.wire is not None:
            await asyncio.to_thread(self.wire.close)
        if self._only is not None:
            os.close(self._only)
            self._only = None
