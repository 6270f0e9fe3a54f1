"""Everything analytics folds for one symbol: takes market events in order, keeps the parts' states, and is its own checkpoint.

Sequence rule: an event at or under the newest number was seen or comes late: counted, ignored. A jump, a gap event, or a lower
number received later (the feed was started anew) breaks continuity: what compares neighbours starts anew; VPIN's buckets, which
only count volume, stand and the break is counted. A gap of the depth alone ends only what the book feeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from alphatrader.contract.messages.market import (
    Bar,
    BarEvent,
    BookEvent,
    GapEvent,
    Level,
    MakersEvent,
    MarketEvent,
    QuoteEvent,
    StatusEvent,
    Trade,
)
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.adverse import Adverse
from alphatrader.core.analytics.flow import FlowWindow
from alphatrader.core.analytics.imbalance import Ofi, Smoothed
from alphatrader.core.analytics.minutes import MINUTE_NS, Minutes
from alphatrader.core.analytics.regime import Regime
from alphatrader.core.analytics.sweep import SweepDetector
from alphatrader.core.analytics.vol_state import VolState
from alphatrader.core.analytics.vpin import Vpin
from alphatrader.core.market.hedging import REACH_SECONDS, Hedging
from alphatrader.core.market.hidden_prints import HiddenDetector
from alphatrader.core.market.icebergs import IcebergDetector
from alphatrader.core.market.makers import MakerInterest
from alphatrader.core.market.quotes import MOST_PRICE, MOST_SIZE
from alphatrader.core.market.venues import OFF_EXCHANGE

VERSION: Final = 14
"""Of the checkpoint: another one is not read."""
SMOOTHING_NS: Final = 20_000_000_000
MAX_CLOCK_DIFFERENCE_NS: Final = 3_600_000_000_000
"""A print stamped farther than this from its reception carries no time at all."""
_QUOTE_SOURCE_NS: Final = 5_000_000_000


class BookNow(msgspec.Struct):
    """The newest book, as far as it is known."""

    ready: bool
    source: str
    received_ns: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class SymbolState(msgspec.Struct):
    symbol: str
    vpin: Vpin
    flow: FlowWindow
    ofi: Ofi
    obi: Smoothed
    sweeps: SweepDetector
    hidden: HiddenDetector
    icebergs: IcebergDetector
    minutes: Minutes
    regime: Regime
    adverse: Adverse
    vol_state: VolState
    makers: MakerInterest
    names: dict[str, str]
    """MPIDs that count as market makers, and their firms."""
    hedging: Hedging
    book: BookNow | None = None
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    quote_ns: int | None = None
    """Reception of the newest best quote."""
    last_price: float | None = None
    trade_ns: int | None = None
    venue_ns: int | None = None
    """Reception of the newest print that named its venue."""
    received_ns: int | None = None
    """Reception of the newest event of any kind."""
    tick_by_tick: bool | None = None
    """Whether the newest print came over a tick-by-tick line; None before the first."""
    seq: int | None = None
    halted: bool | None = None
    opened_ns: int | None = None
    """When the session of the newest event opened; None before the first event of a session."""
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    """What was left out, and what broke the feed, by reason."""

    @property
    def mid(self) -> float | None:
        if self.bid is None or self.ask is None or self.ask < self.bid:
            return None
        return (self.bid + self.ask) / 2

    @property
    def spot(self) -> float | None:
        return self.mid if self.mid is not None else self.last_price

    def note(self, what: str, n: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + n

    def apply(self, event: MarketEvent, session: tuple[int, int] | None) -> bool:
        """Fold one event; `session` is (open, close) of today, None on a day without one. False where it was refused."""
        if not self._in_order(event):
            return False
        if session is not None:
            self.opened_ns = session[0]
        match event:
            case Trade():
                self._trade(event, session)
            case QuoteEvent():
                self._quote(event)
            case BookEvent():
                self._book(event)
            case MakersEvent():
                self.makers.fold(event, self.names)
            case StatusEvent():
                self._status(event.halted)
            case GapEvent(depth_only=True):
                self._break_depth()
            case GapEvent():
                self._break("gaps announced")
            case BarEvent():
                pass  # bars are folded from prints; the broker's own serve the warm-up
        return True

    def _in_order(self, event: MarketEvent) -> bool:
        seq, received = event.seq, getattr(event, "received_ns", None)
        if self.seq is not None and seq != self.seq + 1 and not self._goes_on(event, received):
            return False
        self.seq = seq
        if received is not None:
            if self.adverse.due(received):
                self.adverse.advance(received, self.mid)
            if self.received_ns is None or received > self.received_ns:
                self.received_ns = received
        return True

    def _goes_on(self, event: MarketEvent, received: int | None) -> bool:
        """An event that is not the next one: False where it is an old one, told again or late."""
        if isinstance(event, GapEvent) and not event.depth_only:
            return True  # it says itself that something is missing
        if event.seq > (self.seq or 0):
            self._break("sequence gaps")
        elif received is not None and self.received_ns is not None and received > self.received_ns:
            self._break("feed restarts")
        else:
            self.note("duplicate or late events ignored")
            return False
        return True

    def _status(self, halted: bool | None) -> None:
        """What stood before a halt is not compared with what stands in it, nor that with what opens: skipped, as a book's reset
        is (sources.md §2). Windows of prints and VPIN's buckets hold what traded, and stand."""
        if halted is not self.halted and (halted or self.halted):
            self.note("halts" if halted else "ends of halts")
            self.ofi.previous = None
            self.adverse.reset()
            self.hidden.break_quotes()
            self.icebergs.reset()
        self.halted = halted

    def _break(self, reason: str) -> None:
        """What compares neighbours starts anew; a window of flow with a hole in it is no window."""
        self.note(reason)
        self.ofi.reset()
        self.flow.reset()
        self.sweeps.reset()
        self.adverse.reset()
        self.hidden.break_quotes()
        self.icebergs.reset()
        self.makers.reset(reason)
        self.hedging.reset(reason)
        self.book = None
        self.bid = self.ask = self.bid_size = self.ask_size = self.quote_ns = None

    def _break_depth(self) -> None:
        """The book starts anew, and what was folded from it; prints and quotes have no hole."""
        self.note("depth gaps announced")
        self.book = None
        self.icebergs.reset()
        if not self._quote_leads(self.received_ns or 0):
            self.ofi.reset()
            self.bid = self.ask = self.bid_size = self.ask_size = self.quote_ns = None

    def _quote_leads(self, received_ns: int) -> bool:
        """Whether the best quote has its own feed: two feeds in one order-flow imbalance would count each change twice."""
        return self.quote_ns is not None and received_ns - self.quote_ns <= _QUOTE_SOURCE_NS

    def _trade(self, trade: Trade, session: tuple[int, int] | None) -> None:
        ts_ns, received_ns, price, size, side, venue = (
            trade.ts_ns, trade.received_ns, trade.price, trade.size, trade.side, trade.venue
        )  # fmt: skip
        if not -MAX_CLOCK_DIFFERENCE_NS <= ts_ns - received_ns <= MAX_CLOCK_DIFFERENCE_NS:
            self.note("prints with an impossible time refused")
            return
        if not (0 < price < MOST_PRICE and 0 < size < MOST_SIZE):
            self.note("prints of no price or no size refused")
            return
        self.trade_ns, self.tick_by_tick = received_ns, trade.tick_by_tick
        if session is None or not session[0] <= ts_ns < session[1]:
            self.note("prints outside regular hours ignored")
            return
        if venue:
            self.venue_ns = received_ns
        if trade.counts_for_last:
            self.last_price = price
            if ts_ns - received_ns > MINUTE_NS:  # it would open a minute that is not yet, and end the present one
                self.note("prints stamped ahead left out of the minutes")
            elif not self.minutes.add_print(ts_ns, price):
                self.note("prints of a minute that was over left out of the minutes")
        if not trade.counts_for_vpin:
            return
        self.vpin.add(ts_ns, round(size), side)
        self.flow.add(received_ns, size, side)
        self.sweeps.add(received_ns, price, size, venue, side, trade.conditions)
        bid, ask = trade.bid, trade.ask
        if bid is None or ask is None:
            bid, ask = self.bid, self.ask
        self.adverse.add(received_ns, price, side, bid, ask)
        if bid is not None and ask is not None:
            self.hidden.add(received_ns, price, size, venue, side, bid, ask, ts_ns=ts_ns)
        if venue and venue not in OFF_EXCHANGE:
            self.icebergs.fill(received_ns, price, size, side, venue)

    def _quote(self, quote: QuoteEvent) -> None:
        bid, ask, bid_size, ask_size = quote.bid, quote.ask, quote.bid_size, quote.ask_size
        no_price = (bid is not None and not 0 < bid < MOST_PRICE) or (ask is not None and not 0 < ask < MOST_PRICE)
        if no_price or not (0 <= (bid_size or 0.0) < MOST_SIZE and 0 <= (ask_size or 0.0) < MOST_SIZE):
            self.note("quotes of no price refused" if no_price else "quotes of no size refused")
            bid = ask = bid_size = ask_size = None
        self.quote_ns = quote.received_ns
        self.bid, self.ask, self.bid_size, self.ask_size = bid, ask, bid_size, ask_size
        if bid is None or ask is None or bid_size is None or ask_size is None:
            self.ofi.reset()  # what stands after it is not to be compared with what stood before
            return
        self.ofi.add(quote.received_ns, bid, bid_size, ask, ask_size)
        self.hidden.quote(quote.received_ns, bid, ask)
        if ask >= bid:
            self.minutes.add_price(quote.received_ns, (bid + ask) / 2)

    def _book(self, book: BookEvent) -> None:
        bids, asks = _sizes(book.bids), _sizes(book.asks)
        if bids is None or asks is None:
            self.note("books of no price refused")
            book, bids, asks = replace(book, ready=False, bids=(), asks=(), reason="a level has no price or no size"), [], []
        self.book = BookNow(book.ready, book.source, book.received_ns, bids, asks)
        if book.ready and book.source == "depth":  # a quote names no venue's size
            self.icebergs.book(book.received_ns, book.bids, book.asks)
        else:
            self.icebergs.reset()
        if self._quote_leads(book.received_ns):
            return
        bid = book.bids[0] if book.ready and book.bids else None
        ask = book.asks[0] if book.ready and book.asks else None
        self.bid, self.bid_size = (bid.price, bid.size) if bid else (None, None)  # an older best is not the best of this book
        self.ask, self.ask_size = (ask.price, ask.size) if ask else (None, None)
        if bid is None or ask is None:
            self.ofi.reset()
            return
        self.ofi.add(book.received_ns, bid.price, bid.size, ask.price, ask.size)
        self.hidden.quote(book.received_ns, bid.price, ask.price)
        if ask.price >= bid.price:
            self.minutes.add_price(book.received_ns, (bid.price + ask.price) / 2)

    def book_levels(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]], str] | None:
        """(bids, asks, source) to measure on: the book, else the best quote as a book of one level; None without either."""
        if self.book is not None and self.book.ready and (self.book.bids or self.book.asks):
            return self.book.bids, self.book.asks, self.book.source
        if self.bid is None and self.ask is None:
            return None
        bids = [(self.bid, self.bid_size)] if self.bid is not None and self.bid_size else []
        asks = [(self.ask, self.ask_size)] if self.ask is not None and self.ask_size else []
        return (bids, asks, "quote") if bids or asks else None

    def warm_up(self, bars: Sequence[Bar]) -> int:
        """Fill what is missing from historical minutes; returns how many VPIN buckets came of it."""
        if not self.minutes.warmed and self.minutes.warm_up(bars):
            self.vol_state.forget()  # a hole that is filled moves every window after it
        return self.vpin.warm_up(bars) if not self.vpin.warmed else 0


