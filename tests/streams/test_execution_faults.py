"""Execution while its data server stalls, frames cannot be read, and the gateway goes away with an order under way."""

from __future__ import annotations

import signal
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from tests.support.executor import START_SECONDS, executor, until_settled
from tests.support.proxy import proxy, tws_frames
from tests.support.servers import Servers, running_servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until

POSITION = b"61\0"


async def with_a_stop(on: Stage) -> None:
    await filled(on)
    await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")


def test_a_stalled_data_server_holds_up_no_exit_and_no_start(tmp_path: Path) -> None:
    """I8: exits do not wait for market data. Without a quote they go at market."""

    async def story(on: Stage) -> None:
        server = on.servers.processes[Module.REDIS]
        async with on.living() as execution:
            # given a position, and a data server that stops answering with its connections up
            await with_a_stop(on)
            on.quoting = False
            server.send_signal(signal.SIGSTOP)
            try:
                # when its stop is moved, it is moved
                on.want("i-1", 2, "3.20")
                await until(lambda: on.broker_orders()["i-1/stop"].aux == 3.2, what="stop moved")
                # and nothing opens, for want of a quote
                on.approve("i-2")
                await until(lambda: on.state("i-2") in ("REJECTED", "EXPIRED"), what="opening refused")
                assert "no quote" in (on.orders()["i-2"].reason or "")
                assert execution.desk is not None
                assert execution.desk.settled
            except BaseException:
                server.send_signal(signal.SIGCONT)
                raise
        try:
            # and one that starts meanwhile settles, and closes what is to be closed
            async with on.living():
                on.want("i-1", 0, None, version=2)
                await until(lambda: on.held() == 0 and on.broker_orders() == {}, what="closed")
        finally:
            server.send_signal(signal.SIGCONT)
        assert [frame["fields"]["orderType"] for frame in on.placed()][-1] == "MKT"

    with running_servers(tmp_path / "own") as own:
        play(own, tmp_path, story)


def test_a_position_that_cannot_be_read_is_not_a_position_that_is_gone(servers: Servers, tmp_path: Path) -> None:
    """I4: the stop of what is held stays while the broker's list is damaged, and nothing opens."""

    async def story(on: Stage) -> None:
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            broker = replace(on.settings.broker, gateways=(Address("127.0.0.1", to_gateway.port),))
            on.settings = replace(on.settings, broker=broker)
            async with on.execution() as execution:
                await with_a_stop(on)
                await until(lambda: execution.exits.broker == {on.contract.con_id: 2}, what="the broker's list")
                sent = len(on.gateway.wire())
                # when the broker's word about the position comes damaged
                to_gateway.change = lambda f: f.replace(b"OPT\0", b"OPT\x01") if f[4:].startswith(POSITION) else f
                assert execution.desk is not None
                desk = execution.desk
                await until(lambda: not desk.settled, what="in doubt")
                on.approve("i-2")
                await until(lambda: on.state("i-2") == "REJECTED", what="opening refused")
                asked = desk.health._counts["broker_asked"]
                await until(lambda: desk.health._counts["broker_asked"] > asked + 1, limit=30.0, what="asked again and again")
                # then nothing was cancelled for it, and the position is still known
                assert not [line for line in on.gateway.wire()[sent:] if line.get("message") in ("cancelOrder", "placeOrder")]
                assert execution.exits.holdings()["i-1"].quantity == 2
                # and it settles once it can be read
                to_gateway.change = bytes
                await until(lambda: desk.settled and on.state("i-1/stop") == "WORKING", what="settled")
                assert on.broker_orders()["i-1/stop"].remaining == 2

    play(servers, tmp_path, story)


@pytest.mark.parametrize("what", ["length", "cut"])
def test_after_a_frame_that_never_ends_execution_connects_anew_and_knows_the_fill(
    servers: Servers, tmp_path: Path, what: str
) -> None:
    """Row 19: a length of 0xFFFFFFFF, or a frame cut off: what follows can never be read on this connection."""

    async def story(on: Stage) -> None:
        async with executor(on) as process:
            await until_settled(on, process)
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            before = process.resident_bytes
            # when the stream breaks, and the entry fills behind it
            client = on.settings.broker.orders_client_id
            on.gateway.gateway.inject("garbage", what=what, client_id=client)
            on.quote(3.80, 3.90)
            await until(lambda: on.held() == 2, what="filled at the broker")
            # then it connects anew and books the fill, once, with its stop standing, in bounded memory
            await until(lambda: on.state("i-1") == "FILLED", limit=START_SECONDS, what="fill booked")
            ended = [line for line in on.gateway.wire() if line["kind"] == "disconnect" and line["client"] == client]
            assert len(ended) == 1
            assert sum(fill.quantity for fill in on.fills().values()) == 2
            assert on.broker_orders()["i-1/stop"].remaining == 2
            assert refs_of(on.placed()) == ["i-1", "i-1/stop", "i-1/target"]
            assert process.resident_bytes < before + 50_000_000

    play(servers, tmp_path, story)


