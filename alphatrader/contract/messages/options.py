"""What Alpha Vantage says: option chains with greeks, flow, unusual activity, news sentiment."""

from __future__ import annotations

from typing import Literal

from alphatrader.contract.messages import Event, Message


class OptionRow(Event, frozen=True, tag=False, gc=False):
    """One contract of a chain, as the vendor gave it (greeks None where it gave none). It holds no other object: no garbage
    collector needs to look at twelve thousand of them."""

    expiry: str
    """YYYYMMDD."""
    strike: float
    right: Literal["C", "P"]
    bid: float | None
    ask: float | None
    last: float | None
    mark: float | None
    volume: int
    open_interest: int
    implied_vol: float | None
    delta: float | None
    gamma: float | None
    theta: float | None
    vega: float | None


class Chain(Message, frozen=True):
    symbol: str
    ts_ns: int
    """Market time of reception; while `stale`, of the last good answer."""
    machine_ns: int
    quality: float
    """Share of rows that pass the greek checks, 0 to 1; under `options.min_quality` no signal may use it."""
    stale: bool
    reason: str | None
    """Why it is stale, or what was dropped."""
    dropped: int
    rows: tuple[OptionRow, ...]


class Greeks(Message, frozen=True):
    """Greeks recomputed by us (real time to expiry), by OCC name: delta, gamma, theta per day, vega per vol point, iv."""

    symbol: str
    ts_ns: int
    spot: float | None
    quality: float
    greeks: dict[str, tuple[float, float, float, float, float]]


class Traded(Message, frozen=True):
    """What traded so far today."""

    call_volume: int
    put_volume: int
    call_premium_usd: float
    """Mid (else the vendor's mark) times volume times 100; contracts without a price add volume alone."""
    put_premium_usd: float
    put_call_ratio: float | None
    """Of volume; None while no call has traded."""


class Flow(Traded, frozen=True, kw_only=True):
    symbol: str
    ts_ns: int
    by_expiry: dict[str, Traded]
    """YYYYMMDD -> the same of one expiry, nearest first."""


class UnusualItem(Event, frozen=True, tag=False):
    occ: str
    volume: int
    open_interest: int
    premium_usd: float
    ask_side: float | None
    why: str
    volume_z: float | None = None
    """Its volume so far less the mean of its own earlier days' volumes at the close, in their standard deviations (ddof 1). Part
    of a day against whole ones: it understates until the close. None with fewer than 5 days, or where they do not differ."""
    volume_days: int = 0
    """How many days it was compared with, of the last 20 sessions."""
    volume_z_missing: str | None = "not compared"
    """Why there is no `volume_z`."""


class Unusual(Message, frozen=True):
    symbol: str
    ts_ns: int
    approximate: bool
    """True: no prints, the ask side is estimated from (last - bid) / (ask - bid)."""
    items: tuple[UnusualItem, ...]


class OptionsEvent(Event, frozen=True):
    """A symbol's chain was refreshed (or found stale)."""

    symbol: str
    ts_ns: int
    quality: float
    stale: bool


class SentimentItem(Event, frozen=True, tag=False):
    published_ns: int
    title: str
    score: float
    relevance: float
    weight: float
    url: str = ""


class Sentiment(Message, frozen=True):
    symbol: str
    ts_ns: int
    score: float | None
    """-1 to 1, relevance-weighted and time-decayed; None where no item is relevant."""
    n: int
    items: tuple[SentimentItem, ...]
