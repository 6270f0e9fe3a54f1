"""The level-2 book of one instrument, folded from the broker's depth operations.

Rows are kept as the broker numbers them: an insert pushes later rows down, a delete pulls them up. A gateway that only inserts at
the end, updates in place and deletes at the end gives the same book. `levels` consolidates rows of several venues by price.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

import msgspec

from alphatrader.contract.messages.market import Level, Part

INSERT: Final = 0
UPDATE: Final = 1
DELETE: Final = 2
ASK: Final = 0
BID: Final = 1
SHOWN_LEVELS: Final = 10


class Row(msgspec.Struct, frozen=True, gc=False):
    price: float
    size: float
    venue: str = ""
    market_maker: str = ""


class BookStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows of a book: what each of its answers is made of."""

    bids: list[Row]
    asks: list[Row]


class BookError(ValueError):
    """An operation that fits no book: rows were lost, and the book must be asked for anew."""


class DepthBook:
    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.asks: list[Row] = []
        self.bids: list[Row] = []
        self._best: tuple[float | None, float | None] | None = None
        """None where an operation may have moved it: most do not touch the best row."""

    def apply(
        self, operation: int, position: int, side: int, price: float, size: float, venue: str = "", market_maker: str = ""
    ) -> None:
        """One operation. Raises BookError, leaving the book as it was, when it does not fit."""
        if side != BID and side != ASK:
            raise BookError(f"side {side} is neither ask (0) nor bid (1)")
        rows = self.bids if side == BID else self.asks
        if operation == DELETE:
            self._delete(rows, position, side)
            return
        if not (-inf < price < inf and 0 <= size < inf):
            raise BookError(f"price {price} or size {size} is not a number a book can hold")
        row = Row(price, size, venue, market_maker)
        if operation == UPDATE:
            if not 0 <= position < len(rows):
                raise BookError(f"update at {position} of {len(rows)} rows")
            was = rows[position]
            if was.price != price or not was.size or not size:  # another size at a price moves no best
                self._moved(side, was.price)
                self._moved(side, price)
            rows[position] = row
        elif operation == INSERT:
            if not 0 <= position <= len(rows):
                raise BookError(f"insert at {position} into {len(rows)} rows")
            self._moved(side, price)
            rows.insert(position, row)
            if len(rows) > self._rows:
                # A gateway may let the last row fall off without a word; a delete of it that does come is then no error.
                self._moved(side, rows.pop().price)
        else:
            raise BookError(f"operation {operation} is neither insert (0), update (1) nor delete (2)")

    def _delete(self, rows: list[Row], position: int, side: int) -> None:
        if 0 <= position < len(rows):
            self._moved(side, rows.pop(position).price)
        elif position < self._rows:
            raise BookError(f"delete at {position} of {len(rows)} rows")

    def _moved(self, side: int, price: float) -> None:
        """A row of this price came or went: what is behind the best row moves no best."""
        if self._best is not None:
            best = self._best[0] if side == BID else self._best[1]
            if best is None or (price >= best if side == BID else price <= best):
                self._best = None

    def clear(self) -> None:
        self.asks.clear()
        self.bids.clear()
        self._best = None

    def standing(self) -> BookStands:
        return BookStands(self.bids, self.asks)

    def stand_as(self, was: BookStands) -> None:
        self.asks[:], self.bids[:], self._best = was.asks, was.bids, None

    def best(self) -> tuple[float | None, float | None]:
        """Best bid and ask."""
        if self._best is None:
            bid = max([row.price for row in self.bids if row.size > 0], default=None)
            ask = min([row.price for row in self.asks if row.size > 0], default=None)
            self._best = bid, ask
        return self._best

    def out_of_order(self) -> str | None:
        """Where a side's rows do not stand by price; rows of one price may stand in any order. None when both do."""
        for name, rows, rises in (("bids", self.bids, False), ("asks", self.asks, True)):
            before = None
            for position, row in enumerate(rows):
                price = row.price
                if before is not None and (price < before if rises else price > before):
                    return f"{name} out of order: {price} at row {position} after {before}"
                before = price
        return None

    def levels(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Bids and asks by price, best first; the venues and makers of a price are joined by commas, the largest first."""
        return consolidate(self.bids, descending=True), consolidate(self.asks, descending=False)


def consolidate(rows: Iterable[Row], *, descending: bool, most: int = SHOWN_LEVELS) -> tuple[Level, ...]:
    """Rows merged by price: sizes added, empty rows left out."""
    by_price: dict[float, list[Row]] = {}
    for row in rows:
        if row.size > 0:
            if (here := by_price.get(row.price)) is None:
                by_price[row.price] = [row]
            else:
                here.append(row)
    return tuple(_level(price, by_price[price]) for price in sorted(by_price, reverse=descending)[:most])


def _level(price: float, rows: list[Row]) -> Level:
    if len(rows) == 1:
        row = rows[0]
        return Level(price, row.size, row.venue, row.market_maker)
    rows.sort(key=lambda row: -row.size)
    return Level(
        price,
        sum(row.size for row in rows),
        _joined(row.venue for row in rows),
        _joined(row.market_maker for row in rows),
        tuple(Part(row.venue, row.size, row.market_maker) for row in rows),
    )


def _joined(names: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(name for name in names if name))
