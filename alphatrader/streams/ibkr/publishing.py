"""What goes out: events as they came, state keys when they changed, and all of them renewed while their feed lives.

Used by `IBKRIngestion`, which owns the feeds. Writes `market:{symbol}:*`, `events:market:{symbol}` and `quotes:{con_id}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import MarketEvent
from alphatrader.contract.settings.market import Market
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.runtime.batch import Batch

TURN_SECONDS: Final = 0.05


class Publisher:
    """After a read only those feeds are asked that it spoke to, and those that hold something back; all of them between reads."""

    def __init__(
        self,
        market: Market,
        feeds: Mapping[str, SymbolFeed],
        spoken: list[SymbolFeed],
        options: Mapping[str, OptionFeed],
        stirred: list[OptionFeed],
    ) -> None:
        """`spoken`: where the feeds put themselves with their first message of a read; `stirred`: where options do whose quote
        changed."""
        self._market = market
        self._feeds, self._spoken = feeds, spoken
        self._options, self._stirred = options, stirred
        self._renew_at: dict[str, float] = {}
        self._renew_quotes_at = -math.inf
        self._shown_at: dict[str, float] = {}
        self._streams = {symbol: k.EVENTS_MARKET.at(symbol=symbol) for symbol in feeds}
        self._awaited: dict[str, SymbolFeed] = {}
        """Who may have an event at the next end of a read."""
        self._unshown: dict[str, SymbolFeed] = {}
        """Whose state keys differ from what was last written."""
        self._show_at = math.inf
        """When the first of them may be written: no turn before that asks any of them."""

    def go_on(self) -> None:
        """The feeds stand as they did somewhere else."""
        self._awaited = {feed.symbol: feed for feed in self._feeds.values() if feed.holds_back}

    def end_read(self) -> None:
        """Everything of one network read is in."""
        for feed in self._spoken:
            feed.end_of_read()
            self._awaited[feed.symbol] = feed
        self._spoken.clear()

    def events(self, now: float, *, after_read: bool) -> Iterator[tuple[SymbolFeed, list[MarketEvent]]]:
        """What each feed tells in this turn; `now` is monotonic seconds."""
        for feed in tuple(self._awaited.values()) if after_read else self._feeds.values():
            if feed.stirs:
                yield feed, feed.take_events(now)
            if feed.holds_back:
                self._awaited[feed.symbol] = feed
            else:
                self._awaited.pop(feed.symbol, None)

    def add_to(self, batch: Batch, now: float, *, after_read: bool) -> None:
        """One turn; `now` is monotonic seconds."""
        unshown = self._unshown
        for feed, events in self.events(now, after_read=after_read):
            stream = self._streams[feed.symbol]
            for event in events:
                batch.append(stream, event)
            if feed.changed and feed.symbol not in unshown:
                unshown[feed.symbol] = feed
                self._show_at = min(self._show_at, self._due(feed))
        if not after_read:
            self._renew(batch, now)
        if now >= self._show_at:
            for feed in tuple(unshown.values()):
                self._show(batch, feed, now, renew=False)
                if not feed.changed or feed.symbol not in self._shown_at:
                    del unshown[feed.symbol]  # one that is silent comes back with its next message
            self._show_at = min(map(self._due, unshown.values()), default=math.inf)
        for option in self._stirred:
            if option.dirty:  # not renewed just now
                self._quote(batch, option, now)
        self._stirred.clear()

    def _renew(self, batch: Batch, now: float) -> None:
        """All keys of those whose time has come. Each has its own, and none is renewed while a read waits to be told: all of them
        at once would hold up what is read meanwhile."""
        every = self._market.renew_seconds
        for place, feed in enumerate(self._feeds.values()):
            due = self._renew_at.setdefault(feed.symbol, now + every * place / len(self._feeds))
            if now >= due:
                self._renew_at[feed.symbol] = max(due, now - every) + every
                self._show(batch, feed, now, renew=True)
                self._unshown.pop(feed.symbol, None)
        if now >= self._renew_quotes_at:
            self._renew_quotes_at = now + every
            for option in self._options.values():
                self._quote(batch, option, now)

    def _quote(self, batch: Batch, option: OptionFeed, now: float) -> None:
        option.dirty = False
        if option.alive(now, self._market.quiet_seconds):
            batch.put(k.QUOTES.at(con_id=option.con_id), option.message())

    def _due(self, feed: SymbolFeed) -> float:
        """When its state keys may be written again."""
        return self._shown_at.get(feed.symbol, -math.inf) + TURN_SECONDS

    def _show(self, batch: Batch, feed: SymbolFeed, now: float, *, renew: bool) -> None:
        if not feed.alive(now):
            self._shown_at.pop(feed.symbol, None)
            return
        shown_at = self._shown_at.get(feed.symbol)
        everything = renew or shown_at is None
        if not everything and (not feed.changed or (shown_at is not None and now - shown_at < TURN_SECONDS)):
            return
        self._shown_at[feed.symbol] = now
        changed, feed.changed = feed.changed, set()
        symbol = feed.symbol
        if everything or "last" in changed:
            batch.put(k.MARKET_LAST.at(symbol=symbol), feed.last())
        if feed.full:
            if everything or "book" in changed:
                batch.put(k.MARKET_BOOK.at(symbol=symbol), feed.book(now))
            if everything or "trades" in changed:
                batch.put(k.MARKET_TRADES.at(symbol=symbol), feed.trades())
            if everything or "bars" in changed:
                batch.put(k.MARKET_BARS.at(symbol=symbol), feed.five_second_bars())
            if everything or "status" in changed:
                batch.put(k.MARKET_STATUS.at(symbol=symbol), feed.status())
            if "history" in changed:
                batch.put(k.MARKET_HISTORY.at(symbol=symbol), feed.history())
        batch.put(k.MARKET_TIMESTAMP.at(symbol=symbol), feed.timestamps())
