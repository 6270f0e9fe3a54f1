"""CRC32 over the top ten rows of a book, in Kraken's layout: it proves that a reader holds the book that was written.

Asks low to high, then bids high to low; of each row the price, then the size, as fixed decimals without the dot and without
leading zeros, all joined. It says nothing about the exchange: the broker sends no checksum of its own.
What it cannot say is asked beside it: whether the rows stand best first.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Final

from alphatrader.contract.messages.market import Book, BookEvent, Level, MakerRow, MakersEvent

ROWS: Final = 10
PRICE_DECIMALS: Final = 6
SIZE_DECIMALS: Final = 2


def checksum(
    bids: Sequence[Level | MakerRow],
    asks: Sequence[Level | MakerRow],
    *,
    price_decimals: int = PRICE_DECIMALS,
    size_decimals: int = SIZE_DECIMALS,
) -> int:
    """Of sides given best first."""
    pieces = []
    for level in (*asks[:ROWS], *bids[:ROWS]):
        pieces.append(_digits(level.price, price_decimals))
        pieces.append(_digits(level.size, size_decimals))
    return zlib.crc32("".join(pieces).encode())


def flaw(book: Book | BookEvent | MakersEvent) -> str | None:
    """Why a reader must not believe a book, None where it may; every reader asks this before it believes one. A checksum made
    over rows that stand in no order of a book is right, and the book is none."""
    bids, asks = book.bids, book.asks
    if checksum(bids, asks) != book.crc32:
        return "wrong checksum"
    return "levels out of order" if book.ready and not (_falls(bids) and _rises(asks)) else None


def intact(book: Book | BookEvent | MakersEvent) -> bool:
    """Whether nothing is wrong with it."""
    return flaw(book) is None


def _falls(rows: Sequence[Level | MakerRow]) -> bool:
    """Of one price there may be several rows: a makers' book has one for each."""
    before = inf
    for row in rows:
        if not row.price <= before:
            return False
        before = row.price
    return True


def _rises(rows: Sequence[Level | MakerRow]) -> bool:
    before = -inf
    for row in rows:
        if not row.price >= before:
            return False
        before = row.price
    return True


@lru_cache(maxsize=16_384)
def _digits(value: float, decimals: int) -> str:
    """Remembered: from one book to the next hardly a price changes, and few sizes."""
    return f"{value:.{decimals}f}".replace(".", "").lstrip("0")
