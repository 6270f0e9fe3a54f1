"""Why an answer of Alpha Vantage was not taken. Each class is a decision; `reason` is the name it is counted under."""

from __future__ import annotations


class AlphaVantageError(Exception):
    """Nothing usable came. The text names the source, the field where one is wrong, and what was found; never the key."""

    def __init__(self, reason: str, detail: str, *, field: str = "") -> None:
        self.reason = reason
        self.field = field
        self.detail = detail
        super().__init__(f"Alpha Vantage: {reason}{f' ({field})' if field else ''}: {detail}")

    @property
    def own(self) -> bool:
        """Whether we refused the call ourselves: the vendor was not asked."""
        return False


class LimitedError(AlphaVantageError):
    """Back off: the vendor's limit, our own budget or pause, or an open circuit breaker."""

    def __init__(self, reason: str, detail: str, *, wait_seconds: float | None = None, after: str = "") -> None:
        super().__init__(reason, detail)
        self.wait_seconds = wait_seconds
        self.after = after
        """The reason of this process's last failure, where failures made us stop asking."""

    @property
    def own(self) -> bool:
        return self.reason != "vendor_limit"


class OutageError(AlphaVantageError):
    """The vendor or the way to it failed: timed out, broken off, 5xx, a page instead of data, an answer without an end."""

    def __init__(self, reason: str, detail: str, *, again: bool = False) -> None:
        super().__init__(reason, detail)
        self.again = again
        """Whether one more try at once is sensible."""


class RefusedError(AlphaVantageError):
    """The vendor refused this request for good: not entitled, demo key, bad call. A person has to act."""


class BadAnswerError(AlphaVantageError):
    """What came is not data of what was asked: another endpoint or symbol, empty, too large, no JSON."""