def _sizes(levels: Sequence[Level]) -> list[tuple[float, float]] | None:
    """(price, size) of each level; None where one has no price or no size."""
    found = [(level.price, level.size) for level in levels]
    for price, size in found:
        if not (0 < price < MOST_PRICE and 0 <= size < MOST_SIZE):
            return None
    return found


def fresh(symbol: str, settings: Analytics) -> SymbolState:
    return SymbolState(
        symbol=symbol,
        vpin=Vpin(settings.vpin_buckets),
        flow=FlowWindow(REACH_SECONDS),
        ofi=Ofi(int(settings.ofi_window_seconds * 1e9)),
        obi=Smoothed(SMOOTHING_NS),
        sweeps=SweepDetector(settings.sweep_window_ms * 1_000_000, settings.sweep_percentile),
        hidden=HiddenDetector(),
        icebergs=IcebergDetector(),
        minutes=Minutes(),
        regime=Regime(),
        adverse=Adverse(),
        vol_state=VolState(),
        makers=MakerInterest(),
        names=dict(settings.market_makers),
        hedging=Hedging(),
    )


def checkpoint(state: SymbolState) -> dict[str, Any]:
    """The state as plain data."""
    plain: dict[str, Any] = msgspec.to_builtins(state)
    return plain


def restored(plain: dict[str, Any], version: int, settings: Analytics) -> SymbolState | None:
    """The state a checkpoint holds; None where it is of another version or of other settings (then start afresh)."""
    if version != VERSION:
        return None
    try:
        state = msgspec.convert(plain, SymbolState)
    except msgspec.ValidationError:
        return None
    mine = fresh(state.symbol, settings)
    state.sweeps.percentile, state.names = mine.sweeps.percentile, mine.names
    same = state.vpin.buckets == mine.vpin.buckets and state.ofi.window_ns == mine.ofi.window_ns
    return state if same and state.sweeps.window_ns == mine.sweeps.window_ns else None
