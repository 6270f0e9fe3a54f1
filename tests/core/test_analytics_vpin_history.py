"""VPIN's percentile against counting every past value, from the 20th whole session on; what is kept is bounded and comes back."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import GapEvent, MarketEvent, Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import vpin_metric
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.vpin_history import BINS, SESSIONS_KEPT, VpinRanks
from tests.core.test_analytics_tape import HOURS, events, generated, lobster, needs_sample

DAY = 86_400 * 10**9


def filled(sessions: int, seed: int = 1) -> tuple[VpinRanks, list[list[float]]]:
    """Values in the middle of their bins, where counting by bins is counting by value."""
    draw, ranks, said = random.Random(seed), VpinRanks(), []
    for session in range(sessions):
        said.append([(draw.randrange(BINS) + 0.5) / BINS for _ in range(50)])
        for value in said[-1]:
            ranks.add(session, value)
    return ranks, said


def sessions_of_a_tape(real: bool) -> Iterator[list[MarketEvent]]:
    """Some two dozen days of quotes and prints: LOBSTER's, each day without other ones of its orders, or generated ones."""
    rows = list(lobster()) if real else []
    told = [(event, int(message[2])) for (_, event), (_, message) in zip(events([s for s, _ in rows]), rows, strict=True)]
    for day in range(24):
        if real:
            made = [event for event, order in told if order % (day + 2)]
        else:
            made = [event for _, event in events(generated(100 + day, 400))]
        yield [
            replace(event, **{name: at + day * DAY for name in ("ts_ns", "received_ns") if (at := getattr(event, name, None))})
            for event in made
            if not isinstance(event, GapEvent)
        ]


@pytest.mark.parametrize("real", [pytest.param(True, marks=needs_sample), False])
def test_over_a_tape_of_days_percentile_and_adjusted_value_are_those_counted_anew(real: bool) -> None:
    size, buckets, seq = 100, 20, 0
    meter = Meter("AAPL", Analytics(vpin_buckets=buckets), None, 5.0, 14)
    meter.take_bucket_size(size, "test", (), 0)
    told: dict[str, dict[int, list[float]]] = {"vpin": {}, "spread": {}, "markout": {}}
    shares: list[int] = []
    told_adjusted = 0
    for day, made in enumerate(sessions_of_a_tape(real)):
        hours = (HOURS[0] + day * DAY, HOURS[1] + day * DAY)
        for event in made:
            seq += 1
            full = len(shares) // size
            meter.fold(replace(event, seq=seq), hours)  # type: ignore[arg-type]
            if isinstance(event, Trade) and hours[0] <= event.ts_ns < hours[1]:
                shares += [{"buy": 1, "sell": -1, "unknown": 0}[event.side]] * round(event.size)
            now = len(shares) // size
            if now == full:
                continue
            # given the value at each print that filled a bucket, share by share, and the two inputs beside it
            sums = [abs(sum(shares[at * size : (at + 1) * size])) for at in range(max(0, now - buckets), now)]
            value = Fraction(sum(sums), buckets * size) if len(sums) == buckets else None
            adverse = meter.state.adverse
            for name, one in (("vpin", value), ("spread", adverse.spread), ("markout", adverse.markout_bps)):
                if one is not None:
                    told[name].setdefault(day, []).append(float(one))
            if day < 20:
                continue
            # then the ranks are those of the days before
            parts = vpin_metric.vpin(
                meter.state, meter.ranks, event.received_ns, lambda ns: 0.0, None, vpin_metric.VpinParts(0.25)
            ).components  # type: ignore[union-attr]
            ranked = {
                name: share_under({d: v for d, v in told[name].items() if d < day}, one, bin_of)
                for name, one, bin_of in (
                    ("vpin", value, lambda v: min(int(v * 200), 199)),
                    ("spread", adverse.spread, lambda v: int(200 * (math.log10(max(v, 1e-6)) + 6) / 5)),
                    ("markout", adverse.markout_bps, lambda v: int(100 * (1 + math.asinh(v * 10) / math.asinh(1e4)))),
                )
            }
            assert parts["percentile"] == near(ranked["vpin"])
            assert parts["input_percentiles"] == {name: near(ranked[name]) for name in ("spread", "markout")}
            both = [ranked[name] for name in ("spread", "markout")]
            if value is None or None in both:
                continue
            z = Fraction(sum(2 * one - 1 for one in both)) / 2  # type: ignore[operator]
            assert parts["vpin_adj"] == pytest.approx(float(min(max(value * (1 + z / 4), Fraction(0)), Fraction(1))))
            told_adjusted += 1
    assert told_adjusted > 20


def near(value: float | None) -> Any:
    return None if value is None else pytest.approx(value)


def share_under(past: dict[int, list[float]], value: float | Fraction | None, bin_of: Callable[[float], int]) -> float | None:
    values = [bin_of(one) for session in past.values() for one in session]
    if value is None or len(past) < 20:
        return None
    at = bin_of(float(value))
    return float(Fraction(2 * sum(one < at for one in values) + values.count(at), 2 * len(values)))


@pytest.mark.parametrize("value", [0.0, 0.2525, 0.5, 0.9975, 1.0])
def test_the_percentile_is_the_share_of_past_values_under_it_and_half_of_those_beside_it(value: float) -> None:
    # given 25 whole sessions and one that still grows
    ranks, said = filled(26)
    past = [one for session in said[:25] for one in session]
    # then the growing one does not count
    at = min(int(value * BINS), BINS - 1)
    under = sum(one * BINS < at for one in past)
    beside = sum(at <= one * BINS < at + 1 for one in past)
    rank = ranks.rank(value)
    assert (rank.n, rank.sessions, rank.reason) == (1250, 25, None)
    assert rank.percentile == pytest.approx((under + beside / 2) / 1250, abs=1e-15)


def test_there_is_none_before_twenty_whole_sessions_and_it_says_how_many_there_are() -> None:
    for sessions, whole in ((0, 0), (1, 0), (20, 19)):
        rank = filled(sessions)[0].rank(0.3)
        assert rank.percentile is None and rank.sessions == whole
        assert rank.reason == f"{whole} of 20 whole sessions of its own history"
    assert filled(21)[0].rank(0.3).percentile is not None
    assert filled(21)[0].rank(None).reason == "no VPIN to rank"


def test_what_is_kept_is_bounded_and_comes_back_as_it_was() -> None:
    ranks, said = filled(SESSIONS_KEPT + 7)
    kept = ranks.message("SPY")
    assert [one.open_ns for one in kept.sessions] == list(range(7, SESSIONS_KEPT + 7))
    assert all(sum(one.counts) == 50 for one in kept.sessions)
    back = VpinRanks(kept)
    assert back.message("SPY") == kept
    assert [back.rank(value) for value in said[-1]] == [ranks.rank(value) for value in said[-1]]
    # and a value of a session that is over changes nothing
    back.add(10, 0.5)
    assert back.message("SPY") == kept
