"""SignalGenerator: scores each symbol and strategy, and proposes an option to buy where every gate is passed.

Wakes on `events:metrics` (conflated), `events:options` and `events:approvals`. Reads `metrics:{symbol}:*`, `market:{symbol}:last`
and `:status`, `options:{symbol}:chain` and `:unusual`, `sentiment:{symbol}:score`, `contracts:options`, `quotes:{con_id}`,
`events:account`, `ledger:trades`. Writes `signals:{symbol}:pending`, `:active`, `:why`, `signals:global:count`, `events:signals`
and `wanted:signals`. Started by the Procfile line `signals`. It proposes; risk decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.contracts import ContractQuote, OptionRef, Wanted
from alphatrader.contract.messages.market import Last
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.options import Sentiment, Unusual
from alphatrader.contract.messages.orders import Account
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.messages.signals import Gate, Signal, SignalCount, SignalEvent, SignalMap, WhyNot
from alphatrader.contract.modules import Module
from alphatrader.core.performance.statistics import judged
from alphatrader.core.signals.book import SignalBook
from alphatrader.core.signals.candidates import Candidates, wanted
from alphatrader.core.signals.decision import Limits, Proposal, Situation, decide
from alphatrader.core.signals.nearness import nearness
from alphatrader.core.signals.score import Calibration, Direction, calibrate
from alphatrader.core.signals.selection import Candidate
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import RULES, StrategyRule, trades
from alphatrader.runtime.calendar import Session
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.module import StreamModule

METRICS: Final = {name: key for name, key in k.METRICS.items() if name != "makers"}
"""What signals are made of: displayed interest is no evidence."""
_LOOKED_AT: Final[tuple[Key[Any], ...]] = (*METRICS.values(), k.MARKET_LAST, k.MARKET_STATUS)
"""Of each symbol, at each look."""
_BLOCK_SECONDS: Final = 0.1
_GATHER_SECONDS: Final = 0.02
"""What arrives within this wakes one turn."""
_EVERY_SECONDS: Final = 1.0
"""Each symbol is looked at this often even when nothing wakes it, and its why-not is written."""
_SLOW_SECONDS: Final = 5.0
_TRADES_SECONDS: Final = 30.0
_LOOK_BACK: Final = 300
_LEAD_NS: Final = 120 * 1_000_000_000
"""Candidates are quoted this long before their window opens."""
_RULES: Final[dict[str, StrategyRule]] = {rule.name: rule for rule in RULES}


@dataclass
class _Symbol:
    """What is remembered of a symbol between two turns."""

    candidates: Candidates
    rules: tuple[StrategyRule, ...]
    book: SignalBook = field(default_factory=SignalBook)
    unusual: Unusual | None = None
    sentiment: Sentiment | None = None
    expiries: dict[str, str | None] = field(default_factory=dict)
    chosen: dict[str, dict[Direction, Candidate]] = field(default_factory=dict)
    chose: float = float("-inf")
    """When contracts were last chosen, s of the monotonic clock; minus infinity once the chain is another."""
    leans: dict[str, float] = field(default_factory=dict)
    confidences: dict[str, float] = field(default_factory=dict)
    looked: float = float("-inf")
    told: float = float("-inf")
    changed: bool = False


class SignalGenerator(StreamModule):
    """Metrics in, proposals and their reasons out."""

    name = Module.SIGNALS
    recorded = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._symbols: dict[str, _Symbol] = {}
        self._con_ids: dict[str, int] = {}
        self._count = SignalCount("", 0)
        self._account: Account | None = None
        self._calibration: Calibration | None = None
        self._record: dict[str, tuple[int, int]] = {}
        self._wanted: tuple[OptionRef, ...] | None = None
        self._data = self._state = Cursor({})
        self._slow = self._read_trades = self._asked = float("-inf")

    async def recover(self) -> None:
        strategies, signals = self.settings.strategies, self.settings.signals
        rate = self.settings.options.risk_free_rate
        self._symbols = {
            symbol: _Symbol(
                Candidates(symbol, signals, rate), tuple(rule for rule in RULES if trades(rule.window(strategies), symbol))
            )
            for symbol in self.settings.market.equities
        }
        self._data = Cursor.at_end([k.EVENTS_METRICS.at(), k.EVENTS_OPTIONS.at()])
        self._state = Cursor.at_end([k.EVENTS_APPROVALS.at()])
        await self.store.read(self._data, block_seconds=None)
        await self.store.read(self._state, block_seconds=None)
        self._count = await self.store.get(k.SIGNALS_COUNT.at()) or SignalCount("", 0)
        for symbol, mine in self._symbols.items():
            pending = await self.store.get(k.SIGNALS_PENDING.at(symbol=symbol))
            active = await self.store.get(k.SIGNALS_ACTIVE.at(symbol=symbol))
            mine.book = SignalBook(dict(pending.by_strategy) if pending else {}, dict(active.by_strategy) if active else {})
            await self._take_chain(symbol)
        for event in await self.store.latest(k.EVENTS_SIGNALS.at(), _LOOK_BACK):
            mine_or_none = self._symbols.get(event.signal.symbol)
            if event.kind == "new" and mine_or_none is not None:
                known = mine_or_none.book.last_ns
                known[event.signal.strategy] = max(event.signal.ts_ns, known.get(event.signal.strategy, 0))
        for approval in await self.store.latest(k.EVENTS_APPROVALS.at(), _LOOK_BACK):
            await self._take_verdict(approval)
        self._slow = self._read_trades = self._asked = float("-inf")
        self._con_ids, self._wanted = {}, None
        self.log.info("recovered", alive=sum(len(s.book.pending) + len(s.book.active) for s in self._symbols.values()))

    async def run(self) -> None:
        while not self.stopping.is_set():
            for entry in await self.store.read(self._data, block_seconds=_BLOCK_SECONDS):
                mine = self._symbols.get(entry.event.symbol)
                if mine is None:
                    continue
                if entry.stream == k.EVENTS_OPTIONS.pattern:
                    await self._take_chain(entry.event.symbol)
                else:
                    mine.changed = True
            for entry in await self.store.read(self._state, block_seconds=None):
                await self._take_verdict(entry.event)
            now = self.clock.monotonic()
            await self._read_slow(now)
            due = [symbol for symbol, mine in self._symbols.items() if self._due(mine, now)]
            if due:
                await self._evaluate(due, now)
                self.health.fact("turn_ms", round((self.clock.monotonic() - now) * 1000, 2))
            await self._ask_for_quotes(now)
            await self.pause(_GATHER_SECONDS)

    async def _take_chain(self, symbol: str) -> None:
        chain = await self.store.get(k.OPTIONS_CHAIN.at(symbol=symbol))
        mine = self._symbols[symbol]
        mine.candidates.take(chain)
        mine.chose = float("-inf")

    def _due(self, mine: _Symbol, now: float) -> bool:
        waited = now - mine.looked
        return waited >= _EVERY_SECONDS or (mine.changed and waited >= self.settings.signals.evaluate_seconds)

    async def _take_verdict(self, approval: Approval) -> None:
        mine = self._symbols.get(approval.symbol)
        if mine is None:
            return
        changed, told = mine.book.verdict(approval.signal_id, approval.approved, approval.reason)
        if changed:
            self.health.count("approved" if approval.approved else "refused by risk")
            await self._write(approval.symbol, [told] if told else [])

    async def _read_slow(self, now: float) -> None:
        """What changes slowly: news, unusual activity, the account, the trades so far."""
        if now - self._slow >= _SLOW_SECONDS:
            self._slow = now
            names = list(self._symbols)
            unusual = await self.store.get_many([k.OPTIONS_UNUSUAL.at(symbol=name) for name in names])
            sentiment = await self.store.get_many([k.SENTIMENT.at(symbol=name) for name in names])
            for name, activity, news in zip(names, unusual, sentiment, strict=True):
                self._symbols[name].unusual, self._symbols[name].sentiment = activity, news
                chain = self._symbols[name].candidates.chain
                if chain is None or self._age_seconds(chain.machine_ns) > 2 * self.settings.options.refresh_seconds:
                    await self._take_chain(name)
            accounts = await self.store.latest(k.EVENTS_ACCOUNT.at())
            self._account = accounts[0] if accounts else None
        if now - self._read_trades >= _TRADES_SECONDS:
            self._read_trades = now
            closed = judged((await self.store.fields(k.LEDGER_TRADES.at())).values())
            outcomes = [(trade.confidence, trade.pnl > 0) for trade in closed if trade.confidence is not None]
            self._calibration = calibrate(outcomes, self.settings.signals.calibration_trades)
            self._record = {
                name: (
                    sum(trade.pnl > 0 for trade in closed if trade.strategy == name),
                    sum(trade.pnl <= 0 for trade in closed if trade.strategy == name),
                )
                for name in _RULES
            }

    async def _evaluate(self, due: list[str], now: float) -> None:
        now_ns = self.clock.market_ns()
        session = self.calendar.current(now_ns)
        read: list[Any] = await self.store.get_many([key.at(symbol=symbol) for symbol in due for key in _LOOKED_AT])
        rows = dict(zip(due, zip(*[iter(read)] * len(_LOOKED_AT), strict=True), strict=True))
        spots = {symbol: _spot(last) for symbol, (*_, last, _) in rows.items()}
        await self._choose([s for s in due if now - self._symbols[s].chose >= _EVERY_SECONDS], session, spots, now_ns, now)
        quotes = await self._quotes(due)
        fresh = {symbol: self._fresh(metrics, now_ns) for symbol, (*metrics, _, _) in rows.items()}
        for symbol, (*_, status) in rows.items():
            mine = self._symbols[symbol]
            inputs = Inputs(symbol, now_ns, fresh[symbol], status, mine.unusual, mine.sentiment)
            await self._decide(symbol, inputs, session, spots[symbol], quotes, now)
        if any(fresh.values()):
            self.health.ready()
        else:
            self.health.waiting("no metrics yet", Module.ANALYTICS)

    def _fresh(self, metrics: list[Metric | None], now_ns: int) -> dict[str, Metric]:
        oldest = now_ns - int(self.settings.signals.max_metric_age_seconds * 1e9 * self.clock.speed)
        return {m.metric: m for m in metrics if m is not None and m.ready and m.ts_ns >= oldest}

    async def _choose(
        self, symbols: list[str], session: Session, spots: dict[str, float | None], now_ns: int, now: float
    ) -> None:
        """Each strategy's call and put at this spot, and the broker's ids of those it had not told yet.

        Once a second, not once a turn: a choice stands until another strike is clearly nearer the target, and each costs a delta
        of every row of its side."""
        following = self.calendar.next(session).day
        unnamed: set[str] = set()
        for symbol in symbols:
            mine = self._symbols[symbol]
            mine.chose = now
            for rule in mine.rules:
                expiry = mine.expiries[rule.name] = mine.candidates.expiry(rule, session.day, following)
                mine.chosen[rule.name] = chosen = mine.candidates.choose(
                    rule.name, expiry, spots[symbol], now_ns, self.calendar.close_of
                )
                unnamed |= {candidate.contract.occ for candidate in chosen.values()} - self._con_ids.keys()
        named = await self.store.fields(k.CONTRACTS.at(), sorted(unnamed))
        self._con_ids |= {occ: contract.con_id for occ, contract in named.items() if contract.con_id is not None}

    async def _quotes(self, due: list[str]) -> dict[int, ContractQuote]:
        """The broker's quotes of the candidates of these symbols, by con_id."""
        contracts = [c.contract for symbol in due for chosen in self._symbols[symbol].chosen.values() for c in chosen.values()]
        ids = sorted({self._con_ids[contract.occ] for contract in contracts if contract.occ in self._con_ids})
        found = await self.store.get_many([k.QUOTES.at(con_id=con_id) for con_id in ids])
        return {con_id: quote for con_id, quote in zip(ids, found, strict=True) if quote is not None}

    async def _decide(
        self, symbol: str, inputs: Inputs, session: Session, spot: float | None, quotes: dict[int, ContractQuote], now: float
    ) -> None:
        mine, settings = self._symbols[symbol], self.settings
        mine.looked, mine.changed = now, False
        ended, events = mine.book.expire(inputs.now_ns)
        why: dict[str, tuple[Gate, ...]] = {}
        for rule in mine.rules:
            window = rule.window(settings.strategies)
            wins, losses = self._record.get(rule.name, (0, 0))
            limits = Limits(
                settings.signals,
                settings.options.min_quality,
                settings.risk.max_account_age_seconds,
                self._calibration,
                wins,
                losses,
            )
            situation = Situation(
                inputs=inputs,
                machine_ns=self.clock.machine_ns(),
                clock=f"{exchange_datetime(inputs.now_ns):%H:%M:%S}",
                window_ns=session.window(window.opens, window.closes),
                session_open=session.contains(inputs.now_ns),
                spot=spot,
                chain=mine.candidates.chain,
                expiry=mine.expiries.get(rule.name),
                candidates=mine.chosen.get(rule.name, {}),
                con_id=lambda contract: self._con_ids.get(contract.occ),
                quote=quotes.get,
                last_signal_ns=mine.book.last_ns.get(rule.name),
                alive=mine.book.alive(rule.name),
                equity=float(self._account.net_liquidation) if self._account else None,
                equity_age_seconds=self._age_seconds(self._account.machine_ns) if self._account else None,
            )
            decision = decide(rule, window, situation, limits)
            why[rule.name] = decision.gates
            mine.leans[rule.name] = decision.score.lean
            mine.confidences[rule.name] = decision.score.confidence
            if decision.proposal is not None:
                events.append(mine.book.add(self._signal(rule, symbol, decision.proposal, inputs.now_ns, session)))
        if ended or events or now - mine.told >= _EVERY_SECONDS:
            mine.told = now
            await self._write(symbol, events, why, maps=ended or bool(events))

    def _signal(self, rule: StrategyRule, symbol: str, proposal: Proposal, now_ns: int, session: Session) -> Signal:
        made = self._count.count if self._count.session == session.name else 0
        self._count = SignalCount(session.name, made + 1)
        signal = Signal(
            id=f"{session.name}-{symbol}-{rule.name}-{made + 1}",
            strategy=rule.name,
            symbol=symbol,
            contract=proposal.contract,
            direction=proposal.direction,
            confidence=round(proposal.score.confidence, 2),
            calibrated=proposal.score.calibrated,
            quantity=proposal.size.contracts,
            entry=proposal.levels.entry,
            stop=proposal.levels.stop,
            targets=proposal.levels.targets,
            bid=proposal.bid,
            ask=proposal.ask,
            under_price=proposal.spot,
            reasons=proposal.reasons,
            features=proposal.features,
            ts_ns=now_ns,
            machine_ns=self.clock.machine_ns(),
            expires_ns=now_ns + int(self.settings.signals.life_seconds * 1e9),
            fence=self.fence,
        )
        self.health.count("signals")
        self.log.info(
            "signal", signal=signal.id, contract=signal.contract.occ, confidence=signal.confidence, quantity=signal.quantity
        )
        return signal

    async def _write(
        self, symbol: str, events: list[SignalEvent], why: dict[str, tuple[Gate, ...]] | None = None, *, maps: bool = True
    ) -> None:
        """Maps, count, events and reasons of one symbol, in one MULTI."""
        book, batch = self._symbols[symbol].book, self.store.batch()
        if maps:
            for key, alive in ((k.SIGNALS_PENDING, book.pending), (k.SIGNALS_ACTIVE, book.active)):
                if alive:
                    batch.put(key.at(symbol=symbol), SignalMap(dict(alive)))
                else:
                    batch.drop(key.at(symbol=symbol))
            if any(event.kind == "new" for event in events):
                batch.put(k.SIGNALS_COUNT.at(), self._count)
            for event in events:
                batch.append(k.EVENTS_SIGNALS.at(), event)
        if why is not None:
            batch.put(k.SIGNALS_WHY.at(symbol=symbol), WhyNot(symbol, self.clock.market_ns(), why))
        await self.store.commit(batch)

    async def _ask_for_quotes(self, now: float) -> None:
        """Keep `wanted:signals` filled with the candidates, the most promising first, and with how near each symbol is."""
        if now - self._asked < _EVERY_SECONDS:
            return
        self._asked = now
        now_ns = self.clock.market_ns()
        session = self.calendar.current(now_ns)
        ranked: list[tuple[float, list[OptionRef]]] = []
        near: dict[str, float] = {}
        for symbol, mine in self._symbols.items():
            scores: list[tuple[float, float]] = []
            for rule in mine.rules:
                window = rule.window(self.settings.strategies)
                opens, closes = session.window(window.opens, window.closes)
                if opens - _LEAD_NS <= now_ns < closes:
                    chosen = [candidate.contract for candidate in mine.chosen.get(rule.name, {}).values()]
                    ranked.append((abs(mine.leans.get(rule.name, 0.0)), chosen))
                    scores.append((mine.confidences.get(rule.name, 0.0), window.min_confidence))
            near[symbol] = round(nearness(scores, alive=bool(mine.book.pending or mine.book.active)), 3)
        contracts = wanted(ranked, self.settings.signals.wanted_contracts)
        batch = self.store.batch()
        batch.put(k.WANTED.at(module=Module.SIGNALS), Wanted(contracts, self.clock.machine_ns(), near))
        await self.store.commit(batch)
        self.health.fact("wanted", len(contracts))

    def _age_seconds(self, machine_ns: int) -> float:
        return (self.clock.machine_ns() - machine_ns) / 1e9


def _spot(last: Last | None) -> float | None:
    """Mid of the best quote; the last trade where a side is missing."""
    if last is None:
        return None
    if last.bid is not None and last.ask is not None and 0 < last.bid <= last.ask:
        return (last.bid + last.ask) / 2
    return last.last
