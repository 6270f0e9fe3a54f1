"""All seven metrics of analytics killed with SIGKILL in mid-session are, turn by turn, those of the process that never stopped.

Real processes on real servers: two shards read the same market under two names, one is killed while events come. What each metric
is made of stands in the processes' own checkpoints; from these the production meter makes the metrics at one instant, as bytes.
Two processes never look at one instant: since when a regime stands, and the smoothing of obi, which is sampled when a process
publishes, are not compared.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import (
    Bar,
    BarEvent,
    Bars,
    BookEvent,
    Level,
    MakerRow,
    MakersEvent,
    QuoteEvent,
    StatusEvent,
    Trade,
)
from alphatrader.contract.messages.metrics import Checkpoint, Discovered, Metric, Parameter
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.modules import Module
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.regime import Regime
from alphatrader.core.analytics.symbol import fresh, restored
from alphatrader.core.analytics.vpin_history import VpinRanks
from alphatrader.core.market.checksum import checksum
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_instant
from tests.streams.scripted import DAY, Stage, minute_bars
from tests.streams.test_analytics_shards import BUCKET, LIMIT, SECOND, _both_read, analytics, fence, health
from tests.support.servers import Servers
from tests.support.waiting import until

SEVEN = ("vpin", "obi", "gex", "dex", "sweep", "hidden", "regime")
VENUES = ("ARCA", "NASDAQ", "BATS", "IEX")
TURNS, KILLED_AT = 12, 5
QUIET_SECONDS = 3600.0
"""A restart may take longer than a feed may be silent."""


class Market:
    """One market under two names: quotes, books with makers, sweeps, prints inside the spread, bars, a halt."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._random, self.seq = stage, Random(7), 0
        self.symbols = stage.servers.settings.market.equities[:2]
        self.began = self.now = stage.clock.market_ns()

    def _next(self) -> tuple[int, int, int]:
        self.seq += 1
        self.now += 20_000_000
        return self.seq, self.now, self.now

    def turn(self, number: int) -> list[Any]:
        """Events of now: of older ones the processes' windows would hold nothing, and nothing of them would be compared."""
        chance = self._random
        self.now = max(self.now, self._stage.clock.market_ns())
        bid = round(660 + chance.randint(-5, 5) / 100, 2)
        ask = round(bid + 0.02, 2)
        said: list[Any] = [QuoteEvent(*self._next(), bid, 100.0 * chance.randint(1, 9), ask, 100.0 * chance.randint(1, 9))]
        bids, asks = (
            tuple(Level(round(price + step * i, 2), 100.0 * chance.randint(1, 9), "NASDAQ", "NSDQ") for i in range(6))
            for price, step in ((bid, -0.01), (ask, 0.01))
        )
        said.append(BookEvent(*self._next(), True, bids, asks, checksum(bids, asks), 0))
        rows = [tuple(MakerRow(level.price, level.size, "CDRG") for level in side) for side in (bids, asks)]
        said.append(MakersEvent(*self._next(), True, rows[0], rows[1], 0, 0))
        for n in range(20):
            side = "buy" if chance.random() < 0.7 else "sell"
            price = round((bid + ask) / 2, 2) if n % 7 == 3 else ask if side == "buy" else bid
            swept = n >= 16
            said.append(
                Trade(
                    *self._next(), price, float(chance.randint(1, 9) * (300 if swept else 20)), VENUES[n % 4],
                    "F" if swept else "@", side, True, True, True, bid=bid, ask=ask,
                )  # type: ignore[arg-type]
            )  # fmt: skip
        if number % 3 == 0:
            said.append(BarEvent(self._next()[0], Bar(self.now, bid, ask, bid, ask, 900.0, bid, 9)))
        if number == KILLED_AT + 2:
            said.append(StatusEvent(*self._next()[:2], False, 0, "open"))
        return said

    def say(self, events: list[Any]) -> None:
        for symbol in self.symbols:
            self._stage.append(Module.IBKR, k.EVENTS_MARKET.at(symbol=symbol), *events)


def chain(now_ns: int) -> Chain:
    rows = tuple(
        OptionRow(expiry, 640.0 + i, right, 1.0, 1.1, None, 1.05, 500, 1000 + 10 * i, 0.15, None, None, None, None)  # type: ignore[arg-type]
        for expiry in ("20261119", "20261202")
        for i in range(41)
        for right in "CP"
    )
    return Chain("SPY", now_ns, 0, 0.99, False, None, 0, rows)


