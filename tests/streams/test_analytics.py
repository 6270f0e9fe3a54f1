"""AnalyticsEngine on real servers: market events in, all eight metrics out, and a restart that forgets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Bars, BookEvent, GapEvent, Level, Missing, QuoteEvent, Trade
from alphatrader.contract.messages.metrics import Discovered, Metric, Parameter, VpinHistory, VpinSession
from alphatrader.contract.messages.options import Chain, OptionRow, OptionsEvent
from alphatrader.contract.modules import Module
from alphatrader.core.analytics.vpin_history import BINS
from alphatrader.core.market.checksum import checksum
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.gap_fill import Start
from alphatrader.runtime.market_reader import MarketReader
from alphatrader.streams.analytics import AnalyticsEngine
from alphatrader.web.dashboard.views.operations import module
from tests.streams.scripted import DAY, Stage, minute_bars
from tests.support.servers import Servers
from tests.support.waiting import until

STREAM = k.EVENTS_MARKET.at(symbol="SPY")
BUCKET = 1_000
VENUES = ("ARCA", "NASDAQ", "BATS", "IEX")


class Feed:
    """What ibkr would say of SPY."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.seq = 0

    def next(self) -> int:
        self.seq += 1
        return self.seq

    def trade(self, size: float = 100.0, side: str = "buy", venue: str = "ARCA", price: float = 660.01, seq: int = 0) -> Trade:
        now = self.stage.clock.market_ns()
        return Trade(seq or self.next(), now, now, price, size, venue, "@", side, True, True, True)  # type: ignore[arg-type]

    def small(self, seconds_ago: int) -> Trade:
        """A single share, a while ago."""
        at = self.stage.clock.market_ns() - seconds_ago * 1_000_000_000
        return replace(self.trade(size=1.0), ts_ns=at, received_ns=at)

    def quote(self, bid_size: float = 300.0, ask_size: float = 100.0) -> QuoteEvent:
        now = self.stage.clock.market_ns()
        return QuoteEvent(self.next(), now, now, 660.0, bid_size, 660.01, ask_size)

    def book(self) -> BookEvent:
        now = self.stage.clock.market_ns()
        bids = tuple(Level(660.0 - 0.01 * i, 300.0 + 50 * i) for i in range(6))
        asks = tuple(Level(660.01 + 0.01 * i, 100.0 + 50 * i) for i in range(6))
        return BookEvent(self.next(), now, now, True, bids, asks, checksum(bids, asks), 0)

    def say(self, *events: Any) -> None:
        self.stage.append(Module.IBKR, STREAM, *events)


VOL_STATES = {
    "states": [{"vol": 0.1}, {"vol": 0.5}],
    "window_minutes": 5,
    "filter": {
        "means": [0.2, 0.6],
        "variances": [0.01, 0.02],
        "first": [0.7, 0.3],
        "transitions": [[0.9, 0.1], [0.2, 0.8]],
        "day_shape": [0.0, 0.0, 0.0],
    },
}


