"""One instrument's feed: numbered events, honest books, one source of prints."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from alphatrader.contract.messages.market import BookEvent, GapEvent, QuoteEvent, Trade
from alphatrader.core.market.book import ASK, BID, DELETE, INSERT, UPDATE
from alphatrader.core.market.feed import CONFLATE_SECONDS, SymbolFeed
from alphatrader.core.market.status import Hours
from alphatrader.core.market.tick_line import MUTE_TICKS
from alphatrader.runtime.calendar import nyse
from tests.core.feed_story import NS, START, Story, Time


def test_events_are_numbered_without_a_gap_and_prints_are_never_conflated() -> None:
    story = Story()
    story.feed.set_ticks(True)
    seen = []
    for turn in range(5):
        story.quote(100.0 + turn, 100.02 + turn)
        for _ in range(7):
            story.feed.trade(1_800_000_000, 100.01 + turn, 10, False, False, "ARCA", "@")
        seen += story.events()
        story.later(CONFLATE_SECONDS / 2)
    numbers = [event.seq for event in seen]  # type: ignore[attr-defined]
    assert numbers == list(range(1, len(seen) + 1))
    assert sum(isinstance(event, Trade) for event in seen) == 35
    assert sum(isinstance(event, QuoteEvent) for event in seen) == 3
    assert sum(isinstance(event, BookEvent) for event in seen) == 3


def test_the_newest_book_is_shown_and_says_how_many_it_replaced() -> None:
    story = Story()
    story.depth(100.0, 100.02)
    story.events()
    story.later(1)
    for size in (1, 2, 3):
        story.feed.depth(UPDATE, 0, BID, 100.0, size, "ARCA", "")
    (event,) = [event for event in story.events() if isinstance(event, BookEvent)]
    assert event.bids[0].size == 3 and event.conflated == 2 and event.ready and event.source == "depth"


def test_without_depth_the_book_is_the_quote_and_says_so() -> None:
    story = Story()
    assert not story.feed.book(0.0).ready
    story.quote(100.0, 100.02)
    book = story.feed.book(0.0)
    assert book.ready and book.source == "quote" and book.bids[0].price == 100.0 and book.asks[0].size == 200


def test_a_side_that_does_not_exist_is_none_never_zero() -> None:
    story = Story()
    story.quote(100.0, 100.02)
    story.feed.tick_price(1, 0.0, 0)
    assert story.feed.last().bid is None
    story.feed.tick_price(1, -1.0, 0)
    story.feed.tick_price(7, -37.63, 0)  # crude oil's low of 20 April 2020: a price, though below nothing
    last = story.feed.last()
    assert last.low == -37.63
    assert last.bid is None and last.bid_size is None and last.ask == 100.02
    assert story.feed.book(0.0).reason == "no bid"


@pytest.mark.parametrize(
    ("symbol", "equity", "prints", "told", "low"),
    [
        ("CL", False, (0.02, 0.0, -0.5, -37.63), (0.02, 0.0, -0.5, -37.63), -37.63),
        ("CL", True, (60.0, 0.0, -37.63), (60.0,), 60.0),  # of that name there is a share, too
        ("ES", False, (0.25, 0.0, -0.25), (0.25,), 0.25),  # an index is never worth nothing
    ],
)
def test_crude_oil_trades_below_zero_and_nothing_else_does(
    symbol: str, equity: bool, prints: tuple[float, ...], told: tuple[float, ...], low: float
) -> None:
    feed = SymbolFeed(
        symbol, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=lambda: START, monotonic=lambda: 0.0, equity=equity
    )
    for price in prints:
        feed.tick_text(48, f"{price};1;{START // 1_000_000};1;1;true")
    day = feed.last().day
    assert [trade.price for trade in feed.trades().trades] == list(told)
    assert day and (day.low, day.last, day.impossible) == (low, told[-1], len(prints) - len(told))


NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("symbol", "equity", "days"),
    [
        ("ES", False, ["2026-11-02", "2026-11-02", "2026-11-03", "2026-11-03", "2026-11-03", "2026-11-27", "2026-11-30"]),
        ("SPY", True, ["2026-11-02", "2026-11-02", "2026-11-02", "2026-11-02", "2026-11-03", "2026-11-27", "2026-11-27"]),
    ],
)
def test_a_futures_day_begins_on_the_evening_before_and_a_shares_at_midnight(symbol: str, equity: bool, days: list[str]) -> None:
    """Over the leap of the clocks on Sunday, 1 November 2026, and over Thanksgiving and its half day."""
    now = 0

    def hours(ts_ns: int) -> Hours | None:
        session = nyse().known(ts_ns)
        return session and Hours(session.name, session.open_ns, session.close_ns)

    feed = SymbolFeed(
        symbol, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=lambda: now, monotonic=lambda: 0.0, session=hours,
        equity=equity,
    )  # fmt: skip
    told = []
    for when in ("11-01 18:00", "11-02 17:59", "11-02 18:00", "11-02 23:59", "11-03 00:00", "11-26 11:00", "11-27 18:00"):
        now = int(datetime.strptime(f"2026-{when}", "%Y-%m-%d %H:%M").replace(tzinfo=NEW_YORK).timestamp()) * NS
        feed.tick_text(48, f"100.25;1;{now // 1_000_000};1;1;true")
        day = feed.last().day
        told.append(day.session if day else "")
    assert told == days


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_what_is_no_price_is_refused_and_counted(bad: float) -> None:
    story = Story()
    story.quote(100.0, 100.02)
    story.feed.tick_price(1, bad, 100)
    story.feed.set_ticks(True)
    story.feed.trade(1, bad, 1, False, False, "ARCA", "@")
    assert story.feed.last().bid == 100.0 and story.feed.trades().trades == ()
    assert sum(story.feed.refused.values()) == 2


def test_a_broken_book_is_not_ready_until_it_is_subscribed_anew() -> None:
    story = Story()
    story.depth(100.0, 100.02)
    story.feed.depth(UPDATE, 7, BID, 99.0, 1, "ARCA", "")
    assert story.feed.depth_broken and not story.feed.book(0.0).ready
    story.feed.gap("resubscribed", depth_only=True)
    story.feed.depth(INSERT, 0, BID, 100.0, 1, "ARCA", "")
    story.feed.depth(INSERT, 0, ASK, 100.1, 1, "ARCA", "")
    assert story.feed.book(0.0).ready
    assert any(isinstance(event, GapEvent) for event in story.events())


def test_a_book_that_stays_crossed_must_be_asked_for_again() -> None:
    story = Story()
    story.depth(100.05, 100.02)
    assert "crossed" in str(story.feed.book(0.0).reason) and story.feed.depth_broken is None
    assert not story.feed.book(1.5).ready and story.feed.depth_broken


def test_what_was_wrong_before_a_side_was_gone_is_not_wrong_all_that_time() -> None:
    story = Story()
    story.depth(100.05, 100.02)
    reasons = [story.feed.book(0.0).reason]
    story.feed.depth(DELETE, 0, ASK, 0.0, 0, "BATS", "")
    reasons.append(story.feed.book(0.5).reason)
    story.feed.depth(INSERT, 0, ASK, 100.02, 100, "BATS", "")
    reasons.append(story.feed.book(3.0).reason)
    assert [str(reason)[:7] for reason in reasons] == ["crossed", "no ask", "crossed"] and story.feed.depth_broken is None
    story.feed.depth(UPDATE, 0, ASK, 100.02, 200, "BATS", "")
    assert not story.feed.book(4.5).ready and story.feed.depth_broken


def test_a_silent_depth_beside_a_living_quote_is_not_ready() -> None:
    story = Story()
    story.depth(100.0, 100.02)
    story.later(6)
    story.quote(100.0, 100.02)
    assert "silent" in str(story.feed.book(6.0).reason)


def test_a_book_far_from_the_quote_is_not_believed() -> None:
    story = Story()
    story.depth(100.0, 100.02)
    story.quote(110.0, 110.02)
    assert "the quote at 110.01" in str(story.feed.book(0.0).reason)


def test_the_side_of_a_print_is_judged_by_the_quote_before_it() -> None:
    story = Story()
    story.feed.set_ticks(True)
    story.quote(100.0, 100.02)
    # when the quote moves up in the same read as the print at the old ask, then it is still a buy
    story.feed.tick_price(1, 100.02, 100)
    story.feed.tick_price(2, 100.04, 100)
    story.feed.trade(1, 100.02, 10, False, False, "ARCA", "@")
    assert story.feed.trades().trades[-1].side == "buy"


def test_a_read_of_depth_alone_moves_the_quote_that_the_next_print_is_judged_by() -> None:
    story = Story()
    story.feed.set_ticks(True)
    story.depth(10.0, 10.1)
    story.quote(10.0, 10.1)
    # the best bid rises in a read that brings nothing but rows of the book
    story.feed.depth(UPDATE, 0, BID, 10.04, 100, "ARCA", "")
    story.feed.end_of_read()
    story.feed.trade(1, 10.04, 100, False, False, "ARCA", "")
    (trade,) = [event for event in story.events() if isinstance(event, Trade)]
    assert (trade.bid, trade.ask, trade.side) == (10.04, 10.1, "sell")


def test_a_silent_depth_does_not_judge_prints_the_living_quote_does() -> None:
    story = Story()
    story.quote(100.00, 100.02)
    story.depth(100.00, 100.02)
    story.feed.set_ticks(True)
    for seconds, side in ((4.0, "buy"), (2.0, "sell")):  # the depth stood still for 4 s, then for 6: it is to speak every 5
        story.later(seconds)
        story.quote(101.00, 101.02)
        story.feed.trade(START // NS, 101.00, 100, False, False, "ARCA", "@")
        assert [event.side for event in story.events() if isinstance(event, Trade)] == [side]


def test_prints_have_one_source() -> None:
    story = Story()
    text = "100.01;50;1800000000123;9000;100.0;true"
    story.feed.tick_text(48, text)
    assert story.feed.trades().trades[-1].ts_ns == 1_800_000_000_123_000_000
    story.feed.set_ticks(True)
    story.feed.tick_text(48, text)
    assert len(story.feed.trades().trades) == 1
    # when the tick-by-tick line is granted but gives nothing, then it is known to be dead
    for _ in range(MUTE_TICKS):
        story.feed.tick_text(48, text)
    assert story.feed.ticks.broken


def test_every_message_says_whether_depth_and_tick_by_tick_are_there() -> None:
    story = Story()
    story.quote(100.0, 100.02)
    story.feed.tick_text(48, "100.01;50;1800000000123;9000;100.0;true")
    status, (trade,) = story.feed.status(), story.feed.trades().trades
    assert (status.depth, status.prints, trade.tick_by_tick) == ("none", "quote_line", False)
    assert story.feed.book(0.0).source == "quote"
    # when slots are granted
    story.events()
    story.feed.changed.clear()
    story.feed.set_ticks(True)
    assert "status" in story.feed.changed
    story.depth(100.0, 100.02)
    story.feed.trade(1_800_000_001, 100.02, 10, past_limit=False, unreported=False, venue="ARCA", conditions="")
    status, trade = story.feed.status(), story.feed.trades().trades[-1]
    assert (status.depth, status.prints, trade.tick_by_tick) == ("ready", "tick_by_tick", True)
    # and an instrument of quotes only has no prints at all
    quotes = SymbolFeed("DAX", full=False, depth_rows=1, quiet_seconds=5.0, market_ns=lambda: START, monotonic=lambda: 0.0)
    assert quotes.status().prints == "none"


@pytest.mark.parametrize("text", [";;;;;", "100.01;x;1;1;1;true", ""])
def test_a_bad_rtvolume_is_counted_and_stops_nothing(text: str) -> None:
    story = Story()
    story.feed.tick_text(48, text)
    assert sum(story.feed.refused.values()) == 1


def test_a_feed_is_alive_while_messages_come() -> None:
    story = Story()
    assert not story.feed.alive(0.0)
    story.quote(100.0, 100.02)
    assert story.feed.alive(5.0) and not story.feed.alive(5.1)
    story.feed.silenced()
    assert not story.feed.alive(0.0)


def test_a_lost_feed_starts_anew() -> None:
    story = Story()
    story.quote(100.0, 100.02)
    story.feed.gap("reconnected")
    assert story.feed.last().bid is None and story.feed.timestamps().gaps == 1 and not story.feed.alive(0.0)


def test_the_lag_is_from_reception_to_the_first_publication_however_often_it_is_renewed() -> None:
    story = Story()
    story.quote(100.0, 100.02)
    story.later(0.02)
    first = story.feed.timestamps()
    story.later(3.0)
    renewed = story.feed.timestamps()
    assert first.published_ns - first.received_ns == 20_000_000
    assert (renewed.received_ns, renewed.published_ns) == (first.received_ns, first.published_ns) and renewed.ts_ns > first.ts_ns
    # when something new comes, then its publication counts
    story.quote(100.0, 100.03)
    story.later(0.05)
    assert story.feed.timestamps().published_ns - first.published_ns == 3_050_000_000


def test_a_gap_says_whether_only_the_depth_is_concerned() -> None:
    story = Story()
    story.feed.set_depth(True)
    story.feed.gap("reconnected")
    assert [event.depth_only for event in story.events() if isinstance(event, GapEvent)] == [True, False]


def test_a_book_from_depth_says_its_nbbo_and_why_it_is_not_ready_and_what_was_replaced_is_counted() -> None:
    story = Story()
    story.depth(100.0, 100.02)
    (book,) = (event for event in story.events() if isinstance(event, BookEvent))
    assert book.ready and book.reason is None and book.nbbo is not None
    assert (book.nbbo.bid, book.nbbo.bid_venues, book.nbbo.ask, book.nbbo.ask_venues) == (100.0, ("ARCA",), 100.02, ("BATS",))
    assert story.feed.status().depth == "ready"
    counted = story.feed.timestamps().conflated_books
    for size in (100, 200, 300):
        story.feed.depth(UPDATE, 0, BID, 100.0, size, "ARCA", "")
    story.feed.depth(UPDATE, 7, BID, 100.0, 100, "ARCA", "")
    story.later(CONFLATE_SECONDS)
    (broken,) = (event for event in story.events() if isinstance(event, BookEvent))
    assert not broken.ready and broken.reason and "update at 7 of 1 rows" in broken.reason and broken.nbbo is None
    assert broken.conflated == 3 and story.feed.timestamps().conflated_books == counted + 3
    said = story.feed.status()
    assert said.depth == "not ready" and said.depth_reason == broken.reason


def test_round_lots_go_by_the_previous_close_then_by_the_bid_then_by_the_book() -> None:
    """The exchanges set them by closes, so a day's move over $250 makes no other lot."""
    story = Story()
    story.depth(249.98, 250.02)
    lots = []
    for tell in (lambda: None, lambda: story.feed.tick_price(1, 250.01, 100), lambda: story.feed.tick_price(9, 249.5, None)):
        tell()
        book = story.feed.book(0.0).nbbo
        lots.append(book and book.round_lot)
        story.later(0.001)
        story.feed.depth(UPDATE, 0, BID, 249.98, 100 + len(lots), "ARCA", "")
    assert lots == [100, 40, 100]


def test_the_event_and_the_key_of_one_turn_are_one_book() -> None:
    time = Time()
    feed = SymbolFeed("SPY", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=time.market_ns, monotonic=time.monotonic)
    feed.set_depth(True)
    feed.depth(0, 0, 1, 100.0, 200, "ARCA", "")
    feed.depth(0, 0, 0, 100.02, 300, "ARCA", "")
    now = time.monotonic()
    told = feed.take_events(now)[-1]
    key = feed.book(now)
    assert key is feed.book(now) and told.bids is key.bids and told.seq == key.seq
    feed.depth(1, 0, 1, 100.0, 700, "ARCA", "")
    assert feed.book(now).bids[0].size == 700 and feed.book(now + 60).ready is False
