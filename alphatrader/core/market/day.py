"""The session from prints: volume, high, low, last and volume-weighted price, each by the print's update flags.

Also what is wrong with prints: a copy of one that was told is counted and left out, one no market could have made is refused.
Late prints (sold, out of sequence) count for volume and never move the last price after the first. Used by `SymbolFeed`.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from alphatrader.contract.messages.market import Day
from alphatrader.core.market.conditions import Counts

FAR_SHARE: Final = 0.20
"""A regular print further from the middle of a firm quote than this is an error (our choice, no exchange's rule)."""
REMEMBERED: Final = 512


def impossible(price: float, bid: float | None, ask: float | None, count: Counts) -> str | None:
    """Why a print cannot be, None when it can. Judged only where it would move prices, against a sound quote."""
    if price <= 0:
        return f"print at {price}"
    if not count.last or bid is None or ask is None or not 0 < bid < ask:
        return None
    middle = (bid + ask) / 2
    if abs(price - middle) > FAR_SHARE * middle:
        return f"print at {price}, the quote before it was {bid} to {ask}"
    return None


class Repeats:
    """Prints told again after a resubscription. The tape gives no number, so only those of the old line are known, by
    their whole content; two equal prints on a line that stands are two prints."""

    def __init__(self) -> None:
        self._seen: deque[object] = deque(maxlen=REMEMBERED)
        self._before: list[object] = []

    def line_begins(self) -> None:
        self._before = list(self._seen)

    def is_repeat(self, told: object) -> bool:
        """`told`: the print as the wire has it, equal to another of equal content."""
        if self._before and told in self._before:
            self._before.remove(told)
            return True
        self._seen.append(told)
        return False


class DayFold:
    def __init__(self) -> None:
        self.session = ""
        self.duplicates = self.impossible = 0
        self._begin("")

    def _begin(self, session: str) -> None:
        self.session = session
        self._prints = self._odd_lots = self._late = 0
        self.duplicates = self.impossible = 0
        self._volume = self._notional = self._priced_volume = 0.0
        self._high: float | None = None
        self._low: float | None = None
        self.last: float | None = None

    def of(self, session: str) -> None:
        """Values belong to a session and begin anew with the next."""
        if session != self.session:
            self._begin(session)

    @property
    def eligible_seen(self) -> bool:
        """Whether a print of today has set the last price."""
        return self.last is not None

    def add(self, price: float, size: float, count: Counts) -> None:
        self._prints += 1
        self._odd_lots += count.odd_lot
        self._late += count.late
        if count.volume:
            self._volume += size
            if count.last or count.range or count.odd_lot:
                self._notional += price * size
                self._priced_volume += size
        if count.range:
            if self._high is None or price > self._high:
                self._high = price
            if self._low is None or price < self._low:
                self._low = price
        if count.last:
            self.last = price

    def message(self) -> Day:
        return Day(
            session=self.session,
            prints=self._prints,
            volume=self._volume,
            high=self._high,
            low=self._low,
            last=self.last,
            vwap=self._notional / self._priced_volume if self._priced_volume else None,
            odd_lots=self._odd_lots,
            late=self._late,
            duplicates=self.duplicates,
            impossible=self.impossible,
        )
