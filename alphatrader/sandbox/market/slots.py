"""Fills one 5-second slot of one instrument with quotes and prints that meet its table row exactly.

`slot_plan.py` says which quotes stand at the slot's knots and which orders come there; here the orders meet what is displayed, so
that each print is at or inside the quote in force just before it. Flow leans to the informed side during an episode: one-sided
prints, a heavier book, sweeps over several venues. What is displayed belongs to venues, and a lit print takes from the one it is
printed on. Reserve orders (icebergs) hold a price at one venue and refill there; hidden orders trade inside the spread; blocks
and midpoint trades are reported off-exchange. Everything from a hash of the slot: called once by the running
simulation and again after a restart, with the same result. Used by `simulation.py`.
"""

from __future__ import annotations

from math import exp
from random import Random
from typing import Any, NamedTuple

from .hashing import mix
from .paths import SLOT_NS
from .queue import Parts, Queue
from .slot_plan import Order, QuotePath, SlotPlan, Tape, begins_by_a_cross, quote_path
from .tables import SlotTable
from .venues import BY_WEIGHT, CLOSING, ODD_LOT, OFF_EXCHANGE, OFF_EXCHANGE_SPECIAL, OPENING, REGULAR, REOPENING, SWEEP

QUOTE, PRINT, TRUTH, INDEX = 0, 1, 2, 3
_FIRST_KNOT_NS, _LAST_KNOT_NS, _JITTER_NS = 40_000_000, 4_850_000_000, 100_000_000
_SWEEP_GAP_NS = 60_000_000  # a sweep is over within this


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


def fill_slot(table: SlotTable, i: int, tape: Tape, rate: float) -> list[Event]:
    """All events of slot `i`, in order of time; `rate` scales how many quotes there are. None while the instrument is halted."""
    if table.halted[i]:
        return []
    start_ns = table.session.open_ns + i * SLOT_NS
    draw = Random(mix(table.key, i))  # noqa: S311 (a simulation, not a secret)
    knots = max(6, int(tape.quotes_per_second * 5 * rate * (0.85 + 0.3 * draw.random())))
    path = quote_path(table, i, knots, draw)
    gap = (_LAST_KNOT_NS - _FIRST_KNOT_NS) // (knots - 1)
    times = [start_ns + _FIRST_KNOT_NS + k * gap + int(draw.random() * min(gap * 0.3, _JITTER_NS)) for k in range(knots)]
    if table.is_index:
        return [IndexEvent(t, INDEX, bid) for t, bid in zip(times, path.bids, strict=True)]
    plan = SlotPlan(table, i, tape, path, draw)
    slot = _Slot(table, i, tape, path, plan, [*times, start_ns + SLOT_NS], draw)
    for k in range(knots):
        slot.play_knot(k)
    slot.events.sort(key=lambda event: event[0])
    return slot.events


