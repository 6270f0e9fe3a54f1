"""The HTTP side: one GET at a time, bounded in time and size, inside the budget, behind the circuit breaker.

Thread-safe: the pulls worker asks for several symbols at once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import requests
import urllib3
from ratelimit import RateLimitException, limits
from tenacity import Retrying, retry_if_exception, stop_after_attempt

from alphatrader.clients.alphavantage import answers
from alphatrader.clients.alphavantage.answers import ChainAnswer, NewsAnswer
from alphatrader.clients.alphavantage.bounded import BoundedAdapter
from alphatrader.clients.alphavantage.errors import AlphaVantageError, BadAnswerError, LimitedError, OutageError, RefusedError
from alphatrader.clients.breaker import Breaker, Outcome
from alphatrader.contract.settings.market import Options
from alphatrader.contract.settings.people import Vendors

_CHUNK: Final = 65_536
_ATTEMPTS: Final = 2
_JITTER_SECONDS: Final = (0.05, 0.3)
_STRETCH: Final = (0.8, 1.25)
"""Of a pause, so that several installations behind one key do not come back together."""
_JSON_TYPES: Final = ("application/json", "text/json", "text/plain", "")
"""text/plain and none at all are a careless server's; what is inside is judged either way."""
_NEWS_LIMIT: Final = 200

T = TypeVar("T")


class Clock(Protocol):
    def machine_ns(self) -> int: ...
    def monotonic(self) -> float: ...


