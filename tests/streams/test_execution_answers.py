"""What the broker answers late, not at all, or so that it cannot be read: nothing is sold twice, bared of its stop, or opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.broker import GarbledNews
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.streams.execution import ExecutionManager, settling
from tests.support.modules import running_module
from tests.support.proxy import Proxy, proxy, tws_frames
from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until

EXECUTION = b"11\0"
POSITIONS = (b"61\0", b"62\0")


def over(on: Stage, to_gateway: Proxy) -> None:
    """Execution's connection goes through the proxy."""
    broker = replace(on.settings.broker, gateways=(Address("127.0.0.1", to_gateway.port),))
    on.settings = replace(on.settings, broker=broker)


def withheld(*messages: bytes, into: list[bytes] | None = None) -> Callable[[bytes], bytes]:
    def change(frame: bytes) -> bytes:
        if not frame[4:].startswith(messages):
            return frame
        if into is not None:
            into.append(frame)
        return b""

    return change


async def asked_again(execution: ExecutionManager, times: int = 3) -> None:
    """The broker was asked so often, with longer and longer pauses, and decisions were taken after each answer."""
    assert execution.desk is not None
    counts = execution.desk.health._counts
    before = counts["broker_asked"]
    await until(lambda: counts["broker_asked"] >= before + times, limit=30.0, what="asked again")


@pytest.mark.parametrize("side", ["entry", "exit"])
def test_an_order_filled_by_word_waits_for_its_executions_before_its_position_is_touched(
    servers: Servers, tmp_path: Path, side: str
) -> None:
    """orderStatus may come seconds before execDetails: a filled entry is not nothing, and a filled exit is not sent again."""

    async def story(on: Stage) -> None:
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            over(on, to_gateway)
            async with on.execution() as execution:
                if side == "exit":
                    await filled(on)
                    await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
                # when an order fills, and its execution is not told, not even to who asks
                to_gateway.change = withheld(EXECUTION)
                if side == "entry":
                    on.approve("i-1")
                    await until(lambda: on.state("i-1") == "FILLED", what="filled by word")
                else:
                    on.want("i-1", 0, None)
                    await until(lambda: on.state("i-1/exit-1") == "FILLED", what="filled by word")
                sent = len(on.gateway.wire())
                await asked_again(execution)
                # then nothing is sent about it meanwhile
                assert not [line for line in on.gateway.wire()[sent:] if line.get("message") in ("cancelOrder", "placeOrder")]
                # and once it is told all is as it should be, and was sent once
                to_gateway.change = bytes
                if side == "entry":
                    await until(lambda: sum(fill.quantity for fill in on.fills().values()) == 2, what="booked")
                    assert on.broker_orders()["i-1/stop"].remaining == on.held() == 2
                    assert refs_of(on.placed()) == ["i-1", "i-1/stop", "i-1/target"]
                else:
                    await until(lambda: sum(fill.quantity for fill in on.fills().values()) == 4, what="booked")
                    assert (on.held(), refs_of(on.placed())) == (0, ["i-1", "i-1/stop", "i-1/target", "i-1/exit-1"])

    play(servers, tmp_path, story)


def test_an_execution_that_cannot_be_read_settles_nothing(servers: Servers, tmp_path: Path) -> None:
    """I4: what a damaged line of the answer would have said is unknown: nothing opens before it can be read."""

    async def story(on: Stage) -> None:
        # given a position that only an execution of before the start tells of, and that line damaged
        on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=3, price=4.0)
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            over(on, to_gateway)
            to_gateway.change = lambda f: f.replace(b"\0BOT\0", b"\0B?T\0") if f[4:].startswith(EXECUTION) else f
            async with running_module(ExecutionManager(on.context(Module.EXECUTION))) as execution:
                await until(lambda: execution.settlement and execution.settlement.garbled > 1, what="seen more than once")
                # then it is not settled, and an approval is refused
                assert execution.desk is not None
                assert not execution.desk.settled
                on.approve("i-1")
                await until(lambda: on.state("i-1") == "REJECTED", what="refused")
                assert "settled" in (on.orders()["i-1"].reason or "")
                # and when it can be read it is booked, and trading goes on
                to_gateway.change = bytes
                await until(lambda: execution.desk and execution.desk.settled, what="settled")
                assert [fill.quantity for fill in on.fills().values()] == [3]
                await filled(on, "i-2")

    play(servers, tmp_path, story)


def test_an_answer_that_comes_after_its_time_is_not_taken_for_the_next_ones(servers: Servers, tmp_path: Path) -> None:
    """The library gives a list to whoever asked for it last: a connection that owes one is made anew."""

    async def story(on: Stage) -> None:
        client = on.settings.broker.orders_client_id

        def connects() -> int:
            return sum(1 for line in on.gateway.wire() if line["kind"] == "connect" and line["client"] == client)

        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            over(on, to_gateway)
            async with on.execution() as execution:
                await filled(on)
                await until(lambda: execution.exits.broker == {on.contract.con_id: 2}, what="the broker's list")
                # given an answer about positions that does not come in its time, while all else does
                late: list[bytes] = []
                to_gateway.change = withheld(*POSITIONS, into=late)
                await until(lambda: late and connects() == 2, limit=20.0, what="connected anew")
                # when the position has changed since, and that answer comes at last
                on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=3, price=4.0)

                def deliver(frame: bytes) -> bytes:
                    came, late[:] = b"".join(late), []
                    return came + frame

                to_gateway.change = deliver
                # then what is held is what the broker says now, under its stop
                await until(lambda: execution.desk and execution.desk.settled, limit=20.0, what="settled")
                await until(lambda: execution.exits.broker == {on.contract.con_id: 5}, limit=20.0, what="the list of now")
                assert on.broker_orders()["i-1/stop"].remaining == 2
                assert refs_of(on.placed()) == ["i-1", "i-1/stop", "i-1/target"]

    play(servers, tmp_path, story)


def test_frames_that_cannot_be_read_are_asked_about_again_after_a_while(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes again and again must not keep us asking; later it may be the only word of a stop's end."""
    monkeypatch.setattr(settling, "GARBLED_ASKS", 2)
    monkeypatch.setattr(settling, "GARBLED_SECONDS", 1.0)

    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            settlement = execution.settlement
            assert settlement is not None and execution.desk is not None

            def told() -> bool:
                """Whether a frame that cannot be read makes the broker be asked."""
                settlement._ask_wanted = None
                settlement.hear(GarbledNews("3", "a test"))
                return settlement._ask_wanted is not None

            begun = execution.desk.clock.monotonic()
            said = [told() for _ in range(3)]
            assert execution.desk.clock.monotonic() - begun > 1.0 or said == [True, True, False]
            await until(told, what="asked again")
            assert execution.desk.clock.monotonic() - begun > 1.0

    play(servers, tmp_path, story)


def test_a_stop_that_ended_without_a_word_is_missed_in_the_brokers_list_and_replaced(servers: Servers, tmp_path: Path) -> None:
    """I13: a stop that is believed to stand protects nothing."""

    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING" and on.state("i-1/target") == "WORKING", what="bracket")
            # when the exchange ends the stop, and its status never comes
            gateway = on.gateway.gateway
            gateway.inject("withhold_status", count=1)
            gateway.engine.end(on.broker_orders()["i-1/stop"], "Cancelled", "by the exchange", on.clock.market_ns())
            # then another stands in its place
            await until(lambda: "i-1/stop-2" in on.broker_orders(), what="another stop")
            assert on.broker_orders()["i-1/stop-2"].remaining == on.held() == 2

    play(servers, tmp_path, story)
