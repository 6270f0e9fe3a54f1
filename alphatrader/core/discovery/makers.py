"""Attributed displayed interest by market maker or venue, from recorded level-2 books (domain.md section 3).

A displayed quote with a name on it is that firm's displayed interest, not proof of who traded. Under thirty minutes of depth
there is no profile: null, with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from alphatrader.contract.messages.market import BookEvent, Level
from alphatrader.contract.messages.metrics import Parameter

MIN_SECONDS: Final = 30 * 60.0
NEAR_TICKS: Final = 3
MOST_BOOKS: Final = 2000
LONGEST_STAND_SECONDS: Final = 5.0
"""A book that stands longer without an event is a feed that went quiet: it counts this long."""


@dataclass(slots=True)
class _Seen:
    both_near: float = 0.0
    any_near: float = 0.0
    alone: float = 0.0
    sizes: list[float] = field(default_factory=list)
    changes: int = 0
    last: tuple[tuple[float, float], ...] = ()


def maker_profiles(books: Sequence[BookEvent]) -> Parameter:
    """Value: how many names were seen. Each profile: presence (share of time within three ticks of the best on both sides),
    refreshes a second, share of time alone at a best price, mean size shown, two-sidedness."""
    depth = [book for book in books if book.ready and book.source == "depth" and book.bids and book.asks]
    seconds = sum(_stands(depth))
    if seconds < MIN_SECONDS:
        why = f"{seconds / 60:.0f} minutes of recorded depth, {MIN_SECONDS / 60:.0f} are needed"
        return Parameter(value=None, n=len(depth), confidence=None, fallback=why)
    tick = _tick(depth)
    sampled = depth[:: max(1, len(depth) // MOST_BOOKS)]
    seen: defaultdict[str, _Seen] = defaultdict(_Seen)
    watched = 0.0
    for book, stood in zip(sampled, _stands(sampled), strict=False):
        watched += stood
        _count(book, stood, tick, seen)
    profiles: dict[str, Any] = {
        name: {
            "presence": round(one.both_near / watched, 4),
            "refreshes_a_second": round(one.changes / watched, 4),
            "alone_at_best": round(one.alone / watched, 4),
            "mean_size": round(float(np.mean(one.sizes)), 2),
            "two_sided": round(one.both_near / one.any_near, 4) if one.any_near else 0.0,
        }
        for name, one in sorted(seen.items())
    }
    return Parameter(
        value=float(len(profiles)),
        n=len(depth),
        confidence=None,
        fallback=None,
        detail={"profiles": profiles, "seconds": round(seconds, 1), "tick": tick, "books_used": len(sampled)},
    )


def _stands(books: Sequence[BookEvent]) -> list[float]:
    """Seconds each book stood until the next; sampled books stand as long as those between them."""
    stamps = np.array([book.ts_ns for book in books], dtype=np.int64)
    gaps = np.diff(stamps) / 1e9
    return [float(gap) for gap in np.clip(gaps, 0.0, LONGEST_STAND_SECONDS)]


def _tick(books: Sequence[BookEvent]) -> float:
    """The smallest step between two prices shown."""
    prices = np.unique([level.price for book in books[:: max(1, len(books) // 200)] for level in (*book.bids, *book.asks)])
    steps = np.diff(prices)
    return float(np.round(steps[steps > 1e-9].min(), 6)) if (steps > 1e-9).any() else 0.01


def _count(book: BookEvent, stood: float, tick: float, seen: defaultdict[str, _Seen]) -> None:
    near: list[set[str]] = []
    shown: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for levels, direction in ((book.bids, 1.0), (book.asks, -1.0)):
        best = levels[0].price
        at_best, close = set(), set()
        for name, level in _named(levels):
            seen[name].sizes.append(level.size)
            shown[name].append((direction * level.price, level.size))
            away = abs(level.price - best) / tick
            if away < 0.5:
                at_best.add(name)
            if away < NEAR_TICKS + 0.5:
                close.add(name)
        if len(at_best) == 1:
            seen[at_best.pop()].alone += stood / 2.0
        near.append(close)
    for name in near[0] | near[1]:
        seen[name].any_near += stood
        if name in near[0] and name in near[1]:
            seen[name].both_near += stood
    for name, quotes in shown.items():
        state = tuple(quotes)
        if state != seen[name].last:
            seen[name].changes += 1
            seen[name].last = state


def _named(levels: Sequence[Level]) -> Iterator[tuple[str, Level]]:
    for level in levels:
        name = level.market_maker or level.venue
        if name:
            yield name, level
