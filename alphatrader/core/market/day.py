"""The session from prints: volume, high, low, last and volume-weighted price, each by the print's update flags.

Also what is wrong with prints: a copy of one that was told is counted and left out, one no market could have made is refused.
Late prints (sold, out of sequence) count for volume and never move the last price after the first. Used by `SymbolFeed`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import msgspec

from alphatrader.contract.messages.market import Day
from alphatrader.core.market.conditions import Counts

FAR_SHARE: Final = 0.20
"""A regular print further from the middle of a firm quote than this is an error (our choice, no exchange's rule)."""
FAR_POINTS: Final = 1.0
"""So far, at least, where prices may be under zero: of one near zero a share is nothing."""
REMEMBERED: Final = 512
Told = TypeVar("Told", bound=Hashable)
"""A print as the wire has it."""


class DayStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the judgement of the next print is made of; the day's totals are in no event."""

    session: str
    last: float | None


class RepeatsStand(msgspec.Struct, Generic[Told], frozen=True, forbid_unknown_fields=True):
    seen: list[Told]
    before: list[Told]


def impossible(price: float, bid: float | None, ask: float | None, count: Counts, *, below_zero: bool = False) -> str | None:
    """Why a print cannot be, None when it can. Judged by a sound quote only where it was made at one: an auction's price (the
    reopening after a halt, the day's first) and a late report are of no quote that stands. `below_zero`: whether its price may
    be, as futures.BELOW_ZERO says."""
    if price <= 0 and not below_zero:
        return f"print at {price}"
    if not (count.last and count.vpin) or bid is None or ask is None or bid >= ask or (bid <= 0 and not below_zero):
        return None
    middle = (bid + ask) / 2
    far = FAR_SHARE * abs(middle)
    if abs(price - middle) > (max(far, FAR_POINTS) if below_zero else far):
        return f"print at {price}, the quote before it was {bid} to {ask}"
    return None


class Repeats(Generic[Told]):
    """Prints told again after a resubscription. The tape gives no number, so only those of the old line are known, by
    their whole content; two equal prints on a line that stands are two prints."""

    def __init__(self) -> None:
        self._seen: deque[Told] = deque(maxlen=REMEMBERED)
        self._before: Counter[Told] = Counter()
        """How often the old line told each: asked at every print from a reconnect on, so looked up and not searched."""

    def line_begins(self) -> None:
        self._before = Counter(self._seen)

    def standing(self) -> RepeatsStand[Told]:
        return RepeatsStand(list(self._seen), list(self._before.elements()))

    def stand_as(self, was: RepeatsStand[Told]) -> None:
        self._seen, self._before = deque(was.seen, maxlen=REMEMBERED), Counter(was.before)

    def is_repeat(self, told: Told) -> bool:
        """`told`: the print as the wire has it, equal to another of equal content."""
        if self._before and told in self._before:
            self._before[told] -= 1
            if not self._before[told]:
                del self._before[told]
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

    def standing(self) -> DayStands:
        return DayStands(self.session, self.last)

    def stand_as(self, was: DayStands) -> None:
        self._begin(was.session)
        self.last = was.last

    def of(self, session: str) -> bool:
        """Values belong to a session and begin anew with the next: whether this is another than before."""
        begins = session != self.session
        if begins:
            self._begin(session)
        return begins

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
            if count.priced:
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
