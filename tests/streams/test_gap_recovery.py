"""A reader that missed market events gets them again: analytics and ibkr as they are, real servers, a stream trimmed past it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.market import Missing, ResendRequest, Trade
from alphatrader.contract.messages.metrics import Discovered, Parameter
from alphatrader.contract.modules import Module
from alphatrader.core.analytics.symbol import SymbolState, restored
from alphatrader.core.analytics.vpin import Vpin
from alphatrader.runtime.audit_file import BlockPlace, index
from alphatrader.runtime.clock import Clock, exchange_instant
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.runs import Log, logs
from alphatrader.runtime.settings import ROOT
from alphatrader.streams.ibkr.resent import NotThereError, missing_events
from tests.streams.scripted import DAY, Stage
from tests.support.executor import keep_stamping
from tests.support.ingestion import Story, ingestion
from tests.support.servers import Servers, running_servers
from tests.support.waiting import until

STREAM = k.EVENTS_MARKET.at(symbol="SPY")
BUCKET = 100
STALLED = 150
"""Events that come while the reader stands still: within the 5 s that its lock lives."""


@asynccontextmanager
async def analytics(stage: Stage, output: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        **stage.servers.environment,
        **stage.servers.vault.environment_for(Module.ANALYTICS),
        "ALPHATRADER_ANALYTICS__CHECKPOINT_SECONDS": "1",
    }
    stamping = asyncio.create_task(keep_stamping(stage.clock, stage.servers.folder))
    with output.open("ab") as said:
        command = [sys.executable, "-m", "alphatrader.runtime.child", "analytics"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        stamping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stamping


class Witness:
    """Reads the stream from its first event and misses none."""

    def __init__(self, story: Story) -> None:
        self.events: list[Any] = []
        self._story, self._cursor = story, Cursor.at_start([STREAM])

    async def look(self) -> list[Any]:
        while entries := await self._story.reader.read(self._cursor, block_seconds=None, count=10_000):
            self.events += [entry.event for entry in entries]
        return self.events

    async def so_many(self, count: int) -> None:
        await self._story.seen(lambda: self._reached(count))

    async def _reached(self, count: int) -> bool:
        return len(await self.look()) >= count


def kept(stage: Stage) -> SymbolState | None:
    saved = stage.get(k.CHECKPOINT.at(symbol="SPY"))
    return restored(saved.state, saved.version, stage.servers.settings.analytics) if saved else None


def counts(stage: Stage, name: str) -> dict[str, int]:
    beat = stage.get(k.HEALTH.at(module=name))
    return beat.counts if beat else {}


def trim(servers: Servers, most: int) -> None:
    store = servers.store(Module.REDIS)
    store.raw(Server.DATA, "XTRIM", STREAM.name, "MAXLEN", most)
    store.close()


def test_a_stream_that_was_trimmed_past_a_stalled_reader_leaves_its_volume_whole_and_is_decided_again(tmp_path: Path) -> None:
    async def story(servers: Servers, stage: Stage) -> None:
        now = stage.clock.market_ns()
        size = {"SPY": Parameter(float(BUCKET), 5000, 0.9, None)}
        stage.put(Module.DISCOVERY, k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(now, now, size))
        async with analytics(stage, tmp_path / "out") as process:
            await until(lambda: "events" in counts(stage, "analytics"), "analytics reads from now on", limit=90)
            async with ingestion(servers, servers.folder, market="ticking", clock=stage.clock) as s:
                # given a reader that has folded everything so far
                witness = Witness(s)
                await witness.so_many(100)
                await until(lambda: (state := kept(stage)) and state.vpin.filled >= 2, "live buckets", limit=60)
                # when it stalls, and the stream is trimmed past its place before it goes on
                process.send_signal(signal.SIGSTOP)
                await witness.so_many(len(witness.events) + STALLED)
                trim(servers, 5)
                process.send_signal(signal.SIGCONT)
                # then it gets what it missed from the audit log, and says so
                await until(lambda: counts(stage, "analytics").get("gaps recovered"), "the gap is recovered", limit=90)
                # and what comes after it
                newest = (await witness.look())[-1].seq
                await until(lambda: (state := kept(stage)) and (state.seq or 0) > newest, "it goes on", limit=60)
                assert s.module.health._counts["resends"] == 1
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 20) == 0
                await witness.look()
        # and it stands where one that never stalled would stand: every share once, bucket by bucket
        state = kept(stage)
        assert state is not None and state.seq is not None and "sequence gaps" not in state.counts
        events = [event for event in witness.events if event.seq <= state.seq]
        assert [event.seq for event in events] == list(range(1, state.seq + 1))
        undisturbed = Vpin(state.vpin.buckets)
        undisturbed.set_size(BUCKET, "")
        for event in events:
            if isinstance(event, Trade) and event.counts_for_vpin:
                undisturbed.add(event.ts_ns, round(event.size), event.side)
        assert undisturbed.filled > 10
        assert (state.vpin.filled, state.vpin.buy, state.vpin.sell) == (undisturbed.filled, undisturbed.buy, undisturbed.sell)
        live = min(undisturbed.filled, state.vpin.buckets)
        assert state.vpin.imbalances[-live:] == undisturbed.imbalances[-live:]
        assert counts(stage, "analytics")["events recovered"] >= STALLED - 5 - 100
        assert not stage.get(k.RESEND.at(module="analytics"))

    with running_servers(tmp_path / "servers") as servers:
        stage = Stage(servers, servers.folder)
        try:
            asyncio.run(story(servers, stage))
        finally:
            stage.close()
        # and what it recovered is among what it took: its recording is decided again, byte for byte
        command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "replay", str(servers.folder)]
        environment = {**os.environ, **servers.environment}
        again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert again.returncode == 0, again.stdout + again.stderr


@pytest.fixture
def written(servers: Servers, tmp_path: Path) -> tuple[list[Any], Log]:
    """Everything SPY told in two lives of ibkr, and the log of both."""
    told: list[Any] = []
    clock = Clock(exchange_instant(DAY, "10:00"), time.time_ns(), 1.0)

    async def life() -> None:
        async with ingestion(servers, tmp_path, market="ticking", clock=clock) as s:
            witness = Witness(s)
            await witness.so_many(len(told) + 150)
        told[:] = witness.events

    for _ in range(2):
        asyncio.run(life())
    (log,) = logs(tmp_path / "audit")
    return told, log


def asked(after: Any, until_: Any) -> ResendRequest:
    times = [getattr(event, "received_ns", None) or getattr(event, "ts_ns", None) or event.bar.ts_ns for event in (after, until_)]
    return ResendRequest(1, times[0], max(times), {"SPY": Missing(after.seq, until_.seq)})


def test_any_stretch_of_the_stream_is_made_again_from_the_log_over_a_restart_of_ibkr_too(
    written: tuple[list[Any], Log],
) -> None:
    told, log = written
    assert len({path.stem for path in log.paths}) >= 2 and [event.seq for event in told] == list(range(1, len(told) + 1))
    for first, last in ((0, 20), (40, 41), (40, 42), (30, len(told) - 30), (len(told) - 60, len(told) - 40)):
        found = list(missing_events(log, asked(told[first], told[last])))
        assert found == [("SPY", event) for event in told[first + 1 : last]]


def test_what_the_log_does_not_hold_is_said_and_nothing_else_is_given(written: tuple[list[Any], Log], tmp_path: Path) -> None:
    told, log = written
    request = asked(told[40], told[-40])
    # given a log whose first part was forgotten: what stands after it does not stand alone
    with pytest.raises(NotThereError, match=r"SPY: \d+ is not in the log|is missing in the log"):
        list(missing_events(Log("ibkr", log.paths[1:]), request))
    # and one with a broken block: what comes before it is given, in order, then it is said
    path = log.paths[0]
    content = bytearray(path.read_bytes())
    places = [place for place in index(path) if isinstance(place, BlockPlace)]
    content[places[len(places) // 2].end - 1] ^= 0x10
    broken = tmp_path / path.name
    broken.write_bytes(content)
    given: list[Any] = []
    with pytest.raises(NotThereError, match="a hole"):
        given.extend(event for _, event in missing_events(Log("ibkr", (broken, *log.paths[1:])), request))
    # and events it never told
    beyond = ResendRequest(1, request.since_ns, request.until_ns, {"SPY": Missing(told[-1].seq + 500, told[-1].seq + 600)})
    with pytest.raises(NotThereError):
        list(missing_events(log, beyond))
