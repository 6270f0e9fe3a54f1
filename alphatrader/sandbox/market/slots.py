"""Fills one 5-second slot of one instrument with quotes and prints that meet its table row exactly.

The bid walks over `knots` from the row's first quote to its last, touching the row's high and low; prints hang on the knots,
so each one is at or inside the quote in force just before it. Flow leans to the informed side during an episode: one-sided
prints, a heavier book, sweeps over several venues. What is displayed belongs to venues, and a lit print takes from the one it is
printed on. Reserve orders (icebergs) hold a price at one venue and refill there; hidden orders trade inside the spread; blocks
and midpoint trades are reported off-exchange. Everything from a hash of the slot: called once by the running
simulation and again after a restart, with the same result. Used by `simulation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from random import Random
from typing import Any, NamedTuple

from .hashing import mix
from .paths import SLOT_NS
from .queue import Parts, Queue
from .tables import MIN_PRINTS, SlotTable
from .venues import BY_WEIGHT, CLOSING, LIT, ODD_LOT, OFF_EXCHANGE, OFF_EXCHANGE_SPECIAL, OPENING, REGULAR, REOPENING, SWEEP

QUOTE, PRINT, TRUTH, INDEX = 0, 1, 2, 3
_FIRST_KNOT_NS, _LAST_KNOT_NS, _JITTER_NS = 40_000_000, 4_850_000_000, 100_000_000
_MORE_BEHIND = 4
"""Fills of a reserve order that stands behind others: those take the first of them."""
_LIT_NAMES = tuple(LIT)
_LIT_WEIGHTS = tuple(weight for _, weight in LIT.values())


class QuoteEvent(NamedTuple):
    ts_ns: int
    kind: int
    bid: int
    ask: int
    bids: Parts
    asks: Parts


class PrintEvent(NamedTuple):
    ts_ns: int
    kind: int
    price: float
    size: int
    exchange: str
    conditions: str
    sets_last: bool
    side: int  # +1 buyer, -1 seller
    informed: bool
    hidden: bool


class TruthEvent(NamedTuple):
    ts_ns: int
    kind: int
    what: str
    fields: dict[str, Any]


class IndexEvent(NamedTuple):
    ts_ns: int
    kind: int
    price: int


Event = QuoteEvent | PrintEvent | TruthEvent | IndexEvent


@dataclass(frozen=True, slots=True)
class Tape:
    """What the slot filler must know of an instrument besides its table."""

    is_stock: bool
    venue: str  # the exchange of a future, the primary venue of a stock
    quotes_per_second: float


class _Reserve(NamedTuple):
    """A reserve order (iceberg), by knots."""

    first: int
    past: int
    side: int
    peak: int
    behind: bool


@dataclass(slots=True)
class _Order:
    """A print still to be given its size and place."""

    side: int
    what: str = "lit"  # lit, odd, hidden, dark, sweep, iceberg, cross
    size: int = 0
    weight: float = 0.0
    informed: bool = False
    venue: str = ""


def _bid_path(table: SlotTable, i: int, knots: int, draw: Random) -> tuple[list[int], list[int], int, int]:
    """Bids and asks by knot, and the knots which touch the slot's high and low."""
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
    return bids, asks, at_high, at_low


