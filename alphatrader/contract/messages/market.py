"""What `ibkr` says of the market: quotes, books, prints, bars, status."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from alphatrader.contract.messages import Event, Message

Price = Annotated[float, Meta(gt=-1e7, lt=1e7)]
Size = Annotated[float, Meta(ge=0, lt=1e12)]


class Part(Event, frozen=True, tag=False):
    """What one venue, or one market maker on it, shows at a price."""

    venue: str
    size: Size
    market_maker: str = ""


class Level(Event, frozen=True, tag=False):
    price: Price
    size: Size
    venue: str = ""
    market_maker: str = ""
    parts: tuple[Part, ...] = ()
    """The rows that make it up, largest first; empty where `venue` and `market_maker` are the only one."""


class Nbbo(Event, frozen=True, tag=False):
    """The national best bid and offer over venues with protected quotes, as computed from the depth. See core/market/nbbo.py."""

    bid: Price | None
    bid_size: Size
    bid_venues: tuple[str, ...]
    ask: Price | None
    ask_size: Size
    ask_venues: tuple[str, ...]
    locked: bool
    crossed: bool
    round_lot: int
    """Shares that make a quote of this price protected."""
    excluded: tuple[str, ...] = ()
    """Venues left out: silent, halted, closed, or off the exchanges."""


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
    nbbo: Nbbo | None = None
    """None without depth: the quote line is then the broker's own best bid and ask."""


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
    """Aggressor: quote rule, then tick rule. Unknown only before the first change of price: readers split it in halves."""
    counts_for_volume: bool
    counts_for_last: bool
    counts_for_vpin: bool
    counts_for_range: bool = True
    """Whether it may set the day's high and low."""
    rule: Literal["quote", "midpoint", "tick", "none"] = "none"
    """What decided: the quote, at its middle the tick rule (`midpoint`, Lee-Ready), without a usable quote the `tick` rule."""
    bid: Price | None = None
    """Of the quote in force just before the print; likewise `ask`."""
    ask: Price | None = None
    tick_by_tick: bool = False
    """Whether it came over a tick-by-tick line; else over the quote line (RTVolume), which names no venue and no conditions."""


class RecentTrades(Message, frozen=True):
    symbol: str
    ts_ns: int
    trades: tuple[Trade, ...]
    """Newest last, at most 50."""


class Day(Event, frozen=True, tag=False):
    """The session so far (a future's trade date), from prints by their update flags; what was lost or before the start is not in
    it."""

    session: str
    prints: int = 0
    volume: Size = 0.0
    high: Price | None = None
    low: Price | None = None
    last: Price | None = None
    vwap: Price | None = None
    odd_lots: int = 0
    late: int = 0
    """Out of sequence or reported late: sold (Z), sold last (L) and their like."""
    duplicates: int = 0
    impossible: int = 0
    """Refused: not a price, or far from the quote that stood before it."""


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
    day: Day | None = None
    """From prints; the fields above are the broker's own."""


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
    reconciled: int = 0
    """How many 5-second bars could be compared with ours from prints."""
    different: int = 0
    """How many of them differed by more than the tolerance, see core/market/bar_check.py."""
    difference: str | None = None
    """The newest difference."""


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
    folded_ns: int | None = None
    """When the newest message had been folded."""
    offset_ns: int | None = None
    """Reception less exchange time: the least of the last minute, which is the clocks' difference and the fastest way here."""
    violations: int = 0
    """Exchange seconds that went back."""
    conflated_books: int = 0
    """Books replaced by a newer one before they were published, since the start; likewise quotes. Prints never are."""
    conflated_quotes: int = 0


class Luld(Event, frozen=True, tag=False):
    """Limit up, limit down, ESTIMATED by the plan's rules: the broker publishes no bands. See core/market/luld.py."""

    lower: Price
    upper: Price
    reference: Price
    share: float
    """Half the width as a share of the reference price."""
    state: Literal["inside", "limit_up", "limit_down", "straddle"]
    limit_since_ns: int | None = None
    pause_due_ns: int | None = None
    """When a limit state that lasts becomes a pause."""


class Breaker(Event, frozen=True, tag=False):
    """Market-wide circuit breakers, by a proxy of the S&P 500. See core/market/breakers.py."""

    proxy: str
    decline: float
    """From the previous close, as a share; positive is a fall."""
    level: int
    """The highest reached today, 0 to 3."""
    halted_until_ns: int | None = None
    day_over: bool = False


