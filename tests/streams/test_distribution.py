"""SignalDistributor on a real server: what is approved is queued for each tier once, whatever the broker does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.signals import SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime.store import Store, StoreLost
from alphatrader.streams.distribution import SignalDistributor
from tests.support.modules import running_module
from tests.support.people import MONDAY_TEN_NS, NS, a_signal, a_verdict, closed, context_of, made, market_clock, opened
from tests.support.waiting import until

TELEGRAM = k.TELEGRAM_SIGNALS_QUEUE.at(symbol="SPY")
TIERS = {"premium": k.PREMIUM_QUEUE.at(), "basic": k.BASIC_QUEUE.at(), "free": k.FREE_QUEUE.at()}


class Distributor(SignalDistributor):
    """Its wake-ups are noted instead of sent; tests/tasks/test_delivery_worker.py sends them."""

    wait_seconds = 0.05

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.woken: list[tuple[str, tuple[str, ...], int]] = []
        self.broker_away = False

    def _send_task(self, task: str, arguments: tuple[str, ...], due_ns: int) -> None:
        if self.broker_away:
            raise OperationalError("connection refused")
        self.woken.append((task, arguments, due_ns))


class Stage:
    def __init__(self, servers, folder):
        self.servers, self.folder = servers, folder
        self.clock = market_clock()
        self.delivery: Store = servers.store(Module.DELIVERY)
        self.stores = {module: servers.store(module) for module in (Module.SIGNALS, Module.RISK, Module.POSITIONS)}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Distributor]:
        context = context_of(Module.DISTRIBUTION, self.servers, self.servers.settings, self.clock, self.folder)
        async with running_module(Distributor(context)) as module:
            await until(lambda: bool(module._kept))
            yield module

    def write(self, module: Module, bound: Any, event: Any) -> None:
        batch = self.stores[module].batch()
        batch.append(bound, event)
        self.stores[module].commit(batch)

    def make(self, signal) -> None:
        self.write(Module.SIGNALS, k.EVENTS_SIGNALS.at(), made(signal))

    def judge(self, signal, *, approved: bool = True) -> None:
        self.write(Module.RISK, k.EVENTS_APPROVALS.at(), a_verdict(signal, approved=approved))

    def move(self, event) -> None:
        self.write(Module.POSITIONS, k.EVENTS_POSITIONS.at(), event)

    def queued(self, queue) -> list[str]:
        return [one.id for one in self.delivery.due(queue, 2**62)]

    def count(self):
        return self.servers.store(Module.OPERATOR).get(k.DISTRIBUTION_COUNT.at())


@pytest.fixture
def stage(servers, tmp_path):
    return Stage(servers, tmp_path)


def test_an_approved_signal_is_queued_for_each_tier_with_its_due_time_and_woken(stage):
    signal = a_signal()

    async def story() -> None:
        async with stage.running() as module:
            stage.make(signal)
            stage.judge(signal)
            await until(lambda: len(module.woken) == 6)
            assert set(module.woken) == {
                ("delivery.deliver", (queue,), signal.ts_ns + wait * NS)
                for tier, wait in (("premium", 0), ("basic", 60), ("free", 300))
                for queue in (f"distribution:{tier}:queue", "telegram:signals:SPY:queue")
            }

    asyncio.run(story())

    for tier, queue in TIERS.items():
        assert stage.queued(queue) == [f"{signal.id}:{tier}"]
    assert stage.queued(TELEGRAM) == [f"{signal.id}:{tier}" for tier in TIERS]
    assert (stage.count().session, stage.count().count) == ("2026-11-23", 1)


def test_what_risk_refuses_or_nobody_judged_is_not_told(stage):
    async def story() -> None:
        async with stage.running() as module:
            stage.make(a_signal(1))
            stage.make(a_signal(2))
            stage.judge(a_signal(1), approved=False)
            stage.make(a_signal(3))
            stage.judge(a_signal(3))
            await until(lambda: len(module.woken) == 6)

    asyncio.run(story())
    assert stage.queued(TIERS["premium"]) == [f"{a_signal(3).id}:premium"]


def test_a_verdict_after_a_restart_still_finds_its_signal_and_is_told_once(stage):
    signal = a_signal()

    async def story() -> None:
        async with stage.running() as module:
            stage.make(signal)
            await until(lambda: signal.id in module._signals)
        stage.judge(signal)
        async with stage.running() as module:
            await until(lambda: len(module.woken) == 6)
            stage.judge(signal)
            stage.make(a_signal(2))
            stage.judge(a_signal(2))
            await until(lambda: len(module.woken) == 12)
        async with stage.running() as module:
            stage.make(a_signal(3))
            stage.judge(a_signal(3))
            await until(lambda: len(module.woken) == 6)

    asyncio.run(story())
    assert stage.queued(TIERS["premium"]) == [f"{a_signal(n).id}:premium" for n in (1, 2, 3)]
    assert stage.count().count == 3


def test_the_free_tier_gets_three_a_session_and_the_count_rolls_with_it(stage):
    tuesday = MONDAY_TEN_NS + 24 * 3600 * NS

    async def story() -> None:
        async with stage.running():
            for number in range(1, 6):
                stage.make(a_signal(number))
                stage.judge(a_signal(number))
            stage.make(a_signal(6, ts_ns=tuesday))
            stage.judge(a_signal(6, ts_ns=tuesday))
            await until(lambda: len(stage.queued(TIERS["premium"])) == 6)

    asyncio.run(story())
    assert stage.queued(TIERS["free"]) == [f"{a_signal(n).id}:free" for n in (1, 2, 3, 6)]
    assert (stage.count().session, stage.count().count) == ("2026-11-24", 1)


def test_positions_are_told_and_a_win_wakes_the_tweet_after_the_free_delay(stage):
    signal, closed_ns = a_signal(), MONDAY_TEN_NS + 600 * NS

    async def story() -> None:
        async with stage.running() as module:
            stage.move(opened(signal))
            stage.move(closed(signal, "187.40", closed_ns))
            await until(lambda: any(task == "twitter.announce" for task, _, _ in module.woken))
            assert ("twitter.announce", (signal.id,), closed_ns + 300 * NS) in module.woken
        async with stage.running() as module:
            stage.move(closed(a_signal(2), "-12.00", closed_ns))
            await until(lambda: len(module.woken) == 4)
            assert all(task == "delivery.deliver" for task, _, _ in module.woken)

    asyncio.run(story())
    told = [f"{signal.id}:opened", f"{signal.id}:closed", f"{a_signal(2).id}:closed"]
    assert stage.queued(TIERS["premium"]) == [f"{one}:premium" for one in told]
    assert stage.queued(TIERS["basic"]) == [f"{one}:basic" for one in told]
    assert stage.queued(TIERS["free"]) == []


def test_a_broker_that_is_away_stops_nothing(stage):
    async def story() -> None:
        async with stage.running() as module:
            module.broker_away = True
            stage.make(a_signal(1))
            stage.judge(a_signal(1))
            await until(lambda: module.health._counts["wakes lost"] == 6)
            module.broker_away = False
            stage.make(a_signal(2))
            stage.judge(a_signal(2))
            await until(lambda: len(module.woken) == 6)

    asyncio.run(story())
    assert len(stage.queued(TIERS["premium"])) == 2


def test_a_verdict_on_an_unknown_signal_is_counted_and_nothing_is_made_up(stage):
    async def story() -> None:
        async with stage.running() as module:
            stage.write(Module.SIGNALS, k.EVENTS_SIGNALS.at(), SignalEvent("expired", a_signal(9), "60 s are over"))
            stage.judge(a_signal(9))
            await until(lambda: module.health._counts["approvals without a signal"] == 1)

    asyncio.run(story())
    assert stage.queued(TIERS["premium"]) == [] and stage.count() is None


def test_a_signal_whose_booking_was_lost_with_the_server_is_told_after_recovery(stage):
    signal = a_signal()
    door = stage.servers.store(Module.STATE)

    async def story() -> None:
        context = context_of(Module.DISTRIBUTION, stage.servers, stage.servers.settings, stage.clock, stage.folder)
        module = Distributor(context)
        await module.recover()
        await module._turn(await module.store.read(module._cursor, block_seconds=None))
        stage.make(signal)
        stage.judge(signal)
        entries = await module.store.read(module._cursor)
        # given a server that goes away between the request to book and its answer
        door.raw(Server.STATE, "CLIENT", "PAUSE", "60000", "WRITE")
        booking = asyncio.create_task(module._turn(entries))
        await until(lambda: int(door.raw(Server.STATE, "INFO", "clients")["blocked_clients"]) > 0)
        door.raw(Server.STATE, "CLIENT", "KILL", "USER", str(Module.DISTRIBUTION))
        door.raw(Server.STATE, "CLIENT", "UNPAUSE")
        with pytest.raises(StoreLost):
            await booking
        assert stage.queued(TIERS["premium"]) == []
        # then the same process recovers and tells it, once
        await module.recover()
        for _ in range(2):
            await module._turn(await module.store.read(module._cursor, block_seconds=None))
        await module.store.close()

    asyncio.run(story())
    assert stage.queued(TIERS["premium"]) == [f"{signal.id}:premium"]
    assert stage.count().count == 1
