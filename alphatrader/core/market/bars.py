"""Bars of one symbol: the recent 5-second ones, and the minutes folded from them on top of the broker's history."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from alphatrader.contract.messages.market import Bar
from alphatrader.core.market.quotes import MOST_PRICE, MOST_SIZE, checked

FIVE_SECOND_BARS: Final = 120
MINUTE_BARS: Final = 800
"""Two sessions of 390 minutes, and a little."""
MINUTE_NS: Final = 60_000_000_000


def told(ts_ns: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int) -> Bar:
    """A bar as the broker tells it; it says -1 where there was no volume. Raises BadTickError, which names what is impossible."""
    for price in (open_, high, low, close, wap):
        checked("bar price", price, MOST_PRICE)
    checked("bar volume", volume, MOST_SIZE)
    return Bar(ts_ns, open_, high, low, close, max(0.0, volume), wap, count)


def joined(bars: list[Bar], ts_ns: int) -> Bar:
    """One bar of many, which must not be empty. The average price is weighted by volume where there is any."""
    volume = sum(bar.volume for bar in bars)
    wap = sum(bar.wap * bar.volume for bar in bars) / volume if volume else bars[-1].wap
    return Bar(
        ts_ns=ts_ns,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        wap=wap,
        count=sum(bar.count for bar in bars),
    )


class BarFold:
    """A minute is folded only when it was heard from its first second on; `hole` says that one was not."""

    def __init__(self) -> None:
        self.recent: deque[Bar] = deque(maxlen=FIVE_SECOND_BARS)
        self.minutes: deque[Bar] = deque(maxlen=MINUTE_BARS)
        self.hole = True
        """The history must be asked for: nothing was loaded yet, or a minute is missing."""
        self._open: list[Bar] = []
        self._heard_from_ns: int | None = None

    def standing(self) -> Bar | None:
        """The newest: by it a bar that is told again is known. The others, and minutes, are in no event."""
        return self.recent[-1] if self.recent else None

    def stand_as(self, was: Bar | None) -> None:
        self.recent.clear()
        if was is not None:
            self.recent.append(was)

    def load(self, minutes: Iterable[Bar], now_ns: int) -> None:
        """The broker's minutes; one that is not over yet is left out."""
        self.minutes = deque((bar for bar in minutes if bar.ts_ns + MINUTE_NS <= now_ns), maxlen=MINUTE_BARS)
        self.hole = False

    def broken(self) -> None:
        """The feed broke: the minute that is open is not whole, and others may be missing."""
        self._open, self._heard_from_ns, self.hole = [], None, True

    def add(self, bar: Bar) -> bool:
        """The next 5-second bar; True when it completed a minute."""
        self.recent.append(bar)
        if self._heard_from_ns is None:
            self._heard_from_ns = bar.ts_ns
        completed = False
        if self._open and _minute(self._open[0]) != _minute(bar):
            completed = self._complete()
        self._open.append(bar)
        return completed

    def _complete(self) -> bool:
        start = _minute(self._open[0])
        bars, self._open = self._open, []
        if self._heard_from_ns is not None and self._heard_from_ns > start:
            self.hole = self.hole or not (self.minutes and self.minutes[-1].ts_ns >= start)
            return False
        if self.minutes and self.minutes[-1].ts_ns >= start:
            return False
        self.minutes.append(joined(bars, start))
        return True


def _minute(bar: Bar) -> int:
    return bar.ts_ns - bar.ts_ns % MINUTE_NS
