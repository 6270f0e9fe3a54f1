"""What the simulated market shows to the stand-ins in front of it (gateway, Alpha Vantage).

The simulation (`alphatrader/sandbox/market/`) makes these; the gateway (`sandbox/gateway/`) and the HTTP
stand-ins (`sandbox/vendors/`) only read them. All instants are market time, nanoseconds since the Unix epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Side = Literal["bid", "ask"]


@dataclass(frozen=True, slots=True)
class Contract:
    """One tradable or quotable instrument, with the fields the broker's contractDetails answer needs."""

    con_id: int
    symbol: str
    sec_type: Literal["STK", "FUT", "IND", "OPT"]
    currency: str = "USD"
    exchange: str = "SMART"  # the exchange a client names to trade it: SMART, CME, CFE, NYBOT, COMEX, NYMEX, CBOT, OSE.JPN ...
    primary_exchange: str = ""
    expiry: str = ""  # YYYYMMDD; the last trading day of futures and options
    strike: float = 0.0
    right: Literal["", "C", "P"] = ""
    multiplier: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    min_tick: float = 0.01
    long_name: str = ""
    contract_month: str = ""  # YYYYMM
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    time_zone: str = "US/Eastern"
    stock_type: str = ""  # COMMON, ETF, ETN
    valid_exchanges: str = "SMART"


@dataclass(frozen=True, slots=True)
class Quote:
    """Top of book and day statistics. A side that does not exist is None, never zero."""

    con_id: int
    ts_ns: int
    bid: float | None
    bid_size: int
    ask: float | None
    ask_size: int
    bid_exchanges: str  # SIP letters at the best bid, such as "PQZ"
    ask_exchanges: str
    last: float | None
    last_size: int
    last_exchange: str
    last_ts_ns: int
    volume: int  # shares or contracts today
    trade_count: int
    vwap: float
    open: float | None
    high: float | None
    low: float | None
    prev_close: float | None
    halted: int  # tick 49: 0 no, 1 general, 2 volatility
    implied_vol: float | None = None  # options only
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    open_interest: int | None = None
    under_price: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a side of the level-2 book, best first."""

    price: float
    size: int
    venue: str  # IB exchange name: ISLAND, ARCA, BATS, EDGX, IEX ...; CME etc. for futures
    market_maker: str = ""  # MPID of an attributed quote, else ""


@dataclass(frozen=True, slots=True)
class Book:
    con_id: int
    ts_ns: int
    bids: tuple[Row, ...]
    asks: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Print:
    """One trade report."""

    con_id: int
    ts_ns: int
    price: float
    size: int
    exchange: str  # IB exchange name; FINRA for off-exchange
    conditions: str = ""  # space-separated sale-condition codes
    past_limit: bool = False
    unreported: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    ts_ns: int  # start of the bar
    open: float
    high: float
    low: float
    close: float
    volume: int
    wap: float
    count: int


@dataclass(frozen=True, slots=True)
class Auction:
    """Closing imbalance of one equity (ticks 34, 35, 36, 61)."""

    con_id: int
    ts_ns: int
    volume: int
    price: float
    imbalance: int
    regulatory_imbalance: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one turn of the simulation changed, in the order it happened. Prints are never dropped."""

    ts_ns: int
    quotes: tuple[int, ...]  # con_ids whose Quote changed (underlyings; options are marked by `repriced`)
    books: tuple[int, ...]  # con_ids whose Book changed
    prints: tuple[Print, ...]
    bars: tuple[tuple[int, Bar], ...]  # finished 5-second bars by con_id
    halts: tuple[tuple[int, int], ...]  # (con_id, tick 49 value)
    auctions: tuple[Auction, ...]
    repriced: tuple[str, ...]  # underlying symbols whose options must be quoted anew


class Market(Protocol):
    """The simulated market. Everything is a function of the seed and of market time."""

    def step(self, now_ns: int) -> Step:
        """Advance to `now_ns` (never back). Cheap for a short time; when far behind it conflates quotes, never prints.

        A step whose `ts_ns` is before `now_ns` stopped short, and there is more: a recording does so at each of its events."""

    def contract(self, con_id: int) -> Contract | None: ...

    def contracts(
        self,
        *,
        symbol: str = "",
        sec_type: str = "",
        expiry: str = "",
        strike: float = 0.0,
        right: str = "",
        exchange: str = "",
        trading_class: str = "",
        local_symbol: str = "",
        multiplier: str = "",
    ) -> list[Contract]:
        """All contracts that match; an empty or zero field matches anything; expiry may be YYYYMM or YYYYMMDD."""

    def quote(self, con_id: int) -> Quote | None:
        """The quote now; options are priced off their underlying at the moment of asking."""

    def book(self, con_id: int) -> Book | None: ...

    def bars(self, con_id: int, end_ns: int, duration_seconds: int, bar_seconds: int) -> list[Bar]:
        """Historical bars (regular session), oldest first, ending at or before `end_ns`: previous sessions are made from the
        seed, today's from what was simulated. Repeatable: the same call gives the same bars."""

    def expiries(self, symbol: str) -> list[str]: ...

    def chain(self, symbol: str) -> list[Quote]:
        """Quotes (with greeks, implied volatility and open interest) of every listed option of `symbol`."""

    def pause(self, symbol: str, seconds: float) -> None:
        """Scripted: an equity and its options do not trade for so long (LULD, tick 49 value 2). Raises ValueError."""

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        """(ts_ns, headline, sentiment -1..1, relevance 0..1), newest first."""
