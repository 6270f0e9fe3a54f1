"""The prints of one instrument: judged, classified, counted. Used by `SymbolFeed`."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

import msgspec

from alphatrader.contract.messages.market import Trade
from alphatrader.core.market.bar_check import BarCheck
from alphatrader.core.market.conditions import FORM_T, counts
from alphatrader.core.market.day import DayFold, DayStands, Repeats, RepeatsStand, impossible
from alphatrader.core.market.prints import RuleStands, TickRule
from alphatrader.core.market.quotes import MOST_PRICE, MOST_SIZE, BadTickError, checked, checked_time
from alphatrader.core.market.stages import Stages
from alphatrader.core.market.venues import venue_name

RECENT_TRADES: Final = 50


class Raw(msgspec.Struct, frozen=True, gc=False):
    """A print as the wire has it."""

    ts_ns: int
    price: float
    size: float
    venue: str
    conditions: str
    past_limit: bool
    unreported: bool


class TapeStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the next print's event is made of, beside the print; what is counted and shown of prints before it is in no event."""

    day: DayStands
    rule: RuleStands
    repeats: RepeatsStand[Raw]


class Tape:
    def __init__(self, *, cta: bool = False, below_zero: bool = False) -> None:
        """`cta`: its sale conditions are that tape's, else UTP's. `below_zero`: its price may be."""
        self._cta, self._below_zero = cta, below_zero
        self.day = DayFold()
        self.stages = Stages()
        self.check = BarCheck()
        self.recent: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.unknown_conditions: Counter[str] = Counter()
        self._rule = TickRule()
        self._repeats = Repeats[Raw]()

    def broken(self) -> None:
        """Prints were lost: the direction of the last change is not known, bars are not whole, the newest may be told again."""
        self._rule = TickRule()
        self.check.broken()
        self._repeats.line_begins()

    def standing(self) -> TapeStands:
        return TapeStands(self.day.standing(), self._rule.standing(), self._repeats.standing())

    def stand_as(self, was: TapeStands) -> None:
        self.day.stand_as(was.day)
        self._rule.stand_as(was.rule)
        self._repeats.stand_as(was.repeats)

    def add(
        self,
        raw: Raw,
        seq: int,
        received_ns: int,
        session: str,
        quote: tuple[float | None, float | None],
        *,
        tick_by_tick: bool = False,
        after_hours: bool = False,
    ) -> Trade | None:
        """The next print with the quote that stood before it; None for a copy of one told before. Raises BadTickError.

        `after_hours`: made outside the regular session of a share. The tapes say so by a condition, the quote line tells none.
        """
        price, size, day = raw.price, raw.size, self.day
        if not -MOST_PRICE < price < MOST_PRICE:
            checked("print price", price, MOST_PRICE)
        if not 0 <= size < MOST_SIZE:
            checked("print size", size, MOST_SIZE)
            raise BadTickError(f"print size {size} is negative")
        checked_time("print", raw.ts_ns, received_ns)
        if day.of(session):
            self._rule = TickRule()  # a gap over night is nobody's initiative: the day's first change of price is the first
        if self._repeats.is_repeat(raw):
            day.duplicates += 1
            return None
        first = not day.eligible_seen
        said = FORM_T if after_hours and not tick_by_tick else raw.conditions
        count = counts(said, first_of_day=first, past_limit=raw.past_limit, unreported=raw.unreported, cta=self._cta)
        bid, ask = quote
        if wrong := impossible(price, bid, ask, count, below_zero=self._below_zero):
            day.impossible += 1
            raise BadTickError(wrong)
        if count.unknown:
            self.unknown_conditions.update(count.unknown)
        late, volume, last, vpin = count.late, count.volume, count.last, count.vpin
        side, rule = self._rule.decide(price, bid, ask, moves=(vpin or last) and not late)
        day.add(price, size, count)
        self.stages.see(raw.ts_ns, received_ns, late=late)
        self.check.add(raw.ts_ns, price, size, volume=volume, in_range=count.range)
        trade = Trade(
            seq,
            raw.ts_ns,
            received_ns,
            price,
            size,
            venue_name(raw.venue),
            count.codes if raw.conditions else "",
            side,
            volume,
            last,
            vpin,
            count.range,
            rule,
            bid,
            ask,
            tick_by_tick,
        )
        self.recent.append(trade)
        return trade
