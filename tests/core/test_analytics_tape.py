"""VPIN, book imbalance, order flow and hidden volume over whole tapes, against their definitions in fractions at every event.

The tapes: LOBSTER's real one, and generated ones with what real ones seldom show: prints that fill several buckets, zero ticks,
unknown sides, empty sides, locked and crossed books, an early close, a night, gaps in the feed. The reference keeps everything it
was told and recounts it from the start; it knows no running sum and no ring.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract.messages.market import BookEvent, GapEvent, Level, StatusEvent, Trade
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import hidden_metric, obi_metric, vpin_metric
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.analytics.vpin_history import VpinRanks
from alphatrader.core.market.prints import TickRule

FOLDER = Path(__file__).parents[2] / "../shared/data/lobster"
MESSAGES = FOLDER / "lobster_AAPL_2012-06-21_message_10_first1000.csv"
needs_sample = pytest.mark.skipif(not MESSAGES.exists(), reason="../shared/data/lobster is not here")
NS = 10**9
DAY_NS = 1_790_000_000 * NS
HOURS = (DAY_NS + 34_200 * NS, DAY_NS + 57_600 * NS)
SETTINGS = Analytics(vpin_buckets=20)
BUCKET = 100
Side = list[tuple[Fraction, Fraction]]


@dataclass
class Step:
    """A print on the book that stands, or a new book, or a hole in the feed."""

    ns: int
    bids: Side
    asks: Side
    print_: tuple[Fraction, int] | None = None
    gap: bool = False
    hours: tuple[int, int] = HOURS


@dataclass
class Reference:
    """Everything that was told since the start, or since the last hole."""

    shares: list[Fraction] = field(default_factory=list)
    """Of each share: 1 a buy, -1 a sell, 0 unknown."""
    last: Fraction | None = None
    sign: int = 0
    quotes: list[tuple[int, Fraction, Fraction, Fraction, Fraction] | None] = field(default_factory=list)
    """Best quotes in order; None where one is not to be compared with the next."""
    lit: list[tuple[int, int, int, Fraction]] = field(default_factory=list)
    """Of each print beside a sound quote: its time, shares, those inside the quote, those of them that were bought."""
    bids: Side = field(default_factory=list)
    asks: Side = field(default_factory=list)

    def see(self, step: Step) -> None:
        if step.gap:
            self.quotes.append(None)
            self.bids, self.asks, self.last, self.sign = [], [], None, 0
        elif step.print_ is not None:
            self._print(step)
        else:
            self.bids, self.asks = step.bids, step.asks
            best = (step.ns, *step.bids[0], *step.asks[0]) if step.bids and step.asks else None
            self.quotes.append(best)

    def side(self, price: Fraction) -> int:
        """Lee and Ready: the quote, at its middle or without a sound one the last move; a zero tick inherits."""
        if self.last is not None and price != self.last:
            self.sign = 1 if price > self.last else -1
        self.last = price
        if self.bids and self.asks and self.bids[0][0] < self.asks[0][0]:
            twice = 2 * price - self.bids[0][0] - self.asks[0][0]
            if twice:
                return 1 if twice > 0 else -1
        return self.sign

    def _print(self, step: Step) -> None:
        assert step.print_ is not None
        price, size = step.print_
        side = self.side(price)
        if not step.hours[0] <= step.ns < step.hours[1]:
            return
        self.shares += [Fraction(side)] * size
        if self.bids and self.asks and self.bids[0][0] < self.asks[0][0]:
            inside = size if self.bids[0][0] < price < self.asks[0][0] else 0
            self.lit.append((step.ns, size, inside, inside * Fraction(side + 1, 2)))

    def hidden(self, now_ns: int) -> tuple[int, int, Fraction]:
        """Shares beside a quote in the seconds of the window, those inside it, those bought there."""
        window = [one for one in self.lit if one[0] // NS > now_ns // NS - 300]
        return sum(one[1] for one in window), sum(one[2] for one in window), sum((one[3] for one in window), Fraction(0))

    def vpin(self) -> Fraction | None:
        n, full = SETTINGS.vpin_buckets, len(self.shares) // BUCKET
        if full < n:
            return None
        first = (full - n) * BUCKET
        sums = [abs(sum(self.shares[at : at + BUCKET])) for at in range(first, full * BUCKET, BUCKET)]
        return sum(sums, Fraction(0)) / (n * BUCKET)

    def ofi(self, now_ns: int) -> Fraction | None:
        """Sum over gross of the window's events since the last hole or one-sided book; None without one."""
        events: list[Fraction] = []
        for before, after in pairwise(self.quotes):
            if after is None:
                events = []
            if before is None or after is None or after[0] <= now_ns - int(SETTINGS.ofi_window_seconds * NS):
                continue
            (_, pb0, qb0, pa0, qa0), (_, pb, qb, pa, qa) = before, after
            e = (pb >= pb0) * qb - (pb <= pb0) * qb0 - (pa <= pa0) * qa + (pa >= pa0) * qa0
            if e or qb + qa != qb0 + qa0:
                events.append(e)
        gross = sum(map(abs, events))
        return Fraction(sum(events), gross) if gross else Fraction(0) if events else None

    def book(self) -> dict[str, float | None]:
        """Volume, pressure, micro and slope of the book that stands."""
        bids, asks = self.bids[: SETTINGS.book_levels], self.asks[: SETTINGS.book_levels]
        decay = [Fraction(math.exp(-SETTINGS.obi_alpha * i)) for i in range(SETTINGS.book_levels)]
        found: dict[str, float | None] = dict.fromkeys(("volume", "pressure", "micro", "slope"))

        def share(bid: Fraction, ask: Fraction) -> float | None:
            return float((bid - ask) / (bid + ask)) if bid + ask else None

        if bids or asks:
            weigh = [sum((w * q for w, (_, q) in zip(decay, side, strict=False)), Fraction(0)) for side in (bids, asks)]
            found["volume"] = share(*weigh)
        if not bids or not asks:
            return found
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        mid, tick = (bid + ask) / 2, Fraction(1, 100)
        pressed = [sum((q / (abs(p - mid) + tick) for p, q in side), Fraction(0)) for side in (bids, asks)]
        found["pressure"] = share(*pressed)
        if ask > bid:
            micro = (ask * bid_size + bid * ask_size) / (ask_size + bid_size)
            found["micro"] = float((micro - mid) / ((ask - bid) / 2))
        slopes = [naes_skjeltorp(side, mid) for side in (bids, asks)]
        if slopes[0] is not None and slopes[1] is not None and slopes[0] + slopes[1] > 0:
            found["slope"] = (slopes[0] - slopes[1]) / (slopes[0] + slopes[1])
        return found


