"""Limit up, limit down: price bands of a stock, ESTIMATED. The broker does not publish the processors' bands.

The rules of the LULD plan, Amendment 18 (no doubling at the open; sources.md §7):
percentages by the previous close on the primary exchange, reference price = mean of the eligible prints of the last five minutes,
replaced only by one at least 1 % away and after the old has stood 30 seconds. Bands double in the last 25 minutes of the session
for Tier 1, and for Tier 2 at or under $3.00. A limit state that lasts 15 seconds becomes a pause.
Used by `SymbolFeed`. All instants are market nanoseconds.
"""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Final, Literal, NamedTuple

from alphatrader.contract.messages.market import Luld

SECOND_NS: Final = 1_000_000_000
WINDOW_NS: Final = 300 * SECOND_NS
STANDS_NS: Final = 30 * SECOND_NS
MOVE_SHARE: Final = 0.01
SLACK: Final = 1e-9
"""Dollars, far under any price step: what a mean of floats lacks of a whole percent is none."""
DOUBLED_NS: Final = 25 * 60 * SECOND_NS
LIMIT_STATE_NS: Final = 15 * SECOND_NS
PAUSE_NS: Final = 300 * SECOND_NS
NO_REOPENING_NS: Final = 10 * 60 * SECOND_NS
"""A pause in the last ten minutes ends with the closing auction."""

LimitState = Literal["inside", "limit_up", "limit_down", "straddle"]


class Security(NamedTuple):
    tier: Literal[1, 2]
    leverage: float = 1.0
    """Of an exchange-traded product: bands of a leveraged one of Tier 2 are as many times as wide."""


class Bands(NamedTuple):
    lower: float
    upper: float
    share: float


def band_share(previous_close: float, security: Security, *, doubled: bool) -> tuple[float, float]:
    """(share of the reference price, dollars): the band is the lesser of the two, dollars only under $0.75, else infinite."""
    dollars = float("inf")
    if previous_close > 3.0:
        share = 0.05 if security.tier == 1 else 0.10
    elif previous_close >= 0.75:
        share = 0.20
    else:
        share, dollars = 0.75, 0.15
    if security.tier == 2:
        share *= security.leverage
    if doubled and (security.tier == 1 or previous_close <= 3.0):
        share, dollars = share * 2, dollars * 2
    return share, dollars


def bands(reference: float, previous_close: float, security: Security, *, doubled: bool) -> Bands:
    """Rounded to the cent."""
    share, dollars = band_share(previous_close, security, doubled=doubled)
    width = min(reference * share, dollars)
    return Bands(max(0.0, _cents(reference - width)), _cents(reference + width), share)


def _cents(price: float) -> float:
    """To the nearest cent, halves up; what floats add up to must not move a half."""
    return floor(price * 100 + 0.5 + 1e-7) / 100


class LuldEstimate:
    """One security through one session. Prints and quotes come in; the bands and the limit state come out."""

    def __init__(self, security: Security, previous_close: float, session_ns: tuple[int, int]) -> None:
        self._security, self._previous_close = security, previous_close
        self._open_ns, self._close_ns = session_ns
        self._prints: deque[tuple[int, float]] = deque()
        self._sum = 0.0
        self._reference: float | None = None
        self._reference_ns = 0
        self._limit_since_ns: int | None = None
        self._state: LimitState = "inside"

    def add(self, ts_ns: int, price: float) -> None:
        """An eligible print: one that sets the last price, in regular hours. The first of the session is its first reference."""
        if not self._open_ns <= ts_ns < self._close_ns:
            return
        self._prints.append((ts_ns, price))
        self._sum += price
        if self._reference is None:
            self._reference, self._reference_ns = price, ts_ns
        self._renew(ts_ns)

    def restart(self) -> None:
        """After a halt the reopening print is the reference."""
        self._prints.clear()
        self._sum, self._reference, self._limit_since_ns, self._state = 0.0, None, None, "inside"

    def _renew(self, now_ns: int) -> None:
        while self._prints and self._prints[0][0] < now_ns - WINDOW_NS:
            self._sum -= self._prints.popleft()[1]
        if self._reference is None or not self._prints or now_ns - self._reference_ns < STANDS_NS:
            return
        mean = self._sum / len(self._prints)
        if abs(mean - self._reference) >= MOVE_SHARE * self._reference - SLACK:
            self._reference, self._reference_ns = mean, now_ns

    def estimate(self, now_ns: int, bid: float | None, ask: float | None) -> Luld | None:
        """The bands now, and where the national best bid and offer stand to them; None outside the session or without a print."""
        if not self._open_ns <= now_ns < self._close_ns:
            return None
        self._renew(now_ns)
        if self._reference is None:
            return None
        doubled = now_ns >= self._close_ns - DOUBLED_NS
        lower, upper, share = bands(self._reference, self._previous_close, self._security, doubled=doubled)
        self._follow(now_ns, bid, ask, lower, upper)
        since = self._limit_since_ns
        due = None if since is None else since + LIMIT_STATE_NS
        return Luld(lower, upper, round(self._reference, 4), share, self._state, since, due)

    def _follow(self, now_ns: int, bid: float | None, ask: float | None, lower: float, upper: float) -> None:
        state: LimitState = "inside"
        if bid is not None and bid >= upper:
            state = "limit_up"
        elif ask is not None and ask <= lower:
            state = "limit_down"
        elif (bid is not None and bid < lower) or (ask is not None and ask > upper):
            state = "straddle"
        if state in ("limit_up", "limit_down"):
            if state != self._state:
                self._limit_since_ns = now_ns
        else:
            self._limit_since_ns = None
        self._state = state


def pause_ends_ns(paused_ns: int, close_ns: int) -> int:
    """When trading may resume at the earliest, an estimate: five minutes on, but not in the last ten minutes before the close."""
    ends = paused_ns + PAUSE_NS
    return close_ns if ends >= close_ns - NO_REOPENING_NS else ends
