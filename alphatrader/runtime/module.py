"""How a stream module lives: start-up is recovery, a heartbeat, one running instance, SIGTERM, and back-off when Redis is lost.

Failure policy stands here and nowhere else: a lost server is waited for and then recovered from; any other error ends the process
with its traceback, and the parent starts it anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.runtime.build import refusal
from alphatrader.runtime.clock import ClockSteps
from alphatrader.runtime.context import Context, process_context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.lock import LockLostError, ModuleLock
from alphatrader.runtime.recording import RecordedClock, RecordedStore
from alphatrader.runtime.store import StoreLost

HEARTBEAT_SECONDS: Final = 1.0
_BACKOFF_FIRST: Final = 0.2
_BACKOFF_MOST: Final = 3.0
_LOOK_SECONDS: Final = 1.0
_CANCELS: Final = 3
_CANCEL_SECONDS: Final = 1.0
_THREAD_SECONDS: Final = 0.0005
"""How long the thread that packs the audit log may hold the interpreter while the event loop wants it; Python's own is 5 ms."""


class ClockSetError(RuntimeError):
    """Ages can no longer be told from what was stamped before. The next start recovers by the new time."""


class StreamModule(ABC):
    """A long-lived worker. `recover` rebuilds what it holds, `run` works until `stopping`."""

    name: ClassVar[Module]
    needs: ClassVar[tuple[Server, ...]] = tuple(Server)
    """Servers without which it cannot work. What moves money needs the state server alone."""
    recorded: ClassVar[bool] = False
    """Whether what it takes and gives is recorded, so that `alphatrader replay` can run it again. For modules of one task."""
    wire_logged: ClassVar[bool] = False
    """Whether its log is its broker connection's alone, to be read: what it decides is not run again."""
    replay: ClassVar[Callable[..., Awaitable[None]] | None] = None
    """How its log is run again, where that is not a decider's: takes how the run began, its records, the outcome, the pace, and
    the checkpoint that the records follow or None."""
    starts: ClassVar[Callable[..., Iterator[Any]] | None] = None
    """From where its log can be run, newest first before an instant, where it keeps checkpoints in it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self.secrets = context.secrets
        self.clock = context.clock
        self.calendar = context.calendar
        self.log: Any = context.log
        self.data_dir = context.data_dir
        self.own_store = self.store = context.async_store()
        """`own_store` carries lock and heartbeat, `store` what the module reads and writes: one of them may be recorded."""
        self.wire = context.wire_log() if self.wire_logged else None
        self.recorder = context.recorder() if self.recorded else None
        if self.recorder is not None:
            self.store = RecordedStore(context.module, context.settings, context.secrets.redis_password, self.recorder)
            self.clock = RecordedClock(context.clock, self.recorder)
        self.health = Heartbeat(context.instance, context.clock)
        self.stopping = asyncio.Event()
        self.fence = 0

    async def begin(self) -> None:  # noqa: B027 only what must work without Redis needs it
        """Once, before Redis is asked for anything: what must work while it is down starts here."""

    @abstractmethod
    async def recover(self) -> None:
        """Rebuild from Redis and the outside world: after a first start, a restart and a lost server alike."""

    @abstractmethod
    async def run(self) -> None:
        """Work until `stopping` is set."""

    async def shut(self) -> None:  # noqa: B027 most modules have no last words
        """Last words before the process leaves; under two seconds."""

    async def pause(self, seconds: float) -> None:
        """Sleeps, but wakes at once when asked to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()