class Imbalance(Event, frozen=True, tag=False):
    """The closing auction of the listing exchange."""

    exchange: str
    basis: Literal["data", "proxies", "none"]
    """`proxies`: before the exchange publishes, or where nothing came: what is computed rests on order flow instead."""
    from_ns: int
    """When the exchange begins to publish today."""
    entry_until_ns: int
    """Until when a market-on-close order may be entered."""
    shares: float | None = None
    """Signed: positive is more to buy."""
    regulatory_shares: float | None = None
    price: Price | None = None
    paired: Size | None = None


HaltState = Literal["unknown", "open", "halted", "paused", "reopened"]
"""`halted`: general; `paused`: volatility (LULD); `reopened`: open again after either, its first minute."""


class Status(Message, frozen=True):
    """Halt and auction state."""

    symbol: str
    ts_ns: int
    halted: bool | None
    """None: unknown, which blocks trading like a halt."""
    halt_code: int | None
    halted_by: Literal["broker", "estimate"] | None = None
    """Whose word it is: the broker's tick, or our estimate of a market-wide breaker from its proxy. Both stop openings."""
    halt_reason: str | None = None
    """In words; None where it trades."""
    halted_since_ns: int | None = None
    pause_ends_ns: int | None = None
    """ESTIMATED: the earliest end of a volatility pause, or of the one a lasting limit state is about to become."""
    auction_imbalance: float | None = None
    auction_price: Price | None = None
    auction_volume: Size | None = None
    state: HaltState = "unknown"
    halts_today: int = 0
    luld: Luld | None = None
    breaker: Breaker | None = None
    closing: Imbalance | None = None
    depth: Literal["ready", "not ready", "none"] = "none"
    """Whether the level-2 book can be relied on; `none`: it has no depth slot."""
    depth_reason: str | None = None
    prints: Literal["tick_by_tick", "quote_line", "none"] = "none"
    """Where prints come from: a tick-by-tick slot, else RTVolume on the quote line; `none`: quotes only."""


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
    nbbo: Nbbo | None = None
    reason: str | None = None
    """Why it is not ready."""


class MakerRow(Event, frozen=True, tag=False):
    """One attributed or anonymous quote of one exchange's own book."""

    price: Price
    size: Size
    market_maker: str
    """MPID, or the exchange's name for the orders that carry none (NSDQ)."""


class MakersEvent(Event, frozen=True):
    """The newest own book of one exchange, with the market maker of each row (conflated): best first, rows of a price as told."""

    seq: int
    ts_ns: int
    received_ns: int
    ready: bool
    bids: tuple[MakerRow, ...]
    asks: tuple[MakerRow, ...]
    crc32: int
    """As that of a book, over the top ten rows."""
    conflated: int
    reason: str | None = None
    """Why it is not ready."""


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
    state: HaltState = "unknown"


class GapEvent(Event, frozen=True):
    """The feed of this symbol broke or was resubscribed: what is folded from it starts anew."""

    seq: int
    ts_ns: int
    reason: str
    depth_only: bool = False
    """Only the level-2 book is concerned: prints and quotes went on."""


MarketEvent = Trade | BookEvent | MakersEvent | QuoteEvent | BarEvent | StatusEvent | GapEvent


class Missing(Message, frozen=True):
    """What a reader lacks of one symbol's events: those between two sequence numbers, both exclusive."""

    after: int
    until: int


class ResendRequest(Message, frozen=True):
    """A reader asks for events that their streams do not hold any more. It stands while the reader waits."""

    number: int
    """Another one for each request."""
    since_ns: int
    """Market time of the newest event before those that are missing; likewise `until_ns`, of the oldest after them."""
    until_ns: int
    missing: dict[str, Missing]
    """By symbol."""
    taken: int = 0
    """Events of the answer that were read: it goes on only so far ahead of its reader."""


class Resent(Event, frozen=True):
    """One missing event, as it was published."""

    number: int
    symbol: str
    event: MarketEvent


class ResendNote(Event, frozen=True):
    """The answer to a request begins, or ends."""

    number: int
    ended: bool
    reason: str | None = None
    """Why not all of it could be given."""
