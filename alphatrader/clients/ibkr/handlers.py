"""Our own handlers for market-data frames, placed into `ib.client.decoder.handlers`, which is an ordinary dict.

They give the exact fields of the wire (ib_insync drops the exchange's time and folds books its own way) to the feed that asked
for them. A bad frame is refused with its field named, counted, and changes nothing. Field order: EDecoder of the TWS API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from alphatrader.clients.ibkr.wire import UNSET_DOUBLE, BadFrameError, computed, number, optional, text, whole

Fields = Sequence[str]
_SMALL: Final = {str(number): number for number in range(64)}
"""Rows, sides, operations: to look one up costs a third of reading it."""
_NO: Final = ("", "0")
_PRINTS: Final = (1, 2)
"""Kinds of tick-by-tick that are trades: Last and AllLast."""


class Feed(Protocol):
    """Who asked for data, by what it can be told."""

    def tick_price(self, tick: int, price: float, size: float | None) -> None: ...

    def tick_size(self, tick: int, size: float) -> None: ...

    def tick_generic(self, tick: int, value: float) -> None: ...

    def tick_text(self, tick: int, text: str) -> None: ...

    def option(
        self,
        tick: int,
        implied_vol: float | None,
        delta: float | None,
        gamma: float | None,
        vega: float | None,
        theta: float | None,
        under_price: float | None,
    ) -> None: ...

    def min_tick(self, tick: float) -> None: ...

    def depth(
        self, operation: int, position: int, side: int, price: float, size: float, venue: str, market_maker: str
    ) -> None: ...

    def trade(
        self, seconds: int, price: float, size: float, past_limit: bool, unreported: bool, venue: str, conditions: str
    ) -> None: ...

    def bar(
        self, seconds: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int
    ) -> None: ...


class Line(Protocol):
    """One subscription as the handlers see it."""

    feed: Feed
    fresh: bool
    """Set with each message of data: whoever looks at it clears it, and so knows when data came last."""


class Handlers:
    """`lines` is the live table of subscriptions by request id; frames of others (cancelled ones) are passed over."""

    def __init__(self, lines: Mapping[int, Line], refuse: Callable[[str], None]) -> None:
        self._lines = lines
        self._refuse = refuse
        self.handled = 0
        """Frames taken: where in a read something happened."""

    def install(self, handlers: dict[int, Any]) -> None:
        ours: dict[int, Callable[[Fields], None]] = {
            1: self._price,
            2: self._size,
            12: self._depth,
            21: self._option,
            45: self._generic,
            46: self._text,
            50: self._bar,
            58: self._data_type,
            81: self._parameters,
        }
        for number_, handler in ours.items():
            handlers[number_] = self._guarded(handler)
        handlers[13], handlers[99] = self._depth_attributed, self._tick_by_tick

    def _guarded(self, handler: Callable[[Fields], None]) -> Callable[[Fields], None]:
        def guarded(fields: Fields) -> None:
            self.handled += 1
            self._judged(handler, fields)

        return guarded

    def _judged(self, handler: Callable[[Fields], None], fields: Fields) -> None:
        try:
            handler(fields)
        except BadFrameError as error:
            self._refuse(f"message {fields[0]}: {error}")

    def _feed(self, fields: Fields, index: int) -> Feed | None:
        """The feed that a message of data is for."""
        line = self._lines.get(whole(fields, index, "reqId"))
        if line is None:
            return None
        line.fresh = True
        return line.feed

    def _quiet_feed(self, fields: Fields, index: int) -> Feed | None:
        """The feed that a message about a subscription is for: such messages come without any data, too, and prove nothing."""
        line = self._lines.get(whole(fields, index, "reqId"))
        return None if line is None else line.feed

    def _price(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is not None and (price := optional(f, 4, "price")) is not None:
            feed.tick_price(whole(f, 3, "tickType"), price, optional(f, 5, "size"))

    def _size(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is not None and (size := optional(f, 4, "size")) is not None:
            feed.tick_size(whole(f, 3, "tickType"), size)

    def _generic(self, f: Fields) -> None:
        if (feed := self._quiet_feed(f, 2)) is not None:
            feed.tick_generic(whole(f, 3, "tickType"), number(f, 4, "value"))

    def _text(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is not None:
            feed.tick_text(whole(f, 3, "tickType"), text(f, 4, "value"))

    def _option(self, f: Fields) -> None:
        if (feed := self._feed(f, 1)) is None:
            return
        feed.option(
            whole(f, 2, "tickType"),
            implied_vol=computed(f, 4, "impliedVol", -1),
            delta=computed(f, 5, "delta", -2),
            gamma=computed(f, 8, "gamma", -2),
            vega=computed(f, 9, "vega", -2),
            theta=computed(f, 10, "theta", -2),
            under_price=computed(f, 11, "undPrice", -1),
        )

    def _parameters(self, f: Fields) -> None:
        if (feed := self._quiet_feed(f, 1)) is not None:
            feed.min_tick(number(f, 2, "minTick"))

    def _data_type(self, f: Fields) -> None:
        whole(f, 2, "reqId")

    def _depth(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is None:
            return
        price, size = optional(f, 6, "price") or 0.0, optional(f, 7, "size") or 0.0
        feed.depth(whole(f, 4, "operation"), whole(f, 3, "position"), whole(f, 5, "side"), price, size, "", "")

    # Nearly every frame is one of these two and whole: read at once, at a third of the cost of field by field. Any other goes
    # the long way, each field by its own rule.

    def _depth_attributed(self, f: Fields) -> None:
        self.handled += 1
        try:
            line, position, name, operation, side = self._lines.get(int(f[2])), _SMALL[f[3]], f[4], _SMALL[f[5]], _SMALL[f[6]]
            price, size, smart = float(f[7]), float(f[8]), f[9]
        except (ValueError, LookupError):
            self._judged(self._doubtful_depth, f)
            return
        if not (-UNSET_DOUBLE < price < UNSET_DOUBLE and -UNSET_DOUBLE < size < UNSET_DOUBLE):
            self._judged(self._doubtful_depth, f)
        elif line is not None:
            line.fresh = True
            # A smart row names the exchange where a direct one names the market maker.
            if smart in _NO:
                line.feed.depth(operation, position, side, price, size, "", name)
            else:
                line.feed.depth(operation, position, side, price, size, name, "")

    def _tick_by_tick(self, f: Fields) -> None:
        self.handled += 1
        try:
            line, kind, seconds, mask = self._lines.get(int(f[1])), _SMALL[f[2]], int(f[3]), _SMALL[f[6]]
            price, size, venue, conditions = float(f[4]), float(f[5]), f[7], f[8]
        except (ValueError, LookupError):
            self._judged(self._doubtful_tick, f)
            return
        if not (-UNSET_DOUBLE < price < UNSET_DOUBLE and -UNSET_DOUBLE < size < UNSET_DOUBLE):
            self._judged(self._doubtful_tick, f)
        elif line is not None:
            line.fresh = True
            if kind in _PRINTS:
                line.feed.trade(seconds, price, size, bool(mask & 1), bool(mask & 2), venue, conditions)

    def _doubtful_depth(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is None:
            return
        name, smart = text(f, 4, "marketMaker"), text(f, 9, "isSmartDepth") not in _NO
        price, size = optional(f, 7, "price") or 0.0, optional(f, 8, "size") or 0.0
        venue, maker = (name, "") if smart else ("", name)
        feed.depth(whole(f, 5, "operation"), whole(f, 3, "position"), whole(f, 6, "side"), price, size, venue, maker)

    def _doubtful_tick(self, f: Fields) -> None:
        feed = self._feed(f, 1)
        if feed is None or whole(f, 2, "tickType") not in _PRINTS:
            return
        mask = whole(f, 6, "attributes")
        feed.trade(
            whole(f, 3, "time"),
            number(f, 4, "price"),
            number(f, 5, "size"),
            past_limit=bool(mask & 1),
            unreported=bool(mask & 2),
            venue=text(f, 7, "exchange"),
            conditions=text(f, 8, "specialConditions"),
        )

    def _bar(self, f: Fields) -> None:
        if (feed := self._feed(f, 2)) is None:
            return
        feed.bar(
            whole(f, 3, "time"),
            number(f, 4, "open"),
            number(f, 5, "high"),
            number(f, 6, "low"),
            number(f, 7, "close"),
            number(f, 8, "volume"),
            number(f, 9, "wap"),
            whole(f, 10, "count"),
        )
