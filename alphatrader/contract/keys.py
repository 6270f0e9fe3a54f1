"""Every Redis key of AlphaTrader, in the order of the flow. Nothing is read or written that is not declared here.

The store's check, the ACL users, `docs/keys.md` and the flow graph derive from this file.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from alphatrader.contract.key import SELF, Key, Kind, Self, Server
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.messages import market as m
from alphatrader.contract.messages import metrics as a
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.messages import options as o
from alphatrader.contract.messages import orders as e
from alphatrader.contract.messages import positions as p
from alphatrader.contract.messages import risk as r
from alphatrader.contract.messages import signals as s
from alphatrader.contract.modules import Module as M

T = TypeVar("T")

ALL: Final[list[Key[Any]]] = []
SHOWN: Final = (M.DASHBOARD, M.OPERATOR)
DAY: Final = 86_400.0


def _key(
    pattern: str,
    kind: Kind,
    schema: type[T],
    writer: M | Self,
    readers: tuple[M, ...],
    about: str,
    *,
    server: Server,
    ttl: float | None = None,
    ttl_setting: str | None = None,
    takers: tuple[M, ...] = (),
    maxlen: int | None = None,
    plan: bool = False,
) -> Key[T]:
    key: Key[T] = Key(pattern, server, kind, schema, writer, (*readers, *SHOWN), about, ttl, ttl_setting, takers, maxlen, plan)
    ALL.append(key)
    return key


DATA, STATE = Server.DATA, Server.STATE
VALUE, HASH, STREAM, QUEUE, LOG = Kind.VALUE, Kind.HASH, Kind.STREAM, Kind.QUEUE, Kind.LOG

# -- Market: ibkr -------------------------------------------------------------------------------------------------------
_QUOTED = (M.ANALYTICS, M.SIGNALS, M.RISK, M.POSITIONS, M.EXECUTION, M.PULLS, M.DISCOVERY, M.ROUTINES, M.WATCHDOG)
_MARKET: Final[dict[str, Any]] = {"server": DATA, "ttl": 1.0, "ttl_setting": "market.ttl_seconds", "plan": True}
MARKET_BOOK = _key("market:{symbol}:book", VALUE, m.Book, M.IBKR, _QUOTED, "Level-2 book, consolidated", **_MARKET)
MARKET_TRADES = _key("market:{symbol}:trades", VALUE, m.RecentTrades, M.IBKR, _QUOTED, "The last 50 prints", **_MARKET)
MARKET_LAST = _key("market:{symbol}:last", VALUE, m.Last, M.IBKR, _QUOTED, "Last trade, best quote, day's range", **_MARKET)
MARKET_BARS = _key("market:{symbol}:bars", VALUE, m.Bars, M.IBKR, _QUOTED, "Recent 5-second bars", **_MARKET)
MARKET_TIMESTAMP = _key(
    "market:{symbol}:timestamp", VALUE, m.Timestamps, M.IBKR, _QUOTED, "When the newest data passed each stage", **_MARKET
)
MARKET_STATUS = _key(
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
MARKET_HISTORY = _key(
    "market:{symbol}:history",
    VALUE,
    m.Bars,
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY),
    "1-minute bars of the last two sessions up to now, for warm-up",
    server=DATA,
)
MARKET_DAILY = _key(
    "market:{symbol}:daily",
    VALUE,
    m.Bars,
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY, M.RISK, M.ROUTINES),
    "Daily bars of the last 60 sessions before today",
    server=DATA,
)
QUOTES = _key(
    "quotes:{con_id}",
    VALUE,
    m.ContractQuote,
    M.IBKR,
    _QUOTED,
    "The broker's quote of a wanted contract: prices orders and positions",
    server=DATA,
    ttl=1.0,
    ttl_setting="market.ttl_seconds",
)
CONTRACTS = _key(
    "contracts:options",
    HASH,
    m.OptionRef,
    M.IBKR,
    (M.SIGNALS, M.RISK, M.POSITIONS, M.EXECUTION, M.EMERGENCY),
    "OCC name -> the contract with the broker's conId, once wanted and found",
    server=DATA,
)
FUTURES = _key(
    "contracts:futures",
    HASH,
    m.FutureRoot,
    M.IBKR,
    (M.WATCHDOG,),
    "Root -> its months at the broker, the front month and why: a roll is never taken back",
    server=STATE,
)
AUDIT_INDEX = _key(
    "audit:index",
    VALUE,
    ops.AuditEntry,
    M.IBKR,
    (),
    "Where the newest raw messages stand in the log on disk",
    server=DATA,
    ttl=300.0,
)
EVENTS_MARKET: Key[m.MarketEvent] = _key(
    "events:market:{symbol}",
    STREAM,
    cast(Any, m.MarketEvent),
    M.IBKR,
    (M.ANALYTICS, M.SIGNALS, M.DISCOVERY),
    "Prints (all), books and quotes (conflated), bars, halts, gaps",
    server=DATA,
    maxlen=20_000,
)
WANTED = _key(
    "wanted:{module}",
    VALUE,
    m.Wanted,
    SELF,
    (M.IBKR,),
    "Contracts this module wants quoted",
    server=STATE,
)

# -- Options and sentiment: pulls ----------------------------------------------------------------------------------------
_CHAINED = (M.ANALYTICS, M.SIGNALS, M.WATCHDOG, M.ROUTINES)
_OPTIONS: Final[dict[str, Any]] = {"server": DATA, "ttl": 10.0, "plan": True}
OPTIONS_CHAIN = _key("options:{symbol}:chain", VALUE, o.Chain, M.PULLS, _CHAINED, "The chain, checked row by row", **_OPTIONS)
OPTIONS_GREEKS = _key("options:{symbol}:greeks", VALUE, o.Greeks, M.PULLS, _CHAINED, "Greeks recomputed by us", **_OPTIONS)
OPTIONS_FLOW = _key("options:{symbol}:flow", VALUE, o.Flow, M.PULLS, _CHAINED, "Call and put volume and premium", **_OPTIONS)
OPTIONS_UNUSUAL = _key("options:{symbol}:unusual", VALUE, o.Unusual, M.PULLS, _CHAINED, "Unusual contracts, and why", **_OPTIONS)
SENTIMENT = _key(
    "sentiment:{symbol}:score",
    VALUE,
    o.Sentiment,
    M.PULLS,
    (M.SIGNALS, M.ROUTINES),
    "News sentiment, weighted by relevance and age",
    server=DATA,
    ttl=300.0,
    plan=True,
)
EVENTS_OPTIONS = _key(
    "events:options",
    STREAM,
    o.OptionsEvent,
    M.PULLS,
    (M.ANALYTICS, M.SIGNALS),
    "A chain was refreshed",
    server=DATA,
    maxlen=2_000,
)
AV_BUDGET = _key("budget:alphavantage", LOG, str, M.PULLS, (M.WATCHDOG,), "Calls granted in the last 60 s", server=STATE)
AV_PAUSE = _key(
    "budget:alphavantage:pause",
    HASH,
    int,
    M.PULLS,
    (M.WATCHDOG,),
    "Back-off of all processes: failures in a row, until when, who tries",
    server=STATE,
)
AV_STATE = _key(
    "budget:alphavantage:state",
    VALUE,
    dict[str, Any],
    M.PULLS,
    (M.WATCHDOG,),
    "The vendor's breaker, refusals counted by reason",
    server=STATE,
)

# -- Discovered parameters: discovery ------------------------------------------------------------------------------------
_FOUND = (M.ANALYTICS, M.SIGNALS, M.RISK, M.ROUTINES)
_DISCOVERED: Final[dict[str, Any]] = {"server": DATA, "ttl": DAY, "plan": True}
DISCOVERED_VPIN_BUCKET_SIZE = _key(
    "discovered:vpin_bucket_size", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Shares in a VPIN bucket", **_DISCOVERED
)
DISCOVERED_LOOKBACK_BARS = _key(
    "discovered:lookback_bars", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Bars that still carry information", **_DISCOVERED
)
DISCOVERED_MM_PROFILES = _key(
    "discovered:mm_profiles", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Displayed interest by market maker", **_DISCOVERED
)
DISCOVERED_VOL_REGIMES = _key(
    "discovered:vol_regimes", VALUE, a.Discovered, M.DISCOVERY, _FOUND, "Volatility states and their bounds", **_DISCOVERED
)
DISCOVERED_CORRELATION_MATRIX = _key(
    "discovered:correlation_matrix", VALUE, a.Correlation, M.DISCOVERY, _FOUND, "Return correlations, shrunk", **_DISCOVERED
)
DISCOVERED_CANDIDATES = _key(
    "discovered:candidates",
    VALUE,
    a.Candidates,
    M.DISCOVERY,
    (M.WATCHDOG,),
    "Values that jumped, waiting for a second night or a person's yes",
    server=DATA,
)
DISCOVERED_PROGRESS = _key(
    "discovered:progress", VALUE, a.DiscoveryProgress, M.DISCOVERY, (M.WATCHDOG,), "How far a running discovery is", server=DATA
)
DISCOVERY_REQUESTS = _key(
    "discovery:requests",
    STREAM,
    a.DiscoveryRequest,
    M.CLI,
    (M.DISCOVERY,),
    "`alphatrader discover`: run now, or accept what waits",
    server=STATE,
    maxlen=1_000,
)

# -- Metrics: analytics --------------------------------------------------------------------------------------------------
_MEASURED = (M.SIGNALS, M.RISK, M.DISTRIBUTION, M.WATCHDOG)
_METRIC: Final[dict[str, Any]] = {"server": DATA, "ttl": 5.0, "plan": True}
METRICS_VPIN = _key("metrics:{symbol}:vpin", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Order-flow toxicity", **_METRIC)
METRICS_OBI = _key("metrics:{symbol}:obi", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Book imbalance and its parts", **_METRIC)
METRICS_GEX = _key("metrics:{symbol}:gex", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Gamma exposure, walls, flip", **_METRIC)
METRICS_DEX = _key("metrics:{symbol}:dex", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Delta exposure", **_METRIC)
METRICS_SWEEP = _key("metrics:{symbol}:sweep", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Sweeps across venues", **_METRIC)
METRICS_HIDDEN = _key("metrics:{symbol}:hidden", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Hidden and iceberg orders", **_METRIC)
METRICS_REGIME = _key("metrics:{symbol}:regime", VALUE, a.Metric, M.ANALYTICS, _MEASURED, "Market regime", **_METRIC)
METRICS_MAKERS = _key(
    "metrics:{symbol}:makers",
    VALUE,
    a.Metric,
    M.ANALYTICS,
    _MEASURED,
    "Attributed displayed interest of market makers",
    server=DATA,
    ttl=5.0,
)
EVENTS_METRICS = _key(
    "events:metrics",
    STREAM,
    a.MetricsEvent,
    M.ANALYTICS,
    (M.SIGNALS,),
    "A symbol's metrics changed; at most 10 a second a symbol",
    server=DATA,
    maxlen=10_000,
)
CHECKPOINT = _key(
    "checkpoint:{symbol}",
    VALUE,
    a.Checkpoint,
    M.ANALYTICS,
    (),
    "Analytics' folded state with the stream id it stands at",
    server=DATA,
)
CHECKPOINT_VPIN_HISTORY = _key(
    "checkpoint:{symbol}:vpin_history",
    VALUE,
    a.VpinHistory,
    M.ANALYTICS,
    (),
    "VPIN by session, which its percentile is ranked in; outlives the checkpoint's version",
    server=DATA,
)

# -- Signals -------------------------------------------------------------------------------------------------------------
_TOLD = (M.RISK, M.DISTRIBUTION, M.EXECUTION, M.POSITIONS, M.TELEGRAM)
SIGNALS_PENDING = _key(
    "signals:{symbol}:pending",
    VALUE,
    s.SignalMap,
    M.SIGNALS,
    (*_TOLD, M.PULLS),
    "Signals that wait for risk's verdict",
    server=STATE,
    ttl=60.0,
    plan=True,
)
SIGNALS_ACTIVE = _key(
    "signals:{symbol}:active",
    VALUE,
    s.SignalMap,
    M.SIGNALS,
    (*_TOLD, M.PULLS),
    "Signals that risk approved",
    server=STATE,
    ttl=60.0,
    plan=True,
)
SIGNALS_COUNT = _key(
    "signals:global:count",
    VALUE,
    s.SignalCount,
    M.SIGNALS,
    (*_TOLD, M.ROUTINES),
    "Signals of the session",
    server=STATE,
    plan=True,
)
SIGNALS_WHY = _key(
    "signals:{symbol}:why", VALUE, s.WhyNot, M.SIGNALS, (), "Which gate stopped each window's signal", server=STATE, ttl=300.0
)
EVENTS_SIGNALS = _key(
    "events:signals",
    STREAM,
    s.SignalEvent,
    M.SIGNALS,
    (M.RISK, M.DISTRIBUTION),
    "A signal was made or ended",
    server=STATE,
    maxlen=20_000,
)

# -- Risk ----------------------------------------------------------------------------------------------------------------
EVENTS_APPROVALS = _key(
    "events:approvals",
    STREAM,
    r.Approval,
    M.RISK,
    (M.SIGNALS, M.EXECUTION, M.POSITIONS, M.DISTRIBUTION),
    "Risk's verdict on a signal; worth acting on for 1 s",
    server=STATE,
    maxlen=20_000,
)
LEDGER_APPROVALS = _key(
    "ledger:approvals",
    HASH,
    r.Approval,
    M.RISK,
    (M.EXECUTION, M.POSITIONS, M.WATCHDOG),
    "Every verdict by intent: one signal gets one, whatever is replayed",
    server=STATE,
)
LEASE = _key(
    "lease",
    VALUE,
    r.Lease,
    M.RISK,
    (M.EXECUTION, M.EMERGENCY, M.WATCHDOG),
    "Permission to trade, renewed each second",
    server=STATE,
    ttl=3.0,
)
RISK_CORRELATION = _key(
    "global:risk:correlation", VALUE, r.RiskMeasure, M.RISK, (M.WATCHDOG,), "Book correlation", server=STATE, plan=True
)
RISK_VAR = _key("global:risk:var", VALUE, r.RiskMeasure, M.RISK, (M.WATCHDOG,), "Value at risk", server=STATE, plan=True)
RISK_STATE = _key(
    "ledger:risk", VALUE, r.RiskState, M.RISK, (M.WATCHDOG, M.ROUTINES), "What the limits are measured against", server=STATE
)

# -- Execution -----------------------------------------------------------------------------------------------------------
_ORDERED = (M.RISK, M.POSITIONS, M.EMERGENCY, M.WATCHDOG)
ORDERS_PENDING = _key(
    "orders:pending:{id}",
    VALUE,
    e.OrderRecord,
    M.EXECUTION,
    _ORDERED,
    "An order written but not yet known to work; renewed while it lives",
    server=STATE,
    ttl=300.0,
    plan=True,
)
ORDERS_WORKING = _key(
    "orders:working:{id}",
    VALUE,
    e.OrderRecord,
    M.EXECUTION,
    _ORDERED,
    "An order that works at the broker; renewed while it lives",
    server=STATE,
    ttl=300.0,
    plan=True,
)
LEDGER_ORDERS = _key(
    "ledger:orders", HASH, e.OrderRecord, M.EXECUTION, _ORDERED, "Every order of ours, durable before it is sent", server=STATE
)
LEDGER_FILLS = _key(
    "ledger:fills", HASH, e.Fill, M.EXECUTION, (*_ORDERED, M.ROUTINES), "Every execution, once; corrections replace", server=STATE
)
EVENTS_ORDERS = _key(
    "events:orders", STREAM, e.OrderEvent, M.EXECUTION, _ORDERED, "An order changed state", server=STATE, maxlen=20_000
)
EVENTS_FILLS = _key(
    "events:fills", STREAM, e.Fill, M.EXECUTION, (*_ORDERED, M.DISTRIBUTION), "An execution, or its correction", server=STATE,
    maxlen=20_000,
)  # fmt: skip
EVENTS_ACCOUNT = _key(
    "events:account", STREAM, e.Account, M.EXECUTION, (*_ORDERED, M.ROUTINES, M.SIGNALS), "The account, as the broker has it",
    server=STATE, maxlen=5_000,
)  # fmt: skip
BUYING_POWER = _key(
    "global:buying_power", VALUE, e.BuyingPower, M.EXECUTION, (M.RISK,), "Buying power, from the broker", server=STATE, plan=True
)

# -- Positions -----------------------------------------------------------------------------------------------------------
_HELD = (M.RISK, M.EXECUTION, M.DISTRIBUTION, M.TELEGRAM, M.ROUTINES, M.WATCHDOG)
POSITIONS = _key(
    "positions:{symbol}:{id}", VALUE, p.Position, M.POSITIONS, (*_HELD, M.DELIVERY), "One position", server=STATE, plan=True
)
POSITIONS_SUMMARY = _key(
    "positions:summary",
    VALUE,
    p.PositionsSummary,
    M.POSITIONS,
    (*_HELD, M.PULLS),
    "All positions in one line",
    server=STATE,
    plan=True,
)
POSITIONS_COUNT = _key("global:positions:count", VALUE, p.Count, M.POSITIONS, _HELD, "Open positions", server=STATE, plan=True)
PNL_REALIZED = _key("global:pnl:realized", VALUE, p.Pnl, M.POSITIONS, _HELD, "Realized today, USD", server=STATE, plan=True)
PNL_UNREALIZED = _key("global:pnl:unrealized", VALUE, p.Pnl, M.POSITIONS, _HELD, "Unrealized now, USD", server=STATE, plan=True)
EXITS = _key(
    "exits:{position}",
    VALUE,
    p.WantedExit,
    M.POSITIONS,
    (M.EXECUTION, M.EMERGENCY),
    "What should be held, and its stop",
    server=STATE,
)
LEDGER_TRADES = _key(
    "ledger:trades",
    HASH,
    p.ClosedTrade,
    M.POSITIONS,
    (M.RISK, M.SIGNALS, M.ROUTINES, M.DELIVERY),
    "Closed round trips",
    server=STATE,
)
LEDGER_ADJUSTMENTS = _key(
    "ledger:adjustments",
    HASH,
    e.Fill,
    M.POSITIONS,
    (M.WATCHDOG,),
    "What the broker's account taught us without an execution: adopted and vanished positions, as bookings",
    server=STATE,
)
EVENTS_POSITIONS = _key(
    "events:positions",
    STREAM,
    p.PositionEvent,
    M.POSITIONS,
    _HELD,
    "A position opened, changed, closed, or wants another exit",
    server=STATE,
    maxlen=20_000,
)

# -- Halt and control ----------------------------------------------------------------------------------------------------
_OBEY = (M.RISK, M.EXECUTION, M.EMERGENCY)
HALT = _key(
    "global:halt",
    VALUE,
    r.Halt,
    M.EMERGENCY,
    (*_OBEY, M.SIGNALS, M.POSITIONS, M.TELEGRAM, M.WATCHDOG, M.ROUTINES),
    "Missing means halted",
    server=STATE,
    plan=True,
)
EVENTS_HALT = _key(
    "events:halt",
    STREAM,
    r.HaltEvent,
    M.EMERGENCY,
    (*_OBEY, M.POSITIONS, M.DISTRIBUTION),
    "The halt changed",
    server=STATE,
    maxlen=5_000,
)
CONTROL = _key(
    "control:{module}",
    STREAM,
    r.ControlRequest,
    SELF,
    _OBEY,
    "Requests to halt, resume or flatten, one stream for each requester",
    server=STATE,
)

# -- Distribution --------------------------------------------------------------------------------------------------------
_QUEUE: Final[dict[str, Any]] = {"server": STATE, "takers": (M.DELIVERY,), "plan": True}
PREMIUM_QUEUE = _key("distribution:premium:queue", QUEUE, d.Delivery, M.DISTRIBUTION, (M.WATCHDOG,), "Due at once", **_QUEUE)
BASIC_QUEUE = _key("distribution:basic:queue", QUEUE, d.Delivery, M.DISTRIBUTION, (M.WATCHDOG,), "Due 60 s later", **_QUEUE)
FREE_QUEUE = _key(
    "distribution:free:queue",
    QUEUE,
    d.Delivery,
    M.DISTRIBUTION,
    (M.WATCHDOG,),
    "Due 300 s later, 3 a day",
    server=STATE,
    takers=(M.DELIVERY,),
)
TELEGRAM_SIGNALS_QUEUE = _key(
    "telegram:signals:{symbol}:queue",
    QUEUE,
    d.Delivery,
    M.DISTRIBUTION,
    (M.WATCHDOG,),
    "Signals for Telegram, by due time",
    **_QUEUE,
)
TELEGRAM_ANALYSIS_QUEUE = _key(
    "telegram:analysis:queue", QUEUE, d.Delivery, M.ROUTINES, (M.WATCHDOG,), "Morning notes for Telegram", **_QUEUE
)
DISTRIBUTION_COUNT = _key(
    "distribution:signals:count",
    VALUE,
    s.SignalCount,
    M.DISTRIBUTION,
    (M.ROUTINES, M.WATCHDOG),
    "Signals distributed in the session",
    server=STATE,
    plan=True,
)
LEDGER_DELIVERY = _key(
    "ledger:delivery",
    HASH,
    d.DeliveryRecord,
    M.DELIVERY,
    (M.DISTRIBUTION, M.WATCHDOG),
    "`{delivery}|{recipient}` -> how it ended: at most one message each",
    server=STATE,
)
TWEET = _key("twitter:tweet:{id}", VALUE, d.Tweet, M.DELIVERY, (), "A tweet we posted", server=STATE, ttl=DAY, plan=True)
POSTED_SIGNALS = _key(
    "twitter:posted_signals",
    HASH,
    d.Tweet,
    M.DELIVERY,
    (),
    "What was tweeted, by trade or signal: never twice",
    server=STATE,
    plan=True,
)

# -- Subscribers: pages --------------------------------------------------------------------------------------------------
SUBSCRIBERS = _key(
    "subscribers",
    HASH,
    d.Subscriber,
    M.PAGES,
    (M.DELIVERY, M.DISTRIBUTION, M.TELEGRAM),
    "Customers, as Stripe's current state has them",
    server=STATE,
)
TELEGRAM_TIER = _key(
    "telegram:user:{id}:tier",
    VALUE,
    d.TelegramTier,
    M.PAGES,
    (M.TELEGRAM, M.DELIVERY),
    "A Telegram user's tier",
    server=STATE,
    plan=True,
)
STRIPE_EVENTS = _key("ledger:stripe", HASH, str, M.PAGES, (), "Stripe events already applied, by id", server=STATE)

# -- Analysis and routines ------------------------------------------------------------------------------------------------
_NOTE: Final[dict[str, Any]] = {"server": DATA, "ttl": DAY, "plan": True}
ANALYSIS_FULL = _key("analysis:morning:full", VALUE, d.Analysis, M.ROUTINES, (M.DELIVERY, M.PAGES), "The morning note", **_NOTE)
ANALYSIS_PREVIEW = _key(
    "analysis:morning:preview", VALUE, d.Analysis, M.ROUTINES, (M.DELIVERY, M.PAGES), "Its first lines", **_NOTE
)
DASHBOARD_ANALYSIS = _key(
    "dashboard:morning_analysis", VALUE, d.Analysis, M.ROUTINES, (M.DASHBOARD,), "The note as the dashboard shows it", **_NOTE
)
LEDGER_ROUTINES = _key(
    "ledger:routines", HASH, ops.RoutineRun, M.ROUTINES, (M.WATCHDOG,), "`{routine}|{session}`: each once a session", server=STATE
)

# -- How the modules are ---------------------------------------------------------------------------------------------------
HEALTH = _key("health:{module}", VALUE, ops.Health, SELF, (M.WATCHDOG, M.CLI), "A module's heartbeat", server=STATE, ttl=15.0)
OBSERVED = _key(
    "observed:watchdog", VALUE, ops.Observed, M.WATCHDOG, (M.CLI,), "What the watchdog saw from outside", server=STATE, ttl=15.0
)
LOCK = _key("lock:{module}", VALUE, ops.Lock, SELF, (M.WATCHDOG,), "Held by the one running instance", server=STATE, ttl=5.0)
FENCE = _key("fence:{module}", VALUE, int, SELF, (), "Counts the holders of the lock", server=STATE)
CURSOR = _key("cursor:{module}", HASH, str, SELF, (), "Stream -> the last entry this module has booked", server=STATE)
STAMP_DATA = _key("server:data:stamp", VALUE, ops.Stamp, M.REDIS, tuple(M), "The mode this server belongs to", server=DATA)
STAMP_STATE = _key("server:state:stamp", VALUE, ops.Stamp, M.STATE, tuple(M), "The mode this server belongs to", server=STATE)


def find(name: str) -> Key[Any] | None:
    """The declared key that a Redis name belongs to."""
    for key in ALL:
        if key.parse(name) is not None:
            return key
    return None
