"""Analytics as two shards under their parent: real processes on real servers, one of them killed with SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import QuoteEvent, Trade
from alphatrader.contract.messages.metrics import Discovered, Parameter
from alphatrader.contract.messages.operations import Health
from alphatrader.contract.modules import Module
from alphatrader.core.analytics.symbol import SymbolState, restored
from alphatrader.core.analytics.vpin import Vpin
from alphatrader.core.watch.sight import alarms
from alphatrader.runtime.settings import ROOT
from alphatrader.streams.watchdog import Watchdog
from alphatrader.web.dashboard.views import operations
from tests.streams.scripted import Stage
from tests.support.executor import keep_stamping
from tests.support.servers import Servers
from tests.support.waiting import until

FIRST, SECOND = "analytics", "analytics.2"
BUCKET = 1_000
LIMIT = 90.0


class Twins:
    """The same market under two names, one of each shard: whatever happens to one, the other says where it should stand."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.symbols = stage.servers.settings.market.equities[:2]
        self.seq = 0

    def say(self, *sizes: float) -> None:
        now = self._stage.clock.market_ns()
        for size in sizes:
            self.seq += 2
            quote = QuoteEvent(self.seq - 1, now, now, 660.0, 300.0, 660.01, 100.0)
            side, price = ("buy", 660.01) if size > 0 else ("sell", 660.0)
            trade = Trade(self.seq, now, now, price, abs(size), "ARCA", "@", side, True, True, True)  # type: ignore[arg-type]
            for symbol in self.symbols:
                self._stage.append(Module.IBKR, k.EVENTS_MARKET.at(symbol=symbol), quote, trade)

    def kept(self, symbol: str) -> SymbolState | None:
        """The symbol's state as its newest checkpoint has it."""
        saved = self._stage.get(k.CHECKPOINT.at(symbol=symbol))
        return restored(saved.state, saved.version, self._stage.servers.settings.analytics) if saved else None

    def vpin(self, symbol: str) -> Vpin:
        state = self.kept(symbol)
        assert state is not None
        return state.vpin

    def folded(self, symbol: str) -> bool:
        state = self.kept(symbol)
        return state is not None and state.seq == self.seq


def health(stage: Stage, name: str) -> Health | None:
    found: Health | None = stage.get(k.HEALTH.at(module=name))
    return found


def fence(stage: Stage, name: str) -> int | None:
    found: int | None = stage.get(k.FENCE.at(module=name))
    return found


@asynccontextmanager
async def analytics(stage: Stage, output: Path, shards: int = 2) -> AsyncIterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        **stage.servers.environment,
        "ALPHATRADER_ANALYTICS__SHARDS": str(shards),
        "ALPHATRADER_ANALYTICS__CHECKPOINT_SECONDS": "1",
    }
    stamping = asyncio.create_task(keep_stamping(stage.clock, stage.servers.folder))
    command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "run", "analytics"]
    with output.open("ab") as said:
        parent = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        yield parent
    finally:
        if parent.poll() is None:
            children = psutil.Process(parent.pid).children()
            parent.kill()
            parent.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        stamping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stamping


