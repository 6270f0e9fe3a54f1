"""When the newest data of a symbol passed each stage, and how far the exchange's clock stands from ours.

The tape's times have whole seconds (RTVolume: milliseconds). Reception less exchange time is the clocks' difference plus the way,
plus up to a second; the least of the last minute is the best that can be known of it. Used by `SymbolFeed`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SECOND_NS: Final = 1_000_000_000
WINDOW_NS: Final = 60 * SECOND_NS


class Stages:
    def __init__(self) -> None:
        self.exchange_ns: int | None = None
        self.violations = 0
        self._least: deque[tuple[int, int]] = deque()
        """(reception, offset), offsets rising: a sliding minimum."""

    def see(self, exchange_ns: int, received_ns: int, *, late: bool) -> None:
        """One print. A late one is old by its own word and no violation; nor is one of the same second, which one line tells in
        whole seconds and another in milliseconds, and venues' clocks differ by some."""
        if late:
            return
        if self.exchange_ns is not None and exchange_ns < self.exchange_ns:
            self.violations += exchange_ns // SECOND_NS < self.exchange_ns // SECOND_NS
        else:
            self.exchange_ns = exchange_ns
        offset = received_ns - exchange_ns
        least = self._least
        while least and least[-1][1] >= offset:
            least.pop()
        least.append((received_ns, offset))
        while least[0][0] < received_ns - WINDOW_NS:
            least.popleft()

    @property
    def offset_ns(self) -> int | None:
        return self._least[0][1] if self._least else None
