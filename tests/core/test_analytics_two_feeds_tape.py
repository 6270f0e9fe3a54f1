"""Book imbalance and VPIN with all their parts, where quotes and depth come by turns, recounted from all that was told.

What test_analytics_tape.py leaves out: a quote line beside depth, each of them one-sided, silent, not ready or halted by turns;
the book the parts are of; the number of events in the order flow; the signed and open parts of VPIN, its flow, and why a value is
not there. The reference keeps every event; sums are of fractions. Prices are whole cents, sizes whole shares.
"""

from __future__ import annotations

import copy
import math
import random
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from alphatrader.contract.messages.market import BookEvent, GapEvent, Level, MarketEvent, QuoteEvent, StatusEvent, Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import obi_metric, vpin_metric
from alphatrader.core.analytics.measures import feed_reason
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.analytics.vpin_history import VpinRanks
from tests.core.test_analytics_tape import BUCKET, HOURS, NS, Side, naes_skjeltorp

SETTINGS = Analytics(vpin_buckets=5)
QUIET_SECONDS = 5.0
OFI_NS = int(SETTINGS.ofi_window_seconds * NS)
Best = tuple[int, Fraction, Fraction, Fraction, Fraction]


def exact(pairs: Any) -> Side:
    return [(Fraction(str(price)), Fraction(size)) for price, size in pairs]


