"""Drives analytics and the 0DTE strategy straight from the simulated market: ibkr, analytics and signals without Redis.

Used by test_signals_market.py; run as `python -m tests.core.market_drive [minutes] [HH:MM] [seed]` to see scores and signals.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from alphatrader.contract.messages.contracts import ContractQuote, OptionRef
from alphatrader.contract.messages.market import Bar, BookEvent, Level, QuoteEvent, Status, Trade
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.signals import Gate
from alphatrader.contract.settings import Settings
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.vpin import fallback_size
from alphatrader.core.market.conditions import counts
from alphatrader.core.market.prints import TickRule
from alphatrader.core.signals.candidates import Candidates
from alphatrader.core.signals.decision import Limits, Proposal, Situation, decide
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import RULES
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_datetime, exchange_instant
from alphatrader.runtime.settings import load
from alphatrader.sandbox.market import SimulatedMarket
from alphatrader.sandbox.market.types import Print
from tests.support.market_world import chain_of

STEP_NS = 100_000_000
SECOND_NS = 1_000_000_000
LOOK_STEPS = 5
CHAIN_STEPS = 200
RULE = RULES[0]


@dataclass
class Made:
    symbol: str
    ts_ns: int
    proposal: Proposal


@dataclass
class Watched:
    """One symbol: what the three modules hold of it."""

    con_id: int
    meter: Meter
    view: OptionsView
    candidates: Candidates
    tick_rule: TickRule = field(default_factory=TickRule)
    seq: int = 0
    metrics: dict[str, Metric] = field(default_factory=dict)
    last_signal_ns: int | None = None
    gates: tuple[Gate, ...] = ()
    scores: list[tuple[int, float, dict[str, float | None]]] = field(default_factory=list)

    def next(self) -> int:
        self.seq += 1
        return self.seq


class Drive:
    def __init__(self, settings: Settings, seed: int, start_ns: int, symbols: tuple[str, ...] = ("SPY", "QQQ", "IWM")) -> None:
        self.settings, self.start_ns = settings, start_ns
        self.session = nyse().current(start_ns)
        self.hours = (self.session.open_ns, self.session.close_ns)
        known = [(s.day, s.open_ns, s.close_ns) for s in nyse().sessions if abs((s.day - self.session.day).days) < 200]
        self.market = SimulatedMarket(seed=seed, start_ns=start_ns, sessions=known)
        con_ids = {c.symbol: c.con_id for c in self.market.contracts(sec_type="STK")}
        self.watched = {symbol: self._watch(symbol, con_ids[symbol]) for symbol in symbols}
        self.names = {watched.con_id: symbol for symbol, watched in self.watched.items()}
        self.made: list[Made] = []

    def _watch(self, symbol: str, con_id: int) -> Watched:
        """Warmed up as the modules are: two sessions of minutes, twenty days."""
        settings = self.settings
        view = OptionsView(settings.options.risk_free_rate, settings.analytics.flip_range)
        meter = Meter(symbol, settings.analytics, view, 5.0, settings.signals.atr_period)
        found = self.market.bars(con_id, self.start_ns, 2 * 86_400, 60)
        minutes = [Bar(b.ts_ns, b.open, b.high, b.low, b.close, b.volume, b.wap, b.count) for b in found]
        days = self.market.bars(con_id, self.session.open_ns, 20 * 86_400, 86_400)
        meter.take_bucket_size(fallback_size([day.volume for day in days]) or 1, "daily volume / 50", minutes, self.start_ns)
        meter.state.warm_up(minutes)
        return Watched(con_id, meter, view, Candidates(symbol, settings.signals, settings.options.risk_free_rate))

    def run(self, seconds: float) -> None:
        for i in range(int(seconds * SECOND_NS / STEP_NS)):
            now = self.start_ns + (i + 1) * STEP_NS
            step = self.market.step(now)
            for made in step.prints:
                if made.con_id in self.names:
                    self._print(self.watched[self.names[made.con_id]], made)
            for con_id in (*step.quotes, *step.books):
                if con_id in self.names:
                    self._quote(self.watched[self.names[con_id]], now, book=con_id in step.books)
            for symbol, watched in self.watched.items():
                if i % CHAIN_STEPS == 0:
                    self._chain(symbol, watched, now)
                if i % LOOK_STEPS == 0:
                    self._look(symbol, watched, now)

    def _print(self, watched: Watched, made: Print) -> None:
        state, count = watched.meter.state, counts(made.conditions)
        side = watched.tick_rule.side(made.price, state.bid, state.ask, moves=count.last)
        trade = Trade(
            watched.next(), made.ts_ns, made.ts_ns, made.price, made.size, made.exchange, made.conditions, side, count.volume,
            count.last, count.vpin,
        )  # fmt: skip
        watched.meter.fold(trade, self.hours)

    def _quote(self, watched: Watched, now: int, *, book: bool) -> None:
        quote, depth = self.market.quote(watched.con_id), self.market.book(watched.con_id)
        if quote:
            event = QuoteEvent(watched.next(), now, now, quote.bid, quote.bid_size, quote.ask, quote.ask_size)
            watched.meter.fold(event, self.hours)
        if book and depth:
            bids, asks = (tuple(Level(row.price, row.size) for row in side[:10]) for side in (depth.bids, depth.asks))
            watched.meter.fold(BookEvent(watched.next(), now, now, True, bids, asks, 0, 0), self.hours)

    def _chain(self, symbol: str, watched: Watched, now: int) -> None:
        chain = chain_of(self.market, symbol, now)
        watched.view.take(chain, {row.expiry: close for row in chain.rows if (close := nyse().close_of(row.expiry))}, now)
        watched.candidates.take(chain)

    def _look(self, symbol: str, watched: Watched, now: int) -> None:
        def age_of(instant: int | None) -> float | None:
            return None if instant is None else max(0.0, (now - instant) / 1e6)

        for metric in watched.meter.metrics(now, now, age_of, self.session.name.replace("-", "")):
            watched.metrics[metric.metric] = metric
        spot = watched.meter.state.mid
        expiry = watched.candidates.expiry(RULE, self.session.day, nyse().next(self.session).day)
        ready = {name: metric for name, metric in watched.metrics.items() if metric.ready}
        window = RULE.window(self.settings.strategies)
        situation = Situation(
            inputs=Inputs(symbol, now, ready, Status(symbol, now, False, 0)),
            machine_ns=now,
            clock=f"{exchange_datetime(now):%H:%M:%S}",
            window_ns=self.session.window(window.opens, window.closes),
            session_open=self.session.contains(now),
            spot=spot,
            chain=watched.candidates.chain,
            expiry=expiry,
            candidates=watched.candidates.choose(RULE.name, expiry, spot, now, nyse().close_of),
            con_id=self._con_id,
            quote=lambda con_id: self._option_quote(symbol, con_id, now),
            last_signal_ns=watched.last_signal_ns,
            alive=None,
            equity=100_000.0,
            equity_age_seconds=1.0,
        )
        decision = decide(RULE, window, situation, Limits(self.settings.signals, self.settings.options.min_quality, 60.0))
        watched.gates = decision.gates
        watched.scores.append((now, decision.score.lean, RULE.features(situation.inputs)))
        if decision.proposal is not None:
            watched.last_signal_ns = now
            self.made.append(Made(symbol, now, decision.proposal))

    def _con_id(self, contract: OptionRef) -> int | None:
        terms: dict[str, Any] = {name: getattr(contract, name) for name in ("symbol", "expiry", "strike", "right")}
        found = self.market.contracts(sec_type="OPT", **terms)
        return found[0].con_id if found else None

    def _option_quote(self, symbol: str, con_id: int, now: int) -> ContractQuote | None:
        q = self.market.quote(con_id)
        return q and ContractQuote(con_id, symbol, "", "OPT", now, now, 0.01, q.bid, q.bid_size, q.ask, q.ask_size)


def main() -> None:
    minutes, clock, seed = (sys.argv[1:] + ["10", "10:00", "7"][len(sys.argv) - 1 :])[:3]
    drive = Drive(load({}), int(seed), exchange_instant(date(2026, 11, 18), clock))
    drive.run(float(minutes) * 60)
    for symbol, watched in drive.watched.items():
        print(symbol)
        for at, lean, features in watched.scores[::20]:
            shown = " ".join(f"{name}={'None' if value is None else format(value, '+.2f')}" for name, value in features.items())
            print(f"  {exchange_datetime(at):%H:%M:%S} {lean:+.3f} {shown}")
        for gate in watched.gates:
            print(f"   {'ok' if gate.passed else 'NO'} {gate.name}: {gate.value} / {gate.needed}")
    for made in drive.made:
        p = made.proposal
        print(
            f"{exchange_datetime(made.ts_ns):%H:%M:%S} {p.direction} {p.contract.occ} {p.score.confidence:.1f} {p.levels}", p.size
        )


if __name__ == "__main__":
    main()
