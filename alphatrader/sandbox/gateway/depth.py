"""Market depth: turns book states into the insert, update and delete messages of the wire.

Mode `shift` moves rows as IBKR's samples do: an insert pushes the rows below it down, a delete pulls them up. Mode
`restate` inserts only at the end, updates in place and deletes only at the end. Both fold into the same book.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from alphatrader.sandbox.gateway import layouts
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.market.types import Book, Row

Mode = Literal["shift", "restate"]
INSERT, UPDATE, DELETE = 0, 1, 2
ASK, BID = 0, 1

BOOK_NS = 5_000_000_000
"""How often the wire log is told what a client's book must be, in market time; after every change where it keeps every frame."""

Change = tuple[int, int, Row]  # operation, position, row


def shift(old: Sequence[Row], new: Sequence[Row]) -> Iterator[Change]:
    """Fewest changes between two sides: gone rows leave from the far end, new ones enter, sizes update in place."""
    key = _key
    wanted = [key(row) for row in new]
    kept = _in_order([key(row) for row in old], wanted)
    rows = list(old)
    for position in range(len(rows) - 1, -1, -1):
        if position not in kept:
            yield DELETE, position, rows.pop(position)
    at = 0
    for position, row in enumerate(new):
        if at < len(rows) and key(rows[at]) == key(row):
            if rows[at].size != row.size:
                yield UPDATE, position, row
            at += 1
        else:
            yield INSERT, position, row


def restate(old: Sequence[Row], new: Sequence[Row]) -> Iterator[Change]:
    for position, row in enumerate(new):
        if position >= len(old):
            yield INSERT, position, row
        elif old[position] != row:
            yield UPDATE, position, row
    for position in range(len(old) - 1, len(new) - 1, -1):
        yield DELETE, position, old[position]


def _key(row: Row) -> tuple[float, str, str]:
    return row.price, row.venue, row.market_maker


def _in_order(old: list[tuple[float, str, str]], wanted: list[tuple[float, str, str]]) -> set[int]:
    """Positions of `old` that stay: those found in `wanted` without going back."""
    places = {key: place for place, key in enumerate(wanted)}
    kept, last = set(), -1
    for position, key in enumerate(old):
        place = places.get(key, -1)
        if place > last:
            kept.add(position)
            last = place
    return kept


@dataclass(slots=True)
class DepthLine:
    """One depth subscription and the book its client now holds."""

    session: Session
    req_id: int
    con_id: int
    rows: int
    smart: bool
    level_two: bool  # message 13 with the maker or venue, else 12
    venue: str  # "" for all venues
    mode: Mode = "shift"
    sides: dict[int, tuple[Row, ...]] = field(default_factory=lambda: {ASK: (), BID: ()})
    sent: int = 0  # messages since the line began
    told_ns: int | None = None  # when the wire log was last told

    def update(self, book: Book) -> None:
        before = self.sent
        for side, rows in ((BID, book.bids), (ASK, book.asks)):
            new = tuple(self._shown(rows))
            old = self.sides[side]
            if new == old:
                continue
            for operation, position, row in (shift if self.mode == "shift" else restate)(old, new):
                self._send(operation, position, side, row)
            self.sides[side] = new
        if self.sent != before:
            self._tell()

    def _tell(self) -> None:
        gateway, now_ns = self.session.gateway, self.session.gateway.now_ns()
        if self.told_ns is not None and now_ns - self.told_ns < BOOK_NS and not gateway.wire_log.log_all:
            return
        self.told_ns = now_ns
        bids, asks = ([(row.price, row.size, row.venue, row.market_maker) for row in self.sides[side]] for side in (BID, ASK))
        gateway.wire_log.write(
            "truth", what="book", client=self.session.client_id, req_id=self.req_id, con_id=self.con_id, sent=self.sent,
            bids=bids, asks=asks,
        )  # fmt: skip

    def reset(self) -> None:
        """The client has been told to clear its book (317)."""
        self.sides = {ASK: (), BID: ()}

    def _shown(self, rows: Iterable[Row]) -> Iterator[Row]:
        """A line over all venues names venues: what one shows at a price is one row there, whoever quotes it."""
        count = 0
        for row in _by_venue(rows) if self.smart else rows:
            if self.venue and row.venue != self.venue:
                continue
            yield row
            count += 1
            if count == self.rows:
                return

    def _send(self, operation: int, position: int, side: int, row: Row) -> None:
        size = 0 if operation == DELETE else row.size
        price = 0.0 if operation == DELETE else row.price
        if self.level_two:
            maker = row.venue if self.smart or not row.market_maker else row.market_maker
            fields = layouts.depth_l2(self.req_id, position, maker, operation, side, price, size, self.smart)
        else:
            fields = layouts.depth(self.req_id, position, operation, side, price, size)
        self.sent += 1
        self.session.send(fields)


def _by_venue(rows: Iterable[Row]) -> Iterator[Row]:
    for (price, venue), same in groupby(rows, key=lambda row: (row.price, row.venue)):
        yield Row(price, sum(row.size for row in same), venue)
