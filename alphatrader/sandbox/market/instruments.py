"""Which instruments the simulated market has, and how each behaves: a table, no branches.

Prices and volumes are of late 2025. `loads` are correlations with the common factors of `paths.py`; what is left of the
variance is the instrument's own. `follows` names the leader whose path an instrument shares (ES follows SPY), so that they
stay consistent. Read by `paths.py`, `listings.py`, `tables.py` and `simulation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MONTH_CODES = "FGHJKMNQUVXZ"
FACTORS = ("market", "tech", "small", "volatility", "dollar", "gold", "oil", "rates")


@dataclass(frozen=True, slots=True)
class Spec:
    symbol: str  # name of the path; the broker's symbol is in the listing
    kind: Literal["STK", "FUT", "IND"]
    base: float  # long-run price level
    daily_vol: float
    per_unit: int  # ticks in 1.0 of price, so that price = ticks / per_unit is exact
    spread_ticks: float  # mean spread
    daily_volume: int
    prints_per_second: float
    quotes_per_second: float
    loads: tuple[tuple[str, float], ...] = ()
    follows: str = ""
    episode_block_seconds: int = 0  # one informed-flow episode in each block; 0 none
    carry: float = 0.0  # futures: log price premium per year to expiry


def _stk(
    symbol: str, base: float, vol: float, spread: float, volume: int, prints: float, quotes: float, block: int, **loads: float
) -> Spec:
    return Spec(symbol, "STK", base, vol, 100, spread, volume, prints, quotes, tuple(loads.items()), episode_block_seconds=block)


EQUITY_SPECS = (
    _stk("SPY", 660.0, 0.009, 1.3, 75_000_000, 6.0, 6.0, 180, market=0.97),
    _stk("QQQ", 600.0, 0.012, 1.6, 50_000_000, 5.0, 6.0, 180, market=0.86, tech=0.45),
    _stk("IWM", 240.0, 0.012, 1.3, 35_000_000, 4.0, 5.0, 180, market=0.78, small=0.55),
    _stk("AAPL", 270.0, 0.014, 1.6, 48_000_000, 4.0, 5.0, 600, market=0.60, tech=0.35),
    _stk("TSLA", 420.0, 0.030, 4.0, 85_000_000, 4.0, 5.0, 600, market=0.50, tech=0.30),
    _stk("NVDA", 190.0, 0.022, 1.2, 180_000_000, 5.0, 5.0, 600, market=0.60, tech=0.50),
    _stk("AMD", 230.0, 0.028, 3.0, 45_000_000, 3.0, 5.0, 600, market=0.55, tech=0.45),
    _stk("GOOGL", 285.0, 0.016, 2.5, 35_000_000, 3.0, 5.0, 600, market=0.58, tech=0.35),
    _stk("META", 620.0, 0.018, 8.0, 15_000_000, 2.5, 5.0, 600, market=0.58, tech=0.38),
    _stk("AMZN", 230.0, 0.016, 2.0, 40_000_000, 3.0, 5.0, 600, market=0.60, tech=0.35),
    _stk("MSFT", 500.0, 0.012, 4.0, 22_000_000, 2.5, 5.0, 600, market=0.62, tech=0.38),
    _stk("VXX", 34.0, 0.032, 1.4, 8_000_000, 1.5, 4.0, 600, market=-0.72, volatility=0.55),
)


def _fut(
    symbol: str, base: float, vol: float, per_unit: int, spread: float, volume: int, prints: float, quotes: float,
    carry: float, follows: str = "", **loads: float,
) -> Spec:  # fmt: skip
    return Spec(symbol, "FUT", base, vol, per_unit, spread, volume, prints, quotes, tuple(loads.items()), follows, 0, carry)


FUTURE_SPECS = (
    _fut("ES", 6_615.0, 0.009, 4, 1.1, 1_400_000, 6.0, 6.0, 0.034, "SPY"),
    _fut("NQ", 24_660.0, 0.012, 4, 2.5, 600_000, 5.0, 6.0, 0.036, "QQQ"),
    _fut("RTY", 2_412.0, 0.012, 10, 2.0, 190_000, 3.0, 5.0, 0.030, "IWM"),
    _fut("YM", 46_900.0, 0.008, 1, 2.0, 110_000, 2.0, 3.0, 0.034, market=0.92),
    _fut("VX", 18.8, 0.045, 20, 1.1, 110_000, 1.5, 4.0, 0.20, market=-0.72, volatility=0.60),
    _fut("DX", 99.5, 0.004, 200, 2.0, 19_000, 0.9, 4.0, -0.015, dollar=0.97),
    _fut("GC", 4_080.0, 0.011, 10, 1.6, 200_000, 3.0, 5.0, 0.042, gold=0.85, dollar=-0.40),
    _fut("CL", 59.5, 0.019, 100, 1.2, 300_000, 3.0, 5.0, -0.02, oil=0.96, market=0.20),
    _fut("ZB", 117.0, 0.006, 32, 1.05, 330_000, 2.0, 4.0, -0.01, rates=0.95, market=-0.15),
)


def _ind(symbol: str, base: float, vol: float, **loads: float) -> Spec:
    return Spec(symbol, "IND", base, vol, 100, 0.0, 0, 0.0, 1.0, tuple(loads.items()))


INDEX_SPECS = (
    _ind("VIX", 17.8, 0.065, market=-0.75, volatility=0.60),
    _ind("N225", 49_500.0, 0.013, market=0.55, dollar=0.25),
    _ind("HSI", 26_200.0, 0.014, market=0.40),
    _ind("Z", 9_650.0, 0.008, market=0.55),
    _ind("DAX", 23_600.0, 0.010, market=0.65),
)

SPECS: dict[str, Spec] = {s.symbol: s for s in (*EQUITY_SPECS, *FUTURE_SPECS, *INDEX_SPECS)}


@dataclass(frozen=True, slots=True)
class EquityListing:
    symbol: str
    con_id: int
    primary_exchange: str
    stock_type: str
    long_name: str
    daily_expiries: bool
    fine_strike: float  # spacing near the money of the expiries that are traded most
    coarse_strike: float
    atm_vol: float  # implied volatility at the money, 30 days


EQUITIES = (
    EquityListing("SPY", 756733, "ARCA", "ETF", "SPDR S&P 500 ETF TRUST", True, 1.0, 5.0, 0.150),
    EquityListing("QQQ", 320227571, "NASDAQ", "ETF", "INVESCO QQQ TRUST SERIES 1", True, 1.0, 5.0, 0.195),
    EquityListing("IWM", 9579970, "ARCA", "ETF", "ISHARES RUSSELL 2000 ETF", True, 1.0, 2.0, 0.205),
    EquityListing("AAPL", 265598, "NASDAQ", "COMMON", "APPLE INC", False, 2.5, 5.0, 0.235),
    EquityListing("TSLA", 76792991, "NASDAQ", "COMMON", "TESLA INC", False, 2.5, 5.0, 0.480),
    EquityListing("NVDA", 4815747, "NASDAQ", "COMMON", "NVIDIA CORP", False, 1.0, 2.5, 0.380),
    EquityListing("AMD", 4391, "NASDAQ", "COMMON", "ADVANCED MICRO DEVICES", False, 2.5, 2.5, 0.480),
    EquityListing("GOOGL", 208813719, "NASDAQ", "COMMON", "ALPHABET INC-CL A", False, 2.5, 5.0, 0.285),
    EquityListing("META", 107113386, "NASDAQ", "COMMON", "META PLATFORMS INC-CLASS A", False, 5.0, 10.0, 0.310),
    EquityListing("AMZN", 3691937, "NASDAQ", "COMMON", "AMAZON.COM INC", False, 2.5, 2.5, 0.285),
    EquityListing("MSFT", 272093, "NASDAQ", "COMMON", "MICROSOFT CORP", False, 5.0, 5.0, 0.215),
    EquityListing("VXX", 750150186, "BATS", "ETN", "IPATH SERIES B S&P 500 VIX", False, 0.5, 0.5, 0.620),
)


@dataclass(frozen=True, slots=True)
class FutureListing:
    root: str  # path name and trading class
    symbol: str  # the broker's symbol
    exchange: str
    multiplier: str
    months: str  # listed delivery months
    rule: str  # last trading day, by the name of the rule in expiry_rules.py
    roll: str  # when the next month becomes the front, by the name of the rule in expiry_rules.py
    stops_before_open: bool  # trading on the last day ends at or before 09:30, so that day has no session
    long_name: str
    listed: int = 4
    liquid: str = MONTH_CODES  # the others are listed but hardly trade
    spelled_local_symbol: bool = False  # "ZB   DEC 26" instead of "ZBZ6"


FUTURES = (
    FutureListing("ES", "ES", "CME", "50", "HMUZ", "third_friday", "expiry_week", True, "E-mini S&P 500"),
    FutureListing("NQ", "NQ", "CME", "20", "HMUZ", "third_friday", "expiry_week", True, "E-mini NASDAQ 100"),
    FutureListing("RTY", "RTY", "CME", "50", "HMUZ", "third_friday", "expiry_week", True, "E-Mini Russell 2000"),
    FutureListing(
        "YM",
        "YM",
        "CBOT",
        "5",
        "HMUZ",
        "third_friday",
        "expiry_week",
        True,
        "Mini Sized Dow Jones $5",
        3,
        spelled_local_symbol=True,
    ),
    FutureListing("VX", "VIX", "CFE", "1000", "FGHJKMNQUVXZ", "vix", "1_session", True, "CBOE Volatility Index"),
    FutureListing("DX", "DX", "NYBOT", "1000", "HMUZ", "before_third_wednesday", "5_sessions", False, "US Dollar Index", 3),
    FutureListing("GC", "GC", "COMEX", "100", "FGHJKMNQUVXZ", "third_last_day", "notice", False, "Gold", liquid="GJMQVZ"),
    FutureListing("CL", "CL", "NYMEX", "1000", "FGHJKMNQUVXZ", "crude", "3_sessions", False, "Light Sweet Crude Oil"),
    FutureListing(
        "ZB",
        "ZB",
        "CBOT",
        "1000",
        "HMUZ",
        "eighth_last_day",
        "notice",
        False,
        "30 Year US Treasury Bond",
        3,
        spelled_local_symbol=True,
    ),
)


@dataclass(frozen=True, slots=True)
class IndexListing:
    symbol: str
    con_id: int
    exchange: str
    currency: str
    long_name: str


# The foreign indices are quotes only, and are shown through the US session only (a simplification).
INDICES = (
    IndexListing("VIX", 13455763, "CBOE", "USD", "CBOE Volatility Index"),
    IndexListing("N225", 13905806, "OSE.JPN", "JPY", "NIKKEI 225 Index"),
    IndexListing("HSI", 1328298, "HKFE", "HKD", "Hang Seng Stock Index"),
    IndexListing("Z", 11897870, "ICEEU", "GBP", "FTSE 100 Index"),
    IndexListing("DAX", 825711, "EUREX", "EUR", "DAX 40 Index"),
)