class _Loop:
    def __init__(self, module: StreamModule) -> None:
        self._module = module
        self._lock = ModuleLock(module.own_store, module.context.instance)
        self._steps = ClockSteps(module.context.clock)

    async def live(self) -> None:
        module = self._module
        backoff = _BACKOFF_FIRST
        while not module.stopping.is_set():
            try:
                await self._hold_lock()
                backoff = _BACKOFF_FIRST
                await self._work()
            except StoreLost as error:
                module.log.warning("redis_lost", error=str(error), retry_seconds=backoff)
                await self._say_what_is_lost()
                await module.pause(backoff)
                backoff = min(backoff * 2, _BACKOFF_MOST)

    async def _be_of_this_build(self) -> None:
        """Waits while the system runs another build, and says so: to the log, and as its heartbeat where nobody else beats."""
        module = self._module
        said = False
        while not module.stopping.is_set():
            stamp = await module.own_store.get(k.STAMP_STATE.at())
            reason = refusal(stamp)
            if reason is None:
                return
            if not said:
                module.log.error("another_build", reason=reason)
                said = True
            await self._say_waiting(reason)
            await module.pause(HEARTBEAT_SECONDS)

    async def _say_what_is_lost(self) -> None:
        """A heartbeat while the data server is away: waiting is not dead, and the state server, which carries it, may answer."""
        module = self._module
        if Server.DATA not in module.needs:
            return
        with contextlib.suppress(*StoreLost, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await module.own_store.check_servers([Server.DATA])
                return
        with contextlib.suppress(*StoreLost, TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._say_waiting("the data server does not answer", "data server")

    async def _say_waiting(self, reason: str, waits_for: str | None = None) -> None:
        """Where nobody else beats."""
        module, holder = self._module, await self._lock.holder()
        if holder is None or holder.pid == os.getpid():
            module.health.waiting(reason, waits_for)
            batch = module.own_store.batch()
            module.health.add_to(batch, module.store.refused)
            await module.own_store.commit(batch)

    async def _hold_lock(self) -> None:
        """Waits until this is the only running instance."""
        module = self._module
        said = False
        await module.own_store.check_servers(module.needs)
        for server in set(Server) - set(module.needs):
            # Of another mode it is refused as well; one that is away is not waited for.
            with contextlib.suppress(*StoreLost, TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await module.own_store.check_servers([server])
        await self._be_of_this_build()
        while not module.stopping.is_set():
            fence = await self._lock.acquire()
            if fence:
                module.fence = fence
                return
            holder = await self._lock.holder()
            if not said and holder:
                module.log.warning("another_instance_runs", holder_pid=holder.pid, holder_fence=holder.fence)
                said = True
            await module.pause(0.5)

    async def _work(self) -> None:
        """Runs the module beside its heartbeat; whichever fails first ends both."""
        module = self._module
        if module.stopping.is_set():
            return
        beating = asyncio.create_task(self._beat(), name="heartbeat")
        working = asyncio.create_task(self._recover_and_run(), name="run")
        try:
            await asyncio.wait({beating, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed = await end_tasks((beating, working), module.log)
        if failed:
            raise failed[0]
        if not module.stopping.is_set():
            raise RuntimeError(f"{module.context.instance}: run() returned without being asked to stop")

    async def _recover_and_run(self) -> None:
        if self._module.recorder is not None:
            self._module.recorder.recovering(self._module.fence)
        await self._module.recover()
        _settle()
        await self._module.run()

    async def _beat(self) -> None:
        module, told = self._module, None
        while True:
            if step := self._steps.look():
                raise ClockSetError(f"the machine's clock was set by {step:+.1f} s: what is held is of another time")
            await self._lock.renew()
            if module.recorder is not None:
                module.health.fact("recording", module.recorder.standing())
            batch = module.own_store.batch()
            module.health.add_to(batch, module.store.refused)
            if module.wire is not None and (entry := module.wire.entry) is not None and entry is not told:
                told = entry
                batch.put(k.AUDIT_INDEX_OF.at(module=module.context.instance), entry)
            await module.own_store.commit(batch)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def leave(self) -> None:
        module = self._module
        module.health.stopping()
        if module.recorder is not None:
            module.recorder.shutting()
        await module.shut()
        with contextlib.suppress(*StoreLost):
            await self._lock.release()
        await module.own_store.close()
        if module.recorder is not None:
            await module.store.close()
            await asyncio.to_thread(module.recorder.close)


def _stands_at(task: asyncio.Task[Any]) -> list[str]:
    return [f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" for frame in task.get_stack()]


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], log: Any) -> list[Exception]:
    """Cancels the tasks and waits for their ends; what they failed with.

    Code between us and a socket may swallow a cancel, and a module that waits for such a task hangs although its heartbeat goes
    on. So a task that does not end is told again, where it stands is logged, and after three times the process ends.
    """
    tasks = tuple(tasks)
    pending = {task for task in tasks if not task.done()}
    for _ in range(_CANCELS):
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_SECONDS)
        for task in pending:
            log.error("task_does_not_end", task=task.get_name(), stands_at=_stands_at(task))
    if pending:
        raise SystemExit(f"tasks do not end: {', '.join(sorted(task.get_name() for task in pending))}")
    ends = [task.exception() for task in tasks if not task.cancelled()]
    return [end for end in ends if isinstance(end, Exception)]


def _settle() -> None:
    """What start-up has made lives as long as the process. The collector's rare full pass walks all of it, and meanwhile
    nothing is folded and no order leaves, unless it is told to leave it alone."""
    gc.collect()
    gc.freeze()


def _tell_tasks(module: StreamModule) -> None:
    """SIGUSR1: where every task of this process stands, for whoever looks at a module that hangs."""
    for task in asyncio.all_tasks():
        module.log.warning("task", name=task.get_name(), cancelling=task.cancelling(), stands_at=_stands_at(task))


async def live(module: StreamModule) -> None:
    """Runs a module until SIGTERM or SIGINT."""
    sys.setswitchinterval(_THREAD_SECONDS)
    event_loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        event_loop.add_signal_handler(number, module.stopping.set)
    event_loop.add_signal_handler(signal.SIGUSR1, _tell_tasks, module)
    module.log.info("starting", mode=module.settings.mode)
    if module.recorder is not None:
        module.recorder.log.start()
    loop = _Loop(module)
    try:
        await module.begin()
        await loop.live()
    except LockLostError as error:
        module.log.error("lock_lost", error=str(error))
        raise SystemExit(1) from error
    finally:
        await loop.leave()
    module.log.info("stopped")


def main(kind: type[StreamModule], shard: int) -> None:
    """The process of one stream module, or of one shard of it."""
    import uvloop

    context = process_context(kind.name, shard)

    async def start() -> None:
        await live(kind(context))

    try:
        uvloop.run(start())
    except Exception:
        context.log.exception("died")
        raise SystemExit(1) from None
