"""VPIN against the definition computed share by share, bulk classification in exact fractions, and what must not corrupt it."""

from __future__ import annotations

import itertools
import json
import math
import random
from fractions import Fraction
from statistics import NormalDist, stdev

import msgspec
import pytest

from alphatrader.contract.messages.market import Bar
from alphatrader.core.analytics.vpin import MINUTE_NS, Vpin, bulk_classify, fallback_size


def vpin(size: int, buckets: int = 5) -> Vpin:
    made = Vpin(buckets)
    made.set_size(size, "test")
    return made


def by_definition(prints: list[tuple[int, str]], size: int, buckets: int) -> Fraction | None:
    """Every share on its own, in order: the bucket it falls into, its side (an unknown one is half a buy, half a sell)."""
    shares: list[Fraction] = []
    for count, side in prints:
        shares += [Fraction({"buy": 1, "sell": -1, "unknown": 0}[side])] * count
    full = [abs(sum(shares[i : i + size])) for i in range(0, len(shares) - size + 1, size)]
    return sum(full[-buckets:], Fraction(0)) / (buckets * size) if len(full) >= buckets else None


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_prints_gives_what_counting_every_share_gives(seed: int) -> None:
    # given prints of random sizes, many of which overfill a bucket, some several
    draw = random.Random(seed)
    size, buckets = draw.choice((7, 100, 250)), draw.choice((5, 10))
    state, prints = vpin(size, buckets), []
    for i in range(400):
        made = (draw.choice((1, 3, size - 1, size, size + 1, 5 * size + 3)), draw.choice(("buy", "sell", "unknown")))
        prints.append(made)
        state.add(i, *made)
        # then at every step the value is the definition's, exactly
        if i % 40 == 0:
            expected = by_definition(prints, size, buckets)
            assert state.value == (None if expected is None else pytest.approx(float(expected), abs=1e-15))
    assert state.ready and state.value == pytest.approx(float(by_definition(prints, size, buckets) or 0), abs=1e-15)


def test_it_is_not_ready_before_n_full_buckets_and_the_open_bucket_does_not_count() -> None:
    state = vpin(100, 5)
    state.add(0, 499, "buy")
    assert not state.ready and state.value is None
    state.add(1, 1, "buy")
    assert state.value == 1.0
    # a nearly full open bucket of the other side changes nothing until it is full
    state.add(2, 99, "sell")
    assert state.value == 1.0 and state.open_share == 0.99
    state.add(3, 1, "sell")
    assert state.value == 1.0 and state.signed(1) == -1.0
    assert state.signed(5) == pytest.approx((4 - 1) / 5)


def test_one_print_larger_than_the_whole_ring_fills_it_and_keeps_the_remainder() -> None:
    state = vpin(10, 5)
    state.add(0, 7, "sell")
    state.add(1, 1_000_003, "buy")
    assert len(state.imbalances) == 5 and state.value == 1.0
    assert state.filled == (7 + 1_000_003) // 10
    assert (state.buy, state.sell) == (2 * ((7 + 1_000_003) % 10), 0)
    assert state.total == sum(abs(x) for x in state.imbalances)


def test_a_new_bucket_size_starts_the_ring_anew_and_the_same_size_does_not() -> None:
    state = vpin(100, 5)
    state.add(0, 500, "buy")
    assert state.ready
    assert state.set_size(100, "discovered", 5) is False and state.ready and state.size_source == "discovered"
    assert state.set_size(60, "discovered", 7) is True
    assert not state.ready and state.value is None and state.total == 0 and state.live_since_ns == 7
    state.add(8, 300, "unknown")
    assert state.value == 0.0
    with pytest.raises(ValueError, match="at least 1 share"):
        state.set_size(0, "broken")


def bars(closes: list[float], volumes: list[int], start: int = 0) -> list[Bar]:
    return [
        Bar(start + i * MINUTE_NS, close, close, close, close, volume, close, 1)
        for i, (close, volume) in enumerate(zip(closes, volumes, strict=True))
    ]


