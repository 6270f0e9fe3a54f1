"""Sweeps: what is one and what is none, by hand and recounted from the prints; strength, fading, the tape."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import sweep_metric, sweep_score
from alphatrader.core.analytics.sweep import MEMORY_NS, RUNS_NEEDED, Sweep, SweepDetector
from tests.core.symbol_states import HOURS, MS, SECOND, state, trade


def ready_detector(notional: float = 100.0, runs: int = RUNS_NEEDED) -> SweepDetector:
    """After single prints of `notional`, far apart, in the minutes before zero; the last one's run is still open."""
    detector = SweepDetector(100 * MS)
    for n in range(runs + 1):
        assert detector.add((n - runs - 1) * SECOND, notional, 1, "ARCA", "buy") is None
    detector.add(-SECOND // 2, notional, 1, "ARCA", "buy")
    return detector


def test_three_venues_on_one_side_within_the_window_with_much_notional_are_a_sweep() -> None:
    detector = ready_detector()
    assert detector.add(0, 10.0, 100, "ARCA", "buy") is None
    assert detector.add(10 * MS, 10.0, 100, "BATS", "buy") is None
    found = detector.add(20 * MS, 10.0, 100, "IEX", "buy")
    assert found is not None and found.venues == ["ARCA", "BATS", "IEX"] and found.notional == 3000.0 and found.rule == "venues"
    # what follows within the window belongs to it
    assert detector.add(60 * MS, 10.0, 100, "MEMX", "buy") is None
    assert len(detector.sweeps) == 1 and detector.sweeps[0].prints == 4 and detector.sweeps[0].notional == 4000.0


def test_three_prices_of_one_venue_or_two_intermarket_sweep_prints_on_two_are_a_sweep() -> None:
    # given a book walked on one venue
    walked = ready_detector()
    assert walked.add(0, 10.00, 100, "ARCA", "buy") is None
    assert walked.add(1 * MS, 10.01, 100, "ARCA", "buy") is None
    assert walked.add(2 * MS, 10.01, 100, "ARCA", "buy") is None
    found = walked.add(3 * MS, 10.02, 100, "ARCA", "buy")
    assert found is not None and found.levels == 3 and found.venues == ["ARCA"] and found.prints == 4 and found.rule == "levels"
    # prices that left the window do not count
    slow = ready_detector()
    assert all(slow.add(i * 60 * MS, 10.0 + i / 100, 100, "ARCA", "buy") is None for i in range(9))
    # two of condition F on two venues are one, whatever the runs say; on one venue, or one of them without F, none
    iso = SweepDetector(100 * MS)
    assert iso.add(0, 10.0, 100, "ARCA", "sell", "F") is None
    assert iso.add(1, 10.0, 100, "ARCA", "sell", "F I") is None
    assert iso.add(2, 10.0, 100, "BATS", "sell", "@") is None
    found = iso.add(3, 10.0, 100, "BATS", "sell", "@ F")
    assert found is not None and found.iso_prints == 3 and found.venues == ["ARCA", "BATS"] and found.rule == "iso"


def test_without_f_a_sweep_reaches_the_percentile_of_the_symbols_own_runs() -> None:
    def sweeps(detector: SweepDetector, each: float) -> bool:
        return [detector.add(at, each, 1, venue, "sell") for at, venue in enumerate(("ARCA", "BATS", "IEX"))][-1] is not None

    # given fifty runs of 1 to 50 dollars, the 80th percentile is 40: at it is a sweep, a cent under is none
    def runs(count: int) -> SweepDetector:
        detector = SweepDetector(100 * MS)
        for n in range(count):
            detector.add((n - 60) * SECOND, float(n + 1), 1, "ARCA", "buy")
        detector.add(-SECOND, 1000.0, 1, "ARCA", "buy")  # closes the last one and stays open
        return detector

    assert runs(50).threshold_usd == 40.0
    assert sweeps(runs(50), 13.34) and not sweeps(runs(50), 13.33)
    # with one run fewer nothing is known, however large
    assert runs(49).threshold_usd is None and not sweeps(runs(49), 1e6)
    # prints within the window of a run's first are one run, and the other side's are not of it
    joined = ready_detector(runs=48)
    for at, side in ((0, "buy"), (99, "buy"), (99, "sell"), (100, "buy")):
        joined.add(at * MS, 7.0, 1, "ARCA", side)
    assert joined.runs.newest[-2:] == [1_000_000, 140_000] and len(joined.runs.newest) == 51
    # and the newest five hundred count: a busier day moves the bound
    for n in range(501):
        joined.add((n + 1) * SECOND, 9.0, 1, "ARCA", "buy")
    assert joined.runs.ranked == [90_000] * 500 == joined.runs.newest and joined.threshold_usd == 9.0


def test_where_the_feed_shows_f_prints_without_it_are_separate_orders() -> None:
    detector = ready_detector()
    assert detector.add(-10 * SECOND, 1.0, 1, "ARCA", "sell", "F") is None
    for at, venue in ((0, "ARCA"), (10 * MS, "BATS"), (20 * MS, "IEX")):
        assert detector.add(at, 10.0, 100, venue, "buy") is None
    # but one of them with F makes it a sweep by its venues
    assert detector.add(SECOND, 10.0, 100, "ARCA", "buy", "F") is None
    assert detector.add(SECOND + MS, 10.0, 100, "BATS", "buy") is None
    found = detector.add(SECOND + 2 * MS, 10.0, 100, "IEX", "buy")
    assert found is not None and found.rule == "venues" and found.iso_prints == 1
    # at the end of half an hour without any F the feed is still one that shows it; past it venues alone count again
    last = 1_801 * SECOND
    assert [detector.add(last - n * MS, 10.0, 100, venue, "buy") for n, venue in ((2, "ARCA"), (1, "BATS"), (0, "IEX"))] == [
        None
    ] * 3
    later = 1_810 * SECOND
    made = [detector.add(later + n * MS, 10.0, 100, venue, "buy") for n, venue in enumerate(("ARCA", "BATS", "IEX"))]
    assert made[-1] is not None and made[-1].iso_prints == 0


def test_what_is_no_sweep() -> None:
    detector = ready_detector()
    for ts, venue, side in (
        (0, "ARCA", "buy"),
        (1, "ARCA", "buy"),
        (2, "BATS", "sell"),
        (3, "FINRA", "buy"),
        (4, "IEX", "unknown"),
    ):
        assert detector.add(ts * MS, 10.0, 100, venue, side) is None
    # too far apart
    assert detector.add(150 * MS, 10.0, 100, "BATS", "buy") is None
    assert detector.add(260 * MS, 10.0, 100, "IEX", "buy") is None
    assert detector.count == 0
    # nothing can be said before a minute of prints without a hole; then no sweep is a measured zero
    detector.reset()
    detector.add(SECOND, 10.0, 100, "ARCA", "buy")
    assert not detector.seen(30 * SECOND) and detector.seen(SECOND + MEMORY_NS)


def made_sweep(side: str = "buy", last_ns: int = 0, **other: object) -> Sweep:
    values = {"notional": 3000.0, "venues": ["ARCA", "BATS", "IEX"], "prints": 4, "levels": 1, "iso_prints": 0} | other
    return Sweep(side, 0, last_ns, shares=300.0, rule="venues", **values)  # type: ignore[arg-type]


def test_a_sweeps_strength_by_hand_and_a_missing_part_lowers_it() -> None:
    past = [1000.0] * 10 + [3000.0] * 4 + [9000.0] * 6
    weights = {"notional": 0.3, "venues": 0.2, "levels": 0.1, "f_share": 0.4}
    # ten under it and four equal, half of them: 12 of 20; three of five venues, one level, no F
    weak = sweep_score.parts(made_sweep(), past)
    assert weak == {"notional": 0.6, "venues": 0.5, "levels": 0.0, "f_share": 0.0}
    assert sweep_score.strength(weak, weights) == pytest.approx(0.28)
    strong = sweep_score.parts(made_sweep(notional=1e6, venues=list("ABCDEFG"), levels=3, iso_prints=3), past)
    assert strong == {"notional": 1.0, "venues": 1.0, "levels": 0.5, "f_share": 0.75}
    assert sweep_score.strength(strong, weights) == pytest.approx(0.3 + 0.2 + 0.05 + 0.3)
    # with nineteen to rank among there is no percentile, and it is not taken for the middle
    unknown = sweep_score.parts(made_sweep(), past[:19])
    assert unknown["notional"] is None and sweep_score.strength(unknown, weights) == pytest.approx(0.1)


def test_the_minutes_sweeps_fade_cancel_and_never_pass_one() -> None:
    def value(now_ns: int, *sweeps: Sweep) -> Metric:
        folded = state()
        folded.sweeps = ready_detector()
        folded.venue_ns = now_ns
        folded.sweeps.sweeps = list(sweeps)
        return sweep_metric.sweep(folded, now_ns, lambda instant_ns: 0.0, None, {"venues": 0.5, "f_share": 0.5})

    # three venues of five: half of a half; then it fades over its minute to nothing
    assert value(0, made_sweep()).value == pytest.approx(0.25)
    assert value(15 * SECOND, made_sweep()).value == pytest.approx(0.25 * 0.75)
    assert value(MEMORY_NS - 1, made_sweep()).value == pytest.approx(0.0, abs=1e-9)
    assert value(MEMORY_NS, made_sweep()).value == 0.0
    # sellers are negative, equals cancel, and two are a half less than twice one's rest
    assert value(0, made_sweep("sell")).value == pytest.approx(-0.25)
    assert value(0, made_sweep("sell"), made_sweep("buy")).value == 0.0
    assert value(0, made_sweep(), made_sweep()).value == pytest.approx(1 - 0.75**2)
    certain = made_sweep(venues=list("ABCDE"), iso_prints=4)
    assert value(0, certain, certain, made_sweep()).value == 1.0
    # and not ready until enough runs were seen
    folded = state()
    folded.venue_ns = 0
    folded.sweeps.sweeps = [made_sweep()]
    early = sweep_metric.sweep(folded, 0, lambda instant_ns: 0.0, None, Analytics().sweep_weights)
    assert early.value is None and early.reason == "0 of 50 runs of prints to tell a large notional by"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 60), st.sampled_from([9.99, 10.0, 10.01]), st.integers(1, 9),
            st.sampled_from(["A", "B", "C", "FINRA"]), st.sampled_from(["buy", "sell"]), st.sampled_from(["", "F"]),
        ),
        max_size=60,
    )
)  # fmt: skip
def test_each_sweep_is_one_by_the_definition_recounted_from_the_prints(made: list[tuple[int, float, int, str, str, str]]) -> None:
    detector = ready_detector(notional=100.0)
    at, lit, taken = 0, [], {"buy": 0, "sell": 0}
    for step, price, shares, venue, side, conditions in made:
        at += step * MS
        newest = next((s for s in reversed(detector.sweeps) if s.side == side), None)
        within = newest is not None and newest.last_ns > at - 100 * MS
        found = detector.add(at, price, shares * 10, venue, side, conditions)
        if venue == "FINRA":
            assert found is None
            continue
        lit.append((at, price, shares * 10, venue, side, conditions))
        if within:
            assert found is None
            taken[side] = len(lit)
            continue
        window = [p for p in lit[taken[side] :] if p[4] == side and p[0] > at - 100 * MS]
        least = detector.threshold_usd or math.inf
        enough = sum(round(p[1] * p[2], 2) for p in window) >= least - 1e-9
        levels = len({p[1] for p in window if p[3] == venue})
        iso = len({p[3] for p in window if p[5] == "F"}) >= 2
        marked = any(p[5] == "F" for p in window) or not any(p[5] == "F" for p in lit[:-1])
        assert (found is not None) == (iso or (enough and marked and (len({p[3] for p in window}) >= 3 or levels >= 3)))
        if found is not None:
            assert found.notional == pytest.approx(sum(p[1] * p[2] for p in window)) and found.prints == len(window)
            taken[side] = len(lit)


def test_the_tape_is_the_newest_twenty_sweeps_of_the_minute_oldest_first() -> None:
    folded = state()
    folded.sweeps = ready_detector()
    seq = 0
    for n in range(25):
        for venue in ("ARCA", "BATS", "IEX"):
            seq += 1
            folded.apply(trade(seq, (n + 1) * SECOND, venue=venue, side="buy" if n % 2 else "sell"), HOURS)
    tape = sweep_metric.sweep(folded, 26 * SECOND, lambda instant_ns: 0.0, None, Analytics().sweep_weights).components["tape"]
    assert [s["at_ms"] for s in tape] == [n * 1000 for n in range(6, 26)]
    assert tape[-1] == {
        "at_ms": 25_000,
        "side": "sell",
        "rule": "venues",
        "strength": pytest.approx(0.1),
        "notional_usd": 3000.0,
        "notional_percentile": None,
        "shares": 300.0,
        "venues": ["ARCA", "BATS", "IEX"],
        "levels": 1,
        "f_share": 0.0,
    }