def test_a_killed_shard_pauses_only_its_symbols_and_goes_on_where_the_other_stands(servers: Servers, tmp_path: Path) -> None:
    output = tmp_path / "out"
    stage = Stage(servers, tmp_path)
    settings = servers.settings
    shared = replace(
        settings, analytics=replace(settings.analytics, shards=2), watchdog=replace(settings.watchdog, stalled_after_seconds=3.0)
    )
    watchdog = Watchdog(stage.context(Module.WATCHDOG, shared))
    twins = Twins(stage)
    here, there = twins.symbols
    now = stage.clock.market_ns()
    sizes = dict.fromkeys(twins.symbols, Parameter(float(BUCKET), 5000, 0.9, None))
    stage.put(Module.DISCOVERY, k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(now, now, sizes))

    def alarmed() -> set[str]:
        return {name for name in alarms(watchdog.look(), shared.watchdog) if name.startswith("module analytics")}

    def shown() -> dict[str, dict[str, Any]]:
        beats = {name: beat for name in (FIRST, SECOND) if (beat := health(stage, name))}
        rows = operations.modules(shared, beats, None, {})
        return {name: row for name, row in rows.items() if name.startswith(FIRST)}

    async def story() -> None:
        async with analytics(stage, output) as parent:
            # given two shards, each with its own symbols, beat, lag and lock, that have both folded the same market
            await until(lambda: fence(stage, FIRST) and fence(stage, SECOND), "both locks held", limit=LIMIT)
            await until(lambda: health(stage, FIRST) and health(stage, SECOND), "both beat", limit=LIMIT)
            await until(lambda: _both_read(stage), "both read from now on", limit=LIMIT)
            twins.say(900, 900, -900, 900, -400)
            await until(lambda: twins.folded(here) and twins.folded(there), "checkpoints of both", limit=LIMIT)
            await until(lambda: {row["state"] for row in shown().values()} == {"ready"}, "both ready", limit=LIMIT)
            await until(lambda: all("lag_ms" in row["facts"] for row in shown().values()), "the lag of both", limit=LIMIT)
            rows = shown()
            assert list(rows) == [FIRST, SECOND] and alarmed() == set()
            owned = [rows[name]["facts"]["symbols"].split(", ") for name in rows]
            everyone = (*settings.market.equities, *(future.root for future in settings.market.futures))
            assert sorted(owned[0] + owned[1]) == sorted(everyone) and here in owned[0] and there in owned[1]
            first, second = rows[FIRST]["pid"], rows[SECOND]["pid"]
            fences = fence(stage, FIRST), fence(stage, SECOND)
            live_since_ns = twins.vpin(there).live_since_ns

            # when the second is killed, and its parent is held so that it stays dead for a while
            parent.send_signal(signal.SIGSTOP)
            os.kill(second, signal.SIGKILL)
            twins.say(300, -700, 900, 900)
            # then the other's symbol goes on alone, and the watchdog names the dead shard and no other
            await until(lambda: twins.folded(here), "the living shard's checkpoint", limit=LIMIT)
            assert not twins.folded(there)
            assert await until(alarmed, "an alarm", limit=LIMIT) == {f"module {SECOND}"}
            # and without a beat it is down, not gone, in the list of modules
            assert operations.modules(shared, {}, None, {str(Module.STATE): True})[SECOND]["state"] == "down"

            # when the parent goes on
            parent.send_signal(signal.SIGCONT)
            await until(lambda: twins.folded(there), "the killed shard's symbol caught up", limit=LIMIT)
            # then that symbol stands, to the last share, where the one that never stopped stands
            assert replace(twins.vpin(here), live_since_ns=live_since_ns) == twins.vpin(there)
            assert twins.vpin(here).filled == 6
            await until(lambda: alarmed() == set(), "the alarm ends", limit=LIMIT)
            # and only the killed one is another process, with the next fence
            rows = shown()
            assert rows[FIRST]["pid"] == first and rows[SECOND]["pid"] != second
            assert (fence(stage, FIRST), fence(stage, SECOND)) == (fences[0], fences[1] + 1)  # type: ignore[operator]
            assert output.read_text().count("starts again") == output.read_text().count(f"{SECOND} ended with SIGKILL") == 1

            # and one SIGTERM ends both, in time, by themselves
            children = psutil.Process(parent.pid).children()
            assert sorted(child.pid for child in children) == sorted(row["pid"] for row in rows.values())
            parent.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(parent.wait, 20) == 0
            assert not any(child.is_running() for child in children) and "killed" not in output.read_text()

    try:
        asyncio.run(story())
    finally:
        watchdog._store.close()
        stage.close()


def test_with_another_number_of_shards_every_symbol_goes_on_where_it_stood_each_print_once(
    servers: Servers, tmp_path: Path
) -> None:
    """Two shards, then three, then one, then two; the parent and its shards are killed each time."""
    stage = Stage(servers, tmp_path)
    twins = Twins(stage)
    now = stage.clock.market_ns()
    sizes = dict.fromkeys(twins.symbols, Parameter(float(BUCKET), 5000, 0.9, None))
    stage.put(Module.DISCOVERY, k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(now, now, sizes))
    # what a process that never stopped would hold
    whole = Vpin(servers.settings.analytics.vpin_buckets)
    whole.set_size(BUCKET, "discovered")

    def say(*prints: int) -> None:
        twins.say(*prints)
        for size in prints:
            whole.add(1, abs(size), "buy" if size > 0 else "sell")

    def stands() -> bool:
        held = [twins.vpin(symbol) for symbol in twins.symbols]
        return all(
            (v.imbalances, v.buy, v.sell, v.filled) == (whole.imbalances, whole.buy, whole.sell, whole.filled) for v in held
        )

    def owners(shards: int) -> dict[str, str] | None:
        """Symbol -> process, when each of so many processes has beaten."""
        names = [FIRST, *(f"{FIRST}.{shard}" for shard in range(2, shards + 1))]
        beats = {name: beat for name in names if (beat := health(stage, name))}
        if len(beats) < shards or any("events" not in beat.counts or beat.pid in old for beat in beats.values()):
            return None
        return {symbol: name for name, beat in beats.items() for symbol in beat.facts["symbols"].split(", ")}

    old: set[int] = set()

    async def story() -> None:
        places = []
        for shards, prints in ((2, (900, -400, 900)), (3, (300, -700, 2_300)), (1, (900, -100, 50))):
            async with analytics(stage, tmp_path / "out", shards) as parent:
                places.append(await until(lambda n=shards: owners(n), f"{shards} shards read", LIMIT))  # type: ignore[misc]
                say(*prints)
                if shards != 3:  # these are killed with the prints just said, folded or not, kept or not
                    await until(lambda: all(map(twins.folded, twins.symbols)), "folded and kept", LIMIT)
                    assert stands()
                old.update(child.pid for child in psutil.Process(parent.pid).children())
            say(-250, 900)  # while nobody reads
        # then each symbol had one owner each time, and the second one moved
        assert all(set(place) == set(places[0]) for place in places)
        assert [place[twins.symbols[1]] for place in places] == [SECOND, SECOND, FIRST]
        assert len({place[servers.settings.market.equities[2]] for place in places}) == 2
        async with analytics(stage, tmp_path / "out", 2):
            await until(lambda: all(map(twins.folded, twins.symbols)), "the last ones", LIMIT)
            assert stands()

    try:
        asyncio.run(story())
    finally:
        stage.close()


def _both_read(stage: Stage) -> bool:
    """Both have read their streams once: what is said from now on is not before their beginning."""
    return all((beat := health(stage, name)) is not None and "events" in beat.counts for name in (FIRST, SECOND))
