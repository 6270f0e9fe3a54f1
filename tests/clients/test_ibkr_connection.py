"""The broker connection against a running gateway: two gateways, back-off, dead sockets, and accounts that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop
from ib_insync import IB

from alphatrader.clients.ibkr.accounts import AccountRefusedError, choose_account
from alphatrader.clients.ibkr.connection import BrokerConnection
from alphatrader.contract.settings.system import Address
from tests.support.gateway import Running, client, running_gateway
from tests.support.gateway_process import gateway_process
from tests.support.waiting import until


def connection_to(ports: Sequence[int], **changes: Any) -> BrokerConnection:
    options: dict[str, Any] = {
        "account": "",
        "mode": "sandbox",
        "readonly": False,
        "connect_timeout_seconds": 2.0,
        "backoff_first_seconds": 0.05,
        "backoff_most_seconds": 0.2,
        "log": structlog.get_logger(),
        "random": random.Random(1),
        "probe_seconds": 0.2,
    }
    return BrokerConnection([Address("127.0.0.1", port) for port in ports], 7, **(options | changes))


class Told:
    """What the connection told its owner."""

    def __init__(self) -> None:
        self.connected: list[IB] = []
        self.lost: list[str] = []

    async def on_connected(self, ib: IB) -> None:
        self.connected.append(ib)


@asynccontextmanager
async def kept_up(connection: BrokerConnection) -> AsyncIterator[Told]:
    told, stopping = Told(), asyncio.Event()
    running = asyncio.create_task(connection.run(stopping, told.on_connected, told.lost.append))
    try:
        yield told
    finally:
        stopping.set()
        await asyncio.wait_for(running, 2)


def ports(running: Running) -> tuple[int, int]:
    return running.port, running.second_port


def test_connects_synchronizes_and_leaves_cleanly(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                assert connection.connected and connection.account == "DUSIM0001"
                assert told.connected == [connection.ib]
            await until(lambda: not running.gateway.sessions)
            assert not connection.connected and told.lost == []

    asyncio.run(story())


def test_a_loop_of_uvloop_will_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                running.gateway.inject("drop")
                await until(lambda: len(told.connected) == 2)

    uvloop.run(story())


def test_a_dropped_connection_is_made_anew_on_the_other_gateway(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                assert connection.gateway is not None and connection.gateway.port == running.port
                running.gateway.inject("drop")
                await until(lambda: len(told.connected) == 2)
                assert told.lost and connection.gateway.port == running.second_port
                assert told.connected[0] is not told.connected[1]

    asyncio.run(story())


def test_a_gateway_that_is_down_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            running.gateway.close_listener(0)
            running.gateway.close_listener(1)
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: connection.problem and "Connect" in connection.problem)
                running.gateway.open_listener(1)
                await until(lambda: told.connected)

    asyncio.run(story())


def test_a_client_id_in_use_is_kept_and_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to([running.port])
            async with client(running, client_id=7), kept_up(connection) as told:
                # when another has our clientId, then we say so at once and do not sit out the time-out
                await until(lambda: connection.problem and "326" in connection.problem, limit=1.5)
                assert not told.connected
            async with kept_up(connection) as told:
                await until(lambda: told.connected)

    asyncio.run(story())


def test_a_length_that_no_frame_has_ends_the_connection_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                running.gateway.inject("garbage", what="length")  # every later frame would be swallowed by this one's length
                await until(lambda: len(told.connected) == 2)
                assert "announced more than" in told.lost[0]

    asyncio.run(story())


def test_a_gateway_that_is_stopped_or_killed_is_left_for_the_other_one(tmp_path: Path) -> None:
    async def story() -> None:
        with gateway_process(tmp_path / "first") as first, gateway_process(tmp_path / "second") as second:
            connection = connection_to([first.ports[0], second.ports[0]], connect_timeout_seconds=1.0)
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                # when the first stands still, its socket open (half-open), then the probe finds out
                first.signal(signal.SIGSTOP)
                await until(lambda: len(told.connected) == 2)
                assert "probe" in told.lost[0] and connection.gateway == Address("127.0.0.1", second.ports[0])
                # when the second is killed while the first still stands, then both are tried until one answers
                second.signal(signal.SIGKILL)
                await until(lambda: len(told.lost) == 2)
                await until(lambda: connection.problem is not None and "no answer within" in connection.problem)
                first.signal(signal.SIGCONT)
                await until(lambda: len(told.connected) == 3)
                assert connection.gateway == Address("127.0.0.1", first.ports[0])

    asyncio.run(story())


@pytest.mark.parametrize("code", [1300, 507])
def test_a_gateway_that_says_the_connection_is_over_is_believed(tmp_path: Path, code: int) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                running.gateway.inject("notice", code=code, text="over")
                await until(lambda: len(told.connected) == 2)
                assert told.lost == [f"{code}: over"]

    asyncio.run(story())


def test_pauses_double_with_jitter_up_to_the_longest_and_begin_small_after_a_success() -> None:
    connection = connection_to([1], backoff_first_seconds=0.5, backoff_most_seconds=15.0)
    pauses = [[connection._pause(failures) for _ in range(200)] for failures in range(12)]
    for failures, drawn in enumerate(pauses):
        whole = min(15.0, 0.5 * 2**failures)
        assert whole / 2 <= min(drawn) <= max(drawn) <= whole
        assert len({round(pause, 6) for pause in drawn}) > 100, "two of us do not come back in step"


def test_a_frame_that_does_not_decode_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            async with kept_up(connection) as told:
                await until(lambda: told.connected)
                running.gateway.inject("garbage", what="text")
                await until(lambda: connection.decode_errors == 1)
                assert connection.connected and not told.lost

    asyncio.run(story())


def test_a_request_without_an_answer_fails_the_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            running.gateway._handlers["reqExecutions"] = lambda session, values: None  # the gateway never says the end
            connection = connection_to([running.port], connect_timeout_seconds=0.3)
            async with kept_up(connection) as told:
                await until(lambda: connection.problem and "executions: no answer" in connection.problem)
                assert not told.connected and not connection.connected

    asyncio.run(story())


def test_start_up_that_fails_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path) as running:
            connection = connection_to(ports(running))
            tries, stopping, lost = [], asyncio.Event(), []

            async def on_connected(ib: IB) -> None:
                tries.append(ib)
                if len(tries) == 1:
                    raise TimeoutError("contracts")

            task = asyncio.create_task(connection.run(stopping, on_connected, lost.append))
            await until(lambda: len(tries) == 2)
            assert "contracts" in lost[0]
            stopping.set()
            await asyncio.wait_for(task, 2)

    asyncio.run(story())


def test_an_account_of_another_mode_is_never_used(tmp_path: Path) -> None:
    async def story() -> None:
        async with running_gateway(tmp_path, account="DU1234567") as running:
            connection = connection_to([running.port])
            async with kept_up(connection) as told:
                await until(lambda: connection.problem and "DU1234567" in connection.problem)
                assert not told.connected and not connection.connected

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mode", "wanted", "managed", "chosen"),
    [
        ("sandbox", "", ["DUSIM0001"], "DUSIM0001"),
        ("sandbox", "", ["DU1234567"], None),
        ("sandbox", "", ["U1234567"], None),
        ("paper", "", ["DU1234567"], "DU1234567"),
        ("paper", "", ["U1234567"], None),
        ("paper", "", ["DUSIM0001"], None),
        ("live", "", ["U1234567"], "U1234567"),
        ("live", "", ["DU1234567"], None),
        ("live", "", ["U1", "U2"], None),
        ("live", "U2", ["U1", "U2"], "U2"),
        ("live", "U3", ["U1", "U2"], None),
        ("live", "", [], None),
    ],
)
def test_which_account_a_mode_may_use(mode: Any, wanted: str, managed: list[str], chosen: str | None) -> None:
    refused = pytest.raises(AccountRefusedError) if chosen is None else contextlib.nullcontext()
    with refused:
        assert choose_account(mode, wanted, managed) == chosen
