"""What a slot is to hold: the path of its quote over the knots, and the orders that trade at each of them.

Everything is drawn here in one order from the slot's own generator, so that a seed's market is always the same. `slots.py` makes
events of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .tables import MIN_PRINTS, SlotTable
from .venues import LIT

_MORE_BEHIND = 4
"""Fills of a reserve order that stands behind others: those take the first of them."""
_LIT_NAMES = tuple(LIT)
_LIT_WEIGHTS = tuple(weight for _, weight in LIT.values())
_INFORMED = 0.9
"""From this lean of the flow on, sweeps are an informed trader's."""


@dataclass(frozen=True, slots=True)
class Tape:
    """What the slot filler must know of an instrument besides its table."""

    is_stock: bool
    venue: str  # the exchange of a future, the primary venue of a stock
    quotes_per_second: float


class QuotePath(NamedTuple):
    """Prices in ticks, by knot."""

    bids: list[int]
    asks: list[int]
    at_high: int  # the knot that touches the slot's high
    at_low: int


class Reserve(NamedTuple):
    """A reserve order (iceberg), by knots."""

    first: int
    past: int
    side: int
    peak: int
    behind: bool


@dataclass(slots=True)
class Order:
    """A print still to be given its size and place."""

    side: int
    what: str = "lit"  # lit, odd, hidden, dark, sweep, iceberg, cross
    size: int = 0
    weight: float = 0.0
    informed: bool = False
    venue: str = ""


def quote_path(table: SlotTable, i: int, knots: int, draw: Random) -> QuotePath:
    """A walk from the row's first quote to its last that touches its high and its low and leaves neither."""
    first, last = int(table.bid[i]), int(table.bid[i + 1])
    spreads = int(table.spread[i]), int(table.spread[i + 1])
    high, low = int(table.high[i]), int(table.low[i])
    if not table.count[i]:  # no prints: the row repeats the last trade and bounds nothing
        high, low = max(first + spreads[0], last + spreads[1]), min(first, last)
    step = float(table.sigma[i]) / knots**0.5
    walk, total = [], 0.0
    for _ in range(knots):
        walk.append(total)
        total += draw.gauss(0.0, step)
    end = walk[-1]
    bids, asks = [], []
    for k in range(knots):
        x = k / (knots - 1)
        bid = round(first + (last - first) * x + walk[k] - end * x)
        spread = spreads[x >= 0.5]
        if spread and 0 < k < knots - 1 and draw.random() < 0.12:
            spread += 1
        bid = max(bid, low)
        if bid + spread > high:
            spread = min(spread, max(1, high - bid)) if spread else 0
            bid = high - spread
        bids.append(bid)
        asks.append(bid + spread)
    bids[0], asks[0], bids[-1], asks[-1] = first, first + spreads[0], last, last + spreads[1]
    at_high = 0 if asks[0] == high else knots - 1
    at_low = 0 if bids[0] == low else knots - 1
    if asks[at_high] != high:
        at_high = draw.randrange(1, knots - 1)
        bids[at_high], asks[at_high] = high - min(asks[at_high] - bids[at_high], high - low), high
    if bids[at_low] != low:
        at_low = draw.randrange(1, knots - 2)
        at_low += at_low >= at_high > 0
        bids[at_low], asks[at_low] = low, low + min(asks[at_low] - bids[at_low], high - low)
    return QuotePath(bids, asks, at_high, at_low)


