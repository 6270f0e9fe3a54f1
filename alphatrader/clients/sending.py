"""How a message to a vendor can end badly, in four kinds that decide what happens next, and the breaker before each vendor.

Used by clients/discord.py, telegram.py and twitter.py. No text here carries an address: they hold secrets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import pybreaker
import requests
import urllib3.exceptions as urllib3_errors

from alphatrader.contract.settings.people import Vendors

T = TypeVar("T")


class SendError(Exception):
    """A message did not surely arrive."""


class UnreachableError(SendError):
    """Nothing left: no connection, or the breaker is open. Try again."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class LimitedError(SendError):
    """The vendor answered that it did not take it now. Try again, not before `wait_seconds`."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RefusedError(SendError):
    """The vendor answered that it will not take it. The same again would be refused again."""


class LostAnswerError(SendError):
    """It left, and nobody can tell whether it was taken. Never send it again."""


class Breaker:
    """Opens after `failures` in a row that say the vendor is not there; after `reset_seconds` one call may try.

    pybreaker holds its lock for the whole of a call, and one slow answer would hold every thread: calls are made outside it, and
    only their outcome passes through.
    """

    def __init__(self, vendors: Vendors, machine_ns: Callable[[], int]) -> None:
        self._storage: Final = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker: Final = pybreaker.CircuitBreaker(
            fail_max=vendors.breaker_failures,
            reset_timeout=vendors.breaker_reset_seconds,
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )
        self._reset_seconds = vendors.breaker_reset_seconds
        self._machine_ns = machine_ns
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

    def call(self, send: Callable[[], T]) -> T:
        """What `send` returns. Raises UnreachableError without a call while open."""
        trial = self._admit()
        failure: SendError | None = None
        try:
            return send()
        except (UnreachableError, LostAnswerError) as error:
            failure = error
            raise
        finally:
            self._tell(failure, trial)

    def _admit(self) -> bool:
        with self._lock:
            if self.state == pybreaker.STATE_CLOSED:
                return False
            left = self._seconds_left()
            if self._trial or left > 0:
                raise UnreachableError(f"breaker open after {self._breaker.fail_counter} failures", max(left, 0.5))
            self._trial = True
            return True

    def _tell(self, failure: SendError | None, trial: bool) -> None:
        def outcome() -> None:
            if failure is not None:
                raise failure

        with self._lock:
            if trial:
                self._trial = False
                self._breaker.half_open()
            elif self.state != pybreaker.STATE_CLOSED:
                return  # a call that began before it opened
            with suppress(SendError, pybreaker.CircuitBreakerError):  # the caller raises it; here it is only counted
                self._breaker.call(outcome)

    def _seconds_left(self) -> float:
        opened = self._storage.opened_at
        return 0.0 if opened is None else opened.timestamp() + self._reset_seconds - self._machine_ns() / 1e9


def of_requests(error: requests.RequestException) -> SendError:
    """What an error of `requests` says of the message: whether a byte of it can have arrived."""
    name = type(error).__name__
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.InvalidURL):
        return UnreachableError(name)
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    # A timed-out connect, a refused one and an unknown name are all of these; a lost connection is a ProtocolError instead.
    never_connected = isinstance(reason, urllib3_errors.NewConnectionError | urllib3_errors.ConnectTimeoutError)
    return UnreachableError(f"{name}: no connection") if never_connected else LostAnswerError(name)


def of_status(status: int, wait_seconds: float | None = None) -> SendError:
    """What an HTTP status that is not 2xx says. 503 is the only server error that means `not handled` (RFC 9110 §15.6)."""
    if status == 429:
        return LimitedError("429 too many requests", wait_seconds)
    if status == 503:
        return LimitedError("503 not available", wait_seconds)
    return LostAnswerError(f"HTTP {status}") if status >= 500 else RefusedError(f"HTTP {status}")


def seconds(value: object) -> float | None:
    """A wait as vendors write it; None where it is no sensible number."""
    with suppress(TypeError, ValueError):
        number = float(str(value))
        if 0 <= number < 86_400:
            return number
    return None
