"""A feed's bars: told once, folded into minutes without inventing what was not heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Bar, BarEvent
from alphatrader.core.market.bars import FIVE_SECOND_BARS, MINUTE_BARS, BarFold, joined, told
from alphatrader.core.market.quotes import BadTickError
from tests.core.feed_story import MINUTE, NS, START, Story


def bar(seconds: int, price: float = 100.0) -> Bar:
    return Bar(START + seconds * NS, price, price + 1, price - 1, price, 10.0, price, 2)


def test_a_minute_is_folded_only_when_it_was_heard_from_its_start() -> None:
    fold = BarFold()
    fold.load([bar(-120), bar(-60)], START + 30 * NS)
    completed = [fold.add(bar(seconds)) for seconds in range(30, 185, 5)]
    # the minute of the start was heard from its middle on: a hole, to be asked for
    assert fold.hole and completed.count(True) == 2
    assert [b.ts_ns for b in fold.minutes] == [START + s * NS for s in (-120, -60, 60, 120)]
    fold.load([bar(s) for s in (-120, -60, 0, 60, 120, 180)], START + 185 * NS)
    assert not fold.hole and [b.ts_ns for b in fold.minutes] == [START + s * NS for s in (-120, -60, 0, 60, 120)]


def test_a_break_of_the_feed_is_a_hole_in_the_minutes() -> None:
    fold = BarFold()
    fold.load([bar(-60)], START)
    fold.add(bar(0))
    fold.broken()
    # when bars come again exactly with a minute, then those in between are still missed
    completed = [fold.add(bar(seconds)) for seconds in range(300, 365, 5)]
    assert fold.hole and any(completed)


prices = st.integers(90, 110).map(float)
steps = st.lists(
    st.tuples(st.sampled_from([5, 5, 5, 5, 5, 10, 60]), prices, prices, st.integers(0, 50).map(float), st.booleans()), max_size=60
)


@given(st.integers(0, 11), steps)
def test_minutes_are_those_heard_from_their_start_and_hold_all_bars_of_theirs(
    begins: int, drive: list[tuple[int, float, float, float, bool]]
) -> None:
    """Against all bars since the last break, gathered by their minute. A break comes at one in two of the longest pauses."""
    fold, at, since_break = BarFold(), START + begins * 5 * NS, list[Bar]()
    fold.load([bar(-60)], START)
    minutes = [bar(-60)]
    for seconds, open_, close, volume, breaks in drive:
        at += seconds * NS
        if seconds == 60 and breaks:
            fold.broken()
            since_break = []
        one = Bar(at, open_, max(open_, close) + 1, min(open_, close) - 1, close, volume, (open_ + close) / 2, 2)
        completed = fold.add(one)
        expected = None
        if since_break and since_break[-1].ts_ns // MINUTE != at // MINUTE:
            start = since_break[-1].ts_ns // MINUTE * MINUTE
            parts = [part for part in since_break if part.ts_ns >= start]
            if since_break[0].ts_ns <= start > minutes[-1].ts_ns:
                total = sum(part.volume for part in parts)
                wap = sum(part.wap * part.volume for part in parts) / total if total else parts[-1].wap
                high, low = max(part.high for part in parts), min(part.low for part in parts)
                expected = Bar(start, parts[0].open, high, low, parts[-1].close, total, wap, 2 * len(parts))
                minutes.append(expected)
        since_break.append(one)
        assert completed == (expected is not None) and list(fold.minutes) == minutes and fold.standing() == one


def test_a_fold_begins_with_a_hole_and_keeps_the_newest_bars() -> None:
    fold = BarFold()
    assert fold.hole and fold.standing() is None
    fold.load((bar(60 * n) for n in range(MINUTE_BARS + 3)), START + (MINUTE_BARS + 2) * MINUTE)
    # a minute that ends now is over, the next is not
    assert len(fold.minutes) == MINUTE_BARS and fold.minutes[-1] == bar(60 * (MINUTE_BARS + 1))
    for n in range(FIVE_SECOND_BARS + 1):
        fold.add(bar(86_400 + 5 * n))
    assert [fold.recent[0], len(fold.recent)] == [bar(86_405), FIVE_SECOND_BARS]
    other = BarFold()
    other.add(bar(0))
    other.stand_as(fold.standing())
    assert list(other.recent) == [fold.recent[-1]]
    other.stand_as(None)
    assert other.standing() is None


def test_a_bar_without_trade_has_no_volume_and_one_of_no_number_is_refused() -> None:
    assert told(START, 1.0, 2.0, 0.5, 1.5, -1, 1.2, 3) == Bar(START, 1.0, 2.0, 0.5, 1.5, 0.0, 1.2, 3)
    assert told(START, -37.0, -36.0, -40.0, -37.63, 7.0, -37.5, 3).close == -37.63  # crude oil in April 2020
    for place in range(5):
        values = [1.0, 2.0, 0.5, 1.5, 1.2]
        values[place] = float("nan")
        open_, high, low, close, wap = values
        with pytest.raises(BadTickError, match="bar price"):
            told(START, open_, high, low, close, 100.0, wap, 3)
    with pytest.raises(BadTickError, match="bar volume"):
        told(START, 1.0, 2.0, 0.5, 1.5, float("inf"), 1.2, 3)


def test_a_bar_is_the_whole_of_its_parts() -> None:
    whole = joined([Bar(0, 1.0, 4.0, 0.5, 2.0, 10.0, 2.0, 1), Bar(5, 2.0, 3.0, 1.0, 3.0, 30.0, 3.0, 2)], 0)
    assert whole == Bar(0, 1.0, 4.0, 0.5, 3.0, 40.0, 2.75, 3)
    still = joined([Bar(0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0), Bar(5, 2.0, 2.0, 2.0, 2.0, 0.0, 2.0, 0)], 0)
    assert (still.volume, still.wap, still.close) == (0.0, 2.0, 2.0)  # nothing traded: the newest average there is


def test_bars_are_told_once() -> None:
    story = Story()
    for _ in range(2):
        story.feed.bar(1_800_000_000, 1.0, 2.0, 0.5, 1.5, 100, 1.2, 3)
    assert len([event for event in story.events() if isinstance(event, BarEvent)]) == 1


def test_a_bar_of_no_clock_is_refused_and_does_not_make_all_later_ones_old() -> None:
    story = Story()
    begins = START // NS
    for seconds in (10**14, begins + 2 * 3600, -1):  # the first is past what an event can hold
        story.feed.bar(seconds, 1.0, 2.0, 0.5, 1.5, 100, 1.2, 3)
    assert story.feed.refused["bar"] == 3 and "bar stamped" in str(story.feed.last_refusal)
    story.feed.bar(begins, 1.0, 2.0, 0.5, 1.5, 100, 1.2, 3)
    assert [event.bar.ts_ns for event in story.events() if isinstance(event, BarEvent)] == [START]


def test_a_print_of_the_quote_line_of_no_clock_is_refused() -> None:
    story = Story()
    for ms in (10**20, -1):
        story.feed.tick_text(48, f"100.01;100;{ms};100;100.01;true")
    assert story.feed.refused["RTVolume"] == 2 and story.events() == []
