"""One instrument's state now: the best quote, the last trade, the day's totals, and the events of the slot being played.

Driven by `simulation.py`; makes the `Quote` and `Book` that are shown, once per change.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from .depth import ladder
from .paths import SLOT_NS
from .queue import Parts
from .slot_plan import Tape
from .slots import INDEX, PRINT, QUOTE, Event, IndexEvent, PrintEvent, fill_slot
from .tables import RunningTotals, SlotTable
from .types import Bar, Book, Contract, Quote
from .venues import LETTERS

_CLOSED_WIDENING = 8  # spreads after the close, in ticks a side


class Instrument:
    """Plays one session's slot table. `next_ts` is the instant of its next event, infinity when there is none."""

    def __init__(
        self, contract: Contract, table: SlotTable, tape: Tape, rate: float, prev_close: float, *, has_depth: bool
    ) -> None:
        self.contract, self.table, self.tape = contract, table, tape
        self.has_depth = has_depth
        self._rate = rate
        self.prev_close = prev_close
        self.slot = 0
        self.events: list[Event] = []
        self.cursor = 0
        self.next_ts: float = inf
        self.ts_ns = table.session.open_ns
        self._totals = RunningTotals(table)
        self.bid, self.ask = int(table.bid[0]), int(table.bid[0] + table.spread[0])
        self.bids: Parts = ((tape.venue, table.display),)
        self.asks = self.bids
        self.last: float | None = None
        self.last_size = 0
        self.last_exchange = ""
        self.last_ts_ns = 0
        self.volume = self.count = 0
        self.value = 0.0
        self.open: float | None = None
        self.high: float | None = None
        self.low: float | None = None
        self.halted = 0
        self.closed = False
        self._quote: Quote | None = None
        self._book: Book | None = None

    @property
    def mid(self) -> float:
        return (self.bid + self.ask) / (2 * self.table.per_unit)

    def take_table(self, table: SlotTable) -> None:
        """The session's table, changed from the next slot on."""
        self.table, self._totals = table, RunningTotals(table)

    def position(self, now_ns: int) -> None:
        """Stand at `now_ns` as if the session had been played so far."""
        table = self.table
        slot = min((now_ns - table.session.open_ns) // SLOT_NS, table.slots)
        # The last trade is that of the last slot which had any; the quote in force is the previous slot's last.
        for i in sorted({int(self._totals.last_traded_slot[slot]), slot - 1} - {-1}):
            self._load(i)
            self.play(now_ns, None, None)
        if slot < table.slots:
            self._load(slot)
            self.play(now_ns, None, None)
        else:
            self.next_ts = inf

    def start_slot(self, slot: int) -> None:
        self._load(slot)

    def _load(self, slot: int) -> None:
        table = self.table
        self.slot, self.cursor = slot, 0
        self.events = fill_slot(table, slot, self.tape, self._rate)
        self.halted = 2 if table.halted[slot] else 0
        totals = self._totals
        self.volume, self.count, self.value = int(totals.volume[slot]), int(totals.count[slot]), float(totals.value[slot])
        if self.count or (slot and table.is_index):
            unit = table.per_unit
            self.open = int(table.open[0]) / unit
            self.high, self.low = int(totals.high[slot]) / unit, int(totals.low[slot]) / unit
        self.next_ts = self.events[0][0] if self.events else table.session.open_ns + (slot + 1) * SLOT_NS
        self._quote = self._book = None

    def play(
        self, now_ns: int, on_print: Callable[[PrintEvent], None] | None, on_truth: Callable[[Event], None] | None
    ) -> tuple[bool, bool]:
        """Apply this slot's events up to `now_ns`; whether the quote changed, and whether its prices did."""
        events, i, n = self.events, self.cursor, len(self.events)
        before, changed = (self.bid, self.ask), False
        while i < n and events[i][0] <= now_ns:
            event = events[i]
            i += 1
            kind = event[1]
            if kind == QUOTE:
                self.ts_ns, _, self.bid, self.ask, self.bids, self.asks = event  # type: ignore[misc,assignment]
                changed = True
            elif kind == PRINT:
                self._trade(event)  # type: ignore[arg-type]
                changed = True
                if on_print is not None:
                    on_print(event)  # type: ignore[arg-type]
            elif kind == INDEX:
                self._index(event)  # type: ignore[arg-type]
                changed = True
            elif on_truth is not None:
                on_truth(event)
        self.cursor = i
        self.next_ts = events[i][0] if i < n else self.table.session.open_ns + (self.slot + 1) * SLOT_NS
        if changed:
            self._quote = self._book = None
        return changed, before != (self.bid, self.ask)

    def _trade(self, event: PrintEvent) -> None:
        price = event.price
        self.volume += event.size
        self.count += 1
        self.value += price * event.size
        if event.sets_last:
            self._set_last(price, event.size, event.exchange, event.ts_ns)

    def _index(self, event: IndexEvent) -> None:
        self.bid = self.ask = event.price
        self.ts_ns = event.ts_ns
        self._set_last(event.price / self.table.per_unit, 0, self.tape.venue, event.ts_ns)

    def _set_last(self, price: float, size: int, exchange: str, ts_ns: int) -> None:
        self.last, self.last_size, self.last_exchange, self.last_ts_ns = price, size, exchange, ts_ns
        if self.open is None or self.high is None or self.low is None:
            self.open = self.high = self.low = price
        else:
            self.high, self.low = max(self.high, price), min(self.low, price)

    def close_session(self) -> None:
        """After the close the quote stands still, wide and small, until the next session."""
        self.closed, self.next_ts = True, inf
        self.ts_ns = self.table.session.close_ns
        self.halted = 0
        if not self.table.is_index:
            self.bid, self.ask = max(1, self.bid - _CLOSED_WIDENING), self.ask + _CLOSED_WIDENING
            self.bids = self.asks = ((self.tape.venue, self.table.lot),)
        self._quote = self._book = None

    def bar(self, slot: int) -> Bar:
        table, unit = self.table, self.table.per_unit
        return Bar(
            table.session.open_ns + slot * SLOT_NS, float(table.open[slot]) / unit, float(table.high[slot]) / unit,
            float(table.low[slot]) / unit, float(table.close[slot]) / unit, int(table.volume[slot]), table.wap(slot),
            int(table.count[slot]),
        )  # fmt: skip

    def quote(self) -> Quote:
        if self._quote is None:
            unit, shown = self.table.per_unit, not self.table.is_index and not self.halted
            self._quote = Quote(
                con_id=self.contract.con_id, ts_ns=self.ts_ns,
                bid=self.bid / unit if shown else None, bid_size=_size(self.bids) if shown else 0,
                ask=self.ask / unit if shown else None, ask_size=_size(self.asks) if shown else 0,
                bid_exchanges=_letters(self.bids) if shown else "",
                ask_exchanges=_letters(self.asks) if shown else "",
                last=self.last, last_size=self.last_size, last_exchange=self.last_exchange, last_ts_ns=self.last_ts_ns,
                volume=self.volume, trade_count=self.count, vwap=self.value / self.volume if self.volume else 0.0,
                open=self.open, high=self.high, low=self.low, prev_close=self.prev_close, halted=self.halted,
            )  # fmt: skip
        return self._quote

    def book(self) -> Book | None:
        if not self.has_depth:
            return None
        if self._book is None:
            table = self.table
            if self.halted:
                self._book = Book(self.contract.con_id, self.ts_ns, (), ())
                return self._book
            lean = 0.0 if self.closed else table.lean[min(self.slot, table.slots - 1)]
            step = max(1, round((self.ask - self.bid) / 2))
            second = (self.ts_ns - table.session.open_ns) / 1e9
            bids, asks = (
                ladder(
                    table.key, side, best, parts, self.ts_ns, per_unit=table.per_unit, lot=table.lot,
                    display=table.display, step=step, lean=lean, is_stock=self.tape.is_stock, second=second,
                )
                for side, best, parts in ((1, self.bid, self.bids), (-1, self.ask, self.asks))
            )  # fmt: skip
            self._book = Book(self.contract.con_id, self.ts_ns, bids, asks)
        return self._book


def _size(parts: Parts) -> int:
    return sum(size for _, size in parts)


def _letters(parts: Parts) -> str:
    return "".join(LETTERS.get(venue, "") for venue, _ in parts)
