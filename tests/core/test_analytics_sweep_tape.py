"""The sweep metric over whole tapes, against its definition recounted from all prints since the start, in fractions.

The tapes: LOBSTER's real one as it is, which is one venue's; the same dealt over venues and marked with condition F by its order
ids, so that orders keep together; and generated ones with bursts, gaps in the feed, prints off exchange and of unknown side. The
reference (docs/metrics.md, sources.md §3) keeps every print and knows no window, count or ranked list that goes along.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, prod
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.market import GapEvent, Trade
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import sweep_metric
from alphatrader.core.analytics.symbol import fresh
from tests.core.test_analytics_tape import HOURS, NS, events, lobster, needs_sample

SETTINGS = Analytics()
MS = 10**6
WINDOW, MINUTE, HALF_HOUR = SETTINGS.sweep_window_ms * MS, 60 * NS, 1800 * NS
VENUES = ("ARCA", "BATS", "IEX", "MEMX", "NASDAQ")
WEIGHTS = {name: Fraction(str(weight)) for name, weight in SETTINGS.sweep_weights.items()}


@dataclass
class Print:
    ns: int
    usd: Fraction
    price: Fraction
    shares: int
    venue: str
    side: str
    f: bool


@dataclass
class Found:
    """A sweep: its prints, and what was known when it was found."""

    side: str
    rule: str
    prints: list[Print]
    levels: int

    @property
    def last(self) -> int:
        return max(p.ns for p in self.prints)

    @property
    def usd(self) -> Fraction:
        return sum((p.usd for p in self.prints), Fraction(0))


@dataclass
class Recount:
    """All prints since the start, lit ones of a side or not; a hole is None."""

    told: list[Print | None] = field(default_factory=list)

    def run_sums(self, until: int) -> list[Fraction]:
        """Notional of the newest 500 runs that had ended with print `until`: the first print outside ends one."""
        ended: list[Fraction] = []
        open_: dict[str, list[Print]] = {}
        for p in self.told[: until + 1]:
            if p is None:
                open_ = {}
            elif lit(p):
                run = open_.setdefault(p.side, [])
                if run and p.ns - run[0].ns >= WINDOW:
                    ended.append(sum((one.usd for one in run), Fraction(0)))
                    run.clear()
                run.append(p)
        return ended[-500:]

    def least(self, until: int) -> Fraction | None:
        """The notional that the percentile of the runs is at or under."""
        ended = sorted(self.run_sums(until))
        rank = ceil(Fraction(str(SETTINGS.sweep_percentile)) / 100 * len(ended))
        return ended[max(rank, 1) - 1] if len(ended) >= 50 else None

    def sweeps(self) -> list[Found]:
        found: list[Found] = []
        hole = 0  # index of the first print after the newest hole
        taken: set[int] = set()
        for at, p in enumerate(self.told):
            if p is None:
                hole = at + 1
                continue
            if not lit(p):
                continue
            since = [one for one in self.told[hole:at] if one is not None]
            mine = [one for one in found if one.side == p.side]
            if mine and p.ns - mine[-1].last < WINDOW and any(one is mine[-1].prints[-1] for one in since):
                mine[-1].prints.append(p)
                taken.add(id(p))
                continue
            window = [one for one in since if lit(one) and one.side == p.side and p.ns - one.ns < WINDOW and id(one) not in taken]
            window.append(p)
            rule = self._rule(window, at, since)
            if rule is not None:
                levels = max(len({one.price for one in window if one.venue == v}) for v in {one.venue for one in window})
                found.append(Found(p.side, rule, window, levels))
                taken.update(id(one) for one in window)
        return found

    def _rule(self, window: list[Print], at: int, since: list[Print]) -> str | None:
        newest = window[-1]
        if len({p.venue for p in window if p.f}) >= 2:
            return "iso"
        by_venues = len({p.venue for p in window}) >= 3
        by_levels = len({p.price for p in window if p.venue == newest.venue}) >= 3
        shows_f = any(p.f and lit(p) and newest.ns - p.ns <= HALF_HOUR for p in since)
        if not (by_venues or by_levels) or (shows_f and not any(p.f for p in window)):
            return None
        least = self.least(at)
        if least is None or sum((p.usd for p in window), Fraction(0)) < least:
            return None
        return "venues" if by_venues else "levels"


def lit(p: Print) -> bool:
    return p.venue not in ("", "FINRA") and p.side in ("buy", "sell")


def expected(recount: Recount, now_ns: int) -> dict[str, Any]:
    """The metric by its definition at `now_ns`."""
    every = recount.sweeps()
    minute = [s for s in every if s.last > now_ns - MINUTE]
    weight: dict[int, Fraction] = {}
    parts: dict[int, dict[str, Fraction | None]] = {}
    past = [s.usd for s in sorted((s for s in every if s.last <= now_ns - MINUTE), key=lambda s: s.last)][-200:]
    for s in minute:
        under = Fraction(2 * sum(one < s.usd for one in past) + sum(one == s.usd for one in past), 2 * len(past) or 1)
        parts[id(s)] = {
            "notional": under if len(past) >= 20 else None,
            "venues": min(Fraction(len({p.venue for p in s.prints}) - 1, 4), Fraction(1)),
            "levels": min(Fraction(s.levels - 1, 4), Fraction(1)),
            "f_share": Fraction(sum(p.f for p in s.prints), len(s.prints)),
        }
        weight[id(s)] = sum((WEIGHTS[name] * (part or 0) for name, part in parts[id(s)].items()), Fraction(0))
    fading = {id(s): 1 - Fraction(now_ns - s.last, MINUTE) for s in minute}
    sides = {
        side: 1 - prod((1 - weight[id(s)] * fading[id(s)] for s in minute if s.side == side), start=Fraction(1))
        for side in ("buy", "sell")
    }
    last_hole = max((at for at, p in enumerate(recount.told) if p is None), default=-1)
    whole = [p for p in recount.told[last_hole + 1 :] if p is not None and p.venue]
    least = recount.least(len(recount.told))
    seen = bool(minute) or bool(whole and now_ns - whole[0].ns >= MINUTE)
    named = any(p is not None and p.venue for p in recount.told)
    return {
        "value": sides["buy"] - sides["sell"] if named and least is not None and seen else None,
        "sides": sides,
        "minute": minute,
        "strengths": [weight[id(s)] for s in minute],
        "percentiles": [parts[id(s)]["notional"] for s in minute],
        "least": least,
        "past": len(past),
        "all": len(every),
    }


def age(ns: int | None) -> float | None:
    return None if ns is None else 0.0


def near(value: Fraction | None) -> Any:
    return None if value is None else pytest.approx(float(value), rel=1e-9, abs=1e-9)


def check(tape: Iterable[Trade | GapEvent | Any], *, every: int = 1, later_ns: tuple[int, ...] = (0,)) -> tuple[Metric, Recount]:
    """Folds the tape both ways and compares after each `every`th event, at the instants of `later_ns` after it."""
    state, recount, made = fresh("AAPL", SETTINGS), Recount(), None
    for number, event in enumerate(tape):
        assert state.apply(event, HOURS)
        if isinstance(event, GapEvent):
            recount.told.append(None)
        elif isinstance(event, Trade):
            price, shares = Fraction(str(event.price)), round(event.size)
            f = "F" in event.conditions.split()
            recount.told.append(Print(event.received_ns, price * shares, price, shares, event.venue, event.side, f))
        if number % every:
            continue
        for later in later_ns:
            now_ns = (state.received_ns or 0) + later
            made = sweep_metric.sweep(
                copy.deepcopy(state), now_ns, lambda ns: None if ns is None else 0.0, None, SETTINGS.sweep_weights
            )
            want = expected(recount, now_ns)
            told, minute = made.components, want["minute"]
            assert made.value == near(want["value"]), number
            assert (made.n, told["since_start"], told["past_sweeps"]) == (len(minute), want["all"], want["past"]), number
            assert told["threshold_usd"] == near(want["least"]), number
            for side in ("buy", "sell"):
                assert told[f"{side}_strength"] == near(want["sides"][side])
                assert told[f"{side}_usd"] == near(sum((s.usd for s in minute if s.side == side), Fraction(0)))
            assert [s["rule"] for s in told["tape"]] == [s.rule for s in minute][-20:]
            assert [s["strength"] for s in told["tape"]] == [near(one) for one in want["strengths"]][-20:], number
            assert [s["notional_percentile"] for s in told["tape"]] == [near(one) for one in want["percentiles"]][-20:]
            assert [(s["side"], s["levels"], set(s["venues"])) for s in told["tape"]] == [
                (s.side, s.levels, {p.venue for p in s.prints}) for s in minute
            ][-20:]
            assert [s["notional_usd"] for s in told["tape"]] == [near(s.usd) for s in minute][-20:]
    assert made is not None
    return made, recount


# -- the real tape -------------------------------------------------------------------------------------------------------


def real(times: int, *, dealt: bool) -> list[Trade]:
    """LOBSTER's prints, told so many times, a minute apart; `dealt`: venues and condition F by the order's id."""
    rows = list(lobster())
    prints = [
        (event, int(message[2]))
        for (_, event), (_, message) in zip(events([step for step, _ in rows]), rows, strict=True)
        if isinstance(event, Trade)
    ]
    tape = []
    for again in range(times):
        for event, order in prints:
            at = event.received_ns + again * MINUTE
            made = replace(event, seq=len(tape) + 1, ts_ns=at, received_ns=at)
            if dealt:
                made = replace(made, venue=VENUES[order % 5], conditions="F" if order % 7 == 0 else "@")
            tape.append(made)
    return tape


@needs_sample
def test_the_real_tape_gives_the_sweeps_that_the_definition_gives() -> None:
    made, recount = check(real(2, dealt=False), every=7, later_ns=(0, 37 * NS))
    assert len([p for p in recount.told if p is not None]) > 140 and made.components["runs"] >= 50


@needs_sample
def test_the_real_tape_dealt_over_venues_gives_them_too_with_their_percentiles() -> None:
    made, recount = check(real(5, dealt=True), every=53, later_ns=(0, 10 * NS))
    found = recount.sweeps()
    assert {s.side for s in found} == {"buy", "sell"} and {"iso", "venues"} <= {s.rule for s in found}
    assert made.ready and made.components["past_sweeps"] >= 20


# -- generated tapes -----------------------------------------------------------------------------------------------------


def usual(draw: random.Random, count: int = 60) -> list[tuple[int, int, int, str, str, str]]:
    """Single prints to know the usual notional by."""
    return [
        (2000, draw.randint(9_900, 10_100), draw.randint(1, 900), "ARCA", draw.choice(("buy", "sell")), "") for _ in range(count)
    ]


def tape(made: list[tuple[int, int, int, str, str, str]]) -> list[Trade | GapEvent]:
    """(milliseconds since the one before, price in cents, shares, venue or `gap`, side, conditions) as ibkr tells them."""
    told: list[Trade | GapEvent] = []
    at = HOURS[0]
    for seq, (wait, cents, shares, venue, side, conditions) in enumerate(made, 1):
        at += wait * MS + (1 if venue == "gap" else 0)
        if venue == "gap":
            told.append(GapEvent(seq, at, "generated"))
            at += 1
            continue
        told.append(Trade(seq, at, at, cents / 100, float(shares), venue, conditions, side, True, True, True))  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize("seed", range(6))
def test_a_generated_tape_gives_the_sweeps_that_the_definition_gives(seed: int) -> None:
    draw = random.Random(seed)
    made = usual(draw)
    f_seen = seed % 2 == 0
    while len(made) < 420:
        kind = draw.random()
        if kind < 0.03:
            made.append((draw.choice((0, 50)), 0, 0, "gap", "", ""))
        elif kind < 0.5:  # one order over venues and prices, and whoever joins it
            side, cents = draw.choice(("buy", "sell")), draw.randint(9_900, 10_100)
            for n in range(draw.randint(2, 7)):
                f = "F I" if f_seen and draw.random() < 0.6 else "@"
                wait = draw.choice((0, 1, 20, 99)) if n else draw.choice((1000, 5000, 100, 20_000))
                made.append((wait, cents + n // 2, draw.choice((100, 300, 700)), draw.choice(VENUES), side, f))
        else:
            side = draw.choice(("buy", "sell", "unknown"))
            venue = draw.choice((*VENUES, "FINRA", ""))
            made.append((draw.choice((0, 30, 100, 900)), draw.randint(9_900, 10_100), draw.randint(1, 900), venue, side, "@"))
    metric, recount = check(tape(made), every=23, later_ns=(0, 30 * NS))
    found = recount.sweeps()
    assert len(found) > 20 and {"levels", "venues"} & {s.rule for s in found} and (("iso" in {s.rule for s in found}) == f_seen)
    assert metric.components["past_sweeps"] > 0


prints = st.tuples(
    st.sampled_from((0, 1, 40, 99, 100, 101, 900, 30_000)),
    st.integers(9_998, 10_002),
    st.sampled_from((1, 100, 500, 2_000)),
    st.sampled_from(("ARCA", "BATS", "IEX", "FINRA", "", "gap")),
    st.sampled_from(("buy", "buy", "sell", "unknown")),
    st.sampled_from(("", "F", "@ F", "FX")),
)


@settings(max_examples=30)
@given(st.lists(prints, min_size=1, max_size=25))
def test_any_prints_give_the_sweeps_that_the_definition_gives(made: list[tuple[int, int, int, str, str, str]]) -> None:
    told = tape(usual(random.Random(1), 55) + made)
    # the prints of `usual` are looked at once, together: those that hypothesis chose each
    check(told[:55], every=54)
    check(told, every=max(1, len(told) - 1) if len(made) > 8 else 1, later_ns=(0, 59_900 * MS))


def test_a_long_burst_does_not_keep_the_sweeps_behind_it_in_the_minute() -> None:
    """Given buyers who go on for more than a minute without a pause, and sellers who swept once meanwhile."""
    made = usual(random.Random(2))
    made += [(1, 10_000, 2_000, venue, "buy", "@") for venue in VENUES]
    made += [(1, 10_000, 2_000, venue, "sell", "@") for venue in VENUES]
    made += [(90, 10_000, 100, "ARCA", "buy", "@")] * 800
    metric, recount = check(tape(made), every=len(made) - 1)
    assert [s.side for s in recount.sweeps()] == ["buy", "sell"]
    assert metric.n == 1 and metric.components["sell_usd"] == 0


def test_no_sweep_goes_on_behind_a_hole_in_the_feed() -> None:
    made = usual(random.Random(3))
    made += [(500 if venue == VENUES[0] else 1, 10_000, 2_000, venue, "buy", "@") for venue in VENUES]
    made += [(1, 0, 0, "gap", "", ""), (1, 10_000, 100, "MEMX", "buy", "@")]
    metric, _ = check(tape(made))
    assert [one["shares"] for one in metric.components["tape"]] == [10_000]
