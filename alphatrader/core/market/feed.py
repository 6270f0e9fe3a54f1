"""Everything known of one instrument: the broker's handlers call it, the stream takes its events and its messages.

A feed numbers its events without a gap; a gap in the broker's data is an event of its own. It is alive while messages come; a
book or a price that may be old is never shown as new.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from alphatrader.contract.messages import market as m
from alphatrader.core.market.bars import BarFold
from alphatrader.core.market.book import BookError, DepthBook
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.prints import TickRule, counts, venue_name
from alphatrader.core.market.quotes import HALTED_TICK, MOST_PRICE, MOST_SIZE, RT_VOLUME_TICK, BadTickError, QuoteFold, checked

CONFLATE_SECONDS: Final = 0.05
"""Books and quotes of a symbol become an event at most this often; prints always."""
RECENT_TRADES: Final = 50
SECOND_NS: Final = 1_000_000_000
CROSSED_SECONDS: Final = 1.0
"""A book crossed this long has lost rows."""
APART_SHARE: Final = 0.01
"""A book whose middle is further than this from the quote's is not to be believed."""
MUTE_TICKS: Final = 50
"""So many prints on the quote line with none on a granted tick-by-tick line: that line is dead."""


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
    ) -> None:
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
        self.depth_on = False
        self.ticks_on = False
        """Whether prints come from a tick-by-tick line; else from the quote line."""
        self.depth_broken: str | None = None
        """Why depth must be subscribed anew."""
        self.ticks_broken = False
        self.bars = BarFold()
        self._market_ns, self._monotonic = market_ns, monotonic
        self._quote = QuoteFold()
        self._book = DepthBook(depth_rows)
        self._book_heard: float | None = None
        self._book_ns = 0
        self._crossed_since: float | None = None
        self._tick_rule = TickRule()
        self._before: tuple[float | None, float | None] = (None, None)
        self._trades: deque[m.Trade] = deque(maxlen=RECENT_TRADES)
        self._muted_prints = 0
        self._halt_code: int | None = None
        self._halted_since_ns: int | None = None
        self._exchange_ns: int | None = None
        self._received_ns = 0
        self._published = (0, 0)
        """(reception, when it was first published)."""
        self._events: list[m.MarketEvent] = []
        self._spoken_to = False
        """Whether a message came since the last end of a read."""
        self._book_event_at = self._quote_event_at = float("-inf")
        self._book_dirty = 0
        self._quote_dirty = False

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
        if name.startswith("auction"):
            self.changed.add("status")
            return
        self.changed.add("last")
        if name in ("bid", "ask", "bid_size", "ask_size"):
            self._quote_dirty = True
            if not self.depth_on:
                self._book_dirty += 1

    def tick_generic(self, tick: int, value: float) -> None:
        self._hear()
        if tick != HALTED_TICK:
            return
        code = int(value) if value in (0, 1, 2) else None
        if code == self._halt_code and "status" not in self.changed and self._halt_code is not None:
            return
        now = self._market_ns()
        self._halted_since_ns = None if code == 0 else (self._halted_since_ns or now)
        self._halt_code = code
        self.changed.add("status")
        self._emit(m.StatusEvent(self._next(), now, self._halted, code))

    def tick_text(self, tick: int, text: str) -> None:
        self._hear()
        if tick != RT_VOLUME_TICK or not self.full:
            return
        if self.ticks_on:
            self._muted_prints += 1
            if self._muted_prints >= MUTE_TICKS:
                self.ticks_broken = True
            return
        try:
            price, size, ms, *_ = text.split(";")
            self._print(float(price), float(size), int(ms) * 1_000_000, "", "", past_limit=False, unreported=False)
        except ValueError as error:
            self._refuse("RTVolume", error)

    def depth(self, operation: int, position: int, side: int, price: float, size: float, venue: str, market_maker: str) -> None:
        self._hear()
        if not self.depth_on or self.depth_broken:
            return
        try:
            self._book.apply(operation, position, side, price, size, venue_name(venue), market_maker)
        except BookError as error:
            self._refuse("depth", error)
            self.depth_broken = str(error)
            self._book.clear()
        self._book_heard, self._book_ns = self.heard, self._received_ns
        self._book_dirty += 1

    def trade(
        self, seconds: int, price: float, size: float, past_limit: bool, unreported: bool, venue: str, conditions: str
    ) -> None:
        """A tick-by-tick print."""
        self._hear()
        self._muted_prints = 0
        if not self.ticks_on:
            return
        try:
            self._print(price, size, seconds * SECOND_NS, venue, conditions, past_limit=past_limit, unreported=unreported)
        except BadTickError as error:
            self._refuse("print", error)

    def bar(
        self, seconds: int, open_: float, high: float, low: float, close: float, volume: float, wap: float, count: int
    ) -> None:
        self._hear()
        try:
            for price in (open_, high, low, close, wap):
                checked("bar price", price, MOST_PRICE)
            checked("bar volume", volume, MOST_SIZE)
        except BadTickError as error:
            self._refuse("bar", error)
            return
        bar = m.Bar(seconds * SECOND_NS, open_, high, low, close, max(0.0, volume), wap, count)
        if self.bars.recent and bar.ts_ns <= self.bars.recent[-1].ts_ns:
            return  # told before: the broker repeats the newest bar after a resubscription
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
        bid, ask = self._book.best() if self._depth_ready() else (None, None)
        self._before = (bid, ask) if bid is not None and ask is not None else (self._quote.bid, self._quote.ask)

    def gap(self, reason: str, *, depth_only: bool = False) -> None:
        """Data were lost: what is folded from them starts anew."""
        self.gaps += 1
        self._book.clear()
        self._book_heard = self._crossed_since = None
        self.depth_broken = None
        self._book_dirty += 1
        if not depth_only:
            self.heard = None
            self._quote.clear()
            self._before = (None, None)
            self._tick_rule = TickRule()
            self._halt_code = None
            self._halted_since_ns = None
            self.bars.broken()
            self.changed.update(("last", "status"))
        self._emit(m.GapEvent(self._next(), self._market_ns(), reason, depth_only))

    def silenced(self) -> None:
        """The link is down, nothing is lost yet: nothing of this is to be renewed until messages come again."""
        self.heard = None

    def set_depth(self, on: bool) -> None:
        if on != self.depth_on:
            self.depth_on = on
            self.gap("depth subscribed" if on else "depth given up", depth_only=True)

    def set_ticks(self, on: bool) -> None:
        self.ticks_on = on
        self.ticks_broken = False
        self._muted_prints = 0

    def alive(self, now: float) -> bool:
        return self.heard is not None and now - self.heard <= self.quiet_seconds

    # -- what the stream takes: `ts_ns` of a state is when its newest message came, however often it is renewed ------------

    @property
    def stirs(self) -> bool:
        """Whether there is anything to take, now or when its turn has come."""
        return bool(self._events or self.changed or self._book_dirty or self._quote_dirty)

    def take_events(self, now: float) -> list[m.MarketEvent]:
        """Events since the last call, in order; the newest book and quote among them when their turn has come."""
        if self._quote_dirty and now - self._quote_event_at >= CONFLATE_SECONDS and self.full:
            self._quote_event_at, self._quote_dirty = now, False
            q = self._quote
            self._emit(m.QuoteEvent(self._next(), self._market_ns(), self._received_ns, q.bid, q.bid_size, q.ask, q.ask_size))
        if self._book_dirty and now - self._book_event_at >= CONFLATE_SECONDS and self.full:
            self._book_event_at = now
            self.changed.add("book")
            unseen, self._book_dirty = self._book_dirty - 1, 0
            book = self.book(now)
            received = self._received_ns or self._market_ns()
            self._emit(
                m.BookEvent(self._next(), book.ts_ns, received, book.ready, book.bids, book.asks, book.crc32, unseen, book.source)
            )
        events, self._events = self._events, []
        return events

    def book(self, now: float) -> m.Book:
        """The book as it stands; not ready, with the reason, where it cannot be relied on."""
        bids, asks = self._book.levels() if self.depth_on else self._quoted_levels()
        reason = self._why_not_ready(now, bids, asks)
        return m.Book(
            symbol=self.symbol,
            ts_ns=(self._book_ns if self.depth_on else 0) or self._received_ns or self._market_ns(),
            seq=self.seq,
            ready=reason is None,
            reason=reason,
            source="depth" if self.depth_on else "quote",
            bids=bids,
            asks=asks,
            crc32=checksum(bids, asks),
        )

    def last(self) -> m.Last:
        return self._quote.message(self.symbol, self._received_ns, self.seq)

    def trades(self) -> m.RecentTrades:
        return m.RecentTrades(self.symbol, self._received_ns, tuple(self._trades))

    def five_second_bars(self) -> m.Bars:
        return m.Bars(self.symbol, self._received_ns, 5, tuple(self.bars.recent))

    def history(self) -> m.Bars:
        return m.Bars(self.symbol, self._market_ns(), 60, tuple(self.bars.minutes))

    def timestamps(self) -> m.Timestamps:
        now = self._market_ns()
        if self._published[0] != self._received_ns:
            self._published = (self._received_ns, now)
        received, published = self._published
        return m.Timestamps(self.symbol, now, self.seq, self._exchange_ns, received, published, self.gaps)

    def status(self) -> m.Status:
        q = self._quote
        return m.Status(
            symbol=self.symbol,
            ts_ns=self._received_ns,
            halted=self._halted,
            halt_code=self._halt_code,
            halted_since_ns=self._halted_since_ns if self._halted else None,
            auction_imbalance=q.auction_imbalance,
            auction_price=q.auction_price,
            auction_volume=q.auction_volume,
        )

    # -- inside ----------------------------------------------------------------------------------------------------------

    @property
    def _halted(self) -> bool | None:
        return None if self._halt_code is None else self._halt_code > 0

    def _hear(self) -> None:
        self._spoken_to = True
        self.heard = self._monotonic()
        self._received_ns = self._market_ns()

    def _next(self) -> int:
        self.seq += 1
        return self.seq

    def _emit(self, event: m.MarketEvent) -> None:
        if self.full:
            self._events.append(event)

    def _refuse(self, what: str, error: ValueError) -> None:
        self.refused[what] += 1
        self.last_refusal = f"{self.symbol} {what}: {error}"

    def _print(
        self, price: float, size: float, ts_ns: int, venue: str, conditions: str, *, past_limit: bool, unreported: bool
    ) -> None:
        checked("print price", price, MOST_PRICE)
        checked("print size", size, MOST_SIZE)
        if size < 0:
            raise BadTickError(f"print size {size} is negative")
        first = self._quote.volume is not None and self._quote.volume <= size
        count = counts(conditions, first_of_day=first, past_limit=past_limit, unreported=unreported)
        if count.unknown:
            self.refused["unknown sale condition"] += 1
            self.last_refusal = (
                f"{self.symbol}: sale condition {' '.join(count.unknown)[:40]} is in no table; counted as volume only"
            )
        bid, ask = self._before
        side = self._tick_rule.side(price, bid, ask, moves=count.vpin or count.last)
        self._exchange_ns = ts_ns
        trade = m.Trade(
            seq=self._next(),
            ts_ns=ts_ns,
            received_ns=self._received_ns,
            price=price,
            size=size,
            venue=venue_name(venue),
            conditions=conditions,
            side=side,
            counts_for_volume=count.volume,
            counts_for_last=count.last,
            counts_for_vpin=count.vpin,
        )
        self._trades.append(trade)
        self.changed.add("trades")
        self._emit(trade)

    def _quoted_levels(self) -> tuple[tuple[m.Level, ...], tuple[m.Level, ...]]:
        q = self._quote
        bids = (m.Level(q.bid, q.bid_size or 0.0),) if q.bid is not None else ()
        asks = (m.Level(q.ask, q.ask_size or 0.0),) if q.ask is not None else ()
        return bids, asks

    def _depth_ready(self) -> bool:
        return self.depth_on and not self.depth_broken and bool(self._book.bids) and bool(self._book.asks)

    def _why_not_ready(self, now: float, bids: tuple[m.Level, ...], asks: tuple[m.Level, ...]) -> str | None:
        if self.depth_on and self.depth_broken:
            return f"depth is broken: {self.depth_broken}"
        if not bids or not asks:
            return "no bid and no ask" if not bids and not asks else "no bid" if not bids else "no ask"
        if bids[0].price > asks[0].price:
            self._crossed_since = now if self._crossed_since is None else self._crossed_since
            if self.depth_on and now - self._crossed_since > CROSSED_SECONDS:
                self.depth_broken = f"crossed for {CROSSED_SECONDS:g} s"
            return f"crossed: bid {bids[0].price} over ask {asks[0].price}"
        self._crossed_since = None
        if not self.depth_on:
            return None
        if self._book_heard is None or now - self._book_heard > self.quiet_seconds:
            return f"depth is silent for over {self.quiet_seconds:g} s"
        bid, ask = self._quote.bid, self._quote.ask
        if bid is not None and ask is not None and bid > 0:
            middle, quoted = (bids[0].price + asks[0].price) / 2, (bid + ask) / 2
            if abs(middle - quoted) > APART_SHARE * quoted:
                return f"depth stands at {middle:g}, the quote at {quoted:g}"
        return None
