"""Icebergs: resting orders that show a part and show it again after each fill. domain.md §3.

At one price and side, a refill is either a fill larger than what was left of the displayed size (executed beyond what was
shown), or a displayed size back at 80 % of what stood before a fill, within 500 ms after it, though the fills had taken it under;
far more than stood there (over 125 %) is somebody else's order. Two refills within two seconds, or more while fills stay that
close, are an iceberg: peak the median refill, confidence 1 - exp(-refills / 2).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

WINDOW_NS: Final = 2_000_000_000
REFILL_NS: Final = 500_000_000
BACK_AT: Final = 0.8
MIN_REFILLS: Final = 2
MEMORY_NS: Final = 300_000_000_000
KEPT: Final = 20
_MOST_PRICES: Final = 64
_MOST_REFILLS: Final = 64

Levels = list[tuple[float, float]]


class Iceberg(msgspec.Struct):
    side: str
    """Of the resting order: bid or ask."""
    price: float
    peak: float
    refills: int
    executed: float
    """Shares since its first fill."""
    first_ns: int
    last_ns: int

    @property
    def confidence(self) -> float:
        return 1 - math.exp(-self.refills / 2)


class Watched(msgspec.Struct):
    """One price and side with fills less than two seconds apart."""

    side: str
    price: float
    shown: float
    """Displayed before the fills since the last refill or book."""
    left: float
    """Of it, after them."""
    first_ns: int
    fill_ns: int
    executed: float = 0.0
    refills: list[float] = msgspec.field(default_factory=list)
    """Sizes, the newest."""
    times: list[int] = msgspec.field(default_factory=list)
    """Of the newest two refills."""
    count: int = 0
    found: bool = False
    since: float | None = None
    """Displayed by a book since the newest fill, where that was no refill."""

    def refilled(self, size: float, at_ns: int) -> None:
        self.refills.append(size)
        self.times.append(at_ns)
        del self.refills[:-_MOST_REFILLS], self.times[:-MIN_REFILLS]
        self.count += 1


class IcebergDetector(msgspec.Struct):
    watched: list[Watched] = msgspec.field(default_factory=list)
    """At most 64, the one filled longest ago first."""
    icebergs: list[Iceberg] = msgspec.field(default_factory=list)
    """Of the last five minutes, at most 20, in the order they were found."""
    count: int = 0

    def fill(self, received_ns: int, price: float, shares: float, side: str, displayed: float | None) -> None:
        """Fold one lit print; `side` the aggressor's, `displayed` the newest size shown at its price on the resting side."""
        if side not in ("buy", "sell"):
            return
        self._leave(received_ns)
        resting = "ask" if side == "buy" else "bid"
        watch = next((w for w in reversed(self.watched) if w.price == price and w.side == resting), None)
        if watch is None:
            if not displayed:
                return  # nothing was shown there: hidden, or unknown
            watch = Watched(resting, price, displayed, displayed, received_ns, received_ns)
        else:
            self.watched.remove(watch)
            before = displayed if received_ns - watch.fill_ns > REFILL_NS else watch.since
            if before:
                watch.shown = watch.left = before
        watch.since = None
        self.watched.append(watch)
        del self.watched[:-_MOST_PRICES]
        watch.fill_ns = received_ns
        watch.executed += shares
        watch.left -= shares
        if watch.left < 0:  # a print is one fill: however large, it tells of one refill
            watch.refilled(watch.shown, received_ns)
            watch.left %= watch.shown
        self._judge(watch, received_ns)

    def book(self, received_ns: int, bids: Levels, asks: Levels) -> None:
        """Fold what is displayed now; costs the prices filled in the last half second."""
        for watch in reversed(self.watched):
            if received_ns - watch.fill_ns > REFILL_NS:
                break
            if received_ns <= watch.fill_ns:
                continue  # of before the fill, as far as reception can tell
            size = displayed_at(bids if watch.side == "bid" else asks, watch.price)
            if size is None:
                continue
            if watch.left < BACK_AT * watch.shown <= size <= watch.shown / BACK_AT:
                watch.refilled(size - watch.left, received_ns)
                self._judge(watch, received_ns)
                watch.shown = watch.left = size
                watch.since = None
            else:
                watch.since = size

    def _judge(self, watch: Watched, now_ns: int) -> None:
        if watch.count < MIN_REFILLS or now_ns - watch.times[0] > WINDOW_NS:
            return
        peak = _median(watch.refills)
        found = Iceberg(watch.side, watch.price, peak, watch.count, watch.executed, watch.first_ns, now_ns)
        if watch.found:
            for at in range(len(self.icebergs) - 1, -1, -1):
                old = self.icebergs[at]
                if (old.side, old.price, old.first_ns) == (found.side, found.price, found.first_ns):
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
        while self.icebergs and now_ns - self.icebergs[0].last_ns > MEMORY_NS:
            self.icebergs.pop(0)

    def reset(self) -> None:
        """A hole in the feed ends what was watched; what was found stands."""
        self.watched = []


def _median(sizes: list[float]) -> float:
    """As statistics.median, of a list that is not empty: a fifth of its cost, at every fill of a watched price."""
    ordered, half = sorted(sizes), len(sizes) // 2
    return ordered[half] if len(sizes) % 2 else (ordered[half - 1] + ordered[half]) / 2


def displayed_at(levels: Levels, price: float) -> float | None:
    """The size shown at a price; None where no level stands there."""
    return next((size for at, size in levels if at == price), None)
