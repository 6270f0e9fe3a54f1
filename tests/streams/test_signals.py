"""SignalGenerator on real servers: a signal out of a scripted feed, its life, and the reasons where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.messages.market import Last, Status
from alphatrader.contract.messages.metrics import Metric, MetricsEvent
from alphatrader.contract.messages.options import Chain, OptionRow, OptionsEvent
from alphatrader.contract.messages.orders import Account
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.messages.signals import Gate, Signal
from alphatrader.contract.modules import Module
from alphatrader.core.options.greeks import greeks, years_to_expiry
from alphatrader.runtime.clock import exchange_instant
from alphatrader.streams.signals import METRICS, SignalGenerator
from tests.core.test_performance_report import trade as closed_trade
from tests.streams.scripted import DAY, Stage
from tests.support.servers import Servers
from tests.support.waiting import until

SPOT = 660.0
FLOW, FLAT = 0.7, 0.05


@pytest.fixture
def stage(servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(servers, tmp_path)
    yield made
    made.close()


class Voices:
    """What ibkr, analytics, pulls, execution and risk would say, kept fresh while the scene lasts."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.flow = FLAT
        self.halted: bool | None = False
        self.quoting = True
        self.stale_chain = False
        self.equity = Decimal(100_000)
        self.named: dict[str, int] = {}
        self.seq = 0

    def rows(self) -> tuple[OptionRow, ...]:
        now, rows = self.stage.clock.market_ns(), []
        for expiry in ("20261118", "20261119"):
            years = years_to_expiry(now, exchange_instant(DAY, "16:00") + (0 if expiry == "20261118" else 86_400 * 10**9))
            strikes = np.arange(650.0, 671.0)
            for right in "CP":
                for strike, value in zip(strikes, greeks(SPOT, strikes, years, 0.15, right == "C", 0.04).price, strict=True):
                    bid = max(0.01, round(float(value) - 0.01, 2))
                    rows.append(
                        OptionRow(expiry, float(strike), right, bid, bid + 0.02, None, bid + 0.01, 900, 900, 0.15, *[None] * 4)  # type: ignore[arg-type]
                    )
        return tuple(rows)

    def chain(self) -> None:
        now = self.stage.clock.market_ns()
        chain = Chain("SPY", now, self.stage.clock.machine_ns(), 0.99, self.stale_chain, None, 0, self.rows())
        self.stage.put(Module.PULLS, k.OPTIONS_CHAIN.at(symbol="SPY"), chain)
        self.stage.append(Module.PULLS, k.EVENTS_OPTIONS.at(), OptionsEvent("SPY", now, 0.99, self.stale_chain))

    def metric(self, name: str, value: float, **components: Any) -> None:
        now = self.stage.clock.market_ns()
        made = Metric(name, "SPY", now, True, None, value, "", "", 1, components, {})
        self.stage.put(Module.ANALYTICS, METRICS[name].at(symbol="SPY"), made)

    def metrics(self) -> None:
        f = self.flow
        self.metric("vpin", 0.4, flow_60s=f, flow_180s=f)
        self.metric("obi", f, smoothed_20s=f * 0.8)
        self.metric("gex", 1e9, net_share=-0.2, spot=SPOT, call_wall=665.0, put_wall=655.0)
        self.metric("regime", f, trend_60s=2 * f, trend_180s=2 * f, atr_1m=0.4)
        self.seq += 1
        self.stage.append(
            Module.ANALYTICS,
            k.EVENTS_METRICS.at(),
            MetricsEvent(self.seq, "SPY", self.stage.clock.market_ns(), 1, 1, {"vpin": 0.4}),
        )

    def market(self) -> None:
        now = self.stage.clock.market_ns()
        self.stage.put(Module.IBKR, k.MARKET_LAST.at(symbol="SPY"), Last("SPY", now, 1, SPOT - 0.01, 5.0, SPOT + 0.01, 5.0))
        self.stage.put(Module.IBKR, k.MARKET_STATUS.at(symbol="SPY"), Status("SPY", now, self.halted, 0))

    def quotes(self) -> None:
        """ibkr names what is wanted and quotes it."""
        wanted = self.stage.store(Module.IBKR).get(k.WANTED.at(module=Module.SIGNALS))
        store = self.stage.store(Module.IBKR)
        batch = store.batch()
        for contract in wanted.contracts if wanted else ():
            con_id = self.named.setdefault(contract.occ, 700_000 + len(self.named))
            batch.put_field(k.CONTRACTS.at(), contract.occ, replace(contract, con_id=con_id))
            if self.quoting:
                quote = ContractQuote(
                    con_id, "SPY", contract.occ, "OPT", 0, self.stage.clock.machine_ns(), 0.01, bid=1.20, bid_size=9.0, ask=1.22,
                    ask_size=9.0,
                )  # fmt: skip
                batch.put(k.QUOTES.at(con_id=con_id), quote)
        store.commit(batch)

    def account(self) -> None:
        now, machine = self.stage.clock.market_ns(), self.stage.clock.machine_ns()
        account = Account("DUSIM0001", self.equity, self.equity, self.equity, (), 0, 0, True, now, machine)
        self.stage.append(Module.EXECUTION, k.EVENTS_ACCOUNT.at(), account)

    def speak(self) -> None:
        self.market()
        self.metrics()
        self.quotes()

    async def keep(self) -> None:
        turn = 0
        while True:
            if turn % 50 == 0:
                self.chain()
                self.account()
            self.speak()
            turn += 1
            await asyncio.sleep(0.1)

    def verdict(self, signal: Signal, approved: bool) -> None:
        approval = Approval(
            intent_id=f"i-{signal.id}", signal_id=signal.id, approved=approved, reason="limit x", strategy=signal.strategy,
            symbol=signal.symbol, contract=signal.contract, quantity=1, limit_price=Decimal("1.22"), stop_price=Decimal("0.9"),
            target_price=Decimal("2"), machine_ns=self.stage.clock.machine_ns(), ts_ns=self.stage.clock.market_ns(), halt_epoch=1,
            limits_version="1", fence=1,
        )  # fmt: skip
        self.stage.append(Module.RISK, k.EVENTS_APPROVALS.at(), approval)