class SlotPlan:
    """The orders of slot `i` by knot. An iceberg holds its price: `path` is edited where it stands."""

    def __init__(self, table: SlotTable, i: int, tape: Tape, path: QuotePath, draw: Random) -> None:
        self.orders: list[list[Order]] = [[] for _ in path.bids]
        self.iceberg: Reserve | None = None
        self.sweep = -1  # the knot it comes at
        self._table, self._i, self._tape, self._path, self._draw = table, i, tape, path, draw
        self._count, self._volume, self._lean = int(table.count[i]), int(table.volume[i]), float(table.lean[i])
        self._free = self._count - MIN_PRINTS  # prints that no kind of order has claimed yet
        if self._count:
            self._plan_iceberg()
            self._plan_sweep()
            self._plan_free_prints()
            self._plan_bounds()
            _give_sizes(self.orders, self._volume, table.lot)

    def _plan_iceberg(self) -> None:
        table, draw, path, knots, lot = self._table, self._draw, self._path, len(self.orders), self._table.lot
        rounds = draw.randint(3, 5)
        peak = lot * draw.randint(2, 4) if self._tape.is_stock else draw.randint(2, 4) * max(2, table.display // 8)
        if self._free < rounds or draw.random() >= 0.06 or not self._leaves_room(rounds, peak) or knots <= 12:
            return
        more = rounds + _MORE_BEHIND
        behind = self._free >= more and self._leaves_room(more, peak) and knots > more + 7 and draw.random() < 0.5
        rounds = more if behind else rounds
        start = draw.randrange(2, knots - rounds - 2)
        held = range(start, start + rounds)
        if {path.at_high, path.at_low} & set(held):
            return
        side = 1 if draw.random() < 0.5 else -1
        self.iceberg = Reserve(held.start, held.stop, side, peak, behind)
        self._free -= rounds
        for k in held:
            path.bids[k], path.asks[k] = path.bids[start], path.asks[start]
            sizes = [peak]
            if self._free and draw.random() < 0.3:  # in two fills: the first does not end what is shown
                sizes = [peak - lot, lot]
                self._free -= 1
            self.orders[k] += [Order(-side, "iceberg", size) for size in sizes]

    def _leaves_room(self, rounds: int, peak: int) -> bool:
        """Whether so many fills of a peak leave two lots for each other print of the slot."""
        return self._volume - rounds * peak > (self._count - rounds) * self._table.lot * 2

    def _plan_sweep(self) -> None:
        draw, informed = self._draw, abs(self._lean) > _INFORMED
        if not self._tape.is_stock or self._free < 4 or draw.random() >= (0.45 if informed else 0.01):
            return
        knot = draw.randrange(1, len(self.orders) - 1)
        if self.iceberg is not None and self.iceberg.first <= knot < self.iceberg.past:
            return
        self.sweep = knot
        side = (1 if self._lean > 0 else -1) if informed else draw.choice((1, -1))
        width = min(self._free, draw.randint(3, 5))
        chosen = dict.fromkeys(draw.choices(_LIT_NAMES[:9], _LIT_WEIGHTS[:9], k=40))
        swept = [Order(side, "sweep", 0, 1.2, informed, venue) for venue in list(chosen)[:width]]
        self.orders[knot] += swept
        self._free -= len(self.orders[knot])

    def _plan_free_prints(self) -> None:
        """Sides lean with informed flow, and a little with the way the quote goes."""
        draw, lean, bids = self._draw, self._lean, self._path.bids
        move = (bids[-1] - bids[0]) / max(1.0, float(self._table.sigma[self._i]))
        buys = min(0.93, max(0.07, 0.5 + 0.36 * lean + 0.08 * max(-1.0, min(1.0, move))))
        for _ in range(self._free):
            side = 1 if draw.random() < buys else -1
            informed = side * lean > 0 and draw.random() < 0.7 * abs(lean)
            what = "lit"
            if self._tape.is_stock:
                u = draw.random()
                what = "odd" if u < 0.22 else "hidden" if u < 0.27 else "dark" if u < 0.45 else "lit"
            size = draw.randint(1, self._table.lot - 1) if what == "odd" else 0
            self.orders[draw.randrange(len(self.orders))].append(Order(side, what, size, draw.expovariate(1.0) + 0.1, informed))

    def _plan_bounds(self) -> None:
        """The prints that the row names: high, low, open and close, the last two as crosses where an auction makes them."""
        table, i, path = self._table, self._i, self._path
        self.orders[path.at_high].append(Order(1, weight=0.5))
        self.orders[path.at_low].append(Order(-1, weight=0.5))
        opens, closes = self._tape.is_stock and begins_by_a_cross(table, i), self._tape.is_stock and i == table.slots - 1
        first = ("cross", 12.0 * self._count) if opens else ("lit", 0.8)
        last = ("cross", 30.0 * self._count) if closes else ("lit", 0.8)
        self.orders[0].insert(0, Order(1 if table.opens_at_ask[i] else -1, first[0], 0, first[1]))
        self.orders[-1].append(Order(1 if table.closes_at_ask[i] else -1, last[0], 0, last[1]))


def _give_sizes(plan: list[list[Order]], volume: int, lot: int) -> None:
    """Split what the fixed sizes leave of the slot's volume by weight; the last order takes the remainder."""
    left = volume - sum(order.size for orders in plan for order in orders)
    open_orders = [order for orders in plan for order in orders if not order.size]
    spare = left - lot * len(open_orders)
    weights = sum(order.weight for order in open_orders)
    for order in open_orders:
        order.size = lot + int(spare * order.weight / weights / lot) * lot
    open_orders[-1].size += left - sum(order.size for order in open_orders)


def begins_by_a_cross(table: SlotTable, i: int) -> bool:
    """The session's first slot, and the first after a halt."""
    return i == 0 or bool(table.halted[i - 1])
