"""A circuit breaker around calls that many threads make at once: before Alpha Vantage, and before whoever takes messages.

pybreaker holds its lock for the whole of a call, so one slow answer would hold every other: here the call is made outside, and
only its outcome passes through pybreaker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, TypeVar

import pybreaker

T = TypeVar("T")

Outcome = Literal["failed", "answered", "not called"]
"""What an error says of the vendor: that it is not there, that it is, or nothing, since no call was made."""


class Breaker:
    """Opens after `failures` in a row; after `reset_seconds` one call may try, and closes it or opens it again.

    `outcome` judges what a call raised. `refusal` makes the error that is raised without a call: of the failures, and of the
    seconds until a call may try (0 or less while one tries).
    """

    def __init__(
        self,
        failures: int,
        reset_seconds: float,
        machine_ns: Callable[[], int],
        *,
        outcome: Callable[[Exception], Outcome],
        refusal: Callable[[int, float], Exception],
    ) -> None:
        self._storage: Final = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker: Final = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=reset_seconds,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._reset_seconds = reset_seconds
        self._machine_ns = machine_ns
        self._outcome, self._refusal = outcome, refusal
        self._lock = threading.Lock()
        self._trial = False

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return str(self._breaker.current_state)

    def ready(self) -> bool:
        """Whether a call would be let through now."""
        with self._lock:
            return self.state == pybreaker.STATE_CLOSED or not (self._trial or self._seconds_left() > 0)

    def call(self, act: Callable[[], T]) -> T:
        """What `act` returns, within the guard."""
        with self.guard():
            return act()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises the refusal while open, and for all but one call while it is tried again."""
        trial = self._admit()
        try:
            yield
        except BaseException as error:
            self._tell(self._outcome(error) if isinstance(error, Exception) else "not called", trial)
            raise
        self._tell("answered", trial)

    def _admit(self) -> bool:
        with self._lock:
            if self.state == pybreaker.STATE_CLOSED:
                return False
            left = self._seconds_left()
            if self._trial or left > 0:
                raise self._refusal(self._breaker.fail_counter, left)
            self._trial = True
            return True

    def _tell(self, outcome: Outcome, trial: bool) -> None:
        with self._lock:
            if trial:
                self._trial = False
            if outcome == "not called":
                return
            if trial:
                self._breaker.half_open()
            elif self.state != pybreaker.STATE_CLOSED:
                return  # a call that began before it opened
            with suppress(_FailedError):  # only its count is wanted: the guard raises what the call did
                self._breaker.call(_failed if outcome == "failed" else _answered)

    def _seconds_left(self) -> float:
        opened = self._storage.opened_at
        return 0.0 if opened is None else opened.timestamp() + self._reset_seconds - self._machine_ns() / 1e9


class _FailedError(Exception):
    """What pybreaker is told of a failed call."""


def _failed() -> None:
    raise _FailedError


def _answered() -> None:
    return