def pending(stage: Stage) -> Signal | None:
    found = stage.get(k.SIGNALS_PENDING.at(symbol="SPY"))
    return found.by_strategy.get("0DTE") if found else None


def gates(stage: Stage) -> dict[str, Gate]:
    found = stage.get(k.SIGNALS_WHY.at(symbol="SPY"))
    return {gate.name: gate for gate in found.by_strategy["0DTE"]} if found else {}


def story(stage: Stage, tell: Any, settings: Any = None) -> None:
    async def whole() -> None:
        voices = Voices(stage)
        voices.account()
        async with stage.running(SignalGenerator, settings) as signals:
            speaking = asyncio.create_task(voices.keep())
            try:
                await tell(voices, signals)
            finally:
                speaking.cancel()

    asyncio.run(whole())


def test_a_signal_emerges_from_one_sided_flow_and_lives_until_its_verdict(stage: Stage) -> None:
    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        # given a quiet market: every gate but the score is passed once the candidates are quoted
        quiet = await until(
            lambda: (g := gates(stage)).get("size") and not [n for n, x in g.items() if not x.passed and n != "score"] and g,
            "only the score stops it",
        )
        assert not quiet["score"].passed and pending(stage) is None
        wanted = stage.get(k.WANTED.at(module=Module.SIGNALS)).contracts
        today = [contract for contract in wanted if contract.expiry == "20261118"]
        assert {contract.right for contract in today} == {"C", "P"}
        # when flow, book and trend turn one way
        voices.flow = FLOW
        signal = await until(lambda: pending(stage), "a pending signal")
        # then it is a call near delta 0.40, priced from the broker's quote, sized and protected
        assert (
            signal.direction == "long_call" and signal.contract.right == "C" and signal.contract.con_id in voices.named.values()
        )
        assert signal.entry == 1.22 and 0 < signal.stop < signal.bid < signal.entry < signal.targets[0] < signal.targets[-1]
        assert 1 <= signal.quantity <= 0.02 * 100_000 / 122 and 80 <= signal.confidence <= 100 and not signal.calibrated
        assert signal.id == "2026-11-18-SPY-0DTE-1" and signal.reasons and signal.expires_ns - signal.ts_ns == 60 * 10**9
        left = stage.store(Module.OPERATOR).ttl_ms(k.SIGNALS_PENDING.at(symbol="SPY"))
        assert left is not None and 0 < left <= 60_000
        # and it is told once, counted once
        events = stage.store(Module.OPERATOR).latest(k.EVENTS_SIGNALS.at(), 50)
        assert [(event.kind, event.signal.id) for event in events] == [("new", signal.id)]
        count = stage.get(k.SIGNALS_COUNT.at())
        assert (count.session, count.count) == ("2026-11-18", 1)
        # when risk approves, it moves to active
        voices.verdict(signal, True)
        active = await until(lambda: stage.get(k.SIGNALS_ACTIVE.at(symbol="SPY")), "active")
        assert active.by_strategy["0DTE"].id == signal.id and pending(stage) is None
        # and no second one follows while it lives and cools down
        await until(lambda: not gates(stage)["one at a time"].passed and not gates(stage)["cooldown"].passed, "the gates close")
        assert stage.get(k.SIGNALS_COUNT.at()).count == 1
        assert signals._symbols["SPY"].book.alive("0DTE") == signal.id

    story(stage, tell)


