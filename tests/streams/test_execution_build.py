"""A process of another build than the system's does not trade beside it (what ruined Knight Capital in 2012)."""

from __future__ import annotations

from pathlib import Path

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Stamp
from alphatrader.contract.modules import Module
from alphatrader.runtime.build import build_id
from tests.support.executor import START_SECONDS, executor, health, output_of, until_settled
from tests.support.servers import Servers
from tests.support.trading import Stage, play, refs_of
from tests.support.waiting import until


def stamp(on: Stage, build: str) -> None:
    """As the state server's parent does when it starts the server."""
    store = on.store(Module.STATE)
    batch = store.batch()
    batch.put(k.STAMP_STATE.at(), Stamp(on.settings.mode, on.clock.machine_ns(), build))
    store.commit(batch)


def test_an_executor_of_another_build_refuses_to_start_and_alarms(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given a system that was started with other code
        stamp(on, "0123456789ab")
        async with executor(on) as process:
            # when an executor of this code comes, then it says why it does not start, and connects to nobody
            told = await until(lambda: (now := health(on)) and now.state == "waiting" and now, "alarm", limit=START_SECONDS)
            assert told.pid == process.pid
            assert "0123456789ab" in (told.reason or "")
            assert build_id() in (told.reason or "")
            on.approve("i-1")
            await until(lambda: (now := health(on)) and now.machine_ns > told.machine_ns + 2 * 10**9, what="still waits")
            assert [line for line in on.gateway.wire() if line["kind"] == "connect"] == []
            assert on.placed() == []
            assert process.running
            # and it starts once the whole system is of its build; what was approved meanwhile is too old
            stamp(on, build_id())
            await until_settled(on, process)
            on.approve("i-2")
            await until(lambda: on.state("i-2") in ("WORKING", "FILLED"), what="what is approved now")
            assert not [ref for ref in refs_of(on.placed()) if ref.startswith("i-1")]

    play(servers, tmp_path, story)


def test_beside_a_running_executor_one_of_another_build_leaves_its_heartbeat_alone(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with executor(on) as first:
            await until_settled(on, first)
            stamp(on, "0123456789ab")
            async with executor(on) as second:
                said = output_of(on, Module.EXECUTION)
                await until(lambda: "another_build" in said.read_text(), limit=START_SECONDS, what="says so")
                assert second.running
                now = health(on)
                assert now is not None
                assert (now.pid, now.state) == (first.pid, "ready")

    play(servers, tmp_path, story)
