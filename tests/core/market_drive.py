"""Drives analytics and the 0DTE strategy straight from the simulated market: what `ibkr`, `analytics` and `signals` do, without Redis.

Used by test_signals_market.py; run as `python -m tests.core.market_drive [minutes] [HH:MM] [seed]` to see scores and signals.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import date

from alphatrader.contract.messages.market import (
    Bar,
    BookEvent,
    ContractQuote,
    Level,
    OptionRef,
    QuoteEvent,
    Status,
    Trade,
)
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.messages.signals import Gate
from alphatrader.contract.settings import Settings
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.vpin import fallback_size
from alphatrader.core.market.prints import TickRule, counts
from alphatrader.core.signals.candidates import Candidates
from alphatrader.core.signals.decision import Limits, Proposal, Situation, decide
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import RULES
from alphatrader.runtime.calendar import Session, nyse
from alphatrader.runtime.clock import exchange_datetime, exchange_instant
from alphatrader.runtime.settings import load
from alphatrader.sandbox.market import SimulatedMarket

STEP_NS = 100_000_000
SECOND_NS = 1_000_000_000


@dataclass
class Made:
    symbol: str
    ts_ns: int
    proposal: Proposal


@dataclass
class Drive:
    settings: Settings
    seed: int
    start_ns: int
    symbols: tuple[str, ...] = ("SPY", "QQQ", "IWM")
    made: list[Made] = field(default_factory=list)
    scores: dict[str, list[tuple[int, float, dict[str, float | None]]]] = field(default_factory=dict)
    gates: dict[str, tuple[Gate, ...]] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        settings, calendar = self.settings, nyse()
        session = calendar.current(self.start_ns)
        known = [(s.day, s.open_ns, s.close_ns) for s in calendar.sessions if abs((s.day - session.day).days) < 200]
        market = SimulatedMarket(seed=self.seed, start_ns=self.start_ns, sessions=known)
        con_ids = {c.symbol: c.con_id for c in market.contracts(sec_type="STK") if c.symbol in self.symbols}
        names = {con_id: symbol for symbol, con_id in con_ids.items()}
        rules = {symbol: TickRule() for symbol in self.symbols}
        seqs = dict.fromkeys(self.symbols, 0)
        last_ns: dict[str, int] = {}
        meters, chosen = {}, {}
        for symbol in self.symbols:
            view = OptionsView(settings.options.risk_free_rate, settings.analytics.flip_range)
            meter = Meter(symbol, settings.analytics, view, 5.0, settings.signals.atr_period)
            minutes = [_bar(b) for b in market.bars(con_ids[symbol], self.start_ns, 2 * 86_400, 60)]
            daily = market.bars(con_ids[symbol], session.open_ns, 20 * 86_400, 86_400)
            size = fallback_size([bar.volume for bar in daily])
            assert size is not None
            meter.take_bucket_size(size, "daily volume / 50", minutes, self.start_ns)
            meter.state.warm_up(minutes)
            meters[symbol] = meter
            chosen[symbol] = Candidates(symbol, settings.signals, settings.options.risk_free_rate)
            self.scores[symbol] = []
        hours = (session.open_ns, session.close_ns)
        rule = RULES[0]
        window = rule.window(settings.strategies)
        limits = Limits(settings.signals, settings.options.min_quality, 60.0)
        next_session = calendar.next(session)

        def close_of(expiry: str) -> int | None:
            found = calendar.on(date.fromisoformat(expiry))
            return found.close_ns if found else None

        for i in range(int(seconds * SECOND_NS / STEP_NS)):
            now = self.start_ns + (i + 1) * STEP_NS
            step = market.step(now)
            for made in step.prints:
                symbol = names.get(made.con_id, "")
                if not symbol:
                    continue
                seqs[symbol] += 1
                state = meters[symbol].state
                c = counts(made.conditions)
                side = rules[symbol].side(made.price, state.bid, state.ask, moves=c.last)
                meters[symbol].fold(
                    Trade(
                        seqs[symbol], made.ts_ns, made.ts_ns, made.price, made.size, made.exchange, made.conditions, side,
                        c.volume, c.last, c.vpin,
                    ), hours,
                )  # fmt: skip
            for con_id in step.quotes:
                if symbol := names.get(con_id, ""):
                    q = market.quote(con_id)
                    seqs[symbol] += 1
                    if q:
                        event = QuoteEvent(seqs[symbol], now, now, q.bid, q.bid_size, q.ask, q.ask_size)
                        meters[symbol].fold(event, hours)
            for con_id in step.books:
                if symbol := names.get(con_id, ""):
                    book = market.book(con_id)
                    seqs[symbol] += 1
                    if book:
                        bids = tuple(Level(row.price, row.size) for row in book.bids[:10])
                        asks = tuple(Level(row.price, row.size) for row in book.asks[:10])
                        meters[symbol].fold(BookEvent(seqs[symbol], now, now, True, bids, asks, 0, 0), hours)
            if i % 50 == 0:
                for symbol in self.symbols:
                    chain = _chain(market, symbol, now)
                    closes = {row.expiry: close for row in chain.rows if (close := close_of(row.expiry))}
                    view = meters[symbol].view
                    assert view is not None
                    view.take(chain, closes, now)
                    chosen[symbol].take(chain)
            if i % 3 == 0:
                for symbol in self.symbols:
                    self._look(
                        symbol, market, meters[symbol], chosen[symbol], now, session, next_session, last_ns, close_of, limits
                    )
        self.window = window

    def _look(self, symbol, market, meter, candidates, now, session: Session, following, last_ns, close_of, limits) -> None:  # type: ignore[no-untyped-def]
        rule = RULES[0]
        window = rule.window(self.settings.strategies)

        def age_of(instant: int | None) -> float | None:
            return None if instant is None else max(0.0, (now - instant) / 1e6)

        for metric in meter.metrics(now, now, age_of, session.name.replace("-", "")):
            if metric.ready:
                meter.__dict__.setdefault("latest", {})[metric.metric] = metric
            else:
                meter.__dict__.setdefault("latest", {}).pop(metric.metric, None)
        spot = meter.state.mid
        expiry = candidates.expiry(rule, session.day, following.day)
        contracts = candidates.choose(rule.name, expiry, spot, now, close_of)

        def quote(con_id: int) -> ContractQuote | None:
            q = market.quote(con_id)
            return q and ContractQuote(con_id, symbol, "", "OPT", now, now, 0.01, q.bid, q.bid_size, q.ask, q.ask_size)

        def con_id(contract: OptionRef) -> int | None:
            found = market.contracts(
                symbol=symbol, sec_type="OPT", expiry=contract.expiry, strike=contract.strike, right=contract.right
            )
            return found[0].con_id if found else None

        inputs = Inputs(symbol, now, dict(meter.__dict__["latest"]), Status(symbol, now, False, 0))
        situation = Situation(
            inputs=inputs, machine_ns=now, clock=f"{exchange_datetime(now):%H:%M:%S}",
            window_ns=session.window(window.opens, window.closes), session_open=session.contains(now), spot=spot,
            chain=candidates.chain, expiry=expiry, candidates=contracts, con_id=con_id, quote=quote,
            last_signal_ns=last_ns.get(symbol), alive=None, equity=100_000.0, equity_age_seconds=1.0,
        )  # fmt: skip
        decision = decide(rule, window, situation, limits)
        self.gates[symbol] = decision.gates
        self.scores[symbol].append((now, decision.score.lean, rule.features(inputs)))
        if decision.proposal is not None:
            last_ns[symbol] = now
            self.made.append(Made(symbol, now, decision.proposal))


def _bar(bar) -> Bar:  # type: ignore[no-untyped-def]
    return Bar(bar.ts_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)


def _chain(market: SimulatedMarket, symbol: str, now: int) -> Chain:
    rows = []
    for q in market.chain(symbol):
        c = market.contract(q.con_id)
        assert c is not None and c.right
        mid = (q.bid + q.ask) / 2 if q.bid and q.ask else None
        rows.append(
            OptionRow(c.expiry, c.strike, c.right, q.bid, q.ask, q.last, mid, q.volume, q.open_interest or 0, q.implied_vol,
                      q.delta, q.gamma, q.theta, q.vega)
        )  # fmt: skip
    return Chain(symbol, now, now, 1.0, False, None, 0, tuple(rows))


def main() -> None:
    minutes, clock, seed = (sys.argv[1:] + ["10", "10:00", "7"][len(sys.argv) - 1 :])[:3]
    drive = Drive(load({}), int(seed), exchange_instant(date(2026, 11, 18), clock))
    drive.run(float(minutes) * 60)
    for symbol, scores in drive.scores.items():
        print(symbol)
        for at, lean, features in scores[::40]:
            shown = " ".join(f"{name}={'None' if value is None else format(value, '+.2f')}" for name, value in features.items())
            print(f"  {exchange_datetime(at):%H:%M:%S} {lean:+.3f} {shown}")
    for made in drive.made:
        p = made.proposal
        print(f"{exchange_datetime(made.ts_ns):%H:%M:%S} {made.symbol} {p.direction} {p.contract.occ} conf {p.score.confidence:.1f}"
              f" x{p.size.contracts} entry {p.levels.entry} stop {p.levels.stop} targets {p.levels.targets} {p.size} {p.reasons}")  # fmt: skip
    for symbol, gates in drive.gates.items():
        print(symbol, *[f"\n   {'ok ' if g.passed else 'NO '} {g.name}: {g.value} / {g.needed}" for g in gates])


if __name__ == "__main__":
    main()
