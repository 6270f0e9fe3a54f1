"""A feed's bars: told once, folded into minutes without inventing what was not heard."""

from __future__ import annotations

from alphatrader.contract.messages.market import Bar, BarEvent
from alphatrader.core.market.bars import BarFold, joined
from tests.core.feed_story import NS, START, Story


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


def test_a_bar_is_the_whole_of_its_parts() -> None:
    whole = joined([Bar(0, 1.0, 4.0, 0.5, 2.0, 10.0, 2.0, 1), Bar(5, 2.0, 3.0, 1.0, 3.0, 30.0, 3.0, 2)], 0)
    assert whole == Bar(0, 1.0, 4.0, 0.5, 3.0, 40.0, 2.75, 3)


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
