"""Market-wide circuit breakers (MWCB, sources.md §7): the S&P 500 against its previous close, in regular hours.

Level 1 at -7 % and level 2 at -13 % halt all stocks for 15 minutes, each once a day, and not from 35 minutes before the close on
(15:25; 12:25 on a day that closes at 13:00). Level 3 at -20 % ends the day at any time. The index needs an entitlement:
`PROXIES` says what stands for it, the first that is quoted. Instants are market nanoseconds.
"""

from __future__ import annotations

from typing import Final

from alphatrader.contract.messages.market import Breaker

MINUTE_NS: Final = 60_000_000_000
LEVELS: Final = ((1, 0.07), (2, 0.13), (3, 0.20))
HALT_NS: Final = 15 * MINUTE_NS
NONE_FROM_NS: Final = 35 * MINUTE_NS
"""Before the close: levels 1 and 2 halt no more."""
PROXIES: Final = ("SPX", "SPY")
"""SPY follows the index closely but not exactly: a dividend day is off by a quarter of a percent."""
SLACK: Final = 1e-12
"""Below what a price increment can make of a decline: 7 % as floats have it is 7 %."""


class MarketBreaker:
    """One session of the proxy."""

    def __init__(self, proxy: str, previous_close: float, session_ns: tuple[int, int]) -> None:
        self._proxy, self._previous_close = proxy, previous_close
        self._open_ns, self._close_ns = session_ns
        self._level = 0
        self._decline = 0.0
        self._until_ns: int | None = None
        self._over = False

    def see(self, ts_ns: int, price: float) -> None:
        if not self._open_ns <= ts_ns < self._close_ns or self._over:
            return
        decline = self._decline = 1.0 - price / self._previous_close
        if decline < LEVELS[0][1] - SLACK:
            return
        reached = max(level for level, share in LEVELS if decline >= share - SLACK)
        if reached <= self._level:
            return
        self._level = reached
        if reached == LEVELS[-1][0]:
            self._over, self._until_ns = True, self._close_ns
        elif ts_ns < self._close_ns - NONE_FROM_NS:
            self._until_ns = ts_ns + HALT_NS

    def state(self, now_ns: int) -> Breaker:
        until = self._until_ns if self._until_ns is not None and now_ns < self._until_ns else None
        return Breaker(self._proxy, round(self._decline, 6), self._level, until, self._over)
