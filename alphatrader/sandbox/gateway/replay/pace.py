"""When each event of a recording is due: at its own pace, so many times faster, or only when asked for."""

from __future__ import annotations


class Pace:
    """`take` is asked with each event's instant in the recording's own clock (nanoseconds), in order.

    The first falls on `start_ns` of market time. `speed` divides the distances between them; 0 is step by step: nothing is due
    but what `ask` has been told.
    """

    def __init__(self, start_ns: int, speed: float) -> None:
        if speed < 0:
            raise ValueError(f"speed: must be 0 (step by step) or more, got {speed}")
        self._start_ns, self._speed = start_ns, speed
        self._first_ns: int | None = None
        self._asked = 0
        self.played = 0
        """How many events have been taken."""

    def ask(self, events: int) -> None:
        """Step by step: so many more are due now."""
        if self._speed:
            raise ValueError(f"the recording runs at {self._speed:g} times its pace; step by step needs a speed of 0")
        if events < 1:
            raise ValueError(f"events: at least 1, got {events}")
        self._asked += events

    def take(self, instant_ns: int, now_ns: int) -> int | None:
        """The market time at which the next event falls, which is now taken; None while it is not due."""
        if self._first_ns is None:
            self._first_ns = instant_ns
        if not self._speed:
            if not self._asked:
                return None
            self._asked -= 1
            due_ns = now_ns
        else:
            due_ns = self._start_ns + int((instant_ns - self._first_ns) / self._speed)
            if due_ns > now_ns:
                return None
        self.played += 1
        return due_ns