def naes_skjeltorp(side: Side, mid: Fraction) -> float | None:
    """Levels with at least two shares up to them; one at the price before it only adds its size."""
    known: list[tuple[Fraction, float]] = []
    total = Fraction(0)
    for price, size in side:
        total += size
        if total < 2:
            continue
        if price == (known[-1][0] if known else mid):
            if known:
                known[-1] = (price, math.log(total))
            continue
        known.append((price, math.log(total)))
    if len(known) < 3:
        return None
    terms = [known[0][1] / float(abs(known[0][0] / mid - 1))]
    for (p0, v0), (p1, v1) in pairwise(known):
        terms.append((v1 / v0 - 1) / float(abs(p1 / p0 - 1)))
    return math.fsum(terms) / len(terms)


def events(steps: list[Step]) -> Iterator[tuple[Step, Any]]:
    """As ibkr tells them: a print with its side and the quote before it, each book whole."""
    rule, bids, asks = TickRule(), [], []  # type: ignore[var-annotated]
    for seq, step in enumerate(steps, 1):
        if step.gap:
            rule, bids, asks = TickRule(), [], []
            yield step, GapEvent(seq, step.ns, "tape")
        elif step.print_ is not None:
            price, size = float(step.print_[0]), float(step.print_[1])
            bid, ask = (bids[0].price, asks[0].price) if bids and asks else (None, None)
            side, how = rule.decide(price, bid, ask, moves=True)
            yield step, Trade(seq, step.ns, step.ns, price, size, "NASDAQ", "", side, True, True, True, True, how, bid, ask, True)
        else:
            bids, asks = ([Level(float(p), float(q), "NASDAQ") for p, q in side] for side in (step.bids, step.asks))
            yield step, BookEvent(seq, step.ns, step.ns, True, tuple(bids), tuple(asks), 0, 0)


