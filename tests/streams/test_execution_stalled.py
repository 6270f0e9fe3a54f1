"""A state server that stalls while it is connected: the working entry ends by the lease's own age, and all recovers after it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from decimal import Decimal
from pathlib import Path

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.store import StoreLost
from tests.support.executor import START_SECONDS, executor, until_settled
from tests.support.proxy import chunks, proxy
from tests.support.servers import Servers, running_servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until

STALL_SECONDS = 8.0


def late_approval(on: Stage, intent_id: str) -> None:
    """As risk writes into a stalled server over a connection it has: it lands when the server goes on."""
    with contextlib.suppress(*StoreLost):
        on.approve(intent_id)


def test_a_stalled_state_server_ends_the_working_entry_and_nothing_opens_until_it_is_back(tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.living() as execution:
            # given a position under its stop and an entry that works below the market
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
            await until(lambda: on.state("i-2") == "WORKING", what="working entry")
            assert execution.desk is not None
            first_desk = execution.desk
            # when the state server stops answering, its connections up, and the lease with it
            on.leased = on.quoting = False
            server = on.servers.processes[Module.STATE]
            server.send_signal(signal.SIGSTOP)
            ends = time.monotonic() + STALL_SECONDS
            try:
                late = asyncio.create_task(asyncio.to_thread(late_approval, on, "i-3"))
                # then the entry is cancelled by the lease's age, before any socket gives up, and the stop stands
                await until(lambda: "i-2" not in on.broker_orders(), limit=4.5, what="entry cancelled")
                assert on.broker_orders()["i-1/stop"].active == 2
                await late
                await asyncio.sleep(max(0.0, ends - time.monotonic()))
            finally:
                server.send_signal(signal.SIGCONT)
            # and once it goes on execution recovers, and what was approved meanwhile is too old
            await until(
                lambda: execution.desk is not first_desk and execution.desk and execution.desk.settled, "recovered", limit=15.0
            )
            await until(lambda: on.state("i-2") == "CANCELLED", what="end booked")
            await until(lambda: on.state("i-3") == "REJECTED", what="old approval refused")
            on.leased = on.quoting = True
            await until(lambda: on.store(Module.OPERATOR).get(k.LEASE.at()), what="lease")
            on.approve("i-4")
            await until(lambda: on.state("i-4") == "FILLED", what="opens again")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-2", "i-4"]
            assert sum(fill.quantity for fill in on.fills().values()) == on.held() == 4

    with running_servers(tmp_path / "own") as own:
        play(own, tmp_path, story)


def test_a_half_open_link_to_the_state_server_ends_the_working_entry_and_what_arrives_late_does_nothing(
    servers: Servers, tmp_path: Path
) -> None:
    """No byte passes either way and no socket is reset; then all that was under way arrives at once."""

    async def story(on: Stage) -> None:
        async with (
            proxy(on.settings.servers.state.port, chunks) as to_state,
            executor(on, state_port=to_state.port) as process,
        ):
            await until_settled(on, process)
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
            await until(lambda: on.state("i-2") == "WORKING", what="working entry")
            # when nothing passes any more, though lease and halt stand as they were
            ends = time.monotonic() + STALL_SECONDS
            for direction in ("up", "down"):
                to_state.hold(lambda _: True, direction=direction)
            on.approve("i-3")
            await until(lambda: "i-2" not in on.broker_orders(), limit=60.0, what="entry cancelled")
            assert on.broker_orders()["i-1/stop"].active == 2
            await asyncio.sleep(max(0.0, ends - time.monotonic()))
            to_state.release()
            # then it recovers, the old approval is refused, and a new one opens
            await until(lambda: on.state("i-2") == "CANCELLED", limit=START_SECONDS, what="end booked")
            await until(lambda: on.state("i-3") == "REJECTED", limit=START_SECONDS, what="old approval refused")
            await until_settled(on, process)
            on.approve("i-4")
            await until(lambda: on.state("i-4") == "FILLED", what="opens again")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-2", "i-4"]
            assert sum(fill.quantity for fill in on.fills().values()) == on.held() == 4

    play(servers, tmp_path, story)