class Grant(Protocol):
    @property
    def wait_ms(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def token(self) -> str: ...


class Budget(Protocol):
    """Shared by all processes: one call is asked for, and what came of it is told (runtime/budget.py)."""

    def take(self) -> Grant: ...
    def arrived(self, grant: Any) -> None: ...
    def failed(self, stretch: float) -> None: ...
    def answered(self) -> None: ...


class AlphaVantage:
    def __init__(self, options: Options, vendors: Vendors, key: str, *, budget: Budget, clock: Clock, rng: random.Random) -> None:
        self._options = options
        self._key = key
        self._budget = budget
        self._clock = clock
        self._rng = rng
        failures, reset_seconds = vendors.breaker_failures, vendors.breaker_reset_seconds
        self.breaker = Breaker(failures, reset_seconds, clock.machine_ns, outcome=_outcome, refusal=self._breaker_open)
        self._broken_by = ""
        """The reason of the last failure."""
        self.refused: Counter[str] = Counter()
        """Answers not taken since the start, by reason."""
        self._last_guard = limits(calls=options.calls_per_minute, period=60)(lambda: None)
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "gzip"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(pool_connections=2, pool_maxsize=16, max_retries=0))

    def chain(self, symbol: str) -> ChainAnswer:
        """The whole chain of `symbol` with the vendor's greeks. Raises AlphaVantageError."""
        parameters = {"function": "REALTIME_OPTIONS", "symbol": symbol, "require_greeks": "true"}
        return self._ask(parameters, lambda body: answers.chain(body, symbol, self._options.max_rows))

    def news(self, symbol: str, since_ns: int) -> NewsAnswer:
        """What was written of `symbol` since a market instant, newest first. Raises AlphaVantageError."""
        since = datetime.fromtimestamp(since_ns / 1e9, UTC).strftime("%Y%m%dT%H%M")
        parameters = {
            "function": "NEWS_SENTIMENT",
            "tickers": symbol,
            "time_from": since,
            "sort": "LATEST",
            "limit": str(_NEWS_LIMIT),
        }
        return self._ask(parameters, lambda body: answers.news(body, symbol))

    def close(self) -> None:
        self._session.close()

    def _ask(self, parameters: dict[str, str], read: Callable[[bytes], T]) -> T:
        grants: list[Grant] = []
        broken: list[AlphaVantageError] = []
        try:
            found = self._attempts(grants)(self._once, parameters, read, grants, broken)
        except AlphaVantageError as error:
            if (outcome := _outcome(error)) != "not called":
                self.refused[error.reason] += 1
                self._tell(grants, there=outcome == "answered")
            raise
        self._tell(grants, there=True)
        return found

    def _tell(self, grants: list[Grant], *, there: bool) -> None:
        """What came of a call, to every process: a failure makes all pause, an answer ends the pause."""
        if not there:
            self._budget.failed(self._rng.uniform(*_STRETCH))
        elif grants[-1].failures:
            self._budget.answered()

    def _once(
        self,
        parameters: dict[str, str],
        read: Callable[[bytes], T],
        grants: list[Grant],
        broken: list[AlphaVantageError],
    ) -> T:
        try:
            with self.breaker.guard():
                grant = self._spend()
                grants.append(grant)
                return read(self._get(parameters, grant))
        except AlphaVantageError as error:
            if _outcome(error) == "failed":
                self._broken_by = error.reason
            if error.own and broken:
                raise broken[0] from None  # no second call was made: it ended with what broke the first
            broken.append(error)
            raise

    def _attempts(self, grants: list[Grant]) -> Retrying:
        """One more try, at once, where a connection broke; a time-out has already used up the chain's freshness, and while all
        pause the one call that is let through to try is one call."""
        return Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=lambda _: self._rng.uniform(*_JITTER_SECONDS),
            retry=retry_if_exception(lambda error: isinstance(error, OutageError) and error.again and not grants[-1].failures),
            reraise=True,
        )

    def _get(self, parameters: dict[str, str], grant: Grant) -> bytes:
        deadline = self._clock.monotonic() + self._options.timeout_seconds
        # Errors of requests hold the URL, and the URL holds the key: none of their text goes on, nor they as a cause.
        try:
            with self._head(parameters, grant) as response:
                if self._clock.monotonic() >= deadline:  # a head that was cut off looks like one without fields
                    raise requests.Timeout
                self._check_status(response)
                body = self._read(response, deadline)
        except requests.Timeout:
            raise OutageError("timeout", f"no answer in {self._options.timeout_seconds:g} s") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if "Read timed out" in str(error):
                raise OutageError("timeout", f"the answer stopped for {self._options.timeout_seconds:g} s") from None
            if self._clock.monotonic() >= deadline:
                raise OutageError("timeout", f"no answer in {self._options.timeout_seconds:g} s") from None
            broken = "truncated" if "IncompleteRead" in str(error) else "connection"
            raise OutageError(broken, type(error).__name__, again=True) from None
        return body.replace(self._key.encode(), b"[key]")  # some refusals repeat the key

    def _head(self, parameters: dict[str, str], grant: Grant) -> requests.Response:
        try:
            return self._session.get(
                f"{self._options.base_url}/query",
                params={**parameters, "apikey": self._key},
                timeout=self._options.timeout_seconds,
                allow_redirects=False,
                stream=True,
            )
        finally:
            self._budget.arrived(grant)

    def _spend(self) -> Grant:
        grant = self._budget.take()
        if grant.wait_ms > 0:
            wait_seconds = grant.wait_ms / 1000
            if grant.failures:
                raise LimitedError(
                    "own_pause", f"after {grant.failures} failures in a row", wait_seconds=wait_seconds, after=self._broken_by
                )
            raise LimitedError(
                "own_budget", f"{self._options.calls_per_minute} calls in 60 s are used", wait_seconds=wait_seconds
            )
        try:
            self._last_guard()
        except RateLimitException as error:
            raise LimitedError("own_limit", "this process's last guard", wait_seconds=error.period_remaining) from None
        return grant

    def _breaker_open(self, failures: int, left_seconds: float) -> LimitedError:
        wait_seconds = max(left_seconds, 0.1)
        return LimitedError("breaker_open", f"after {failures} failures", wait_seconds=wait_seconds, after=self._broken_by)

    @staticmethod
    def _check_status(response: requests.Response) -> None:
        status = response.status_code
        if status == 200:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind == "text/html":
                raise OutageError("html", "a page instead of JSON")
            if kind not in _JSON_TYPES:
                raise BadAnswerError("content_type", f"{kind[:80]!r} instead of JSON", field="Content-Type")
            return
        if status == 429:
            raise LimitedError("vendor_limit", "HTTP 429")
        if status >= 500:
            raise OutageError("http_5xx", f"HTTP {status}", again=True)
        raise RefusedError("http_status", f"HTTP {status}", field="status")

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The unpacked body, piece by piece: neither a bomb nor a trickle gets past its bound."""
        most = self._options.max_answer_bytes
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(_CHUNK, decode_content=True):
            size += len(piece)
            if size > most:
                raise BadAnswerError("too_large", f"more than {most} bytes unpacked", field="body")
            if self._clock.monotonic() > deadline:
                raise OutageError("timeout", f"the answer did not end in {self._options.timeout_seconds:g} s")
            pieces.append(piece)
        if response.raw.length_remaining:  # read1 takes an early end for the end
            raise OutageError("truncated", f"{response.raw.length_remaining} bytes are missing", again=True)
        return b"".join(pieces)


def _outcome(error: Exception) -> Outcome:
    """An odd answer to one request is no failure of the vendor."""
    if not isinstance(error, AlphaVantageError) or error.own:
        return "not called"
    odd = isinstance(error, BadAnswerError) or (isinstance(error, RefusedError) and error.reason == "bad_call")
    return "answered" if odd else "failed"
