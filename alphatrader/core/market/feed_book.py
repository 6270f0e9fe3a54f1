"""The book that an instrument has: its depth line's, else its best quote as one level; and why it is not to be relied on.

Used by `SymbolFeed`, which folds the line and the quote. `now`: monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from alphatrader.contract.messages.market import Book
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.depth_line import DepthLine, Sides
from alphatrader.core.market.halts import Halts
from alphatrader.core.market.quotes import QuoteFold
from alphatrader.core.market.status import HoursNow

Depth = Literal["none", "not ready", "ready"]


class FeedBook:
    def __init__(
        self,
        symbol: str,
        line: DepthLine,
        quote: QuoteFold,
        hours: HoursNow,
        halts: Halts,
        market_ns: Callable[[], int],
        *,
        equity: bool,
    ) -> None:
        self.depth_ns = 0
        """Reception of the newest message of depth; 0 before the first."""
        self._symbol, self._line, self._quote, self._equity = symbol, line, quote, equity
        self._hours, self._halts, self._market_ns = hours, halts, market_ns
        self._told: tuple[tuple[float, int, int, float | None], Book] | None = None
        """(what it was made of, the book): the event and the state key of one turn share it."""

    def break_line(self, reason: str) -> None:
        """The depth cannot be relied on any more: it is to be subscribed anew."""
        self._line.broken = reason
        self._told = None

    def at(self, now: float, seq: int, changes: int, heard: float | None, received_ns: int) -> Book:
        """The book as it stands; not ready, with the reason, where it cannot be relied on. `changes`: untold ones."""
        made_of = (now, seq, changes, heard)
        if self._told is None or self._told[0] != made_of:
            self._told = (made_of, self._made(now, seq, received_ns))
        return self._told[1]

    def depth(self, now: float) -> tuple[Depth, str | None]:
        """How the depth stands, and why it is not ready."""
        if not self._line.on:
            return "none", "no depth subscription"
        reason = self._why_not_ready(now, self._line.levels())
        return "not ready" if reason else "ready", reason

    def _made(self, now: float, seq: int, received_ns: int) -> Book:
        line, quote = self._line, self._quote
        bids, asks = line.levels() if line.on else quote.levels()
        reason = self._why_not_ready(now, (bids, asks))
        price = quote.prev_close or quote.bid or (bids[0].price if bids else None)
        return Book(
            symbol=self._symbol,
            ts_ns=(self.depth_ns if line.on else 0) or received_ns or self._market_ns(),
            seq=seq,
            ready=reason is None,
            reason=reason,
            source="depth" if line.on else "quote",
            bids=bids,
            asks=asks,
            crc32=checksum(bids, asks),
            nbbo=line.national(now, price, continuous=self._continuous()) if line.on and self._equity else None,
        )

    def _why_not_ready(self, now: float, sides: Sides) -> str | None:
        quote, continuous = self._quote, self._continuous()
        if self._line.on:
            return self._line.why_not_ready(now, sides, (quote.bid, quote.ask), continuous=continuous)
        return quote.why_no_book(continuous=continuous)

    def _continuous(self) -> bool:
        """Whether bids and offers trade as they come: in regular hours and no halt. Else they gather for an auction, and may
        lock, cross and stand still."""
        return self._hours.regular(self._market_ns()) and not self._halts.halted
