"""The last quarter of an hour of VPIN and OBI of every symbol, for the strips: one point each two seconds, the newest of them.

Folded from `events:metrics` by MarketReader, read by the page's requests; a point that was not ready is a hole, not a zero.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Final

from alphatrader.contract.messages.metrics import MetricsEvent

STEP_SECONDS: Final = 2
POINTS: Final = 450
_STEP_NS: Final = STEP_SECONDS * 1_000_000_000

Point = tuple[int, float | None, float | None]
"""(start of the step in market seconds, vpin, obi)."""


class Trails:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: defaultdict[str, deque[Point]] = defaultdict(lambda: deque(maxlen=POINTS))

    def add(self, event: MetricsEvent) -> None:
        at = event.ts_ns // _STEP_NS * STEP_SECONDS
        point = (at, event.values.get("vpin"), event.values.get("obi"))
        with self._lock:
            points = self._points[event.symbol]
            if points and points[-1][0] >= at:
                points[-1] = (points[-1][0], *point[1:])
            else:
                points.append(point)

    def of(self, symbol: str) -> list[Point]:
        """Oldest first."""
        with self._lock:
            return list(self._points[symbol]) if symbol in self._points else []