def test_bulk_classification_is_the_normal_share_of_each_bars_change() -> None:
    closes, volumes = [100.0, 100.5, 100.25, 101.0, 100.0], [1000, 2000, 1500, 3000, 777]
    changes = [b - a for a, b in itertools.pairwise(closes)]
    sigma = stdev(changes)
    expected = [0.5, *(NormalDist().cdf(change / sigma) for change in changes)]
    for (buy, sell), volume, share in zip(bulk_classify(bars(closes, volumes)), volumes, expected, strict=True):
        assert buy + sell == 2 * volume
        assert abs(buy - 2 * volume * share) <= 0.5
    # nothing moves: half and half
    assert bulk_classify(bars([5.0, 5.0, 5.0], [10, 11, 12])) == [(10, 10), (11, 11), (12, 12)]
    # a night between two bars is no change of a minute
    gap = bars([100.0, 101.0], [10, 10]) + bars([150.0, 149.0, 151.0], [10, 10, 10], start=1000 * MINUTE_NS)
    assert bulk_classify(gap)[2] == (10, 10)


def test_warming_up_fills_what_is_missing_with_bars_before_the_live_prints_only() -> None:
    # given two live buckets since minute 3
    state = vpin(1000, 5)
    state.add(3 * MINUTE_NS + 5, 2000, "buy")
    # when eight bars are offered, some of them later than the live prints
    history = bars([100 + 0.1 * (i % 3) for i in range(8)], [1000] * 8)
    put = state.warm_up(history)
    # then the three before are used, marked, and the live ones stay the newest
    assert put == 3 and state.warm == 3 and state.ready
    assert state.imbalances[-2:] == [2000, 2000]
    assert state.total == sum(abs(x) for x in state.imbalances)
    # and they leave first
    state.add(4 * MINUTE_NS, 3000, "sell")
    assert state.warm == 0 and state.value == 1.0


def test_warming_up_twice_or_with_nothing_does_no_harm() -> None:
    state = vpin(1000, 5)
    assert state.warm_up([]) == 0 and not state.warmed
    state.warm_up(bars([1.0, 2.0, 1.0], [2000, 2000, 2000]))
    before = list(state.imbalances)
    assert state.warmed and state.warm_up(bars([1.0, 2.0], [9000, 9000])) == 0
    assert state.imbalances == before


def test_a_checkpoint_through_json_goes_on_exactly() -> None:
    draw = random.Random(3)
    prints = [(draw.randint(1, 500), draw.choice(("buy", "sell", "unknown"))) for _ in range(300)]
    whole, first = vpin(200, 10), vpin(200, 10)
    for i, made in enumerate(prints):
        whole.add(i, *made)
        if i < 150:
            first.add(i, *made)
    second = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(first))), Vpin)
    for i, made in enumerate(prints[150:], start=150):
        second.add(i, *made)
    assert second == whole


def test_the_fallback_size_is_a_fiftieth_of_the_average_day() -> None:
    assert fallback_size([50_000_000, 60_000_000]) == 1_100_000
    assert fallback_size([1_300]) == 26
    assert fallback_size([]) is None and fallback_size([0, -5]) is None
    assert fallback_size([7]) == 1
    assert math.isclose((fallback_size([123_456_789]) or 0) * 50, 123_456_789, rel_tol=1e-4)


def test_a_minute_that_was_running_when_live_prints_began_is_not_counted_twice() -> None:
    minutes = [Bar(start * MINUTE_NS, 10.0, 10.0, 10.0, 10.0, 100.0, 10.0, 1) for start in (0, 1)]
    for began_ns, buckets in ((2 * MINUTE_NS - 1, 1), (2 * MINUTE_NS, 2)):
        state = Vpin(5)
        state.set_size(100, "test", began_ns)
        assert state.warm_up(minutes) == buckets == state.warm
