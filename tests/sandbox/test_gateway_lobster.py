"""A LOBSTER recording over the gateway's real socket: the product's own handlers and feed fold the file's book, event by event.

Columns and types: alphatrader/sandbox/gateway/replay/lobster.py. The reference is read here once more, from the files alone.
"""

from __future__ import annotations

import asyncio
import csv
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ib_insync import Stock

from alphatrader.clients.ibkr.subscriptions import Kind, Subscriptions
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.sandbox.gateway.depth import Mode
from alphatrader.sandbox.gateway.replay.lobster import orderbook_path, read
from alphatrader.sandbox.gateway.replay.replayed import ReplayedMarket
from tests.support.fixed_market import AAPL, FixedMarket
from tests.support.gateway import MONDAY_TEN, Clock, client, running_gateway
from tests.support.waiting import until

SAMPLE = Path(__file__).parents[2] / "../shared/data/lobster/lobster_AAPL_2012-06-21_message_10_first1000.csv"
needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="../shared/data/lobster is not here")
SHOWN = 10
VISIBLE, HIDDEN = "4", "5"


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def state(row: list[str]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """(bids, asks) of one row of the order-book file, in dollars."""
    prices = [int(text) for text in row]
    levels = [(prices[at], prices[at + 1]) for at in range(0, len(prices), 2)]
    asks, bids = ([(p / 10000, float(size)) for p, size in side if abs(p) != 9999999999] for side in (levels[0::2], levels[1::2]))
    return bids, asks


class Tape:
    """What the product's feed makes of a replay: its book and its prints."""

    def __init__(self, feed: SymbolFeed) -> None:
        self.feed = feed
        self.trades: list[Any] = []

    def take(self) -> None:
        for event in self.feed.take_events(time.monotonic()):
            if type(event).__name__ == "Trade":
                self.trades.append(event)

    def levels(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        book = self.feed.book(time.monotonic())
        assert checksum(book.bids, book.asks) == book.crc32
        return [(level.price, level.size) for level in book.bids], [(level.price, level.size) for level in book.asks]


async def soon(condition: Callable[[], bool]) -> None:
    """`until`, looked at in every turn of the loop: a thousand events are compared one by one."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0)


async def replaying(tmp_path: Path, mode: Mode, speed: float, story: Any, clock: Clock | None = None) -> None:
    clock = clock or Clock()
    market = ReplayedMarket(FixedMarket(clock()), AAPL, read(SAMPLE), start_ns=clock(), speed=speed)
    async with (
        running_gateway(tmp_path, market=market, clock=clock, depth_mode=mode, pace=market.pace) as running,
        client(running) as ib,
    ):
        feed = SymbolFeed(
            "AAPL", full=True, depth_rows=20, quiet_seconds=3600, market_ns=clock, monotonic=time.monotonic
        )  # fmt: skip
        refused: list[str] = []
        subscriptions = Subscriptions(ib, 20, refused.append)
        ib.updateEvent += feed.end_of_read
        (apple,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
        feed.set_depth(True)
        feed.set_ticks(True)
        for kind in (Kind.QUOTE, Kind.DEPTH, Kind.TICKS):
            subscriptions.open(kind, "AAPL", apple, feed, "233" if kind == Kind.QUOTE else "")
        await until(lambda: running.gateway.data.counts() == {"lines": 1, "depth": 1, "tick_by_tick": 1, "realtime_bars": 0})
        await story(SimpleNamespace(running=running, market=market, tape=Tape(feed), feed=feed, clock=clock))
        assert refused == [] and feed.refused == Counter()


@needs_sample
@pytest.mark.parametrize("mode", ["shift", "restate"])
def test_the_folded_book_is_the_files_after_every_event(tmp_path, mode):
    """Step by step: one event is asked for, and the book is compared before the next."""
    messages, states = rows(SAMPLE), rows(orderbook_path(SAMPLE))

    async def story(at):
        guessed: list[bool] = []
        for number, (message, after) in enumerate(zip(messages, states, strict=True)):
            printed = len(at.tape.trades)
            quote = at.feed.book(time.monotonic())
            at.running.gateway.inject("replay", events=1)
            assert at.market.pace.played == number + 1
            bids, asks = state(after)

            def arrived(bids=bids, asks=asks, message=message, printed=printed):
                at.tape.take()
                traded = message[1] in (VISIBLE, HIDDEN)
                return at.tape.levels() == (bids[:SHOWN], asks[:SHOWN]) and len(at.tape.trades) == printed + traded

            try:
                await soon(arrived)
            except AssertionError:
                raise AssertionError(f"event {number + 1} {message}: {at.tape.levels()} is not {(bids, asks)}") from None
            if message[1] in (VISIBLE, HIDDEN):
                trade = at.tape.trades[-1]
                assert (trade.price, trade.size, trade.venue) == (int(message[4]) / 10000, int(message[3]), "NASDAQ")
                guessed.append(bool(quote.bids and quote.asks) and quote.bids[0].price < trade.price < quote.asks[0].price)
        truth = [message[1] == HIDDEN for message in messages if message[1] in (VISIBLE, HIDDEN)]
        right = sum(a and b for a, b in zip(guessed, truth, strict=True))
        assert len(at.tape.trades) == len(truth)
        sys.stdout.write(
            f"\nLOBSTER {mode}: {len(messages)} events, each book equal to the file's top {SHOWN}; hidden executions "
            f"{sum(truth)} of {len(truth)} prints, found by 'strictly inside the quote before': precision "
            f"{right}/{sum(guessed)}, recall {right}/{sum(truth)}\n"
        )
        assert right == sum(guessed) == sum(truth)

    asyncio.run(asyncio.wait_for(replaying(tmp_path, mode, 0, story), 240))


@needs_sample
def test_at_many_times_its_pace_every_print_comes_and_the_book_ends_as_the_file_does(tmp_path):
    messages, states = rows(SAMPLE), rows(orderbook_path(SAMPLE))
    lasting = float(messages[-1][0]) - float(messages[0][0])

    async def story(at):
        at.clock.advance(lasting / 50 + 1)
        await until(lambda: at.market.pace.played == len(messages))
        bids, asks = state(states[-1])

        def ended():
            at.tape.take()
            return at.tape.levels() == (bids, asks)

        await until(ended)
        traded = [(int(m[4]) / 10000, int(m[3])) for m in messages if m[1] in (VISIBLE, HIDDEN)]
        await until(lambda: at.tape.take() or len(at.tape.trades) == len(traded))
        assert [(trade.price, trade.size) for trade in at.tape.trades] == traded

    clock = Clock(MONDAY_TEN)
    asyncio.run(asyncio.wait_for(replaying(tmp_path, "shift", 50, story, clock), 60))


def written(folder: Path, messages: str, states: str) -> Path:
    path = folder / "X_message_1.csv"
    path.write_text(messages)
    orderbook_path(path).write_text(states)
    return path


def test_a_reader_says_which_row_is_wrong(tmp_path):
    good = "34200.5,1,1,10,1000000,1\n"
    level = "9999999999,0,1000000,10\n"
    (event,) = read(written(tmp_path, good, level))
    assert (event.since_midnight_ns, event.price, event.bids, event.asks) == (34_200_500_000_000, 100.0, ((100.0, 10),), ())
    for messages, states, words in (
        (good, level + level, "has 1 rows and X_orderbook_1.csv 2"),
        (good + "34200.4,1,1,10,1000000,1\n", level + level, "row 2: time goes back"),
        ("34200.5,9,1,10,1000000,1\n", level, "row 1: type 9"),
        ("34200.5,1,1,10\n", level, "row 1: 4 fields"),
        (good, "1,2,3\n", "row 1: 3 numbers of state"),
        ("", "", "no event"),
    ):
        with pytest.raises(ValueError, match=words):
            read(written(tmp_path, messages, states))


def test_a_halt_of_the_recording_shows_as_tick_49_and_prints_keep_their_conditions(tmp_path):
    messages = (
        "34200.1,1,1,100,1000000,1\n34200.2,4,1,50,1000000,1\n34200.3,7,0,0,-1,-1\n34200.4,7,0,0,0,-1\n"
        "34200.5,7,0,0,1,-1\n34200.6,6,0,300,1000500,-1\n"
    )
    events = read(written(tmp_path, messages, "1000100,5,1000000,10\n" * 6))
    market = ReplayedMarket(FixedMarket(MONDAY_TEN), AAPL, events, start_ns=MONDAY_TEN, speed=1)
    halts, prints = [], []
    now = MONDAY_TEN + 10**9
    while (step := market.step(now)).ts_ns < now:
        halts += step.halts
        prints += step.prints
    assert halts == [(AAPL, 1), (AAPL, 1), (AAPL, 0)]
    assert [(p.price, p.size, p.conditions) for p in prints] == [(100.0, 50, "I"), (100.05, 300, "X")]
    quote = market.quote(AAPL)
    assert quote is not None and (quote.last, quote.volume, quote.high) == (100.05, 350, 100.05)
    with pytest.raises(ValueError, match="step by step needs a speed of 0"):
        market.pace.ask(1)
