"""How a message to a vendor can end badly, in four kinds that decide what happens next, and the breaker before each vendor.

Used by clients/discord.py, telegram.py and twitter.py. No text here carries an address: they hold secrets.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress

import requests
import urllib3.exceptions as urllib3_errors

from alphatrader.clients.breaker import Breaker
from alphatrader.contract.settings.people import Vendors


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


def breaker(vendors: Vendors, machine_ns: Callable[[], int]) -> Breaker:
    """Before a vendor that takes messages. Raises UnreachableError without a call while open; a refusal says that the vendor is
    there."""
    return Breaker(
        vendors.breaker_failures,
        vendors.breaker_reset_seconds,
        machine_ns,
        outcome=lambda error: "failed" if isinstance(error, UnreachableError | LostAnswerError) else "answered",
        refusal=lambda failures, left: UnreachableError(f"breaker open after {failures} failures", max(left, 0.5)),
    )


def of_requests(error: requests.RequestException) -> SendError:
    """What an error of `requests` says of the message: whether a byte of it can have arrived."""
    name = type(error).__name__
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.InvalidURL) or _in_handshake(error):
        return UnreachableError(name)
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    # A timed-out connect, a refused one and an unknown name are all of these; a lost connection is a ProtocolError instead.
    never_connected = isinstance(reason, urllib3_errors.NewConnectionError | urllib3_errors.ConnectTimeoutError)
    return UnreachableError(f"{name}: no connection") if never_connected else LostAnswerError(name)


def _in_handshake(error: BaseException) -> bool:
    """Whether TLS was still being agreed, before a byte of the message. By the place it was raised at: the same kinds of errors
    come of an answer that was damaged or cut off, after the message was taken."""
    cause: BaseException | None = error
    while cause is not None:
        if any(frame.f_code.co_name == "do_handshake" for frame, _ in traceback.walk_tb(cause.__traceback__)):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


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