@pytest.fixture
def stage(servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(servers, tmp_path)
    yield made
    made.close()


def set_scene(stage: Stage) -> None:
    """History to warm up from, a discovered bucket size and look-back, a chain."""
    opens = exchange_instant(DAY, "09:30")
    bars = (*minute_bars(opens - 24 * 3_600_000_000_000, 390, 659.0, 200.0), *minute_bars(opens, 29, 660.0, 200.0))
    stage.put(Module.IBKR, k.MARKET_HISTORY.at(symbol="SPY"), Bars("SPY", opens, 60, bars))
    sizes = {"SPY": Parameter(float(BUCKET), 5000, 0.9, None)}
    stage.put(Module.DISCOVERY, k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(opens, opens, sizes))
    bars_back = {"SPY": Parameter(9.0, 5000, 0.9, None), "ES": Parameter(9.0, 5000, 0.1, None)}
    stage.put(Module.DISCOVERY, k.DISCOVERED_LOOKBACK_BARS.at(), Discovered(opens, opens, bars_back))
    states = {"SPY": Parameter(2.0, 5000, 0.9, None, VOL_STATES)}
    stage.put(Module.DISCOVERY, k.DISCOVERED_VOL_REGIMES.at(), Discovered(opens, opens, states))
    say_chain(stage)


def say_chain(stage: Stage) -> None:
    now = stage.clock.market_ns()
    rows = tuple(
        OptionRow(expiry, 640.0 + i, right, 1.0, 1.1, None, 1.05, 500, 1000 + 10 * i, 0.15, None, None, None, None)  # type: ignore[arg-type]
        for expiry in ("20261118", "20261119", "20261202")
        for i in range(41)
        for right in "CP"
    )
    bad = (
        OptionRow("20261117", 660.0, "C", 1.0, 1.1, None, None, 0, 9, 0.2, None, None, None, None),
        OptionRow("20261118", 660.0, "C", 1.0, 1.1, None, None, 0, 9, None, None, None, None, None),
    )
    chain = Chain("SPY", now, stage.clock.machine_ns(), 0.99, False, None, 0, rows + bad)
    stage.put(Module.PULLS, k.OPTIONS_CHAIN.at(symbol="SPY"), chain)
    stage.append(Module.PULLS, k.EVENTS_OPTIONS.at(), OptionsEvent("SPY", now, 0.99, False))


def metric(stage: Stage, name: str, symbol: str = "SPY") -> Metric | None:
    found: Metric | None = stage.get(k.METRICS[name].at(symbol=symbol))
    return found


def test_a_feed_becomes_all_seven_metrics_with_their_ttl_and_events(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        async with stage.running(AnalyticsEngine):
            # given prints to know the symbol's usual size by, then quotes, a book and a sweep over four venues by one buyer
            feed.say(*(feed.small(51 - n) for n in range(51)))
            feed.say(feed.quote(), feed.book(), *(feed.trade(venue=venue) for venue in VENUES))
            feed.say(feed.quote(200.0, 100.0))
            # then the book's imbalance and its parts are there, bid heavy, from depth
            obi = await until(lambda: (m := metric(stage, "obi")) and m.ready and m.components["ofi_events"] and m, "obi")
            assert obi.value > 0 and obi.components["source"] == "depth" and obi.components["missing"] == []
            assert all(-1 <= obi.components[part] <= 1 for part in ("volume", "pressure", "slope", "ofi", "micro"))
            # and VPIN runs on the warm buckets, saying so
            vpin = await until(lambda: (m := metric(stage, "vpin")) and m.ready and m, "vpin")
            assert 0 <= vpin.value <= 1 and vpin.components["warm"] == 50 and vpin.components["bucket_shares"] == BUCKET
            assert vpin.components["bucket_source"] == "discovered"
            assert vpin.components["prints"] == "quote_line"
            # and the sweep is seen
            sweep = await until(lambda: (m := metric(stage, "sweep")) and m.ready and m, "sweep")
            assert sweep.n == 1 and sweep.components["newest_side"] == "buy" and sweep.components["newest_rule"] == "venues"
            assert 0 < sweep.value <= sweep.components["newest_strength"] == pytest.approx(0.2 * 3 / 4)
            # and the exposure of the chain, with what was dropped and by which convention
            gex, dex = await until(lambda: (m := metric(stage, "gex")) and m.ready and (m, metric(stage, "dex")), "gex")
            assert gex.n == 41 * 2 * 3 and gex.components["dropped"] == {"expired": 1, "no usable implied volatility": 1}
            assert set(gex.components["by_expiry"]) == {"20261118", "20261119", "20261202"}
            assert "assumed" in gex.convention and dex is not None and dex.components["dex_dealer"] > 0
            # and discovery's states of volatility are filtered over the warm minutes of the session
            regime = await until(lambda: (m := metric(stage, "regime")) and m.components.get("vol_states") and m, "regime")
            assert regime.components["vol_state_windows"] == 5 and regime.components["vol_state"] in (0, 1)
            assert sum(regime.components["vol_state_probabilities"]) == pytest.approx(1.0)
            # and the regime looks back as far as discovery measured, or says why it does not
            assert (regime.components["lookback_bars"], regime.components["lookback_reason"]) == (9, None)
            told = {symbol: await until(lambda s=symbol: metric(stage, "regime", s), symbol) for symbol in ("ES", "VXX")}  # type: ignore[misc]
            assert told["ES"].components["lookback_bars"] == told["VXX"].components["lookback_bars"] == 20
            assert "found 9 bars at a confidence of 0.10" in told["ES"].components["lookback_reason"]
            assert told["VXX"].components["lookback_reason"] == "discovered:lookback_bars is not there"
            # and every key of every symbol is there, with at most five seconds to live; nothing says a number it has not
            for symbol in ("SPY", "VXX", "ES"):
                for name, key in k.METRICS.items():
                    found = await until(lambda s=symbol, n=name: metric(stage, n, s), f"{symbol} {name}")  # type: ignore[misc]
                    left = stage.store(Module.OPERATOR).ttl_ms(key.at(symbol=symbol))
                    assert left is not None and 0 < left <= 5000
                    assert found.ready == (found.value is not None) == (found.reason is None)
                    assert symbol == "SPY" or not found.ready
            makers = metric(stage, "makers")
            assert makers is not None and makers.reason is not None and "no depth line that names market makers" in makers.reason
            # and signals are woken
            events = stage.store(Module.OPERATOR).latest(k.EVENTS_METRICS.at(), 500)
            spy = [event for event in events if event.symbol == "SPY"]
            assert spy[0].source_seq == feed.seq and spy[0].values["obi"] is not None

    asyncio.run(story())


def test_a_book_with_a_wrong_checksum_is_counted_and_not_computed_from(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        async with stage.running(AnalyticsEngine) as engine:
            # given a good book, then one that was damaged on its way, and no quote line
            feed.say(feed.book())
            await until(lambda: (m := metric(stage, "obi")) and m.ready, "obi")
            feed.say(replace(feed.book(), asks=(Level(660.01, 999_999.0),)))
            # then there is no imbalance, it is said why, and it is counted
            gone = await until(lambda: (m := metric(stage, "obi")) and not m.ready and m, "obi not ready")
            assert gone.value is None and gone.reason
            assert engine.health._counts["books refused: wrong checksum"] == 1
            # nor from one whose rows stand in no order, though its checksum is made of just those rows
            feed.say(feed.book())
            await until(lambda: (m := metric(stage, "obi")) and m.ready, "obi again")
            turned = tuple(reversed((book := feed.book()).asks))
            feed.say(replace(book, asks=turned, crc32=checksum(book.bids, turned)))
            await until(lambda: (m := metric(stage, "obi")) and not m.ready and m, "obi not ready")
            assert engine.health._counts["books refused: levels out of order"] == 1
            # and the next good one serves again
            feed.say(feed.book())
            await until(lambda: (m := metric(stage, "obi")) and m.ready, "obi again")
            assert engine.health._counts["books refused: wrong checksum"] == 1

    asyncio.run(story())


def test_vpin_is_ranked_in_the_history_kept_before_the_start_and_the_history_is_kept_again(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        # given 20 whole sessions of low values
        low = (10, *(0 for _ in range(BINS - 1)))
        kept = VpinHistory("SPY", tuple(VpinSession(day, low) for day in range(20)))
        key = k.CHECKPOINT_VPIN_HISTORY.at(symbol="SPY")
        stage.put(Module.ANALYTICS, key, kept)
        feed = Feed(stage)
        async with stage.running(AnalyticsEngine):
            feed.say(feed.quote())
            # when more buckets fill than the ring has warm ones
            feed.say(*(feed.trade(900.0, "sell") for _ in range(60)))
            vpin = await until(lambda: (m := metric(stage, "vpin")) and m.ready and m.components["warm"] == 0 and m, "vpin")
            # then it is above all of them
            parts = vpin.components
            assert (parts["percentile"], parts["percentile_n"], parts["percentile_days"]) == (1.0, 200, 20)
            assert parts["percentile_reason"] is None
        # and today's session joined what is kept
        after = stage.get(key)
        assert after.sessions[:20] == kept.sessions and len(after.sessions) == 21 and sum(after.sessions[20].counts) > 0

    asyncio.run(story())


def test_a_silent_feed_takes_the_numbers_away_and_says_why(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        settings = stage.servers.settings
        short = replace(settings, market=replace(settings.market, quiet_seconds=0.8))
        async with stage.running(AnalyticsEngine, short):
            feed.say(feed.quote(), feed.book(), feed.trade())
            await until(lambda: (m := metric(stage, "obi")) and m.ready, "obi")
            gone = await until(lambda: (m := metric(stage, "obi")) and not m.ready and m, "obi not ready")
            assert gone.value is None and "silent" in gone.reason and gone.input_age_ms["quote"] > 800

    asyncio.run(story())


def test_a_restart_goes_on_from_the_checkpoint_and_the_stream_since(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        # given buckets filled before the restart
        async with stage.running(AnalyticsEngine) as engine:
            feed.say(feed.quote(), *(feed.trade(900.0, "sell") for _ in range(5)))
            await until(lambda: engine._meters["SPY"].state.vpin.filled >= 4, "live buckets")
            before = engine._meters["SPY"].state.vpin
            open_shares = before.buy + before.sell
        assert stage.get(k.CHECKPOINT.at(symbol="SPY")) is not None
        # and prints said while nobody listened, one of them twice
        late = feed.trade(700.0, "buy")
        feed.say(late, late, feed.trade(100.0, "buy"))
        # when it starts again
        async with stage.running(AnalyticsEngine) as engine:
            state = engine._meters["SPY"].state
            await until(lambda: state.seq == feed.seq, "the stream since")
            # then it stands where it would have stood, each print once
            assert state.vpin.filled * 2 * BUCKET + state.vpin.buy + state.vpin.sell == 2 * (5 * 900 + 800)
            assert state.vpin.filled == 5 and open_shares == 1000
            assert state.counts["duplicate or late events ignored"] == 1
            assert state.vpin.ready

    asyncio.run(story())


def test_a_gap_starts_neighbours_anew_and_keeps_the_buckets(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        settings = stage.servers.settings
        off = replace(settings, analytics=replace(settings.analytics, recover_seconds=0.0))
        async with stage.running(AnalyticsEngine, off) as engine:
            state = engine._meters["SPY"].state
            feed.say(feed.quote(), feed.quote(500.0), feed.trade(2500.0))
            await until(lambda: state.vpin.filled == 2 and state.ofi.events, "a fold")
            feed.seq += 10
            feed.say(GapEvent(feed.next(), stage.clock.market_ns(), "subscribed anew"))
            await until(lambda: state.counts.get("gaps announced"), "the gap")
            assert state.ofi.events == [] and state.bid is None and state.vpin.filled == 2
            # a lost number, unannounced, is a gap too
            feed.seq += 1
            feed.say(feed.quote())
            await until(lambda: state.counts.get("sequence gaps"), "the lost number")

    asyncio.run(story())


def test_a_place_that_was_lost_is_read_again_from_the_stream_itself(stage: Stage) -> None:
    async def story() -> None:
        feed = Feed(stage)
        engine = AnalyticsEngine(stage.context(Module.ANALYTICS))
        reader = MarketReader(engine, {"SPY": Start("0")}, [k.EVENTS_OPTIONS.at()])

        async def read() -> list[int]:
            return [entry.event.seq for entry in await reader.read(block_seconds=None, count=2)]

        feed.say(feed.trade())
        assert await read() == [1]
        # given a reader that is pushed past events which stand in the stream
        feed.say(feed.trade(), feed.quote(), feed.trade())
        ((newest, _),) = await engine.store.raw(STREAM.key.server, "XREVRANGE", STREAM.name, "+", "-", "COUNT", 1)
        reader._cursor.positions[STREAM.name] = newest.decode()
        feed.say(feed.trade(), feed.quote())
        # then it reads them from its last one, each once, and asks nobody
        assert [await read() for _ in range(4)] == [[], [2, 3], [4, 5], [6]]
        assert stage.get(k.RESEND.at(module="analytics")) is None and "gaps" not in engine.health._counts
        await engine.store.close()

    asyncio.run(story())


def test_a_gap_that_nobody_fills_is_told_and_what_comes_after_it_is_folded(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        async with stage.running(AnalyticsEngine) as engine:
            state = engine._meters["SPY"].state
            feed.say(feed.trade(400.0))
            await until(lambda: state.seq == feed.seq, "the first print")
            # given numbers that were never written, and no ibkr
            feed.seq += 7
            feed.say(feed.trade(100.0))
            # then they are asked for
            request = await until(lambda: stage.get(k.RESEND.at(module="analytics")), "a request")
            assert request.missing == {"SPY": Missing(1, 9)} and engine.health._facts["recovering"] == {"SPY": 7}
            assert state.seq == 1
            # and when no answer begins, it goes on, and the gap is told
            await until(lambda: state.seq == feed.seq, "what comes after")
            assert state.counts["sequence gaps"] == 1 and state.vpin.buy == 2 * 500
            assert engine.health._counts["gaps not recovered"] == 1 and engine.health._facts["recovering"] is None
            await until(lambda: stage.get(k.RESEND.at(module="analytics")) is None, "the request is withdrawn")

    asyncio.run(story())


def test_bad_stream_content_is_refused_counted_and_does_not_stop_it(stage: Stage) -> None:
    async def story() -> None:
        set_scene(stage)
        feed = Feed(stage)
        settings = stage.servers.settings
        often = replace(settings, analytics=replace(settings.analytics, checkpoint_seconds=0.2))
        async with stage.running(AnalyticsEngine, often) as engine:
            stage.servers.store(Module.IBKR).raw("data", "XADD", STREAM.name, "*", "e", b"\xc1 no msgpack")  # type: ignore[arg-type]
            feed.say(replace(feed.trade(), ts_ns=0), again := feed.quote(), again, feed.trade(), again)
            await until(lambda: "duplicate or late events ignored" in engine.health._counts, "the good ones")
            assert engine.store.refused["events:market:{symbol}"] == 1
            # then the operator's row of it says what was left out, and of which symbol
            batch = engine.store.batch()
            engine.health.add_to(batch, engine.store.refused)
            await engine.store.commit(batch)
            row = module(AlphaTrader.line(Module.ANALYTICS), "sandbox", stage.get(k.HEALTH.at(module="analytics")), None, {})
            told = {"prints with an impossible time refused": 1, "duplicate or late events ignored": 2}
            assert row["counts"] == row["counts"] | told | {"refused events:market:{symbol}": 1}
            assert row["facts"]["folded"] == "; ".join(f"{what}: SPY {n}" for what, n in told.items())

    asyncio.run(story())
