"""What `ibkr` says of the market: quotes, books, prints, bars, status."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from alphatrader.contract.messages import Event, Message

Price = Annotated[float, Meta(gt=-1e7, lt=1e7)]
Size = Annotated[float, Meta(ge=0, lt=1e12)]


class OptionRef(Message, frozen=True):
    """One listed option. `con_id` is None until the broker has named it."""

    symbol: str
    expiry: str
    """YYYYMMDD."""
    strike: Annotated[float, Meta(gt=0)]
    right: Literal["C", "P"]
    con_id: int | None = None
    multiplier: int = 100

    @property
    def occ(self) -> str:
        """The OCC name without padding, such as SPY261118C00660000: the field in `contracts:options`."""
        return f"{self.symbol}{self.expiry[2:]}{self.right}{round(self.strike * 1000):08d}"


class Level(Event, frozen=True, tag=False):
    price: Price
    size: Size
    venue: str = ""
    market_maker: str = ""


class Book(Message, frozen=True):
    """The level-2 book, consolidated by price, best first. A book that is not ready is never a zero book."""

    symbol: str
    ts_ns: int
    seq: int
    ready: bool
    reason: str | None
    """Why it is not ready."""
    source: Literal["depth", "quote"]
    """`depth`: a level-2 subscription; `quote`: only the best bid and ask are known."""
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    crc32: int
    """Over the top ten rows, see core/market/checksum.py."""


class Trade(Event, frozen=True):
    """One print. Also the event of the stream."""

    seq: int
    ts_ns: int
    """Exchange time where the wire carries it, else market time at reception."""
    received_ns: int
    price: Price
    size: Size
    venue: str
    conditions: str
    side: Literal["buy", "sell", "unknown"]
    """Aggressor: quote rule, then tick rule."""
    counts_for_volume: bool
    counts_for_last: bool
    counts_for_vpin: bool


class RecentTrades(Message, frozen=True):
    symbol: str
    ts_ns: int
    trades: tuple[Trade, ...]
    """Newest last, at most 50."""


class Last(Message, frozen=True):
    """The latest trade and the best quote, with the day's statistics."""

    symbol: str
    ts_ns: int
    seq: int
    bid: Price | None = None
    bid_size: Size | None = None
    ask: Price | None = None
    ask_size: Size | None = None
    last: Price | None = None
    last_size: Size | None = None
    volume: Size | None = None
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    prev_close: Price | None = None


class Bar(Event, frozen=True):
    ts_ns: int
    """Start of the bar."""
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Size
    wap: Price
    count: int


class Bars(Message, frozen=True):
    symbol: str
    ts_ns: int
    bar_seconds: int
    bars: tuple[Bar, ...]
    """Oldest first."""


class Timestamps(Message, frozen=True):
    """When the newest data of a symbol passed each stage."""

    symbol: str
    ts_ns: int
    seq: int
    exchange_ns: int | None
    received_ns: int
    published_ns: int
    """When what was received then was first published: a renewal does not move it."""
    gaps: int
    """Sequence gaps seen since the start."""


class Status(Message, frozen=True):
    """Halt and auction state."""

    symbol: str
    ts_ns: int
    halted: bool | None
    """None: unknown, which blocks trading like a halt."""
    halt_code: int | None
    halted_since_ns: int | None = None
    auction_imbalance: float | None = None
    auction_price: Price | None = None
    auction_volume: Size | None = None


class ContractQuote(Message, frozen=True):
    """The broker's quote of one contract: what orders and positions are priced from."""

    con_id: int
    symbol: str
    local_symbol: str
    sec_type: str
    ts_ns: int
    machine_ns: int
    """When the newest tick of it was received, machine time: readers judge its age by this."""
    min_tick: float
    bid: Price | None = None
    bid_size: Size | None = None
    ask: Price | None = None
    ask_size: Size | None = None
    last: Price | None = None
    implied_vol: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    under_price: Price | None = None
    expiry: str = ""
    strike: float = 0.0
    right: str = ""


class Wanted(Message, frozen=True):
    """Contracts a module asks to have quoted in `quotes:{conId}`, most urgent first."""

    contracts: tuple[OptionRef, ...]
    machine_ns: int


class BookEvent(Event, frozen=True):
    """The newest book since the last event of its symbol (conflated)."""

    seq: int
    ts_ns: int
    received_ns: int
    ready: bool
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    crc32: int
    conflated: int
    """How many books this one replaced unseen."""
    source: Literal["depth", "quote"] = "depth"


class QuoteEvent(Event, frozen=True):
    """The best bid and ask changed."""

    seq: int
    ts_ns: int
    received_ns: int
    bid: Price | None
    bid_size: Size | None
    ask: Price | None
    ask_size: Size | None


class BarEvent(Event, frozen=True):
    seq: int
    bar: Bar


class StatusEvent(Event, frozen=True):
    seq: int
    ts_ns: int
    halted: bool | None
    halt_code: int | None


class GapEvent(Event, frozen=True):
    """The feed of this symbol broke or was resubscribed: what is folded from it starts anew."""

    seq: int
    ts_ns: int
    reason: str
    depth_only: bool = False
    """Only the level-2 book is concerned: prints and quotes went on."""


MarketEvent = Trade | BookEvent | QuoteEvent | BarEvent | StatusEvent | GapEvent