@dataclass
class Recount:
    told: list[MarketEvent] = field(default_factory=list)

    def stands(self) -> tuple[Side, Side, str] | None:
        """The book of the newest depth, else the best quote as a book of one level: what the parts are measured on."""
        depth = self.newest_book()
        if depth is not None and depth.ready and (depth.bids or depth.asks):
            bids, asks = (exact((level.price, level.size) for level in side) for side in (depth.bids, depth.asks))
            return bids, asks, depth.source
        best = self.best_sides()
        if best is None:
            return None
        bids, asks = (exact([(price, size)]) if price is not None and size else [] for price, size in best)
        return (bids, asks, "quote") if bids or asks else None

    def newest_book(self) -> BookEvent | None:
        for event in reversed(self.told):
            if isinstance(event, GapEvent):
                return None
            if isinstance(event, BookEvent):
                return event
        return None

    def leading(self) -> list[tuple[int, MarketEvent]]:
        """(its number, each event that moves the best quote): a quote; depth where no quote came within five seconds; a hole."""
        found: list[tuple[int, MarketEvent]] = []
        line: int | None = None
        newest = 0
        for at, event in enumerate(self.told):
            newest = max(newest, getattr(event, "received_ns", 0))
            led = line is not None and newest - line <= 5 * NS
            if isinstance(event, QuoteEvent):
                line = event.received_ns
                found.append((at, event))
            elif isinstance(event, BookEvent) and not (line is not None and event.received_ns - line <= 5 * NS):
                found.append((at, event))
            elif isinstance(event, GapEvent) and not (event.depth_only and led):
                line = None
                found.append((at, event))
        return found

    def best_sides(self) -> tuple[Any, Any] | None:
        moved = self.leading()
        if not moved or isinstance(moved[-1][1], GapEvent):
            return None
        event = moved[-1][1]
        if isinstance(event, QuoteEvent):
            return (event.bid, event.bid_size), (event.ask, event.ask_size)
        assert isinstance(event, BookEvent)
        tops = [(side[0].price, side[0].size) if event.ready and side else (None, None) for side in (event.bids, event.asks)]
        return tops[0], tops[1]

    def order_flow(self, now_ns: int) -> list[tuple[Fraction, Fraction]]:
        """(e, sizes at the best) of the events in the window, since nothing was there to compare with."""
        halts: list[int] = []
        halted = False
        for at, event in enumerate(self.told):
            if isinstance(event, StatusEvent) and bool(event.halted) is not halted:
                halted = bool(event.halted)
                halts.append(at)
        best: list[tuple[int, Best | None]] = []
        for at, event in self.leading():
            quote: Best | None = None
            if isinstance(event, QuoteEvent) and event.bid is not None and event.ask is not None:
                quote = (event.received_ns, *exact([(event.bid, event.bid_size)])[0], *exact([(event.ask, event.ask_size)])[0])
            elif isinstance(event, BookEvent) and event.ready and event.bids and event.asks:
                ends = [exact([(side[0].price, side[0].size)])[0] for side in (event.bids, event.asks)]
                quote = (event.received_ns, *ends[0], *ends[1])
            best.append((at, quote))
        found: list[tuple[Fraction, Fraction]] = []
        for (at, before), (then, after) in pairwise(best):
            if after is None:
                found = []
            if before is None or after is None or any(at < halt < then for halt in halts) or after[0] <= now_ns - OFI_NS:
                continue
            (_, pb0, qb0, pa0, qa0), (_, pb, qb, pa, qa) = before, after
            e = (pb >= pb0) * qb - (pb <= pb0) * qb0 - (pa <= pa0) * qa + (pa >= pa0) * qa0
            if e or qb + qa != qb0 + qa0:
                found.append((Fraction(e), qb + qa))
        return found

    def parts(self, now_ns: int) -> dict[str, Any] | None:
        stands = self.stands()
        if stands is None:
            return None
        bids, asks, source = stands
        flow, levels = self.order_flow(now_ns), SETTINGS.book_levels
        gross, depth = sum(abs(e) for e, _ in flow), sum(sizes for _, sizes in flow)
        signed = sum((e for e, _ in flow), Fraction(0))
        whole: dict[str, Any] = dict.fromkeys(("volume", "pressure", "slope", "micro", "queue", "slope_elasticity"))
        weigh = [
            math.fsum(math.exp(-SETTINGS.obi_alpha * n) * float(q) for n, (_, q) in enumerate(side[:levels]))
            for side in (bids, asks)
        ]
        tops = [side[0][1] if side else Fraction(0) for side in (bids, asks)]
        whole["volume"] = (weigh[0] - weigh[1]) / sum(weigh) if sum(weigh) else None
        whole["queue"] = float((tops[0] - tops[1]) / sum(tops)) if sum(tops) else None
        if bids and asks:
            (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
            mid = (bid + ask) / 2
            pressed = [
                sum((q / (abs(p - mid) + Fraction(1, 100)) for p, q in side[:levels]), Fraction(0)) for side in (bids, asks)
            ]
            whole["pressure"] = float((pressed[0] - pressed[1]) / sum(pressed)) if sum(pressed) else None
            if bid < ask and bid_size + ask_size:
                whole["micro"] = float((bid_size - ask_size) / (bid_size + ask_size))
            slopes = [naes_skjeltorp(side[:levels], mid) for side in (bids, asks)]
            if slopes[0] is not None and slopes[1] is not None:
                whole["slope"] = (slopes[0] - slopes[1]) / (slopes[0] + slopes[1])
                whole["slope_elasticity"] = (slopes[0] + slopes[1]) / 2
        whole["ofi"] = (float(signed / gross) if gross else 0.0) if flow else None
        blend = [(SETTINGS.obi_weights[name], whole[name]) for name in ("volume", "pressure", "slope", "ofi", "micro")]
        there = [(weight, part) for weight, part in blend if part is not None]
        return whole | {
            "value": math.fsum(w * part for w, part in there) / math.fsum(w for w, _ in there) if there else None,
            "ofi_depths": float(signed / (depth / (2 * len(flow)))) if flow and depth else None,
            "ofi_events": len(flow),
            "missing": [name for name in ("volume", "pressure", "slope", "ofi", "micro") if whole[name] is None],
            "one_sided": not bids or not asks,
            "source": source,
            "levels": min(len(bids), len(asks)),
            "bid": float(bids[0][0]) if bids else None,
            "ask": float(asks[0][0]) if asks else None,
        }

    def obi_reason(self, now_ns: int, parts: dict[str, Any] | None) -> str | None:
        if (feed := self.feed(now_ns)) is not None:
            return feed
        book = self.newest_book()
        if book is not None and not book.ready:
            return "book not ready"
        if parts is None:
            return "no book"
        return None if parts["value"] is not None else "no part of the book can be measured"

    def feed(self, now_ns: int) -> str | None:
        newest = max(getattr(event, "received_ns", 0) for event in self.told)
        halts = [event.halted for event in self.told if isinstance(event, StatusEvent)]
        if halts and halts[-1]:
            return "halted"
        age = (now_ns - newest) / NS
        return f"feed silent for {age:.1f} s" if age > QUIET_SECONDS else None

    def vpin(self, now_ns: int) -> dict[str, Any]:
        prints = [event for event in self.told if isinstance(event, Trade) and HOURS[0] <= event.ts_ns < HOURS[1]]
        shares = [sign(event.side) for event in prints for _ in range(round(event.size))]
        full, n = len(shares) // BUCKET, SETTINGS.vpin_buckets
        sums = [sum(shares[at * BUCKET : (at + 1) * BUCKET]) for at in range(full)]
        last_hole = max(
            (at for at, event in enumerate(self.told) if isinstance(event, GapEvent) and not event.depth_only), default=-1
        )
        since = [e for e in self.told[last_hole + 1 :] if isinstance(e, Trade) and HOURS[0] <= e.ts_ns < HOURS[1]]
        flow = {}
        for seconds in (30, 60, 180):
            window = [e for e in since if e.received_ns // NS > now_ns // NS - seconds]
            known = window and now_ns - since[0].received_ns >= 30 * NS
            volume = sum(e.size for e in window)
            flow[f"flow_{seconds}s"] = sum(sign(e.side) * e.size for e in window) / volume if known else None
        newest = sums[-min(n, 10) :]
        return flow | {
            "value": sum(map(abs, sums[-n:])) / (n * BUCKET) if full >= n else None,
            "signed_10": sum(newest) / (len(newest) * BUCKET) if newest else None,
            "open_bucket": len(shares) % BUCKET / BUCKET,
            "filled": full,
            "bucket_shares": BUCKET,
            "warm": 0,
            "percentile": None,
            "reason": self.feed(now_ns) or (None if full >= n else f"{full} of {n} buckets full"),
        }


def sign(side: str) -> int:
    return {"buy": 1, "sell": -1, "unknown": 0}[side]


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value


def compare(state: SymbolState, recount: Recount, now_ns: int) -> set[str]:
    """Every field of both; the reasons that were given."""

    def age(ns: int | None) -> float | None:
        return None if ns is None else (now_ns - ns) / 1e6

    state = copy.deepcopy(state)
    feed = feed_reason(state, age, QUIET_SECONDS)
    obi = obi_metric.obi(state, now_ns, age, feed, SETTINGS, obi_metric.BookParts("AAPL", SETTINGS))
    parts = recount.parts(now_ns)
    for name, want in (parts or {}).items():
        if name != "value":
            assert obi.components[name] == near(want), name
    reason = recount.obi_reason(now_ns, parts)
    assert (obi.reason, obi.ready) == (reason, reason is None)
    assert obi.value == near(parts["value"] if parts and reason is None else None)
    assert obi.n == (parts["levels"] if parts else 0)
    vpin = vpin_metric.vpin(state, VpinRanks(), now_ns, age, feed, vpin_metric.VpinParts(0.25))
    want = recount.vpin(now_ns)
    assert (vpin.reason, vpin.ready) == (want["reason"], want["reason"] is None)
    assert vpin.value == near(want["value"] if vpin.ready else None) and vpin.n == min(want["filled"], SETTINGS.vpin_buckets)
    assert vpin.components["vpin_adj"] == near(want["value"])  # until both inputs have a history
    for name in want.keys() - {"value", "reason"}:
        assert vpin.components[name] == near(want[name]), name
    return {one.reason for one in (obi, vpin) if one.reason}


def generated(seed: int, count: int = 400) -> list[MarketEvent]:
    draw, told, now, cents, halted, line = random.Random(seed), list[MarketEvent](), HOURS[0] - NS, 10_000, False, True

    def event(kind: type, *parts: Any) -> None:
        told.append(kind(len(told) + 1, *parts))

    def size() -> float:
        return float(draw.choice((0, 1, 1, 5, 100, 700)))

    while len(told) < count:
        now += draw.choice((0, 1, 40_000_000, 300_000_000, 900_000_000, 2 * NS))
        kind, cents = draw.random(), cents + draw.choice((0, 0, 0, -1, 1))
        bid, ask = (cents - 1) / 100, (cents + draw.choice((-2, -1, 0, 1, 1))) / 100
        if kind < 0.02:
            event(GapEvent, now, "resubscribed", draw.random() < 0.6)
        elif kind < 0.04:
            halted = not halted
            event(StatusEvent, now, halted, 2 if halted else 0)
        elif kind < 0.06:
            line = not line  # the quote line falls silent, or comes back
        elif kind < 0.3 and line:
            ends = draw.choice(((bid, ask),) * 8 + ((None, ask), (bid, None), (None, None)))
            sizes = [size() if price is not None else None for price in ends]
            event(QuoteEvent, now, now, ends[0], sizes[0], ends[1], sizes[1])
        elif kind < 0.6:
            depth, ready = draw.choice((0, 1, 2, 3, 4, 12)), draw.random() > 0.08
            sides = [
                tuple(Level(round(top + step * n / 100, 2), size()) for n in range(depth)) if draw.random() > 0.08 else ()
                for top, step in ((bid, -1), (ask, 1))
            ]
            if not ready:
                sides = [(), ()]
            event(BookEvent, now, now, ready, *sides, 0, 0, draw.choice(("depth", "depth", "quote")))
        else:
            side = draw.choice(("buy", "buy", "sell", "unknown"))
            event(Trade, now, now, bid, float(draw.choice((1, 40, 99, 101, 350))), "ARCA", "", side, True, True, True)
    return told


@pytest.mark.parametrize("seed", range(10))
def test_every_part_is_what_its_definition_gives(seed: int) -> None:
    state, recount, reasons = fresh("AAPL", SETTINGS), Recount(), set[str]()
    state.vpin.set_size(BUCKET, "test")
    for number, event in enumerate(generated(seed)):
        assert state.apply(event, HOURS)
        recount.told.append(event)
        if state.received_ns is None or number % 11:
            continue
        for later in (0, 3 * NS, 6 * NS):
            reasons |= compare(state, recount, state.received_ns + later)
    assert {"halted", "feed silent for 6.0 s"} <= reasons and len(reasons) > 2 and state.vpin.ready
