"""Everything known of one instrument: the broker's handlers call it, the stream takes its events and its messages.

A feed numbers its events without a gap; a gap in the broker's data is an event of its own. It is alive while messages come; a
book or a price that may be old is never shown as new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from alphatrader.contract.messages import market as m
from alphatrader.core.market.auctions import LISTED_ON, UTP_LISTS
from alphatrader.core.market.bars import BarFold, told
from alphatrader.core.market.book import BookError
from alphatrader.core.market.conflation import Conflation
from alphatrader.core.market.depth_line import DepthLine
from alphatrader.core.market.feed_book import FeedBook
from alphatrader.core.market.futures import BELOW_ZERO
from alphatrader.core.market.maker_book import MakerBook
from alphatrader.core.market.quotes import HALTED_TICK, RT_VOLUME_TICK, BadTickError, QuoteFold, checked_time
from alphatrader.core.market.standing import FeedStands
from alphatrader.core.market.status import Hours, HoursNow, InstrumentStatus, MarketWide, TradeDate
from alphatrader.core.market.tape import Raw, Tape
from alphatrader.core.market.tick_line import TickLine

CONFLATE_SECONDS: Final = 0.05
"""Books and quotes of a symbol become an event at most this often; prints always."""
SECOND_NS: Final = 1_000_000_000


class SymbolFeed:
    def __init__(
        self,
        symbol: str,
        *,
        full: bool,
        depth_rows: int,
        quiet_seconds: float,
        market_ns: Callable[[], int],
        monotonic: Callable[[], float],
        seq: int = 0,
        equity: bool = True,
        session: Callable[[int], Hours | None] | None = None,
        market_wide: MarketWide | None = None,
        spoken: list[SymbolFeed] | None = None,
    ) -> None:
        """`session` gives the hours that a market instant belongs to; without it every instant is in regular hours.
        `spoken` takes this feed with its first message of a read: who ends reads need not ask every feed."""
        self.symbol = symbol
        self.full = full
        self.quiet_seconds = quiet_seconds
        self.seq = seq
        self.gaps = 0
        self.heard: float | None = None
        """Monotonic seconds of the newest message; None before the first and after the link was lost."""
        self.changed: set[str] = set()
        """Which of the state keys differ from what was last taken: book, trades, last, bars, status, history."""
        self.refused: Counter[str] = Counter()
        self.last_refusal: str | None = None
        self.ticks = TickLine()
        self.bars = BarFold()
        self._market_ns, self._monotonic = market_ns, monotonic
        self._equity = equity
        self._quote = QuoteFold()
        self._hours, self._trade_date = HoursNow(session), TradeDate(session)
        self._depth = DepthLine(depth_rows, quiet_seconds)
        self.makers = MakerBook(depth_rows, market_ns, monotonic)
        self._tape = Tape(cta=LISTED_ON.get(symbol) != UTP_LISTS, below_zero=not equity and symbol in BELOW_ZERO)
        self._status = InstrumentStatus(symbol, market_wide or MarketWide(), equity=equity)
        halts = self._status.halts
        self._book = FeedBook(symbol, self._depth, self._quote, self._hours, halts, market_ns, equity=equity)
        self._before: tuple[float | None, float | None] = (None, None)
        self._received_ns = self._folded_ns = 0
        self._published = (0, 0)
        """(reception, when it was first published)."""
        self._events: list[m.MarketEvent] = []
        self._spoken_to, self._spoken = False, spoken
        """Whether a message came since the last end of a read."""
        self.books, self.quotes = Conflation(CONFLATE_SECONDS), Conflation(CONFLATE_SECONDS)

    @property
    def depth_broken(self) -> str | None:
        """Why depth must be subscribed anew."""
        return self._depth.broken

    @property
    def bars_different(self) -> int:
        return self._tape.check.different

    # -- what the broker's handlers call ---------------------------------------------------------------------------------

    def tick_price(self, tick: int, price: float, size: float | None) -> None:
        try:
            name = self._quote.price(tick, price, size)
        except BadTickError as error:
            self._refuse("price tick", error)
            return
        self._quoted(name)

    def tick_size(self, tick: int, size: float) -> None:
        try:
            name = self._quote.size(tick, size)
        except BadTickError as error:
            self._refuse("size tick", error)
            return
        self._quoted(name)

    def _quoted(self, name: str | None) -> None:
        self._hear()
        if name is None:
            return
        if name.endswith("imbalance") or name.startswith("auction"):
            self._status.tell_auction(name, self._received_ns)
            self.changed.add("status")
            return
        self.changed.add("last")
        if name == "last" and not self.full and self._quote.last is not None:  # an index has no prints
            self._priced(self._quote.last, self._hours.at(self._received_ns))
        if name in ("bid", "ask", "bid_size", "ask_size"):
            self.quotes.changes += 1
            if not self._depth.on:
                self.books.changes += 1

    def tick_generic(self, tick: int, value: float) -> None:
        self._hear()
        if tick != HALTED_TICK:
            return
        now = self._market_ns()
        if not self._status.tell_halt(value, now, self._hours.at(now)):
            return
        halts = self._status.halts
        self.changed.add("status")
        self._emit(m.StatusEvent(self._next(), now, halts.halted, halts.code, halts.state(now)))

    def tick_text(self, tick: int, text: str) -> None:
        self._hear()
        if tick != RT_VOLUME_TICK or not self.full:
            return
        if self.ticks.on:
            self.ticks.pass_over()
            return
        try:
            price, size, ms, *_ = text.split(";")
            self._print(Raw(int(ms) * 1_000_000, float(price), float(size), "", "", False, False))
        except ValueError as error:
            self._refuse("RTVolume", error)

    def depth(self, operation: int, position: int, side: int, price: float, size: float, venue: str, market_maker: str) -> None:
        line = self._depth
        now = self._hear()
        if not line.on or line.broken:
            return
        try:
            line.apply(operation, position, side, price, size, venue, market_maker, now)
        except BookError as error:
            self._refuse("depth", error)
        self._book.depth_ns = self._received_ns
        self.books.changes += 1

    def trade(
        self, seconds: int, price: float, size: float, past_limit: bool, unreported: bool, venue: str, conditions: str
    ) -> None:
        """A tick-by-tick print."""
        self._hear()
        self.ticks.heard()
        if not self.ticks.on:
            return
        try:
            self._print(Raw(seconds * SECOND_NS, price, size, venue, conditions, past_limit, unreported))
        except BadTickError as error:
            self._refuse("print", error)

    def bar(
        self, seconds: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int
    ) -> None:
        self._hear()
        try:
            checked_time("bar", seconds * SECOND_NS, self._received_ns)
            bar = told(seconds * SECOND_NS, open_, high, low, close, volume, wap, count)
        except BadTickError as error:
            self._refuse("bar", error)
            return
        if self.bars.recent and bar.ts_ns <= self.bars.recent[-1].ts_ns:
            return  # told before: the broker repeats the newest bar after a resubscription
        if (difference := self._tape.check.compare(bar)) is not None:
            self.last_refusal = f"{self.symbol} bar: {difference}"
        if self.bars.add(bar):
            self.changed.add("history")
        self.changed.add("bars")
        self._emit(m.BarEvent(self._next(), bar))

    def option(self, *_: object, **__: object) -> None:
        """Nothing an underlying's line carries."""

    def min_tick(self, tick: float) -> None:
        """Known from the contract."""

    # -- what the stream says --------------------------------------------------------------------------------------------

    def end_of_read(self) -> None:
        """Everything of one network read is in: the quote before the next print is the one that stands now."""
        if not self._spoken_to:
            return
        self._spoken_to = False
        self._before = self._depth.best(self.heard) or (self._quote.bid, self._quote.ask)
        self._folded_ns = self._market_ns()

    def gap(self, reason: str, *, depth_only: bool = False) -> None:
        """Data were lost: what is folded from them starts anew."""
        self.gaps += 1
        self._depth.clear()
        self.books.changes += 1
        if not depth_only:
            self.heard = None
            if self.makers.on:
                self.makers.lose(reason)
            self._quote.clear()
            self._before = (None, None)
            self._tape.broken()
            self._status.halts.forget()
            self.bars.broken()
            self.changed.update(("last", "status"))
        self._emit(m.GapEvent(self._next(), self._market_ns(), reason, depth_only))

    def break_depth(self, reason: str) -> None:
        """The depth cannot be relied on any more: it is to be subscribed anew."""
        self._book.break_line(reason)

    def number_from(self, seq: int) -> None:
        """Go on numbering after this."""
        self.seq = max(self.seq, seq)

    def silenced(self) -> None:
        """The link is down, nothing is lost yet: nothing of this is to be renewed until messages come again."""
        self.heard = None

    def set_depth(self, on: bool) -> None:
        if on != self._depth.on:
            self._depth.on = on
            self.changed.add("status")
            self.gap("depth subscribed" if on else "depth given up", depth_only=True)

    def break_makers(self, reason: str) -> None:
        """The makers' own book cannot be relied on any more: it is to be subscribed anew."""
        self.makers.broken = reason

    def lose_makers(self, reason: str) -> None:
        """The makers' own book starts anew."""
        self.makers.lose(reason)

    def set_makers(self, on: bool) -> None:
        self.makers.switch(on)

    def set_ticks(self, on: bool) -> None:
        if on != self.ticks.on:
            self._tape.check.broken()  # the two sources count odd lots and off-exchange prints differently
            self.changed.add("status")
        self.ticks.switch(on)

    def alive(self, now: float) -> bool:
        return self.heard is not None and now - self.heard <= self.quiet_seconds

    # -- checkpoints ------------------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether it is between turns: everything read is folded and told."""
        return not self._spoken_to and not self._events

    def standing(self) -> FeedStands:
        """Of a settled feed."""
        return FeedStands(
            seq=self.seq,
            heard=self.heard,
            received_ns=self._received_ns,
            book_ns=self._book.depth_ns,
            before=self._before,
            book_event_at=self.books.told_at,
            quote_event_at=self.quotes.told_at,
            book_dirty=self.books.changes,
            quote_dirty=self.quotes.changes,
            quote=self._quote.standing(),
            hours=self._hours.standing(),
            depth=self._depth.standing(),
            ticks=self.ticks.standing(),
            makers=self.makers.standing(),
            tape=self._tape.standing(),
            halts=self._status.halts.standing(),
            newest_bar=self.bars.standing(),
        )

    def stand_as(self, was: FeedStands) -> None:
        """Makes a new feed of the same instrument and settings go on from where that one stood."""
        self.seq, self.heard = was.seq, was.heard
        self._received_ns, self._book.depth_ns, self._before = was.received_ns, was.book_ns, was.before
        self.books.told_at, self.quotes.told_at = was.book_event_at, was.quote_event_at
        self.books.changes, self.quotes.changes = was.book_dirty, was.quote_dirty
        self._quote.stand_as(was.quote)
        self._hours.stand_as(was.hours)
        self._depth.stand_as(was.depth)
        self.ticks.stand_as(was.ticks)
        self.makers.stand_as(was.makers)
        self._tape.stand_as(was.tape)
        self._status.halts.stand_as(was.halts)
        self.bars.stand_as(was.newest_bar)

    # -- what the stream takes: `ts_ns` of a state is when its newest message came, however often it is renewed ------------

    @property
    def stirs(self) -> bool:
        """Whether there is anything to take, now or when its turn has come."""
        return bool(self._events or self.changed or self.books.changes or self.quotes.changes or self.makers.conflation.changes)

    @property
    def holds_back(self) -> bool:
        """Whether an event waits until its turn has come."""
        return self.full and bool(self.books.changes or self.quotes.changes or self.makers.conflation.changes)

    def take_events(self, now: float) -> list[m.MarketEvent]:
        """Events since the last call, in order; the newest book and quote among them when their turn has come."""
        if self.full and self.quotes.due(now):
            self.quotes.take(now)
            q = self._quote
            self._emit(m.QuoteEvent(self._next(), self._market_ns(), self._received_ns, q.bid, q.bid_size, q.ask, q.ask_size))
        if self.full and self.books.due(now):
            self.changed.add("book")
            unseen = self.books.take(now)
            seq, received = self._next(), self._received_ns or self._market_ns()
            b = self.book(now)
            self._emit(m.BookEvent(seq, b.ts_ns, received, b.ready, b.bids, b.asks, b.crc32, unseen, b.source, b.nbbo, b.reason))
        if self.full and self.makers.conflation.due(now):
            self._emit(self.makers.event(self._next(), now))
        events, self._events = self._events, []
        return events

    def book(self, now: float) -> m.Book:
        """The book as it stands; not ready, with the reason, where it cannot be relied on."""
        return self._book.at(now, self.seq, self.books.changes, self.heard, self._received_ns)

    def last(self) -> m.Last:
        return self._quote.message(self.symbol, self._received_ns, self.seq, self._tape.day.message() if self.full else None)

    def trades(self) -> m.RecentTrades:
        return m.RecentTrades(self.symbol, self._received_ns, tuple(self._tape.recent))

    def five_second_bars(self) -> m.Bars:
        check = self._tape.check
        recent = tuple(self.bars.recent)
        return m.Bars(self.symbol, self._received_ns, 5, recent, check.reconciled, check.different, check.difference)

    def history(self) -> m.Bars:
        return m.Bars(self.symbol, self._market_ns(), 60, tuple(self.bars.minutes))

    def timestamps(self) -> m.Timestamps:
        now = self._market_ns()
        if self._published[0] != self._received_ns:
            self._published = (self._received_ns, now)
        received, published = self._published
        stages = self._tape.stages
        return m.Timestamps(
            symbol=self.symbol,
            ts_ns=now,
            seq=self.seq,
            exchange_ns=stages.exchange_ns,
            received_ns=received,
            published_ns=published,
            gaps=self.gaps,
            folded_ns=self._folded_ns or None,
            offset_ns=stages.offset_ns,
            violations=stages.violations,
            conflated_books=self.books.unseen,
            conflated_quotes=self.quotes.unseen,
        )

    def status(self) -> m.Status:
        market_ns = self._market_ns()
        depth, reason = self._book.depth(self._monotonic())
        return self._status.message(
            self._received_ns,
            market_ns,
            self._hours.at(market_ns),
            self._quote,
            depth=depth,
            depth_reason=reason,
            prints="tick_by_tick" if self.ticks.on else "quote_line" if self.full else "none",
        )

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _hear(self) -> float:
        """A message came now; returns when, monotonic."""
        if not self._spoken_to:
            self._spoken_to = True
            if self._spoken is not None:
                self._spoken.append(self)
        self.heard = now = self._monotonic()
        self._received_ns = self._market_ns()
        return now

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _emit(self, event: m.MarketEvent) -> None:
        if self.full:
            self._events.append(event)

    def _refuse(self, what: str, error: ValueError) -> None:
        self.refused[what] += 1
        self.last_refusal = f"{self.symbol} {what}: {error}"

    def _priced(self, price: float, hours: Hours | None) -> None:
        self._status.printed(self._received_ns, price, self._quote.prev_close, hours, self._before)

    def _print(self, raw: Raw) -> None:
        tape, received_ns = self._tape, self._received_ns
        hours = self._hours.at(received_ns)
        if self._equity:
            session = hours.name if hours else ""
            after_hours = hours is not None and not hours.open_ns <= received_ns < hours.close_ns
        else:
            session, after_hours = self._trade_date.at(received_ns), False
        trade = tape.add(
            raw, self.seq + 1, received_ns, session, self._before, tick_by_tick=self.ticks.on, after_hours=after_hours
        )
        if trade is None:
            return
        self.seq += 1
        if tape.unknown_conditions:
            unknown, tape.unknown_conditions = tape.unknown_conditions, Counter()
            self.refused["unknown sale condition"] += 1
            self.last_refusal = f"{self.symbol}: sale condition {' '.join(unknown)[:40]} is in no table; counted as volume only"
        if trade.counts_for_last:
            self._priced(raw.price, hours)
        self.changed.add("trades")
        if self.full:
            self._events.append(trade)
