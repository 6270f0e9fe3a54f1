"""Modules that end and come back: each start looks well by itself, so a crash loop shows only in how many there were."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Final

from alphatrader.contract.messages.operations import Health

SECOND: Final = 1_000_000_000
SPAN_NS: Final = 600 * SECOND
MOST: Final = 3
"""Restarts within the span that are no accident any more."""


class Restarts:
    """Starts of each module, by what its heartbeats say of when it started."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._restarts: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=MOST))

    def see(self, health: Mapping[str, Health | None], now_ns: int) -> tuple[str, ...]:
        """Modules that came back MOST times or more within the span before `now_ns` (machine time)."""
        for module, beat in health.items():
            if beat is None:
                continue
            started = beat.started_machine_ns
            if started > self._newest.setdefault(module, started):
                self._newest[module] = started
                self._restarts[module].append(started)
        restarts = self._restarts.items()
        return tuple(module for module, starts in restarts if len(starts) == MOST and now_ns - starts[0] <= SPAN_NS)
