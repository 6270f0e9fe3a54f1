"""Attributed displayed interest by market maker or venue, from recorded level-2 books (sources.md §3).

A displayed quote with a name on it is that firm's displayed interest, not proof of who traded. Under thirty minutes of depth
there is no profile: null, with the reason. Books are taken one by one as they are read: a day of them need not fit in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec import structs

from alphatrader.contract.messages.market import BookEvent, Level, MakerRow, MakersEvent
from alphatrader.contract.messages.metrics import Parameter

MIN_SECONDS: Final = 30 * 60.0
WHOLE_SESSION_SECONDS: Final = 390 * 60.0
NEAR_TICKS: Final = 3
FIRST_BOOKS: Final = 200
"""So many are looked through for the smallest step between prices before anything is counted."""
LONGEST_STAND_SECONDS: Final = 5.0
"""A book that stands longer without an event is a feed that went quiet: it counts this long."""
UNNAMED: Final = frozenset({"NSDQ"})
"""What Nasdaq shows for orders that carry no firm's name."""


@dataclass(slots=True)
class _Seen:
    both_near: float = 0.0
    any_near: float = 0.0
    alone: float = 0.0
    shown: float = 0.0
    quotes: int = 0
    changes: int = 0
    last: tuple[tuple[float, float], ...] = ()


class MakerTally:
    def __init__(self) -> None:
        self._first: list[BookEvent | MakersEvent] = []
        self._before: BookEvent | MakersEvent | None = None
        self._tick = 0.0
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._seconds = 0.0
        self._books = 0
        self._from_ns: int | None = None
        self._to_ns: int | None = None

    def add(self, book: BookEvent | MakersEvent) -> None:
        """The next book in order of time. One that is not ready, or of the quote line, ends what stood before it."""
        of_depth = isinstance(book, MakersEvent) or book.source == "depth"
        if not (book.ready and of_depth and book.bids and book.asks):
            self.broken()
            return
        self._books += 1
        self._from_ns = self._from_ns or book.ts_ns
        self._to_ns = book.ts_ns
        if not self._tick:
            self._first.append(book)
            if len(self._first) >= FIRST_BOOKS:
                self._begin()
        else:
            self._take(book)

    def broken(self) -> None:
        """What follows does not continue what came before."""
        if not self._tick and self._first:
            self._begin()
        self._before = None

    def profiles(self) -> Parameter:
        """Value: how many names were seen. Each profile: presence (share of time within three ticks of the best on both sides),
        refreshes a second, share of time alone at a best price, mean size shown, two-sidedness. Confidence: the share of one
        whole session that was watched."""
        if not self._tick and self._first:
            self._begin()
        if self._seconds < MIN_SECONDS:
            why = f"{self._seconds / 60:.0f} min of recorded depth, {MIN_SECONDS / 60:.0f} are needed"
            return Parameter(value=None, n=self._books, confidence=None, fallback=why)
        return Parameter(
            value=float(len(self._seen)),
            n=self._books,
            confidence=round(min(1.0, self._seconds / WHOLE_SESSION_SECONDS), 4),
            fallback=None,
            detail={
                "profiles": {name: self._profile(one) for name, one in sorted(self._seen.items())},
                "seconds": round(self._seconds, 1),
                "tick": self._tick,
                "unnamed": sorted(UNNAMED & self._seen.keys()),
                "meaning": "attributed displayed interest: a firm's name where Nasdaq shows one, else the venue",
            },
            from_ns=self._from_ns,
            to_ns=self._to_ns,
        )

    def _profile(self, one: _Seen) -> dict[str, float]:
        return {
            "presence": round(one.both_near / self._seconds, 4),
            "refreshes_a_second": round(one.changes / self._seconds, 4),
            "alone_at_best": round(one.alone / self._seconds, 4),
            "mean_size": round(one.shown / one.quotes, 2),
            "two_sided": round(one.both_near / one.any_near, 4) if one.any_near else 0.0,
        }

    def _begin(self) -> None:
        first, self._first = self._first, []
        self._tick = _smallest_step(first)
        for book in first:
            self._take(book)

    def _take(self, book: BookEvent | MakersEvent) -> None:
        before, self._before = self._before, book
        if before is not None:
            stood = min(max((book.ts_ns - before.ts_ns) / 1e9, 0.0), LONGEST_STAND_SECONDS)
            self._seconds += stood
            self._count(before, stood)

    def _count(self, book: BookEvent | MakersEvent, stood: float) -> None:
        near: list[set[str]] = []
        quotes: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for levels, direction in ((book.bids, 1.0), (book.asks, -1.0)):
            best = levels[0].price
            at_best, close = set(), set()
            for name, price, size in _named(levels):
                one = self._seen[name]
                one.shown += size
                one.quotes += 1
                quotes[name].append((direction * price, size))
                away = abs(price - best) / self._tick
                if away < 0.5:
                    at_best.add(name)
                if away < NEAR_TICKS + 0.5:
                    close.add(name)
            if len(at_best) == 1:
                self._seen[at_best.pop()].alone += stood / 2.0
            near.append(close)
        for name in near[0] | near[1]:
            self._seen[name].any_near += stood
            if name in near[0] and name in near[1]:
                self._seen[name].both_near += stood
        for name, shown in quotes.items():
            state = tuple(shown)
            if state != self._seen[name].last:
                self._seen[name].changes += 1
                self._seen[name].last = state


def together(venues: Parameter, own: Parameter) -> Parameter:
    """Profiles of the venues, from the depth over all of them, and of the makers, from NASDAQ's own book: where there are any.
    The makers' decide, since the value counts names."""
    if own.value is None or venues.value is None:
        return venues if own.value is None else own
    profiles = {**venues.detail["profiles"], **own.detail["profiles"]}
    return structs.replace(own, value=float(len(profiles)), detail={**own.detail, "profiles": profiles})


def _smallest_step(books: Sequence[BookEvent | MakersEvent]) -> float:
    """The smallest step between two prices shown."""
    prices = np.unique([level.price for book in books for level in (*book.bids, *book.asks)])
    steps = np.diff(prices)
    return float(np.round(steps[steps > 1e-9].min(), 6)) if (steps > 1e-9).any() else 0.01


def _named(levels: Sequence[Level | MakerRow]) -> Iterator[tuple[str, float, float]]:
    """(name, price, size) of every row: several at one price are told apart by their parts."""
    for level in levels:
        if isinstance(level, MakerRow):
            rows = [(level.market_maker, level.size)]
        elif level.parts:
            rows = [(part.market_maker or part.venue, part.size) for part in level.parts]
        else:
            rows = [(level.market_maker or level.venue, level.size)]
        for name, size in rows:
            if name:
                yield name, level.price, size
