"""Icebergs: resting orders that show a part and show it again after each fill. sources.md §3.

A reserve order lives at one price, side and venue, and an exchange shows its next part there when fills have ended the last.
So a print counts against what its own venue displays at its price, and against nothing else. A refill is a fill larger than
what was left there; or a displayed size back at 80 % of what stood before fills, within 500 ms after the last of them, though
they had ended it: far more than stood there (over 125 %) is somebody else's order, and what refills are measured by from then on;
or, where others stand at the venue too and fills end nothing, the same size come on top of what a fill left, in the first book
after it, as after an earlier fill. Refills that follow each other within two seconds are one iceberg's: peak the median refill,
confidence 1 - exp(-refills / 2).

Prints and depth come on separate streams, in either order: what stood before a fill is the most its venue displayed in the 250 ms
before it. A book that names no venues is of the one exchange that the instrument trades on. Without depth there is nothing to
count against: the best quote names no venue's size.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Final

import msgspec

from alphatrader.contract.messages.market import Level

WINDOW_NS: Final = 2_000_000_000
REFILL_NS: Final = 500_000_000
TOLERANCE_NS: Final = 250_000_000
BACK_AT: Final = 0.8
ENDED_AT: Final = 0.2
"""Of what stood before: as much may be left by fills that ended it."""
MIN_REFILLS: Final = 2
MEMORY_NS: Final = 300_000_000_000
KEPT: Final = 20
_MOST_PRICES: Final = 64
_MOST_BOOKS: Final = 16
_MOST_REFILLS: Final = 64

_LEVELS: Final = 3
"""Of a side of the book: fills beyond are no resting order's at the best price."""

Levels = tuple[Level, ...]


class Iceberg(msgspec.Struct):
    side: str
    """Of the resting order: bid or ask."""
    price: float
    venue: str
    peak: float
    refills: int
    executed: float
    """Shares since its first fill."""
    first_ns: int
    last_ns: int

    @property
    def confidence(self) -> float:
        return 1 - math.exp(-self.refills / 2)


class Shown(msgspec.Struct):
    """The best levels of a book."""

    received_ns: int
    bids: Levels
    asks: Levels


class Watched(msgspec.Struct):
    """One price, side and venue with fills less than two seconds apart."""

    side: str
    price: float
    venue: str
    shown: float
    """The most displayed since the last refill."""
    left: float
    """Of it, by the fills since and what others added."""
    first_ns: int
    fill_ns: int
    executed: float = 0.0
    refills: list[float] = msgspec.field(default_factory=list)
    """Sizes, the newest."""
    times: list[int] = msgspec.field(default_factory=list)
    """Of the newest two refills."""
    count: int = 0
    found: bool = False

    came: float = 0.0
    """What the first book after a fill showed on top of what that fill had left, the last time it was more."""
    seen_ns: int = 0
    """The fill whose first book was seen."""
    told: bool = False
    """Whether the newest fill took more than was left: a print is one fill, however large, and tells of one refill at most."""

    def refilled(self, size: float, at_ns: int) -> None:
        self.refills.append(size)
        self.times.append(at_ns)
        del self.refills[:-_MOST_REFILLS], self.times[:-MIN_REFILLS]
        self.count += 1


