"""Execution closing what is held: a short is bought back and never turned, a stop is raised while a part is being sold."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from alphatrader.streams.execution import exits
from tests.support.proxy import proxy
from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until


def buy_backs(on: Stage) -> list[str]:
    return [ref for ref in refs_of(on.placed(opening=True)) if "/" in ref]


async def oversold(on: Stage) -> None:
    """Somebody sells by hand in the moment the stop sells: two too many."""
    await filled(on)
    await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
    on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=-2, price=3.9)
    on.quote(2.90, 3.00)
    await until(lambda: on.held() == -2, what="short at the broker")


def test_what_was_oversold_is_bought_back_up_to_flat_and_nothing_opens_before(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await oversold(on)
            # given a short of ours, then it alarms and blocks
            await until(lambda: execution.exits.shorts() == {"i-1": 2}, what="short seen")
            await until(lambda: "short: i-1 by 2" in (execution.health._reason or ""), what="alarm")
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="refusal")
            assert "short: i-1 by 2" in (on.orders()["i-2"].reason or "")
            # and it is bought back once the broker's list confirms it
            await until(lambda: on.held() == 0, limit=60.0, what="bought back")
            await until(lambda: on.state("i-1/exit-1") == "FILLED" and execution.exits.shorts() == {}, what="flat")
            await until(lambda: execution.health._state == "ready", what="alarm's end")
            assert on.orders()["i-1/exit-1"].side == "BUY"
            assert buy_backs(on) == ["i-1/exit-1"]
            assert on.broker_orders() == {}
            # and opening is possible again
            on.quote(3.95, 4.05)
            on.approve("i-3")
            await until(lambda: on.state("i-3") == "FILLED", what="opens again")

    play(servers, tmp_path, story)


def test_a_short_that_somebody_bought_back_is_not_bought_twice(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await oversold(on)
            await until(lambda: execution.exits.shorts() == {"i-1": 2}, what="short seen")
            on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=2, price=3.0)
            await until(lambda: execution.exits.shorts() == {} and execution.exits.broker is not None, what="flat and confirmed")
            assert (on.held(), buy_backs(on)) == (0, [])

    play(servers, tmp_path, story)


def test_somebody_elses_short_blocks_alarms_and_is_closed_only_as_asked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            external = f"ext-{on.contract.con_id}"
            on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=-3, price=4.0)
            await until(lambda: execution.exits.shorts() == {external: 3} and execution.exits.broker is not None, what="seen")
            await until(lambda: f"short: {external} by 3" in (execution.health._reason or ""), what="alarm")
            on.approve("i-1")
            await until(lambda: on.state("i-1") == "REJECTED", what="refusal")
            assert on.placed() == []
            on.want(external, 0, None)
            await until(lambda: on.held() == 0, limit=60.0, what="closed as asked")
            await until(lambda: execution.exits.shorts() == {}, what="flat")

    play(servers, tmp_path, story)


def test_the_stop_is_raised_in_place_while_a_part_is_being_sold(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exits, "REPRICE_SECONDS", 60.0)

    async def story(on: Stage) -> None:
        async with on.execution():
            # given two of three for sale at a price that nobody pays yet
            await filled(on, quantity=3)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            order_id = on.broker_orders()["i-1/stop"].order_id
            on.want("i-1", 1, "3.00", urgency="patient")
            await until(lambda: "i-1/exit-1" in on.broker_orders(), what="a part is for sale")
            # when the stop is wanted higher
            on.want("i-1", 1, "3.50", version=2, urgency="patient")
            await until(lambda: on.broker_orders()["i-1/stop"].aux == 3.5, limit=2.0, what="raised stop")
            # then it was moved in place while the exit works, and together they sell no more than is held
            live = on.broker_orders()
            assert (live["i-1/stop"].order_id, live["i-1/stop"].remaining, live["i-1/target"].remaining) == (order_id, 1, 1)
            assert live["i-1/exit-1"].remaining == 2 and on.held() == 3
            assert not [line for line in on.gateway.wire() if line.get("message") == "cancelOrder"]

    play(servers, tmp_path, story)


def test_an_exit_is_not_sent_when_the_stop_filled_while_it_was_written(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with proxy(on.settings.servers.state.port) as to_state:
            state = replace(on.settings.servers.state, port=to_state.port)
            on.settings = replace(on.settings, servers=replace(on.settings.servers, state=state))
            async with on.execution() as execution:
                await filled(on)
                await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
                # given an exit whose record is on its way to the state server when the stop sells all
                record = to_state.hold(lambda content: b"i-1/exit-1" in content)
                on.want("i-1", 0, None)
                await until(record.is_set, what="the exit is being written")
                on.quote(2.90, 3.00)
                book = execution.exits._desk.book
                await until(lambda: book.records["i-1/stop"].state == "FILLED", what="stop filled")
                to_state.release()
                # then it is not sent, and nothing was sold twice
                await until(lambda: on.state("i-1/exit-1") == "EXPIRED", what="not sent")
                assert "i-1/exit-1" not in refs_of(on.placed()) and on.held() == 0

    play(servers, tmp_path, story)
