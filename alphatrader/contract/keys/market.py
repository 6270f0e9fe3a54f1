"""Market data: `market:*`, `quotes:*`, the contracts behind them, the audit log's index. Written by ibkr."""

from __future__ import annotations

from typing import Any, Final, cast

from alphatrader.contract.key import SELF, Key
from alphatrader.contract.keys.declaring import DATA, HASH, STATE, STREAM, VALUE, declare
from alphatrader.contract.messages import contracts as c
from alphatrader.contract.messages import market as m
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.modules import Module as M

_QUOTED = (M.ANALYTICS, M.SIGNALS, M.RISK, M.POSITIONS, M.EXECUTION, M.PULLS, M.DISCOVERY, M.ROUTINES, M.WATCHDOG)
_MARKET: Final[dict[str, Any]] = {"server": DATA, "ttl": 1.0, "ttl_setting": "market.ttl_seconds", "plan": True}
MARKET_BOOK = declare("market:{symbol}:book", VALUE, m.Book, M.IBKR, _QUOTED, "Level-2 book, consolidated", **_MARKET)
MARKET_TRADES = declare("market:{symbol}:trades", VALUE, m.RecentTrades, M.IBKR, _QUOTED, "The last 50 prints", **_MARKET)
MARKET_LAST = declare("market:{symbol}:last", VALUE, m.Last, M.IBKR, _QUOTED, "Last trade, best quote, day's range", **_MARKET)
MARKET_BARS = declare("market:{symbol}:bars", VALUE, m.Bars, M.IBKR, _QUOTED, "Recent 5-second bars", **_MARKET)
MARKET_TIMESTAMP = declare(
    "market:{symbol}:timestamp", VALUE, m.Timestamps, M.IBKR, _QUOTED, "When the newest data passed each stage", **_MARKET
)
MARKET_STATUS = declare(
    "market:{symbol}:status",
    VALUE,
    m.Status,
    M.IBKR,
    _QUOTED,
    "Halt and auction state",
    server=DATA,
    ttl=1.0,
    ttl_setting="market.ttl_seconds",
)
MARKET_HISTORY = declare(
    "market:{symbol}:history",
    VALUE,
    m.Bars,
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY),
    "1-minute bars of the last two sessions up to now, for warm-up",
    server=DATA,
)
MARKET_DAILY = declare(
    "market:{symbol}:daily",
    VALUE,
    m.Bars,
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY, M.RISK, M.ROUTINES),
    "Daily bars of the last 60 sessions before today",
    server=DATA,
)
QUOTES = declare(
    "quotes:{con_id}",
    VALUE,
    c.ContractQuote,
    M.IBKR,
    _QUOTED,
    "The broker's quote of a wanted contract: prices orders and positions",
    server=DATA,
    ttl=1.0,
    ttl_setting="market.ttl_seconds",
)
CONTRACTS = declare(
    "contracts:options",
    HASH,
    c.OptionRef,
    M.IBKR,
    (M.SIGNALS, M.RISK, M.POSITIONS, M.EXECUTION, M.EMERGENCY),
    "OCC name -> the contract with the broker's conId, once wanted and found",
    server=DATA,
)
FUTURES = declare(
    "contracts:futures",
    HASH,
    c.FutureRoot,
    M.IBKR,
    (M.WATCHDOG,),
    "Root -> its months at the broker, the front month and why: a roll is never taken back",
    server=STATE,
)
AUDIT_INDEX = declare(
    "audit:index",
    VALUE,
    ops.AuditEntry,
    M.IBKR,
    (),
    "Where the newest raw messages of the data connection stand in the log on disk",
    server=DATA,
    ttl=300.0,
)
EVENTS_MARKET: Key[m.MarketEvent] = declare(
    "events:market:{symbol}",
    STREAM,
    cast(Any, m.MarketEvent),
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY),
    "Prints (all), books and quotes (conflated), bars, halts, gaps",
    server=DATA,
    maxlen=20_000,
)
RESEND = declare(
    "resend:{module}",
    VALUE,
    m.ResendRequest,
    SELF,
    (M.IBKR,),
    "Market events this module lacks, because their stream was trimmed past its place",
    server=DATA,
    ttl=5.0,
)
RESENT: Key[m.Resent | m.ResendNote] = declare(
    "resent:{module}",
    STREAM,
    cast(Any, m.Resent | m.ResendNote),
    M.IBKR,
    (M.ANALYTICS,),
    "Those events, made again from the audit log; gone once they were read",
    server=DATA,
    maxlen=10_000,
)
WANTED = declare(
    "wanted:{module}",
    VALUE,
    c.Wanted,
    SELF,
    (M.IBKR,),
    "Contracts this module wants quoted",
    server=STATE,
)
