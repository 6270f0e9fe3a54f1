"""One-minute bars and five-second closes, folded from prints and mids; warmed from the broker's historical minutes.

What trend, regime and ATR are measured on. A minute without a print keeps no bar: it is a hole, not a flat bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from alphatrader.contract.messages.market import Bar
from alphatrader.core.signals.atr import wilder_atr

MINUTE_NS: Final = 60_000_000_000
SLOT_NS: Final = 5_000_000_000
MAX_MINUTES: Final = 480
MAX_SLOTS: Final = 360
"""Half an hour of five-second closes."""


class Minutes(msgspec.Struct):
    bars: list[tuple[int, float, float, float, float]] = msgspec.field(default_factory=list)
    """(start, open, high, low, close) of finished minutes, oldest first."""
    current: tuple[int, float, float, float, float] | None = None
    slots: list[tuple[int, float]] = msgspec.field(default_factory=list)
    """(slot start, newest price in it), oldest first."""
    warmed: bool = False

    def add_print(self, ts_ns: int, price: float) -> bool:
        """False where its minute is over: what is told late says nothing of the present one."""
        start = ts_ns - ts_ns % MINUTE_NS
        if self.current is not None and start < self.current[0]:
            return False
        if self.current is None or start > self.current[0]:
            if self.current is not None:
                self.bars.append(self.current)
                del self.bars[:-MAX_MINUTES]
            self.current = (start, price, price, price, price)
        else:
            at, first, high, low, last = self.current
            if price != last:
                self.current = (at, first, price if price > high else high, price if price < low else low, price)
        self.add_price(ts_ns, price)
        return True

    def add_price(self, ts_ns: int, price: float) -> None:
        """A price that is no print (a mid): moves the five-second closes only."""
        start = ts_ns - ts_ns % SLOT_NS
        if self.slots and start <= self.slots[-1][0]:
            last, known = self.slots[-1]
            if price != known and start == last:  # one that is over stands as it closed
                self.slots[-1] = (last, price)
            return
        self.slots.append((start, price))
        del self.slots[:-MAX_SLOTS]

    def warm_up(self, bars: Sequence[Bar]) -> int:
        """Fill in historical minutes up to the current one; returns how many. The broker's minute replaces ours, which may be
        one we saw only in part."""
        before = self.current[0] if self.current is not None else None
        known = {bar[0]: bar for bar in self.bars}
        theirs = {
            bar.ts_ns: (bar.ts_ns, bar.open, bar.high, bar.low, bar.close) for bar in bars if before is None or bar.ts_ns < before
        }
        self.bars = [bar for _, bar in sorted((known | theirs).items())][-MAX_MINUTES:]
        self.warmed = self.warmed or bool(theirs)
        return len(theirs)

    def closes_ago(self, now_ns: int, seconds: int) -> float | None:
        """The price `seconds` ago: the last five-second close at or before then; None where none is that old, or it is a minute
        older still."""
        at = now_ns - seconds * 1_000_000_000
        for start, price in reversed(self.slots):
            if start + SLOT_NS <= at:
                return price if at - start <= MINUTE_NS + SLOT_NS else None
        return None

    def runs(self, opened_ns: int | None = None) -> list[list[tuple[int, float, float, float, float]]]:
        """The finished minutes, split where an hour or more is missing, since a session's first change is not one minute's, and
        where the present session opened: the last run is of it alone, and empty before its first minute is over."""
        split: list[list[tuple[int, float, float, float, float]]] = []
        before_ns = (opened_ns or 0) - MINUTE_NS  # a minute that began then, or earlier, is none of the session's
        for bar in self.bars:
            if not split or bar[0] - split[-1][-1][0] >= 60 * MINUTE_NS or split[-1][-1][0] <= before_ns < bar[0]:
                split.append([])
            split[-1].append(bar)
        if split and split[-1][-1][0] <= before_ns:
            split.append([])
        return split

    def atr(self, period: int) -> float | None:
        """Wilder's ATR of the newest session that is long enough; early in a session, the previous one's."""
        for run in reversed(self.runs()):
            atr = wilder_atr(((high, low, close) for _, _, high, low, close in run), period)
            if atr is not None:
                return atr
        return None

    @property
    def last(self) -> float | None:
        return self.slots[-1][1] if self.slots else None
