"""A vendor's rate limit: at most `limit` admitted calls in any sliding `seconds` of machine time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class SlidingWindow:
    """Thread-safe. A refused call does not count."""

    def __init__(self, limit: int, seconds: float, machine_s: Callable[[], float]) -> None:
        self.limit = limit
        self.seconds = seconds
        self._machine_s = machine_s
        self._admitted: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self) -> float | None:
        """None when the call is admitted, else the seconds until the next one would be."""
        now = self._machine_s()
        with self._lock:
            self._forget(now)
            if len(self._admitted) >= self.limit:
                return max(self._admitted[0] + self.seconds - now, 0.001)
            self._admitted.append(now)
            return None

    def remaining(self) -> int:
        with self._lock:
            self._forget(self._machine_s())
            return self.limit - len(self._admitted)

    def reset_s(self) -> float:
        """The instant at which the oldest admitted call leaves the window."""
        with self._lock:
            return (self._admitted[0] if self._admitted else self._machine_s()) + self.seconds

    def _forget(self, now: float) -> None:
        while self._admitted and self._admitted[0] <= now - self.seconds:
            self._admitted.popleft()
