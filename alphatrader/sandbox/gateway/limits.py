"""The account's limits, as an ordinary account has them, and the meters that hold clients to them.

Sources: IBKR's API documentation (market-data lines, depth and tick-by-tick per lines, 50 messages a second,
historical-data pacing). All windows are machine time: they protect the gateway, not the market.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Limits:
    """Each field: the most that is allowed; what exceeds it is answered with the code named."""

    market_data_lines: int = 100  # over all clients of the account; 101
    depth: int = 3  # simultaneous depth subscriptions of the account; 309
    tick_by_tick: int = 3  # simultaneous tick-by-tick subscriptions of the account; 10190
    realtime_bars: int = 50  # simultaneous 5-second bar subscriptions of the account; 420
    messages_per_second: int = 50  # per connection; 100
    rate_violations: int = 3  # seconds with a 100 after which the connection is dropped
    small_bar_requests: int = 60  # historical requests for bars of 30 s or less in 10 minutes; 162
    small_bar_same_contract: int = 6  # of them for one contract within 2 s; 162
    small_bar_identical_seconds: int = 15  # an identical one within this time; 162
    details_at_once: int = 100  # contract details that are sent at once; the rest of a wide request follows at the pace below
    details_per_second: int = 500  # of a connection; what it asks for meanwhile waits behind them
    buffered_bytes: int = 64 << 20  # unread output after which a client that does not read is dropped


class RateMeter:
    """Messages of one connection: a bucket of a second's worth that refills steadily, so that a client which spaces its
    bursts a second apart is not punished for the jitter of their arrival."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._cost_ns = SECOND_NS // limits.messages_per_second
        self._debt_ns = 0  # what has been said and not yet earned back
        self._last_ns = 0
        self._violation_ns = -SECOND_NS
        self.violations = 0

    def allow(self, now_ns: int) -> bool:
        """False when this message is one too many; `violations` counts the seconds in which that happened."""
        self._debt_ns = max(0, self._debt_ns - (now_ns - self._last_ns))
        self._last_ns = now_ns
        if self._debt_ns + self._cost_ns <= SECOND_NS:
            self._debt_ns += self._cost_ns
            return True
        if now_ns - self._violation_ns >= SECOND_NS:
            self._violation_ns = now_ns
            self.violations += 1
        return False

    @property
    def abusive(self) -> bool:
        return self.violations >= self._limits.rate_violations


class HistoryMeter:
    """Historical requests for small bars (30 s or less), of the whole account."""

    def __init__(self, limits: Limits, machine_ns: Callable[[], int]) -> None:
        self._limits = limits
        self._machine_ns = machine_ns
        self._seen: deque[tuple[int, int, tuple[object, ...]]] = deque()

    def violation(self, con_id: int, request: tuple[object, ...]) -> str | None:
        """Why this request is refused, else None and it is counted."""
        now, limits, seen = self._machine_ns(), self._limits, self._seen
        while seen and now - seen[0][0] >= 600 * SECOND_NS:
            seen.popleft()
        if any(then > now - limits.small_bar_identical_seconds * SECOND_NS and same == request for then, _, same in seen):
            return f"identical request within {limits.small_bar_identical_seconds} seconds"
        if sum(1 for then, con, _ in seen if con == con_id and now - then < 2 * SECOND_NS) >= limits.small_bar_same_contract:
            return f"{limits.small_bar_same_contract} requests for one contract within 2 seconds"
        if len(seen) >= limits.small_bar_requests:
            return f"{limits.small_bar_requests} requests within 10 minutes"
        seen.append((now, con_id, request))
        return None