class _Slot:
    """A plan as it comes about: its orders meet the queues at the best bid and offer, and events come of it."""

    def __init__(
        self, table: SlotTable, i: int, tape: Tape, path: QuotePath, plan: SlotPlan, times: list[int], draw: Random
    ) -> None:
        """`times`: when each knot is reached, and the slot's end."""
        self.events: list[Event] = []
        self._table, self._i, self._tape, self._path, self._plan, self._times, self._draw = (
            table,
            i,
            tape,
            path,
            plan,
            times,
            draw,
        )
        lean, only = float(table.lean[i]), "" if tape.is_stock else tape.venue
        self._sides = {side: Queue(draw, only, table.lot, table.display * exp(0.7 * lean * side)) for side in (1, -1)}
        self._ahead = 0  # what stood before the iceberg when it came

    def play_knot(self, k: int) -> None:
        start_ns, room = self._times[k], self._times[k + 1] - self._times[k]
        orders = self._plan.orders[k]
        # A new price shows a new queue; an old one changes little between prints.
        self._sides[1].stand(self._path.bids[k])
        self._sides[-1].stand(self._path.asks[k])
        self._move_iceberg(k)
        swept = [order for order in orders if order.what == "sweep"]
        for order in swept:  # it takes what is displayed on each
            self._sides[-order.side].show(order.venue, order.size)
        self._show(start_ns, k)
        for j, order in enumerate(orders):
            ts_ns = start_ns + room * (j + 1) // (len(orders) + 1)
            if order.what == "sweep":
                ts_ns = start_ns + min(room // 2, _SWEEP_GAP_NS) * (j + 1) // (len(orders) + 1)
            self._trade(order, ts_ns, k)
        if swept:
            self._tell_sweep(swept, k)
        if self._plan.iceberg is not None and k == self._plan.iceberg.past - 1:
            self._tell_iceberg(k)

    def _move_iceberg(self, k: int) -> None:
        iceberg = self._plan.iceberg
        if iceberg is None:
            return
        if k == iceberg.first:
            self._ahead = self._sides[iceberg.side].reserve(iceberg.peak, behind=iceberg.behind)
        elif k == iceberg.past:
            self._sides[iceberg.side].withdraw()

    def _show(self, ts_ns: int, k: int) -> None:
        bids, asks = self._sides[1].parts(), self._sides[-1].parts()
        self.events.append(QuoteEvent(ts_ns, QUOTE, self._path.bids[k], self._path.asks[k], bids, asks))

    def _trade(self, order: Order, ts_ns: int, k: int) -> None:
        """Its print, and the quote that it leaves where it took what was displayed."""
        made = self._print(order, ts_ns, k)
        self.events.append(made)
        if made.hidden:
            fields = {"price": made.price, "size": made.size, "side": made.side, "venue": made.exchange}
            self.events.append(TruthEvent(ts_ns, TRUTH, "hidden", fields))
        if made.exchange == OFF_EXCHANGE or made.hidden or order.what == "cross":
            return
        self._sides[-order.side].take(made.exchange, made.size)
        self._show(ts_ns, k)

    def _print(self, order: Order, ts_ns: int, k: int) -> PrintEvent:
        draw, is_stock, queue = self._draw, self._tape.is_stock, self._sides[-order.side]
        bid, ask = self._path.bids[k], self._path.asks[k]
        ticks: float = ask if order.side > 0 else bid
        exchange, conditions, sets_last, hidden = self._tape.venue, REGULAR if is_stock else "", True, False
        if is_stock and order.what != "cross":
            exchange = order.venue or BY_WEIGHT.draw(draw)
        if order.what == "iceberg":
            exchange = queue.reserved
        if order.what == "cross":
            conditions = self._cross_at(k)
        elif order.what == "odd":
            conditions, sets_last = ODD_LOT, False
        elif order.what == "sweep":
            conditions = SWEEP
        elif order.what == "hidden":
            hidden = True
            ticks = draw.randint(bid + 1, ask - 1) if ask - bid > 1 else (bid + ask) / 2
        if is_stock and order.what in ("lit", "odd"):
            # Larger than what any venue displays would be a hidden reserve: such blocks are reported off-exchange instead.
            exchange = queue.venue_for(order.size) or OFF_EXCHANGE
        elif order.what == "dark":
            exchange = OFF_EXCHANGE
            if draw.random() < 0.5:
                ticks = (bid + ask) / 2
            if draw.random() < 0.04:
                conditions, sets_last = draw.choice(OFF_EXCHANGE_SPECIAL), False
        price = ticks / self._table.per_unit
        return PrintEvent(ts_ns, PRINT, price, order.size, exchange, conditions, sets_last, order.side, order.informed, hidden)

    def _cross_at(self, k: int) -> str:
        """The sale condition of a cross."""
        if k == 0 and begins_by_a_cross(self._table, self._i):
            return OPENING if self._i == 0 else REOPENING
        return CLOSING

    def _tell_sweep(self, swept: list[Order], k: int) -> None:
        fields = {
            "side": swept[0].side,
            "venues": [order.venue for order in swept],
            "size": sum(order.size for order in swept),
            "price": self._price(swept[0].side, k),
            "informed": swept[0].informed,
        }
        self.events.append(TruthEvent(self._times[k], TRUTH, "sweep", fields))

    def _tell_iceberg(self, k: int) -> None:
        iceberg = self._plan.iceberg
        assert iceberg is not None
        queue = self._sides[iceberg.side]
        fields = {
            "side": iceberg.side,
            "price": self._price(-iceberg.side, k),
            "venue": queue.reserved,
            "peak": iceberg.peak,
            "refills": queue.refills,
            "executed": queue.executed,
            "from_ns": self._times[iceberg.first],
            "ahead": self._ahead,
        }
        self.events.append(TruthEvent(self._times[k + 1] - 1, TRUTH, "iceberg", fields))

    def _price(self, taker: int, k: int) -> float:
        """What who takes from the other side pays or gets."""
        return (self._path.asks if taker > 0 else self._path.bids)[k] / self._table.per_unit
