"""Hidden executions and icebergs over whole tapes, against their definitions recounted from all that was told since the start.

The tapes: LOBSTER's real one, whose message types say which executions were hidden, and generated ones with two venues at each
price, reserve orders that show their next part, prints off exchange, of unknown side and of one order, holes, halts, and depth
that goes away. The reference (sources.md §3, docs/metrics.md, docs/decisions 155 and 190) keeps every event; it takes each price,
side and venue by itself and knows no list of places that goes along.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from statistics import median
from typing import Any

import pytest

from alphatrader.contract.messages.market import BookEvent, GapEvent, Level, MarketEvent, Part, QuoteEvent, StatusEvent, Trade
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import hidden_metric
from alphatrader.core.analytics.symbol import SymbolState, fresh
from tests.core.test_analytics_tape import HOURS, NS, events, lobster, needs_sample

MS = 10**6
AROUND, REFILL, APART, KEPT_FOR = 250 * MS, 500 * MS, 2 * NS, 300 * NS
Quote = tuple[int, Fraction, Fraction]
Place = tuple[str, float, str]
"""Side of the resting order, price, venue."""


@cache
def exact(price: float) -> Fraction:
    return Fraction(str(price))


@dataclass
class Execution:
    print_: Trade
    prices: tuple[Fraction, Fraction]
    """The quote in force before it."""
    told: int
    """How many events had been told."""
    shares: Fraction
    prints: int = 1


@dataclass
class Recount:
    told: list[MarketEvent] = field(default_factory=list)

    # -- best quotes -------------------------------------------------------------------------------------------------

    def best(self) -> list[tuple[int, Quote | None]]:
        """(event's number, best quote that it tells; None where one side is empty or what was known is gone). Depth tells none
        within five seconds of the quote line's newest."""
        found: list[tuple[int, Quote | None]] = []
        line: int | None = None
        for at, event in enumerate(self.told):
            if isinstance(event, QuoteEvent):
                line = event.received_ns
                sound = event.bid is not None and event.ask is not None
                found.append((at, (line, exact(event.bid), exact(event.ask)) if sound else None))  # type: ignore[arg-type]
            elif isinstance(event, BookEvent) and (line is None or event.received_ns - line > 5 * NS):
                sound = event.ready and bool(event.bids) and bool(event.asks)
                ends = (exact(event.bids[0].price), exact(event.asks[0].price)) if sound else None
                found.append((at, (event.received_ns, *ends) if ends else None))
            elif isinstance(event, GapEvent) and not event.depth_only:
                line = None
                found.append((at, None))
        return found

    def breaks(self) -> list[int]:
        """Numbers of the events across which no quote speaks: holes, and both edges of a halt."""
        halted, found = False, []
        for at, event in enumerate(self.told):
            if isinstance(event, StatusEvent) and bool(event.halted) is not halted:
                halted = bool(event.halted)
                found.append(at)
            elif isinstance(event, GapEvent) and not event.depth_only:
                found.append(at)
        return found

    # -- hidden executions -------------------------------------------------------------------------------------------

    def beside(self) -> list[tuple[int, Trade, Fraction, Fraction]]:
        """Lit prints beside an open quote: their own, else the best that stood."""
        found, best = [], self.best()
        for at, event in enumerate(self.told):
            if not isinstance(event, Trade) or event.venue in ("", "FINRA"):
                continue
            if event.bid is not None and event.ask is not None:
                bid, ask = exact(event.bid), exact(event.ask)
            else:
                before = [quote for number, quote in best if number < at]
                if not before or before[-1] is None:
                    continue
                _, bid, ask = before[-1]
            if bid < ask:
                found.append((at, event, bid, ask))
        return found

    def executions(self) -> list[Execution]:
        """Of one instant, price, venue and side, received within 250 ms of the first of them: one."""
        found: list[Execution] = []
        for at, p, bid, ask in self.beside():
            if not bid < exact(p.price) < ask:
                continue
            for one in found:
                first, same = one.print_, (p.ts_ns, p.price, p.venue, p.side)
                if (first.ts_ns, first.price, first.venue, first.side) == same and p.received_ns - first.received_ns <= AROUND:
                    one.shares += Fraction(p.size)
                    one.prints += 1
                    break
            else:
                found.append(Execution(p, (bid, ask), at, Fraction(p.size)))
        return found

    def confidence(self, one: Execution, best: list[tuple[int, Quote | None]], breaks: list[int]) -> float:
        """Of the quotes within 250 ms around it, the one in force before it always among them: how many it lies inside of."""
        at, price = one.print_.received_ns, exact(one.print_.price)
        since = max((number for number in breaks if number < one.told), default=-1)
        told = [(number, quote) for number, quote in best if quote is not None]
        before = [q for number, q in told if since < number < one.told][-8:]
        around = [q[1:] for q in before if at - q[0] <= AROUND]
        if not around or around[-1] != one.prices:
            around.append(one.prices)
        around += [q[1:] for number, q in told if number > one.told and q[0] - at <= AROUND]
        return sum(bid < price < ask for bid, ask in around) / len(around)

    def hidden(self, now_ns: int) -> dict[str, Any]:
        window = [one for one in self.beside() if one[1].received_ns // NS > now_ns // NS - 300]
        inside = [(p, bid, ask) for _, p, bid, ask in window if bid < exact(p.price) < ask]
        lit, sizes = sum(p.size for _, p, _, _ in window), sum(p.size for p, _, _ in inside)
        best, breaks = self.best(), self.breaks()
        signed = sum({"buy": 1, "sell": -1, "unknown": 0}[p.side] * p.size for p, _, _ in inside)
        return {
            "value": sizes / lit if lit else None,
            "n": len({p.received_ns // NS for _, p, _, _ in window}),
            "lit_shares": lit,
            "inside_shares": sizes,
            "at_mid_shares": sum(p.size for p, bid, ask in inside if 2 * exact(p.price) == bid + ask),
            "signed": signed / sizes if sizes else None,
            "executions": [
                {
                    "at_ms": x.print_.received_ns // MS,
                    "side": x.print_.side,
                    "price": x.print_.price,
                    "shares": float(x.shares),
                    "prints": x.prints,
                    "venue": x.print_.venue,
                    "at_mid": 2 * exact(x.print_.price) == sum(x.prices),
                    "confidence": self.confidence(x, best, breaks),
                }
                for x in self.executions()
                if x.print_.received_ns // NS > now_ns // NS - 300
            ][-20:],
        }

    # -- icebergs ----------------------------------------------------------------------------------------------------

    def icebergs(self) -> list[dict[str, Any]]:
        """Every one since the start, in the order they were found."""
        places: dict[Place, None] = {}
        for event in self.told:
            if isinstance(event, Trade) and event.venue not in ("", "FINRA") and event.side != "unknown":
                places["ask" if event.side == "buy" else "bid", event.price, event.venue] = None
        found = [one for place in places for one in OnePlace(place).over(self.told)]
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def shown_at(levels: tuple[Level, ...], price: float, venue: str) -> float:
    for level in levels[:3]:
        if level.price == price:
            rows = level.parts or (Part(level.venue, level.size),)
            return sum(part.size for part in rows if part.venue in (venue, ""))
    return 0.0


class OnePlace:
    """What one price, side and venue says over a tape."""

    def __init__(self, place: Place) -> None:
        self.resting, self.price, self.venue = place

    def displayed(self, book: BookEvent) -> float:
        return shown_at(book.bids if self.resting == "bid" else book.asks, self.price, self.venue)

    def over(self, told: list[MarketEvent]) -> list[tuple[int, dict[str, Any]]]:
        self.found: list[tuple[int, dict[str, Any]]] = []
        self.books: list[BookEvent] = []
        self.fills: list[Trade] = []
        halted = False
        for at, event in enumerate(told):
            if isinstance(event, BookEvent) and event.ready and event.source == "depth":
                self.books.append(event)
                self.book(at, event)
            elif isinstance(event, Trade):
                if (event.price, event.venue) == (self.price, self.venue) and event.side == (
                    "sell" if self.resting == "bid" else "buy"
                ):
                    self.fill(at, event)
            elif isinstance(event, BookEvent | GapEvent) or (isinstance(event, StatusEvent) and bool(event.halted) is not halted):
                halted = bool(event.halted) if isinstance(event, StatusEvent) else halted
                self.books, self.fills = [], []
        return self.found

    def fill(self, at: int, print_: Trade) -> None:
        now, size = print_.received_ns, print_.size
        waited = now - self.fills[-1].received_ns if self.fills else APART + 1
        stood = [b for b in self.books[-16:] if now - b.received_ns < AROUND]
        earlier = [b for b in self.books[-16:] if now - b.received_ns >= AROUND]
        before = max([self.displayed(b) for b in (*earlier[-1:], *stood)], default=0.0)
        if waited > APART:
            if not before:
                self.fills = []
                return  # nothing was shown there
            self.fills, self.refills, self.number, self.seen, self.came = [], [], None, None, 0.0
        first = waited > REFILL
        if first and before:
            self.shown = self.left = before
        self.fills.append(print_)
        self.left -= size
        self.beyond = self.left < 0
        if self.beyond and first:
            self.left = 0.0
        elif self.beyond:
            self.refills.append((now, self.shown))
            while self.left < 0:
                self.left += self.shown
        self.judge(at, now)

    def book(self, at: int, book: BookEvent) -> None:
        if not self.fills or not 0 < book.received_ns - self.fills[-1].received_ns <= REFILL:
            return
        first = self.seen is not self.fills[-1]
        self.seen, size = self.fills[-1], self.displayed(book)
        came = size - self.left
        if came <= 0:
            return
        ended = not self.beyond and self.left <= 0.2 * self.shown
        back = ended and 0.8 * self.shown <= size <= self.shown * 1.25
        if back or (first and not self.beyond and came == self.came):
            self.refills.append((book.received_ns, came))
            self.judge(at, book.received_ns)
        if first and not self.beyond:
            self.came = came
        self.left, self.shown = size, size if ended else max(size, self.shown)

    def judge(self, at: int, now: int) -> None:
        if len(self.refills) < 2 or now - self.refills[-2][0] > APART:
            return
        told = {
            "at_ms": now // MS,
            "side": self.resting,
            "price": self.price,
            "venue": self.venue,
            "peak": median(size for _, size in self.refills),
            "refills": len(self.refills),
            "executed": sum(print_.size for print_ in self.fills),
            "confidence": 1 - math.exp(-len(self.refills) / 2),
        }
        if self.number is None:
            self.number = len(self.found)
            self.found.append((at, told))
        else:
            self.found[self.number] = (self.found[self.number][0], told)


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value


def measured(state: SymbolState, now_ns: int) -> Metric:
    return hidden_metric.hidden(copy.deepcopy(state), now_ns, lambda ns: None if ns is None else 0.0, None)


def check(tape: Iterable[MarketEvent], *, every: int, later_ns: tuple[int, ...] = (0,)) -> tuple[Metric, Recount]:
    """Folds the tape both ways and compares after each `every`th event, and once all is told, so much later."""
    state, recount, made = fresh("AAPL", Analytics()), Recount(), None
    told = list(tape)
    for number, event in enumerate(told, 1):
        assert state.apply(event, HOURS)
        recount.told.append(event)
        if number % every and number < len(told):
            continue
        for later in later_ns:
            now_ns = (state.received_ns or 0) + later
            made, want = measured(state, now_ns), recount.hidden(now_ns)
            found = {"value": made.value, "n": made.n, **made.components}
            for name, expected in want.items():
                if name != "executions":
                    assert found[name] == near(expected), (number, name)
            assert found["executions"] == [{k: near(v) for k, v in x.items()} for x in want["executions"]], number
            named = any(isinstance(one, Trade) and one.venue for one in recount.told)
            assert (made.ready, made.reason) == (
                (True, None)
                if want["lit_shares"]
                else (False, "no lit print beside a quote in 300 s" if named else "no venue in the prints: needs tick-by-tick")
            )
            icebergs = recount.icebergs()
            assert found["icebergs_since_start"] == len(icebergs), number
            recent = [x for x in icebergs if x["at_ms"] * MS >= now_ns - KEPT_FOR - MS]
            assert found["icebergs"] == [{k: near(v) for k, v in x.items()} for x in recent][-20:], number
    assert made is not None
    return made, recount


# -- the real tape -------------------------------------------------------------------------------------------------------


@needs_sample
def test_the_real_tape_gives_the_hidden_executions_that_the_definition_and_its_message_types_give() -> None:
    rows = list(lobster())
    tape = [event for _, event in events([step for step, _ in rows])]
    made, recount = check(tape, every=499)
    # the exchange's own word: type 5 is an execution of a hidden order
    hidden = [message for step, message in rows if step.print_ is not None and message[1] == "5"]
    assert sum(x.shares for x in recount.executions()) == sum(int(message[3]) for message in hidden)
    assert len(hidden) == 61 and made.components["executions"]


# -- generated tapes -----------------------------------------------------------------------------------------------------


def generated(seed: int, count: int = 500) -> list[MarketEvent]:
    """A quote line (every other seed), depth of two venues at each of four prices, and one order after another that fills what is
    shown at a price, where a reserve order may show its next part."""
    draw, told, now = random.Random(seed), list[MarketEvent](), HOURS[0]
    line, cents = bool(seed % 2), 10_000
    shown = {(side, n): [300.0, 200.0] for side in ("bid", "ask") for n in range(4)}

    def event(kind: type, *parts: Any) -> None:
        told.append(kind(len(told) + 1, *parts))

    def levels(side: str) -> tuple[Level, ...]:
        step = -1 if side == "bid" else 1
        rows = [
            ((cents + step * (1 + n)) / 100, [Part(v, s) for v, s in zip(("ARCA", "IEX"), shown[side, n], strict=True) if s > 0])
            for n in range(4)
        ]
        return tuple(
            Level(price, parts[0].size, parts[0].venue)
            if len(parts) == 1
            else Level(price, sum(p.size for p in parts), "ARCA,IEX", parts=tuple(parts))
            for price, parts in rows
            if parts
        )

    def quote() -> None:
        bids, asks = levels("bid"), levels("ask")
        both, inwards = bids and asks and draw.random() > 0.05, draw.choice((0, 0, 0.01))
        ends = (round(bids[0].price + inwards, 2), 5.0, asks[0].price, 5.0) if both else (None, None, 100.5, 5.0)
        event(QuoteEvent, now, now, *ends)

    def book() -> None:
        event(BookEvent, now, now, True, levels("bid"), levels("ask"), 0, 0)

    def print_(price: float, size: float, venue: str, side: str, stamp: int, *, own: bool) -> None:
        ends = ((cents - 1) / 100, (cents + 1) / 100) if own else (None, None)
        counts = (True, True, True, True, "")
        event(Trade, stamp, now, price, size, venue, "", side, *counts, *ends)

    while len(told) < count:
        now += draw.choice((1, 20, 120, 400, 900)) * MS
        kind = draw.random()
        if kind < 0.03:
            event(GapEvent, now, "resubscribed", draw.random() < 0.5)
        elif kind < 0.05:
            event(StatusEvent, now, True, 2)
            now += 5 * NS
            event(StatusEvent, now, False, 0)
        elif kind < 0.07:
            event(BookEvent, now, now, False, (), (), 0, 0, "depth", None, "317")
        elif kind < 0.12:
            cents += draw.choice((-1, 1))
            shown |= {place: [float(draw.choice((0, 100, 300))), 200.0] for place in shown}
        elif kind < 0.5:  # prints inside the spread, of one order or several, on and off exchange
            stamp, side, halves = now, draw.choice(("buy", "buy", "sell", "unknown")), draw.choices((0, 0, 0.5, -0.5, 1), k=2)
            for _ in range(draw.randint(1, 5)):
                now += draw.choice((0, 0, MS, 90 * MS))
                venue = draw.choice(("ARCA", "IEX", "IEX", "IEX", "FINRA", ""))
                price, at = (cents + draw.choice(halves)) / 100, draw.choice((stamp, stamp, now))
                print_(price, float(draw.randint(1, 300)), venue, side, at, own=draw.random() < 0.6)
                if line and draw.random() < 0.4:
                    quote()
        else:  # fills of what is shown at a price, and what is shown after them
            side, n, at = draw.choice(("bid", "ask")), draw.choice((0, 0, 1, 3)), draw.choice((0, 1))
            reserve, kept = draw.choice((0.0, 100.0, 200.0)), shown[side, n]
            book()
            for _ in range(draw.randint(1, 6)):
                now += draw.choice((1, 30, 100, 300, 600)) * MS
                size = draw.choice((kept[at], kept[at], 100.0, kept[at] + 150.0, 2.5 * kept[at])) or 100.0
                price = (cents + (-1 if side == "bid" else 1) * (1 + n)) / 100
                print_(price, size, ("ARCA", "IEX")[at], "sell" if side == "bid" else "buy", now, own=True)
                kept[at] = max(0.0, kept[at] - size)
                if draw.random() < 0.5:
                    now += draw.choice((1, 40)) * MS
                    book()
                kept[at] += reserve + (50.0 if draw.random() < 0.1 else 0.0)
                now += draw.choice((10, 100, 450)) * MS
                book()
        if line:
            quote()
        if draw.random() < 0.3:
            book()
    return told


@pytest.mark.parametrize("seed", range(6))
def test_a_generated_tape_gives_what_the_definitions_give(seed: int) -> None:
    made, recount = check(generated(seed), every=61, later_ns=(0, 30 * NS))
    executions, told = recount.executions(), made.components
    assert len(executions) > 15 and max(x.prints for x in executions) > 1 and len(recount.icebergs()) > 2
    assert {x["at_mid"] for x in told["executions"]} == {True, False}
