"""A circuit breaker around calls that many threads make at once.

pybreaker holds its lock for the whole of a call, so one slow answer would hold every other: here the call is made outside, and
only its outcome passes through pybreaker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import pybreaker

from alphatrader.clients.alphavantage.errors import AlphaVantageError, BadAnswerError, LimitedError, RefusedError


def vendor_is_there(error: Exception) -> bool:
    """An odd answer to one request is no failure of the vendor."""
    return isinstance(error, BadAnswerError) or (isinstance(error, RefusedError) and error.reason == "bad_call")


class Breaker:
    """Opens after `failures` in a row; after `reset_seconds` one call may try, and closes it or opens it again."""

    def __init__(self, failures: int, reset_seconds: float, machine_ns: Callable[[], int]) -> None:
        self._storage: Final = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker: Final = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=reset_seconds,
            exclude=[vendor_is_there],
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._reset_seconds = reset_seconds
        self._machine_ns = machine_ns
        self._lock = threading.Lock()
        self._trial = False

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return self._breaker.current_state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Around one call. Raises LimitedError while open, and for all but one call while it is tried again."""
        trial = self._admit()
        try:
            yield
        except Exception as error:
            self._tell(error, trial)
            raise
        self._tell(None, trial)

    def _admit(self) -> bool:
        with self._lock:
            if self.state == pybreaker.STATE_CLOSED:
                return False
            left = self._seconds_left()
            if self._trial or left > 0:
                raise LimitedError("breaker_open", f"after {self._breaker.fail_counter} failures", wait_seconds=max(left, 0.1))
            self._trial = True
            return True

    def _tell(self, error: Exception | None, trial: bool) -> None:
        def outcome() -> None:
            if error is not None:
                raise error

        with self._lock:
            if trial:
                self._trial = False
            if error is not None and (not isinstance(error, AlphaVantageError) or error.own):
                return  # no call was made
            if trial:
                self._breaker.half_open()
            elif self.state != pybreaker.STATE_CLOSED:
                return  # a call that began before it opened
            with suppress(Exception):  # the caller raises it; here it is only counted
                self._breaker.call(outcome)

    def _seconds_left(self) -> float:
        opened = self._storage.opened_at
        return 0.0 if opened is None else opened.timestamp() + self._reset_seconds - self._machine_ns() / 1e9
