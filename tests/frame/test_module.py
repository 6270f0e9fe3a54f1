"""The module loop's own promises: a task that swallows its cancel is told again, named, and in the end the process ends."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule, end_tasks, live
from alphatrader.runtime.secrets import Secrets
from tests.support.servers import Servers, running_servers
from tests.support.waiting import until


class Log:
    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, event: str, **values: Any) -> None:
        self.errors.append({"event": event, **values})


async def deaf(times: int) -> None:
    """Swallows so many cancels."""
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)


async def failing() -> None:
    raise ValueError("no")


def test_a_swallowed_cancel_is_said_and_sent_again() -> None:
    async def story() -> None:
        log = Log()
        tasks = [asyncio.create_task(deaf(1), name="deaf"), asyncio.create_task(failing())]
        await asyncio.sleep(0)
        failed = await end_tasks(tasks, log)
        assert [str(error) for error in failed] == ["no"]
        assert [(e["event"], e["task"]) for e in log.errors] == [("task_does_not_end", "deaf")]
        assert any("test_module.py" in place for place in log.errors[0]["stands_at"])

    asyncio.run(story())


def test_a_task_that_never_ends_ends_the_process() -> None:
    async def story() -> None:
        task = asyncio.create_task(deaf(3), name="stone-deaf")
        await asyncio.sleep(0)
        with pytest.raises(SystemExit, match="stone-deaf"):
            await end_tasks([task], Log())
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(story())


class Waiting(StreamModule):
    name = Module.SIGNALS

    async def recover(self) -> None:
        await self.store.get(k.MARKET_BOOK.at(symbol="SPY"))

    async def run(self) -> None:
        self.health.ready()
        while not self.stopping.is_set():
            await self.recover()
            await self.pause(0.05)


@contextmanager
def full_disk(process: int) -> Iterator[None]:
    """No file of this process grows any more."""
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system cannot bound another process")
def test_a_module_outlives_a_state_server_whose_disk_is_full(tmp_path: Path) -> None:
    """It answers and refuses every write: modules ended with a traceback, and the connections that an exit needs with them."""

    async def story(servers: Servers) -> None:
        with servers_module(servers) as (module, said):
            living = asyncio.create_task(live(module))
            try:
                await until(lambda: said() == ("ready", None))
                with full_disk(servers.processes[Module.STATE].pid):
                    await until(lambda: said() is None, "its heartbeat lapses")
                    assert not living.done()
                await until(lambda: said() == ("ready", None), "it goes on")
                assert not living.done()
            finally:
                module.stopping.set()
                await living

    with running_servers(tmp_path) as servers:
        asyncio.run(story(servers))


@contextmanager
def servers_module(servers: Servers) -> Iterator[tuple[Waiting, Callable[[], tuple[str, str | None] | None]]]:
    secrets = Secrets(Module.SIGNALS, servers.vault.environment_for(Module.SIGNALS))
    reader, log = servers.store(Module.OPERATOR), structlog.get_logger()

    def said() -> tuple[str, str | None] | None:
        beat = reader.get(k.HEALTH.at(module=Module.SIGNALS))
        return beat and (beat.state, beat.waits_for)

    yield Waiting(Context(Module.SIGNALS, servers.settings, secrets, Clock(), nyse(), log, servers.folder)), said
    reader.close()


def test_a_module_without_the_data_server_says_that_it_waits_for_it(tmp_path: Path) -> None:
    """Its heartbeat stands on the other server: it is called dead by nobody, and the alarm names the cause."""

    async def story(servers: Servers) -> None:
        with servers_module(servers) as (module, said):
            living = asyncio.create_task(live(module))
            try:
                await until(lambda: said() == ("ready", None))
                servers.processes[Module.REDIS].kill()
                await until(lambda: said() == ("waiting", "data server"))
            finally:
                module.stopping.set()
                await living

    with running_servers(tmp_path) as servers:
        asyncio.run(story(servers))