def test_the_record_that_sizes_trades_is_of_exits_that_were_seen_and_of_every_loss(stage: Stage) -> None:
    trades = [
        *(closed_trade(number, "5", "2026-11-17") for number in (1, 2)),
        closed_trade(3, "-5", "2026-11-17"),
        replace(closed_trade(4, "900", "2026-11-17"), exit_known=False),
        replace(closed_trade(5, "-900", "2026-11-17"), exit_known=False),
    ]
    batch = stage.store(Module.POSITIONS).batch()
    for trade in trades:
        batch.put_field(k.LEDGER_TRADES.at(), trade.position_id, trade)
    stage.store(Module.POSITIONS).commit(batch)

    async def tell(_: Voices, signals: SignalGenerator) -> None:
        await until(lambda: signals._record.get("0DTE") == (2, 2), "two won, two lost")

    story(stage, tell)


def test_a_refused_signal_is_withdrawn_with_risks_reason(stage: Stage) -> None:
    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        voices.flow = -FLOW
        signal = await until(lambda: pending(stage), "a pending signal")
        assert signal.direction == "long_put" and signal.contract.right == "P"
        voices.verdict(signal, False)
        events = await until(
            lambda: (e := stage.store(Module.OPERATOR).latest(k.EVENTS_SIGNALS.at(), 5))[0].kind == "withdrawn" and e, "withdrawn"
        )
        assert events[0].reason == "limit x" and pending(stage) is None

    story(stage, tell)


def test_a_signal_without_a_verdict_expires(stage: Stage) -> None:
    settings = stage.servers.settings
    short = replace(settings, signals=replace(settings.signals, life_seconds=0.5))

    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        voices.flow = FLOW
        await until(lambda: stage.get(k.SIGNALS_COUNT.at()), "a signal")
        events = await until(
            lambda: (e := stage.store(Module.OPERATOR).latest(k.EVENTS_SIGNALS.at(), 5))[0].kind == "expired" and e, "expired"
        )
        assert len(events) == 2 and pending(stage) is None

    story(stage, tell, short)


def test_the_ledger_of_reasons_names_what_is_missing(stage: Stage) -> None:
    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        voices.flow = FLOW
        voices.halted = None
        voices.quoting = False
        # an unknown halt state stops it like a halt; a contract without a quote prices nothing
        await until(lambda: (g := gates(stage)).get("quote") and "none for contract" in g["quote"].value and g, "no quote")
        shown = gates(stage)
        assert not shown["halt"].passed and shown["halt"].value == "unknown"
        assert shown["score"].passed and pending(stage) is None
        # a stale chain stops it too
        voices.halted, voices.quoting, voices.stale_chain = False, True, True
        voices.chain()
        await until(
            lambda: (g := gates(stage)).get("chain") and "stale" in g["chain"].value and not g["chain"].passed, "stale chain"
        )
        assert pending(stage) is None
        # and when all is well it is made
        voices.stale_chain = False
        voices.chain()
        await until(lambda: pending(stage), "a pending signal")

    story(stage, tell)


def test_a_restart_keeps_the_pause_the_count_and_the_living(stage: Stage) -> None:
    async def first(voices: Voices, signals: SignalGenerator) -> None:
        voices.flow = FLOW
        await until(lambda: pending(stage), "a pending signal")

    async def second(voices: Voices, signals: SignalGenerator) -> None:
        # given the same flow after the restart, and an approval that came while it was down
        assert signals._symbols["SPY"].book.active["0DTE"].id == "2026-11-18-SPY-0DTE-1"
        voices.flow = FLOW
        await until(lambda: (g := gates(stage)).get("size") and not g["cooldown"].passed and g, "the pause stands")
        assert stage.get(k.SIGNALS_COUNT.at()).count == 1

    story(stage, first)
    signal = pending(stage)
    assert signal is not None
    Voices(stage).verdict(signal, True)
    story(stage, second)


def test_outside_the_window_there_is_none(servers: Servers, tmp_path: Path) -> None:
    late = Stage(servers, tmp_path, at="15:00")

    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        voices.flow = FLOW
        shown = await until(lambda: (g := gates(late)).get("score") and g["score"].passed and g, "a score")
        assert shown["session"].passed and not shown["window"].passed and shown["window"].value.startswith("15:00")
        assert pending(late) is None

    story(late, tell)
    late.close()


def test_metrics_of_all_twelve_symbols_are_decided_within_the_budget(stage: Stage) -> None:
    async def tell(voices: Voices, signals: SignalGenerator) -> None:
        await until(lambda: gates(stage).get("size"), "a warm start")
        chain = stage.get(k.OPTIONS_CHAIN.at(symbol="SPY"))
        for mine in signals._symbols.values():
            mine.candidates.take(chain)
        turns = []
        for _ in range(20):
            began = signals.clock.monotonic()
            await signals._evaluate(list(signals._symbols), began)
            turns.append(signals.clock.monotonic() - began)
        turns.sort()
        assert turns[len(turns) // 2] < 0.1, turns  # the target is 20 ms; the machine of the test is shared

    story(stage, tell)