def _plan_prints(table: SlotTable, i: int, tape: Tape, bids: list[int], asks: list[int], touch: tuple[int, int], draw: Random
                 ) -> tuple[list[list[_Order]], _Reserve | None, int]:  # fmt: skip
    """Orders by knot; the iceberg; the knot of a sweep or -1.

    An iceberg holds its price: bids and asks are edited.
    """
    knots, lot, lean = len(bids), table.lot, float(table.lean[i])
    plan: list[list[_Order]] = [[] for _ in range(knots)]
    count = int(table.count[i])
    if not count:
        return plan, None, -1
    free = count - MIN_PRINTS
    volume = int(table.volume[i])
    at_high, at_low = touch
    busy = range(0)
    iceberg = None
    rounds = draw.randint(3, 5)
    peak = lot * draw.randint(2, 4) if tape.is_stock else draw.randint(2, 4) * max(2, table.display // 8)
    if free >= rounds and draw.random() < 0.06 and volume - rounds * peak > (count - rounds) * lot * 2 and knots > 12:
        more = rounds + _MORE_BEHIND
        behind = free >= more and volume - more * peak > (count - more) * lot * 2 and knots > more + 7 and draw.random() < 0.5
        rounds = more if behind else rounds
        start = draw.randrange(2, knots - rounds - 2)
        if not {at_high, at_low} & set(range(start, start + rounds)):
            side = 1 if draw.random() < 0.5 else -1
            iceberg, busy = _Reserve(start, start + rounds, side, peak, behind), range(start, start + rounds)
            free -= rounds
            for k in busy:
                bids[k], asks[k] = bids[start], asks[start]
                sizes = [peak]
                if free and draw.random() < 0.3:  # in two fills: the first does not end what is shown
                    sizes, free = [peak - lot, lot], free - 1
                plan[k] += [_Order(-side, "iceberg", size) for size in sizes]
    sweep = -1
    if tape.is_stock and free >= 4 and draw.random() < (0.45 if abs(lean) > 0.9 else 0.01):
        sweep = draw.randrange(1, knots - 1)
        if sweep in busy:
            sweep = -1
        else:
            side = (1 if lean > 0 else -1) if abs(lean) > 0.9 else draw.choice((1, -1))
            width = min(free, draw.randint(3, 5))
            chosen = dict.fromkeys(draw.choices(_LIT_NAMES[:9], _LIT_WEIGHTS[:9], k=40))
            for venue in list(chosen)[:width]:
                plan[sweep].append(_Order(side, "sweep", 0, 1.2, abs(lean) > 0.9, venue))
            free -= len(plan[sweep])
    move = (bids[-1] - bids[0]) / max(1.0, float(table.sigma[i]))
    buys = min(0.93, max(0.07, 0.5 + 0.36 * lean + 0.08 * max(-1.0, min(1.0, move))))
    for _ in range(free):
        side = 1 if draw.random() < buys else -1
        informed = side * lean > 0 and draw.random() < 0.7 * abs(lean)
        what = "lit"
        if tape.is_stock:
            u = draw.random()
            what = "odd" if u < 0.22 else "hidden" if u < 0.27 else "dark" if u < 0.45 else "lit"
        size = draw.randint(1, lot - 1) if what == "odd" else 0
        plan[draw.randrange(knots)].append(_Order(side, what, size, draw.expovariate(1.0) + 0.1, informed))
    plan[at_high].append(_Order(1, weight=0.5))
    plan[at_low].append(_Order(-1, weight=0.5))
    crosses = tape.is_stock
    first, last = crosses and _begins_by_a_cross(table, i), crosses and i == table.slots - 1
    plan[0].insert(0, _Order(1 if table.opens_at_ask[i] else -1, "cross" if first else "lit", 0, 12.0 * count if first else 0.8))
    plan[-1].append(_Order(1 if table.closes_at_ask[i] else -1, "cross" if last else "lit", 0, 30.0 * count if last else 0.8))
    _give_sizes(plan, volume, lot)
    return plan, iceberg, sweep


def _give_sizes(plan: list[list[_Order]], volume: int, lot: int) -> None:
    """Split what the fixed sizes leave of the slot's volume by weight; the last order takes the remainder."""
    left = volume - sum(order.size for orders in plan for order in orders)
    open_orders = [order for orders in plan for order in orders if not order.size]
    spare = left - lot * len(open_orders)
    weights = sum(order.weight for order in open_orders)
    for order in open_orders:
        order.size = lot + int(spare * order.weight / weights / lot) * lot
    open_orders[-1].size += left - sum(order.size for order in open_orders)


def fill_slot(table: SlotTable, i: int, tape: Tape, rate: float) -> list[Event]:
    """All events of slot `i`, in order of time."""
    start_ns = table.session.open_ns + i * SLOT_NS
    draw = Random(mix(table.key, i))  # noqa: S311 (a simulation, not a secret)
    events: list[Event] = []
    if table.halted[i]:
        return events
    knots = max(6, int(tape.quotes_per_second * 5 * rate * (0.85 + 0.3 * draw.random())))
    bids, asks, at_high, at_low = _bid_path(table, i, knots, draw)
    gap = (_LAST_KNOT_NS - _FIRST_KNOT_NS) // (knots - 1)
    times = [start_ns + _FIRST_KNOT_NS + k * gap + int(draw.random() * min(gap * 0.3, _JITTER_NS)) for k in range(knots)]
    if table.is_index:
        return [IndexEvent(t, INDEX, bid) for t, bid in zip(times, bids, strict=True)]
    plan, iceberg, sweep = _plan_prints(table, i, tape, bids, asks, (at_high, at_low), draw)
    times.append(start_ns + SLOT_NS)
    lean, lot, unit = float(table.lean[i]), table.lot, table.per_unit
    only = "" if tape.is_stock else tape.venue
    sides = {side: Queue(draw, only, lot, table.display * exp(0.7 * lean * side)) for side in (1, -1)}
    buyers, sellers = sides[1], sides[-1]
    reserved = None if iceberg is None else sides[iceberg.side]
    ahead = 0
    for k in range(knots):
        # A new price shows a new queue; an old one changes little between prints.
        bid, ask = bids[k], asks[k]
        buyers.stand(bid)
        sellers.stand(ask)
        orders = plan[k]
        if iceberg is not None and reserved is not None:
            if k == iceberg.first:
                ahead = reserved.reserve(iceberg.peak, behind=iceberg.behind)
            elif k == iceberg.past:
                reserved.withdraw()
        if k == sweep:
            swept = [o for o in orders if o.what == "sweep"]
            for order in swept:  # it takes what is displayed on each
                sides[-order.side].show(order.venue, order.size)
        events.append(QuoteEvent(times[k], QUOTE, bid, ask, buyers.parts(), sellers.parts()))
        room = times[k + 1] - times[k]
        for j, order in enumerate(orders):
            ts = times[k] + room * (j + 1) // (len(orders) + 1)
            if order.what == "sweep":
                ts = times[k] + min(room // 2, 60_000_000) * (j + 1) // (len(orders) + 1)
            queue = sides[-order.side]
            made = _print(table, tape, order, ts, bid, ask, queue, draw=draw, cross=_cross_at(table, i, k))
            events.append(made)
            if made.hidden:
                fields = {"price": made.price, "size": made.size, "side": made.side, "venue": made.exchange}
                events.append(TruthEvent(ts, TRUTH, "hidden", fields))
            if made.exchange == OFF_EXCHANGE or made.hidden or order.what == "cross":
                continue
            queue.take(made.exchange, made.size)
            events.append(QuoteEvent(ts, QUOTE, bid, ask, buyers.parts(), sellers.parts()))
        if k == sweep:
            fields = {"side": swept[0].side, "venues": [o.venue for o in swept], "size": sum(o.size for o in swept),
                      "price": (ask if swept[0].side > 0 else bid) / unit, "informed": swept[0].informed}  # fmt: skip
            events.append(TruthEvent(times[k], TRUTH, "sweep", fields))
        if iceberg is not None and reserved is not None and k == iceberg.past - 1:
            fields = {"side": iceberg.side, "price": (bid if iceberg.side > 0 else ask) / unit, "venue": reserved.reserved,
                      "peak": iceberg.peak, "refills": reserved.refills, "executed": reserved.executed,
                      "from_ns": times[iceberg.first], "ahead": ahead}  # fmt: skip
            events.append(TruthEvent(times[k + 1] - 1, TRUTH, "iceberg", fields))
    events.sort(key=lambda event: event[0])
    return events


def _begins_by_a_cross(table: SlotTable, i: int) -> bool:
    """The session's first slot, and the first after a halt."""
    return i == 0 or bool(table.halted[i - 1])


def _cross_at(table: SlotTable, i: int, k: int) -> str:
    """The sale condition of a cross at one knot of a slot."""
    if k == 0 and _begins_by_a_cross(table, i):
        return OPENING if i == 0 else REOPENING
    return CLOSING


def _print(table: SlotTable, tape: Tape, order: _Order, ts: int, bid: int, ask: int, queue: Queue, *, cross: str, draw: Random
           ) -> PrintEvent:  # fmt: skip
    unit = table.per_unit
    ticks: float = ask if order.side > 0 else bid
    exchange, conditions, sets_last, hidden = tape.venue, REGULAR if tape.is_stock else "", True, False
    if tape.is_stock and order.what != "cross":
        exchange = order.venue or BY_WEIGHT.draw(draw)
    if order.what == "iceberg":
        exchange = queue.reserved
    if order.what == "cross":
        conditions = cross
    elif order.what == "odd":
        conditions, sets_last = ODD_LOT, False
    elif order.what == "sweep":
        conditions = SWEEP
    elif order.what == "hidden":
        hidden = True
        ticks = draw.randint(bid + 1, ask - 1) if ask - bid > 1 else (bid + ask) / 2
    if tape.is_stock and order.what in ("lit", "odd"):
        # Larger than what any venue displays would be a hidden reserve: such blocks are reported off-exchange instead.
        exchange = queue.venue_for(order.size) or OFF_EXCHANGE
    elif order.what == "dark":
        exchange = OFF_EXCHANGE
        if draw.random() < 0.5:
            ticks = (bid + ask) / 2
        if draw.random() < 0.04:
            conditions, sets_last = draw.choice(OFF_EXCHANGE_SPECIAL), False
    return PrintEvent(ts, PRINT, ticks / unit, order.size, exchange, conditions, sets_last, order.side, order.informed, hidden)
