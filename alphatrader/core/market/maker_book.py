"""One exchange's own book of an instrument, row by row with the market maker each names: what `metrics:{symbol}:makers` is
made of.

A depth line over all venues names exchanges, never makers; only a line of NASDAQ alone does. Used by `SymbolFeed`, whose events
carry it: conflated, since makers' quotes say nothing within a quarter of a second. `now`: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from alphatrader.contract.messages.market import MakerRow, MakersEvent
from alphatrader.core.market.book import BookError, BookStands, DepthBook, Row
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.conflation import Conflation

CONFLATE_SECONDS: Final = 0.25
SHOWN_ROWS: Final = 20
SILENT_SECONDS: Final = 10.0
"""So long without a row the book is not to be believed: NASDAQ's own book of a traded stock changes all the time."""


class MakersStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that this book's next events are made of, beside its settings."""

    on: bool
    broken: str | None
    heard: float | None
    book: BookStands
    changes: int
    told_at: float
    received_ns: int
    lost: str | None


class MakerBook:
    """What the broker's handlers tell of the direct depth line; other ticks do not come on it."""

    def __init__(self, rows: int, market_ns: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self.on = False
        self.broken: str | None = None
        """Why it must be subscribed anew."""
        self.refused = 0
        self._book = DepthBook(rows)
        self._market_ns, self._monotonic = market_ns, monotonic
        self.conflation = Conflation(CONFLATE_SECONDS)
        self._heard: float | None = None
        self._received_ns = 0
        self._lost: str | None = None

    def switch(self, on: bool) -> None:
        if on != self.on:
            self.on = on
            self.lose("subscribed" if on else "given up")

    def lose(self, why: str) -> None:
        """What was known is not true any more."""
        self._book.clear()
        self.broken, self._heard, self._lost = None, None, why
        self.conflation.changes += 1
        self.conflation.told_at = float("-inf")  # at once, however lately it was told

    def depth(self, operation: int, position: int, side: int, price: float, size: float, _venue: str, market_maker: str) -> None:
        if not self.on or self.broken:
            return
        self._heard, self._received_ns, self._lost = self._monotonic(), self._market_ns(), None
        try:
            self._book.apply(operation, position, side, price, size, "", market_maker)
        except BookError as error:
            self.refused += 1
            self._book.clear()
            self.broken = str(error)
        self.conflation.changes += 1

    def standing(self) -> MakersStand:
        book, waits = self._book.standing(), self.conflation
        return MakersStand(self.on, self.broken, self._heard, book, waits.changes, waits.told_at, self._received_ns, self._lost)

    def stand_as(self, was: MakersStand) -> None:
        self.on, self.broken, self._heard = was.on, was.broken, was.heard
        self._book.stand_as(was.book)
        self.conflation.changes, self.conflation.told_at = was.changes, was.told_at
        self._received_ns, self._lost = was.received_ns, was.lost

    def event(self, seq: int, now: float) -> MakersEvent:
        """The book as it stands."""
        unseen = self.conflation.take(now)
        bids, asks = _shown(self._book.bids), _shown(self._book.asks)
        reason = self._why_not_ready(now)
        received = self._received_ns or self._market_ns()
        return MakersEvent(seq, received, received, reason is None, bids, asks, checksum(bids, asks), unseen, reason)

    def _why_not_ready(self, now: float) -> str | None:
        if self.broken:
            return f"depth is broken: {self.broken}"
        if self._lost:
            return f"nothing since: {self._lost}"
        if not self._book.bids or not self._book.asks:
            return "a side is empty"
        if (out_of_order := self._book.out_of_order()) is not None:
            return out_of_order
        if self._heard is None or now - self._heard > SILENT_SECONDS:
            return f"silent for over {SILENT_SECONDS:g} s"
        return None

    # Nothing else comes on a depth line.
    def tick_price(self, tick: int, price: float, size: float | None) -> None: ...

    def tick_size(self, tick: int, size: float) -> None: ...

    def tick_generic(self, tick: int, value: float) -> None: ...

    def tick_text(self, tick: int, text: str) -> None: ...

    def option(self, *_: object, **__: object) -> None: ...

    def min_tick(self, tick: float) -> None: ...

    def trade(
        self, seconds: int, price: float, size: float, past_limit: bool, unreported: bool, venue: str, conditions: str
    ) -> None: ...

    def bar(
        self, seconds: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int
    ) -> None: ...


def _shown(rows: list[Row]) -> tuple[MakerRow, ...]:
    return tuple(MakerRow(row.price, row.size, row.market_maker) for row in rows[:SHOWN_ROWS] if row.size > 0)