class IcebergDetector(msgspec.Struct):
    books: list[Shown] = msgspec.field(default_factory=list)
    """Of the tolerance before the newest, and the one in force when it began; oldest first."""
    watched: list[Watched] = msgspec.field(default_factory=list)
    """At most 64, the one filled longest ago first."""
    icebergs: list[Iceberg] = msgspec.field(default_factory=list)
    """Of the last five minutes, at most 20, in the order they were found."""
    count: int = 0

    @property
    def sees(self) -> bool:
        """Whether there is a book to judge fills by; none found without one is no measurement."""
        return bool(self.books)

    def fill(self, received_ns: int, price: float, shares: float, side: str, venue: str) -> None:
        """Fold one lit print; `side` the aggressor's."""
        if side == "buy":
            resting = "ask"
        elif side == "sell":
            resting = "bid"
        else:
            return
        watched = self.watched
        if watched and received_ns - watched[0].fill_ns > WINDOW_NS:
            self._leave(received_ns)
        watch = None
        for one in reversed(watched):
            if one.price == price and one.side == resting and one.venue == venue:
                watch = one
                break
        first = watch is None or received_ns - watch.fill_ns > REFILL_NS
        before = self._before(received_ns, price, resting, venue) if first else 0.0
        if watch is None:
            if not before:
                return  # nothing was shown there: hidden, or unknown
            watch = Watched(resting, price, venue, before, before, received_ns, received_ns)
        elif before:
            watch.shown = watch.left = before
        if not watched or watched[-1] is not watch:
            self.watched = [one for one in watched if one is not watch]
            self.watched.append(watch)
            del self.watched[:-_MOST_PRICES]
        watch.fill_ns = received_ns
        watch.executed += shares
        watch.left -= shares
        watch.told = watch.left < 0
        if watch.told and first:  # the depth may be of after it, or of long before: there is no telling what stood there
            watch.left = 0.0
        elif watch.told:
            watch.refilled(watch.shown, received_ns)
            watch.left %= watch.shown
        self._judge(watch, received_ns)

    def _before(self, received_ns: int, price: float, resting: str, venue: str) -> float:
        """The most that the venue displayed at the price in the tolerance before now."""
        most, since_ns, bid = 0.0, received_ns - TOLERANCE_NS, resting == "bid"
        for book in reversed(self.books):
            size = displayed_at(book.bids if bid else book.asks, price, venue)
            if size > most:
                most = size
            if book.received_ns <= since_ns:
                break  # it stood when the tolerance began
        return most

    def book(self, received_ns: int, bids: Levels, asks: Levels) -> None:
        """Fold what is displayed now; costs the places filled in the last half second."""
        self.books.append(Shown(received_ns, bids[:_LEVELS], asks[:_LEVELS]))
        while len(self.books) > _MOST_BOOKS or (len(self.books) > 1 and received_ns - self.books[1].received_ns >= TOLERANCE_NS):
            self.books.pop(0)
        for watch in reversed(self.watched):
            if received_ns - watch.fill_ns > REFILL_NS:
                break
            if received_ns <= watch.fill_ns:
                continue  # of before the fill, as far as reception can tell
            first = watch.seen_ns != watch.fill_ns
            watch.seen_ns = watch.fill_ns
            size = displayed_at(bids if watch.side == "bid" else asks, watch.price, watch.venue)
            came = size - watch.left
            if came <= 0:
                continue  # as the fills left it, or less: part was cancelled, or fills whose prints are still to come
            ended = watch.left <= ENDED_AT * watch.shown and not watch.told
            again = first and not watch.told and came == watch.came
            if again or (ended and BACK_AT * watch.shown <= size <= watch.shown / BACK_AT):
                watch.refilled(came, received_ns)
                self._judge(watch, received_ns)
            if first and not watch.told:  # else there is no telling what the fill left
                watch.came = came
            watch.left, watch.shown = size, size if ended else max(watch.shown, size)

    def _judge(self, watch: Watched, now_ns: int) -> None:
        if watch.count < MIN_REFILLS or now_ns - watch.times[0] > WINDOW_NS:
            return
        peak = median(watch.refills)
        found = Iceberg(watch.side, watch.price, watch.venue, peak, watch.count, watch.executed, watch.first_ns, now_ns)
        if watch.found:
            for at in range(len(self.icebergs) - 1, -1, -1):
                old = self.icebergs[at]
                if (
                    old.price == found.price
                    and old.side == found.side
                    and old.venue == found.venue
                    and old.first_ns == found.first_ns
                ):
                    self.icebergs[at] = found
                    return
        else:
            watch.found = True
            self.count += 1
        self.icebergs.append(found)
        del self.icebergs[:-KEPT]

    def _leave(self, now_ns: int) -> None:
        while self.watched and now_ns - self.watched[0].fill_ns > WINDOW_NS:
            self.watched.pop(0)

    def forget(self, now_ns: int) -> None:
        self._leave(now_ns)
        if any(now_ns - one.last_ns > MEMORY_NS for one in self.icebergs):  # the first found may go on the longest
            self.icebergs = [one for one in self.icebergs if now_ns - one.last_ns <= MEMORY_NS]

    def reset(self) -> None:
        """A hole in the feed ends what was watched; what was found stands."""
        self.watched, self.books = [], []


def displayed_at(levels: Levels, price: float, venue: str) -> float:
    """The size that a venue shows at a price; 0 where it shows nothing there."""
    for level in levels:
        if level.price == price:
            if level.parts:
                return sum(part.size for part in level.parts if part.venue == venue)
            return level.size if level.venue in (venue, "") else 0.0
    return 0.0
