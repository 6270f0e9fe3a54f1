"""Reserve orders at one price: who is filled first, what is shown, and how many of them the iceberg detector finds."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest

from alphatrader.contract.messages.market import Level, Part
from alphatrader.core.market.icebergs import IcebergDetector
from alphatrader.sandbox.market.queue import Queue

MS = 1_000_000
LOT, TARGET, PRICE = 100, 1500.0, 10_000


def test_who_came_first_is_filled_first_and_what_is_shown_anew_is_the_last() -> None:
    queue = Queue(Random(1), "CME", LOT, TARGET)
    queue.stand(PRICE)
    ahead = queue.reserve(300, behind=True)
    assert 100 <= ahead <= 600 and dict(queue.parts()) == {"CME": ahead + 300}
    queue.take("CME", ahead)
    assert (queue.executed, queue.refills, dict(queue.parts())) == (0, 0, {"CME": 300})
    queue.take("CME", 100)
    assert (queue.executed, queue.refills, dict(queue.parts())) == (100, 0, {"CME": 200})
    joined = 0
    for refills in range(1, 9):
        queue.take("CME", joined + (200 if refills == 1 else 300))  # those who came after its last part stand before the next
        assert (queue.executed, queue.refills) == (refills * 300, refills)
        joined = dict(queue.parts())["CME"] - 300
    assert joined >= 0


def test_a_fill_larger_than_what_is_shown_takes_the_next_part_too() -> None:
    queue = Queue(Random(1), "CME", LOT, TARGET)
    queue.stand(PRICE)
    assert queue.reserve(200, behind=False) == 0
    queue.take("CME", 500)
    assert (queue.executed, queue.refills, dict(queue.parts())) == (500, 2, {"CME": 100})


class Seen(NamedTuple):
    found: int
    at_the_venue: int
    refills: int


def episodes(*, behind: bool | None, count: int) -> Iterator[Seen]:
    """Fills of one peak each at one venue, 150 ms apart, with the book after each, 60 ms later; None: no reserve order, each fill
    is of what a venue shows, and others join."""
    for seed in range(count):
        draw = Random(seed)
        queue, detector = Queue(draw, "", LOT, TARGET), IcebergDetector()
        queue.stand(PRICE)
        peak = LOT * draw.randint(2, 4)
        if behind is not None:
            queue.reserve(peak, behind=behind)
        for fill in range(9 if behind else 5):
            now = fill * 150 * MS
            queue.stand(PRICE)
            detector.book(now, (book(queue),), ())
            venue = queue.venue_for(peak) if behind is None else queue.reserved
            if venue is None:
                continue
            detector.fill(now + 40 * MS, PRICE / 100, peak, "sell", venue)
            queue.take(venue, peak)
            detector.book(now + 100 * MS, (book(queue),), ())
        there = sum(one.venue == queue.reserved for one in detector.icebergs)
        yield Seen(detector.count, there, queue.refills)


def book(queue: Queue) -> Level:
    parts = tuple(Part(venue, float(size)) for venue, size in queue.parts())
    if len(parts) == 1:
        return Level(PRICE / 100, parts[0].size, parts[0].venue)
    return Level(PRICE / 100, sum(part.size for part in parts), ",".join(part.venue for part in parts), parts=parts)


@pytest.mark.parametrize(("behind", "least"), [(False, 0.95), (True, 0.85)])
def test_the_detector_finds_reserve_orders_that_stand_alone_and_most_that_stand_behind_others(behind: bool, least: float) -> None:
    shown = [seen for seen in episodes(behind=behind, count=300) if seen.refills >= 2]
    assert len(shown) > 200
    assert sum(seen.at_the_venue > 0 for seen in shown) >= least * len(shown)
    assert sum(seen.found for seen in shown) == sum(seen.at_the_venue for seen in shown)


def test_where_there_is_no_reserve_order_it_finds_none_or_nearly_none() -> None:
    assert sum(seen.found > 0 for seen in episodes(behind=None, count=300)) <= 3
