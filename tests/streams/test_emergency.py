"""Emergency: the halt on disk and in Redis, the door on loopback, and flattening with and without Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.clients.ibkr.flatten import flatten_directly
from alphatrader.contract import keys as k
from alphatrader.contract.messages.risk import Halt
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.runtime import emergency_socket, halt_file
from alphatrader.runtime.store import StoreLost
from alphatrader.streams.emergency import EmergencyManager
from tests.support.servers import Servers, free_port
from tests.support.trading import Stage, stage
from tests.support.waiting import until

TOKEN = "a-token-for-tests"


def play(servers: Servers, tmp_path: Path, story: Any) -> None:
    async def run() -> None:
        async with stage(servers, tmp_path) as on:
            await story(on)

    asyncio.run(run())


@asynccontextmanager
async def emergency(on: Stage, *, redis: bool = True) -> AsyncIterator[EmergencyManager]:
    """The module as its loop runs it; without `redis`, only what begins before Redis is asked."""
    module = EmergencyManager(on.context(Module.EMERGENCY, ALPHATRADER_EMERGENCY_TOKEN=TOKEN))
    running = None
    await module.begin()
    if redis:
        await module.recover()
        running = asyncio.create_task(module.run())
    try:
        await until(lambda: module.connection.connected, what="emergency connected")
        yield module
    finally:
        module.stopping.set()
        if running is not None:
            with contextlib.suppress(asyncio.CancelledError, *StoreLost):
                await running
        await module.shut()
        await module.store.close()


def halt(on: Stage) -> Halt | None:
    found: Halt | None = on.store(Module.OPERATOR).get(k.HALT.at())
    return found


def drop_halt(on: Stage) -> None:
    batch = on.store(Module.EMERGENCY).batch()
    batch.drop(k.HALT.at())
    on.store(Module.EMERGENCY).commit(batch)


async def ask(on: Stage, kind: Any, token: str = TOKEN) -> emergency_socket.Answer:
    return await asyncio.to_thread(emergency_socket.ask, on.folder, token, kind, by="a test", reason="to see")


@pytest.mark.parametrize("start_halted", [True, False])
def test_a_first_start_takes_the_setting_and_writes_disk_and_redis(servers: Servers, tmp_path: Path, start_halted: bool) -> None:
    async def story(on: Stage) -> None:
        drop_halt(on)
        on.settings = replace(on.settings, risk=replace(on.settings.risk, start_halted=start_halted))
        async with emergency(on):
            found = halt(on)
            assert found is not None and (found.halted, found.epoch) == (start_halted, 1)
            assert halt_file.read(on.folder) == found

    play(servers, tmp_path, story)


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_lost_redis_is_halted_with_a_higher_epoch(servers: Servers, tmp_path: Path, when: str) -> None:
    async def story(on: Stage) -> None:
        stood = Halt(False, False, 7, "resumed", "operator", 1, 1)
        halt_file.write(on.folder, stood)
        if when == "before the start":
            drop_halt(on)
            async with emergency(on):
                found = halt(on)
                assert found is not None and found.halted and found.epoch > 7 and "lost" in found.reason
        else:
            async with emergency(on):
                await until(lambda: (found := halt(on)) and not found.halted, what="told")
                drop_halt(on)
                await until(lambda: (found := halt(on)) and found.halted and found.epoch > 7, what="halted anew")

    play(servers, tmp_path, story)


def test_requests_are_recorded_with_a_growing_epoch_and_resume_only_when_asked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with emergency(on):
            first = halt(on)
            assert first is not None and not first.halted
            on.request("halt", by="the operator")
            halted = await until(lambda: (h := halt(on)) and h.halted and h, what="halted")
            assert halted.epoch > first.epoch and halted.by == "the operator"
            # a restart keeps it
        async with emergency(on):
            assert (found := halt(on)) is not None and found.halted
            on.request("resume", by="the operator")
            resumed = await until(lambda: (h := halt(on)) and not h.halted and h, what="resumed")
            assert resumed.epoch > halted.epoch and halt_file.read(on.folder) == resumed
            events = on.store(Module.OPERATOR).latest(k.EVENTS_HALT.at(), 2)
            assert [event.halted for event in events] == [False, True]

    play(servers, tmp_path, story)


def test_the_door_refuses_a_wrong_token_and_serves_the_right_one(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with emergency(on):
            refused = await ask(on, "halt", token="wrong")
            assert not refused.ok
            assert (found := halt(on)) is not None and not found.halted
            answer = await ask(on, "halt")
            assert answer.ok and answer.halted
            assert (found := halt(on)) is not None and found.halted and found.epoch == answer.epoch
        with pytest.raises(emergency_socket.EmergencyUnreachableError):
            await ask(on, "status")

    play(servers, tmp_path, story)


async def with_position(on: Stage, quantity: int = 2) -> None:
    on.approve("i-1", quantity=quantity)
    await until(lambda: on.held() == quantity, what="position")
    await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")


def test_flatten_cancels_everything_closes_what_is_held_and_execution_is_silent(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution, emergency(on):
            # given a position with its protection, and another entry that works
            found = halt(on)
            assert found is not None
            on.epoch = found.epoch
            on.renew()
            await with_position(on)
            on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
            await until(lambda: on.state("i-2") == "WORKING", what="working entry")
            sent = len([frame for frame in on.placed() if frame["client"] == on.settings.broker.orders_client_id])
            # when the operator flattens
            on.request("flatten")
            # then all is cancelled and sold, once, by emergency alone, and trading stays halted
            await until(lambda: on.held() == 0 and on.broker_orders() == {}, limit=60.0, what="flat")
            done = await until(lambda: (h := halt(on)) and not h.flatten and h.reason == "flattened" and h, what="recorded")
            assert done.halted
            assert len([f for f in on.placed() if f["client"] == on.settings.broker.orders_client_id]) == sent
            # and execution has booked what emergency sold
            await until(lambda: execution.exits.holdings() == {}, limit=60.0, what="booked")
            assert {on.state(ref) for ref in ("i-1/stop", "i-1/target", "i-2")} == {"CANCELLED"}

    play(servers, tmp_path, story)


def test_flatten_works_with_redis_down_and_follows_a_falling_market(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await with_position(on)
        # given servers that do not answer, a small bid, and emergency's door
        dead = replace(on.settings.servers, state=Address("127.0.0.1", free_port()), data=Address("127.0.0.1", free_port()))
        on.settings = replace(on.settings, servers=dead)
        halt_file.write(on.folder, Halt(False, False, 3, "resumed", "operator", 1, 1))
        async with emergency(on, redis=False):
            on.gateway.gateway.inject("fill_cap", size=1)
            answer = await ask(on, "flatten")
            assert answer.ok and answer.flatten and answer.epoch == 4
            await until(lambda: on.held() == 0 and on.broker_orders() == {}, limit=60.0, what="flat")
            final = await until(lambda: (h := halt_file.read(on.folder)) and not h.flatten and h, what="recorded on disk")
            assert final.halted and final.reason == "flattened"
        sold = [line for line in on.gateway.wire() if line.get("what") == "fill" and line["side"] == "SLD"]
        assert sum(fill["shares"] for fill in sold) == 2

    play(servers, tmp_path, story)


@pytest.mark.parametrize("known_to", ["the disk", "Redis", "Redis, and the disk is older"])
def test_a_flatten_that_was_killed_goes_on_at_the_next_start(servers: Servers, tmp_path: Path, known_to: str) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await with_position(on)
        flattening = Halt(True, True, 9, "flatten", "operator", 1, 1)
        if known_to == "the disk":
            halt_file.write(on.folder, flattening)
        else:
            store = on.store(Module.EMERGENCY)
            batch = store.batch()
            batch.put(k.HALT.at(), flattening)
            store.commit(batch)
        if known_to == "Redis, and the disk is older":
            halt_file.write(on.folder, Halt(False, False, 3, "resumed", "operator", 1, 1))
        async with emergency(on):
            await until(lambda: on.held() == 0, limit=60.0, what="flat")
            await until(lambda: (h := halt(on)) and h.halted and not h.flatten and h.epoch > 9, what="recorded")

    play(servers, tmp_path, story)


def test_with_emergency_dead_the_gateway_itself_can_be_flattened(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await with_position(on)
        log = on.context(Module.CLI).log
        report = await flatten_directly(on.settings, 5, monotonic=on.clock.monotonic, log=log, limit_seconds=10.0)
        assert report.flat and report.left == {}
        assert on.held() == 0 and on.broker_orders() == {}

    play(servers, tmp_path, story)