class Judge:
    """What the production meter makes of a process's own state."""

    def __init__(self, stage: Stage, market: Market) -> None:
        self._stage, self._market, self._settings = stage, market, stage.servers.settings
        self.ready: set[str] = set()
        self.chosen: dict[str, Regime] = {}
        """By symbol, the class of its regime and since when."""

    def kept(self, symbol: str) -> Checkpoint | None:
        found: Checkpoint | None = self._stage.get(k.CHECKPOINT.at(symbol=symbol))
        return found

    def folded(self, symbol: str) -> bool:
        kept = self.kept(symbol)
        return kept is not None and kept.state["seq"] == self._market.seq

    def both(self, *symbols: str) -> list[dict[str, bytes]]:
        """Each metric of each at one instant, as bytes: the newest to which one of the processes has let its windows go on."""
        kept = [found for symbol in symbols if (found := self.kept(symbol)) is not None]
        assert len(kept) == len(symbols)
        now = max(self._market.now, *(found.ts_ns for found in kept))
        return [self._metrics(found, now) for found in kept]

    def _metrics(self, kept: Checkpoint, now: int) -> dict[str, bytes]:
        settings, symbol = self._settings, kept.symbol
        state = restored(kept.state, kept.version, settings.analytics)
        assert state is not None
        state.symbol = "SPY"  # the market has two names
        chosen = self.chosen.setdefault(symbol, msgspec.structs.replace(state.regime))
        assert state.regime == chosen, "a class stands for five minutes, a kill is no reason to choose anew"
        state.regime.since_ns = self._market.began  # each process chose at an instant of its own
        state.obi = fresh("SPY", settings.analytics).obi  # smoothed over the instants at which a process published
        view = OptionsView(settings.options.risk_free_rate, settings.analytics.flip_range)
        given = chain(now)
        view.take(given, {row.expiry: close for row in given.rows if (close := nyse().close_of(row.expiry))}, now)
        meter = Meter("SPY", settings.analytics, view, QUIET_SECONDS, settings.signals.atr_period)
        meter.state, meter.ranks = state, VpinRanks(self._stage.get(k.CHECKPOINT_VPIN_HISTORY.at(symbol=symbol)))
        made = meter.metrics(now, now, lambda ns: None if ns is None else max(0.0, (now - ns) / 1e6), f"{DAY:%Y%m%d}")
        self.ready |= {metric.metric for metric in made if metric.ready}
        return {metric.metric: msgspec.msgpack.encode(metric) for metric in made}


@pytest.mark.soak
def test_all_seven_metrics_after_a_kill_are_those_of_the_process_that_never_stopped(servers: Servers, tmp_path: Path) -> None:
    stage = Stage(servers, tmp_path)
    market = Market(stage)
    judge = Judge(stage, market)
    lives, killed = market.symbols
    opens = exchange_instant(DAY, "09:30")
    sizes = dict.fromkeys(market.symbols, Parameter(float(BUCKET), 5000, 0.9, None))
    stage.put(Module.DISCOVERY, k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(opens, opens, sizes))
    for symbol in market.symbols:
        bars = (*minute_bars(opens - 24 * 3_600_000_000_000, 390, 659.0, 200.0), *minute_bars(opens, 29, 660.0, 200.0))
        stage.put(Module.IBKR, k.MARKET_HISTORY.at(symbol=symbol), Bars(symbol, opens, 60, bars))

    async def both(what: str) -> None:
        await until(lambda: judge.folded(lives) and judge.folded(killed), what, limit=LIMIT)

    def regimes() -> bool:
        found = [stage.get(k.METRICS["regime"].at(symbol=symbol)) for symbol in market.symbols]
        return all(metric is not None and metric.ready for metric in found)

    async def story() -> None:
        async with analytics(stage, tmp_path / "out") as parent:
            await until(lambda: health(stage, "analytics") and health(stage, SECOND), "both beat", limit=LIMIT)
            await until(lambda: _both_read(stage), "both read from now on", limit=LIMIT)
            fence_before = fence(stage, SECOND)
            beat = health(stage, SECOND)
            assert beat is not None
            for number in range(TURNS):
                events = market.turn(number)
                if number == KILLED_AT:
                    # when one is killed between two events of a turn, and stays dead for the rest of it
                    market.say(events[:9])
                    parent.send_signal(signal.SIGSTOP)
                    os.kill(beat.pid, signal.SIGKILL)
                    await until(lambda: psutil.Process(beat.pid).status() == psutil.STATUS_ZOMBIE, "dead", limit=LIMIT)
                    market.say(events[9:])
                    await until(lambda: judge.folded(lives), "the living one's turn", limit=LIMIT)
                    assert not judge.folded(killed)
                    parent.send_signal(signal.SIGCONT)
                else:
                    market.say(events)
                await both(f"turn {number} of both")
                if number == 0:
                    await until(regimes, "both have judged their regime", limit=LIMIT)
                    continue
                # then every metric is, in each turn, what it is where nothing happened
                here, there = judge.both(lives, killed)
                assert here.keys() >= set(SEVEN)
                for name in here:
                    assert there[name] == here[name], f"turn {number}: {name}\n{there[name]!r}\n{here[name]!r}"
            assert msgspec.msgpack.decode(there["obi"], type=Metric).components["ofi_events"] > 1
            assert fence(stage, SECOND) == fence_before + 1  # type: ignore[operator]
            assert judge.ready >= set(SEVEN), judge.ready

    try:
        asyncio.run(story())
    finally:
        stage.close()