def test_the_nightly_reset_with_an_order_under_way(servers: Servers, tmp_path: Path) -> None:
    """Row 13: 1100, then both gateways go and come again; a fill and an order of before are known after it."""

    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await with_a_stop(on)
            on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
            await until(lambda: on.state("i-2") == "WORKING", what="working entry")
            # when the gateway resets, and the market falls to the entry meanwhile
            on.gateway.gateway.inject("reset", seconds=3)
            await until(lambda: on.state("i-2") == "UNKNOWN", what="unknown")
            on.approve("i-3")
            on.quote(3.40, 3.50)
            await until(lambda: on.held() == 4, what="filled at the broker")
            # then nothing was sent into it, and after it all is known, once
            await until(lambda: on.state("i-3") == "REJECTED", what="refused meanwhile")
            await until(lambda: on.state("i-2") == "FILLED" and on.state("i-2/stop") == "WORKING", what="known again")
            await until(lambda: execution.desk and execution.desk.settled, what="settled")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-2"]
            assert sum(fill.quantity for fill in on.fills().values()) == 4

    play(servers, tmp_path, story)


@pytest.mark.parametrize("how", ["clientId in use", "no listener"])
def test_while_the_gateway_does_not_take_us_nothing_opens_and_the_same_client_comes_again(
    servers: Servers, tmp_path: Path, how: str
) -> None:
    """Row 11: 326 or no gateway at all. Another clientId would leave our own orders behind."""

    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await with_a_stop(on)
            client = on.settings.broker.orders_client_id
            # when the connection goes and cannot be made anew
            if how == "clientId in use":
                on.gateway.gateway.inject("in_use", client_id=client)
                on.gateway.gateway.inject("drop", client_id=client)
            else:
                on.gateway.gateway.inject("down")
            await until(lambda: execution.connection.problem is not None, what="not connected")
            if how == "clientId in use":
                await until(lambda: "326" in (execution.connection.problem or ""), what="told why")
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="refused")
            # then it comes back as itself, knows what is held, and opens again
            back = {"client_id": client} if how == "clientId in use" else {}
            on.gateway.gateway.inject("free" if back else "up", **back)
            await until(lambda: execution.desk and execution.desk.settled, what="settled")
            await filled(on, "i-3")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-3"]
            assert {line["client"] for line in on.gateway.wire() if line["kind"] == "connect"} == {client}
            assert on.broker_orders()["i-1/stop"].remaining == 2

    play(servers, tmp_path, story)


@pytest.mark.parametrize("data_lost", [True, False])
def test_nothing_opens_between_1100_and_1101_or_1102(servers: Servers, tmp_path: Path, data_lost: bool) -> None:
    """Row 12: while the gateway has no link all is unknown, and after it all is known from the broker."""

    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await with_a_stop(on)
            on.gateway.gateway.inject("lost")
            await until(lambda: on.state("i-1/stop") == "UNKNOWN", what="unknown")
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="refused")
            on.gateway.gateway.inject("restored", data_lost=data_lost)
            await until(lambda: execution.desk and execution.desk.settled, what="settled")
            await until(lambda: on.state("i-1/stop") == "WORKING", what="known again")
            await filled(on, "i-3")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-3"]
            assert on.held() == sum(fill.quantity for fill in on.fills().values()) == 4

    play(servers, tmp_path, story)


def test_a_fill_is_known_although_no_order_status_comes(servers: Servers, tmp_path: Path) -> None:
    """Row 16: orderStatus is not guaranteed; executions and the broker's lists tell."""

    async def story(on: Stage) -> None:
        async with on.execution():
            on.gateway.gateway.inject("withhold_status", count=50)
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop known")
            await until(lambda: on.state("i-1/target") == "WORKING", what="target known")
            assert [(fill.order_ref, fill.quantity) for fill in on.fills().values()] == [("i-1", 2)]
            assert refs_of(on.placed()) == ["i-1", "i-1/stop", "i-1/target"]

    play(servers, tmp_path, story)
