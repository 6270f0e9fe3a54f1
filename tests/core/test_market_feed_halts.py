"""A feed's halts: told, estimated and market-wide; what is not known is not open."""

from __future__ import annotations

import pytest

from alphatrader.contract.messages.market import StatusEvent
from alphatrader.core.market.book import ASK, BID, INSERT, UPDATE
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.status import Hours, MarketWide
from tests.core.feed_story import MINUTE, NS, START, Story, Time


def test_a_halt_is_an_event_and_unknown_is_not_open() -> None:
    story = Story()
    assert story.feed.status().halted is None
    for value in (0, 2, 2, -1):
        story.feed.tick_generic(49, value)
        story.events() if value == 2 else None
    assert story.feed.status().halted is None
    story.feed.tick_generic(49, 1)
    status = story.feed.status()
    assert status.halted and status.halt_code == 1 and status.halted_since_ns
    assert [event.halt_code for event in story.events() if isinstance(event, StatusEvent)] == [None, 1]


def test_a_fall_of_the_proxy_halts_every_symbol_that_shares_its_market() -> None:
    wide, time = MarketWide(), Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    spy, other = (
        SymbolFeed(
            symbol, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
            session=lambda _: hours, market_wide=wide,
        )
        for symbol in ("SPY", "AAPL")
    )  # fmt: skip
    future = SymbolFeed(
        "ES", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours, market_wide=wide, equity=False,
    )  # fmt: skip
    for feed in (spy, other):
        feed.tick_generic(49, 0)
    spy.set_ticks(True)
    spy.tick_price(9, 600.0, None)
    spy.trade(START // NS, 599.0, 100, False, False, "ARCA", "")
    assert other.status().halted is False
    spy.trade(START // NS, 558.0, 100, False, False, "ARCA", "")
    said = other.status()
    assert said.halted and said.halted_by == "estimate" and said.state == "open"  # the broker's own word stands beside it
    assert said.halt_reason and "our estimate from SPY: market-wide breaker level 1" in said.halt_reason
    future.tick_generic(49, 0)
    of_future = future.status()
    assert of_future.halted is False and of_future.halted_by is None and of_future.breaker == said.breaker
    assert said.breaker and (said.breaker.proxy, said.breaker.level) == ("SPY", 1)
    luld = spy.status().luld
    assert luld is not None and (luld.lower, luld.upper) == (569.05, 628.95)
    time.seconds += 15 * 60
    assert other.status().halted is False


def test_one_print_through_the_quote_of_the_proxy_stops_no_market() -> None:
    wide, time = MarketWide(), Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    feed = SymbolFeed(
        "SPY", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours, market_wide=wide,
    )  # fmt: skip
    feed.set_ticks(True)
    feed.tick_price(9, 600.0, None)

    def fall(bid: float, price: float, codes: str = "") -> tuple[int, float]:
        feed.tick_price(1, bid, 100)
        feed.tick_price(2, bid + 0.02, 100)
        feed.end_of_read()
        feed.trade(START // NS, price, 100, False, False, "ARCA", codes)
        state = feed.status().breaker
        assert state is not None
        return state.level, state.decline

    assert fall(590.00, 475.0) == (0, 0.016667)  # 20.8 % under the close, 19.5 % under the quote
    assert fall(590.00, 470.0, "L") == (0, 0.016667)  # sold last, long ago
    assert fall(590.00, 599.0) == (0, 0.016633)
    assert fall(557.99, 558.0) == (1, 0.07)


def test_a_pause_and_a_limit_state_say_when_the_pause_should_end() -> None:
    time = Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    feed = SymbolFeed(
        "VXX",
        full=True,
        depth_rows=10,
        quiet_seconds=5.0,
        market_ns=time.market_ns,
        monotonic=time.monotonic,
        session=lambda _: hours,
    )
    feed.tick_generic(49, 0)
    feed.set_ticks(True)
    feed.tick_price(9, 100.0, None)
    feed.trade(START // NS, 100.0, 100, False, False, "ARCA", "")
    assert feed.status().pause_ends_ns is None
    # given a bid at the upper band of Tier 1, then the pause is due in 15 s and lasts five minutes
    feed.tick_price(1, 105.0, 100)
    said = feed.status()
    assert said.luld and (said.luld.upper, said.luld.state) == (105.0, "limit_up") and said.luld.pause_due_ns
    assert said.pause_ends_ns == said.luld.pause_due_ns + 5 * MINUTE
    # and when the broker says that it is paused, its word counts
    time.seconds += 20
    feed.tick_generic(49, 2)
    said = feed.status()
    assert said.halted_by == "broker" and said.halt_reason == "the broker says: volatility pause"
    assert said.halted_since_ns and said.pause_ends_ns == said.halted_since_ns + 5 * MINUTE


def test_the_index_has_no_prints_and_its_quote_line_feeds_the_breaker() -> None:
    wide, time = MarketWide(), Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    index, stock = (
        SymbolFeed(
            symbol, full=full, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
            session=lambda _: hours, market_wide=wide, equity=full,
        )
        for symbol, full in (("SPX", False), ("AAPL", True))
    )  # fmt: skip
    stock.tick_generic(49, 0)
    index.tick_price(9, 6000.0, None)
    index.tick_price(4, 5700.0, 0)
    said = stock.status()
    assert said.halted is False and said.breaker and (said.breaker.proxy, said.breaker.decline) == ("SPX", 0.05)
    index.tick_price(4, 5580.0, 0)
    said = stock.status()
    assert said.halted and said.breaker and (said.breaker.proxy, said.breaker.level) == ("SPX", 1)


def test_a_crossed_quote_is_a_book_before_the_open_and_after_the_close_and_none_between() -> None:
    time = Time()
    hours = Hours("today", START + MINUTE, START + 391 * MINUTE)
    feed = SymbolFeed(
        "AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours,
    )  # fmt: skip
    ready = {}
    for seconds in (59.0, 60.0, 391 * 60 - 1.0, 391 * 60.0):
        time.seconds = seconds
        feed.tick_price(1, 100.02, 100)
        feed.tick_price(2, 100.00, 100)
        book = feed.book(time.monotonic())
        ready[seconds] = book.ready
    assert list(ready.values()) == [True, False, False, True]


def test_a_book_may_cross_and_rest_in_a_halt_and_not_after_it() -> None:
    time = Time()
    hours = Hours("today", START, START + 390 * MINUTE)
    feed = SymbolFeed(
        "AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours,
    )  # fmt: skip
    feed.tick_generic(49, 2)
    feed.tick_price(1, 100.02, 100)
    feed.tick_price(2, 100.00, 100)
    assert feed.book(time.monotonic()).ready  # orders gather for the reopening
    feed.set_depth(True)
    feed.depth(INSERT, 0, BID, 100.02, 100, "ARCA", "")
    feed.depth(INSERT, 0, ASK, 100.00, 100, "NASDAQ", "")
    assert feed.book(time.monotonic()).ready
    time.seconds += 300.0
    resting = feed.book(time.monotonic())
    assert not resting.ready and "silent" in str(resting.reason) and feed.depth_broken is None  # nobody asks for it anew
    # when it trades again it has the usual time to come right
    feed.tick_generic(49, 0)
    feed.depth(UPDATE, 0, BID, 100.02, 200, "ARCA", "")
    assert "crossed" in str(feed.book(time.monotonic()).reason) and feed.depth_broken is None
    time.seconds += 1.5
    assert "crossed" in str(feed.book(time.monotonic()).reason) and feed.depth_broken == "crossed for 1 s"


@pytest.mark.parametrize(
    ("seconds", "halt", "excluded", "crossed"),
    [
        (60 + 0.0, 0, ("ARCA",), False),  # in regular hours the quote that others moved through is an old one
        (60 - 0.001, 0, (), True),  # before the open venues may cross each other, and a quiet one stands
        (60 + 0.0, 2, (), True),
        (391 * 60.0, 0, (), True),
    ],
)
def test_a_quiet_venue_is_left_out_of_the_best_quote_only_while_trading_is_continuous(
    seconds: float, halt: int, excluded: tuple[str, ...], crossed: bool
) -> None:
    time = Time()
    hours = Hours("today", START + MINUTE, START + 391 * MINUTE)
    feed = SymbolFeed(
        "AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours,
    )  # fmt: skip
    feed.set_depth(True)
    feed.tick_generic(49, halt)
    time.seconds = seconds - 6.0
    feed.depth(INSERT, 0, ASK, 100.00, 100, "ARCA", "")
    time.seconds = seconds
    feed.depth(INSERT, 0, BID, 100.02, 100, "NASDAQ", "")
    feed.depth(INSERT, 1, ASK, 100.04, 100, "NASDAQ", "")
    told = feed.book(time.monotonic()).nbbo
    assert told and (told.excluded, told.crossed) == (excluded, crossed)


@pytest.mark.parametrize(
    ("equity", "ticks", "counted", "day"),
    [
        (True, False, [False, True, True, False], (102.0, 100.0, 102.0)),  # the quote line tells no condition: the hours do
        (True, True, [True, True, True, True], (105.0, 95.0, 95.0)),  # the tape would have said T
        (False, False, [True, True, True, True], (105.0, 95.0, 95.0)),  # a future trades day and night
    ],
)
def test_a_share_of_the_quote_line_before_the_open_or_after_the_close_is_of_volume_only(
    equity: bool, ticks: bool, counted: list[bool], day: tuple[float, float, float]
) -> None:
    time = Time()
    hours = Hours("today", START + MINUTE, START + 391 * MINUTE)
    feed = SymbolFeed(
        "AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours, equity=equity,
    )  # fmt: skip
    feed.set_ticks(ticks)
    for seconds, price in ((60.0 - 0.001, 105.0), (60.0, 100.0), (391 * 60 - 0.001, 102.0), (391 * 60.0, 95.0)):
        time.seconds = seconds
        if ticks:
            feed.trade(time.market_ns() // NS, price, 100, False, False, "ARCA", "")
        else:
            feed.tick_text(48, f"{price};100;{time.market_ns() // 1_000_000};1;1;true")
    told = feed.trades().trades
    assert [(t.counts_for_last, t.counts_for_vpin, t.counts_for_range) for t in told] == [(one,) * 3 for one in counted]
    assert {trade.conditions for trade in told} == {""}
    said = feed.last().day
    assert said and (said.high, said.low, said.last) == day and (said.prints, said.volume) == (4, 400)


def test_there_are_no_bands_without_a_previous_close_and_none_of_a_future() -> None:
    time = Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    for symbol, equity, close in (("AAPL", True, None), ("AAPL", True, 0.0), ("ES", False, 100.0), ("AAPL", True, 100.0)):
        feed = SymbolFeed(
            symbol, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
            session=lambda _: hours, equity=equity,
        )  # fmt: skip
        if close is not None:
            feed.tick_price(9, close, None)
        feed.set_ticks(True)
        feed.trade(START // NS, 100.0, 100, False, False, "ARCA", "")
        said = feed.status()
        feed.tick_generic(49, 2)
        paused = feed.status()
        assert (said.luld is not None, paused.pause_ends_ns is not None) == (equity and bool(close), equity)


def test_no_band_is_in_force_in_a_halt_and_a_general_one_has_no_known_end() -> None:
    time = Time()
    hours = Hours("today", START - MINUTE, START + 390 * MINUTE)
    feed = SymbolFeed(
        "AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic,
        session=lambda _: hours,
    )  # fmt: skip
    feed.tick_generic(49, 0)
    feed.tick_price(9, 100.0, None)
    feed.tick_price(1, 105.0, 100)
    feed.tick_text(48, f"100.0;100;{START // 1_000_000};1;1;true")
    said = feed.status()
    assert said.luld and said.luld.state == "limit_up" and said.pause_ends_ns
    feed.tick_generic(49, 1)
    said = feed.status()
    assert said.luld is None and said.pause_ends_ns is None
    feed.tick_generic(49, 0)
    time.seconds += 1
    feed.tick_text(48, f"110.0;100;{START // 1_000_000};1;1;true")
    said = feed.status()
    assert said.luld and (said.luld.reference, said.luld.state) == (110.0, "inside")