def now(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)


def check(steps: list[Step], *, every: int = 1) -> tuple[SymbolState, Reference]:
    """Folds the tape both ways and compares after each `every`th event: the definitions, in fractions, take their time."""
    state, reference = fresh("AAPL", SETTINGS), Reference()
    state.vpin.set_size(BUCKET, "test")
    parts = obi_metric.BookParts("AAPL", SETTINGS)
    for number, (step, event) in enumerate(events(steps)):
        assert state.apply(event, step.hours)
        reference.see(step)
        if number % every:
            continue
        made = measured(state, step.ns, parts)
        expected = reference.vpin()
        assert made["vpin"].value == now(None if expected is None else float(expected)), number
        assert made["vpin"].n == min(len(reference.shares) // BUCKET, SETTINGS.vpin_buckets)
        if reference.bids or reference.asks:
            book, ofi = reference.book(), reference.ofi(step.ns)
            told = made["obi"].components
            assert {name: told[name] for name in book} == {name: now(value) for name, value in book.items()}, number
            assert told["ofi"] == now(None if ofi is None else float(ofi)), number
            weighed = {**book, "ofi": told["ofi"]}
            there = {name: value for name, value in weighed.items() if value is not None}
            whole = sum(SETTINGS.obi_weights[name] for name in there)
            assert made["obi"].value == now(sum(SETTINGS.obi_weights[n] * v for n, v in there.items()) / whole)
        else:
            assert made["obi"].value is None and made["obi"].reason == "no book"
        hidden, (lit, inside, bought) = made["hidden"].components, reference.hidden(step.ns)
        assert (hidden["lit_shares"], hidden["inside_shares"]) == (now(lit), now(inside)), number
        if inside:
            assert hidden["signed"] == now(float((2 * bought - inside) / inside))
            assert made["hidden"].value == now(inside / lit)
    return state, reference


def measured(state: SymbolState, now_ns: int, parts: obi_metric.BookParts) -> dict[str, Metric]:
    def age(ns: int | None) -> float | None:
        return None if ns is None else 0.0

    made = (
        vpin_metric.vpin(state, VpinRanks(), now_ns, age, None, vpin_metric.VpinParts(0.25)),
        obi_metric.obi(state, now_ns, age, None, SETTINGS, parts),
        hidden_metric.hidden(state, now_ns, age, None),
    )
    return {metric.metric: metric for metric in made}


# -- the real tape -------------------------------------------------------------------------------------------------------


def lobster() -> Iterator[tuple[Step, list[str]]]:
    """Each row's print on the book before it, then its book, with the row."""
    with MESSAGES.open(newline="") as file:
        messages = list(csv.reader(file))
    with (FOLDER / MESSAGES.name.replace("message", "orderbook")).open(newline="") as file:
        books = [[int(text) for text in row] for row in csv.reader(file)]
    for message, row in zip(messages, books, strict=True):
        ns = DAY_NS + int(Fraction(message[0]) * NS)
        if message[1] in "45":
            yield Step(ns, [], [], (Fraction(int(message[4]), 10_000), int(message[3]))), message
        sides = []
        for first in (2, 0):
            levels = [(Fraction(row[at], 10_000), Fraction(row[at + 1])) for at in range(first, len(row), 4)]
            sides.append([level for level in levels if abs(level[0]) < 900_000])
        yield Step(ns, sides[0], sides[1]), message


@needs_sample
def test_the_real_tape_gives_what_the_definitions_give() -> None:
    state, reference = check([step for step, _ in lobster()], every=7)
    assert state.vpin.ready and len(reference.shares) > 40 * BUCKET and reference.hidden(0)[1] > 0


@needs_sample
def test_on_the_real_tape_the_quote_rule_finds_who_took_the_initiative() -> None:
    """LOBSTER says whose resting order was executed. Visible executions are at the best price: no rule may miss one."""
    rows = list(lobster())
    found = [
        (event.side, message)
        for (_, event), (_, message) in zip(events([step for step, _ in rows]), rows, strict=True)
        if isinstance(event, Trade) and message[1] == "4"
    ]
    truth = ["sell" if message[5] == "1" else "buy" for _, message in found]
    # the first rows' book begins empty: LOBSTER's first print needs the quote before it
    assert len(found) == 98 and [side for side, _ in found] == truth


# -- generated tapes -----------------------------------------------------------------------------------------------------


def generated(seed: int, count: int = 260) -> list[Step]:
    draw, steps, ns = random.Random(seed), [], HOURS[0] - 2 * NS
    cents = 10_000
    for _ in range(count):
        ns += draw.choice((0, 1, 1_000_000, 40_000_000, 900_000_000))
        kind = draw.random()
        if kind < 0.02:
            steps.append(Step(ns, [], [], gap=True))
        elif kind < 0.5:
            cents += draw.choice((0, 0, 0, -1, 1))  # zero ticks are the rule
            size = draw.choice((1, 7, 99, 100, 101, 250, 3 * BUCKET + 1, 30 * BUCKET))
            steps.append(Step(ns, [], [], (Fraction(2 * cents + draw.choice((-2, -1, 0, 1, 2)), 200), size)))
        else:
            width = draw.choice((-1, 0, 1, 2, 2, 4))  # crossed, locked, and sound ones
            depth = draw.choice((0, 1, 2, 4, 10, 12))

            bid = cents - width // 2
            bids, asks = (
                [(Fraction(first + step * i, 100), Fraction(draw.randint(1, 900))) for i in range(depth)]
                for first, step in ((bid, -1), (bid + width, 1))
            )
            steps.append(Step(ns, bids if draw.random() < 0.95 else [], asks if draw.random() < 0.95 else []))
    return steps


@pytest.mark.parametrize("seed", range(12))
def test_a_generated_tape_gives_what_the_definitions_give(seed: int) -> None:
    check(generated(seed), every=3)


def test_buckets_carry_over_a_night_and_an_early_close_ends_the_session() -> None:
    # given a session that closes at 13:00, and the next day's
    short, noon = (HOURS[0], DAY_NS + 46_800 * NS), DAY_NS + 46_800 * NS
    day = 86_400 * NS
    book = ([(Fraction(100), Fraction(5))], [(Fraction(10001, 100), Fraction(5))])
    price = Fraction(10001, 100)
    steps = [
        Step(noon - 2, *book, hours=short),
        Step(noon - 1, [], [], (price, 19 * BUCKET + 60), hours=short),
        Step(noon, [], [], (price, 500), hours=short),  # after the close: not counted
        Step(noon + day, *book, hours=(HOURS[0] + day, HOURS[1] + day)),
        Step(noon + day + 1, [], [], (price, 40), hours=(HOURS[0] + day, HOURS[1] + day)),
    ]
    state, _ = check(steps)
    # then the twentieth bucket is full with the forty shares of the next day, and the late print was counted as left out
    assert state.vpin.value == 1.0 and state.vpin.filled == 20
    assert state.counts == {"prints outside regular hours ignored": 1}


def test_a_halt_stops_nothing_that_was_counted_and_no_value_is_moved_by_it() -> None:
    steps = generated(3, 120)
    made = list(events(steps))
    state = fresh("AAPL", SETTINGS)
    state.vpin.set_size(BUCKET, "test")
    for step, event in made:
        state.apply(event, step.hours)
    parts, at = obi_metric.BookParts("AAPL", SETTINGS), made[-1][0].ns
    before = measured(state, at, parts)
    assert state.apply(StatusEvent(len(made) + 1, at, True, 2, "paused"), HOURS)
    after = measured(state, at, parts)
    assert state.halted is True
    assert {name: m.value for name, m in before.items()} == {name: m.value for name, m in after.items()}
