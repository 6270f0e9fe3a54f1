"""A trading day on the two servers, written as the modules write it, and a real dashboard process before it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import requests

from alphatrader.contract import keys as k
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.messages import market as m
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.messages import orders as e
from alphatrader.contract.messages import positions as p
from alphatrader.contract.messages import risk as r
from alphatrader.contract.messages import signals as s
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import SECOND, Clock, Epoch, exchange_instant
from tests.support.servers import Servers

DAY = date(2026, 11, 18)
START = exchange_instant(DAY, "11:05")
PRICES = {
    "SPY": 661.42, "QQQ": 595.10, "IWM": 238.77, "AAPL": 268.31, "TSLA": 402.65, "NVDA": 186.22, "AMD": 233.40, "GOOGL": 284.15,
    "META": 601.77, "AMZN": 223.90, "MSFT": 494.02, "VXX": 34.18, "ES": 6635.25, "NQ": 24640.5, "RTY": 2391.4, "VX": 21.35,
    "DX": 99.62, "GC": 4068.2, "CL": 60.71, "ZB": 116.53,
}  # fmt: skip
"""YM and the foreign indices have no feed."""


@contextmanager
def epoch(servers: Servers) -> Iterator[Clock]:
    """A sandbox clock that runs from 11:05, stamped as the sandbox line's parent does."""
    held = Epoch(servers.folder, start_ns=START, speed=1.0, resume_at=lambda last: START)
    ended = threading.Event()

    def stamp() -> None:
        while not ended.wait(1.0):
            held.stamp()

    thread = threading.Thread(target=stamp, daemon=True)
    thread.start()
    try:
        yield held.clock
    finally:
        ended.set()
        thread.join()
        (servers.folder / "clock.json").unlink()


class Desk:
    """Writes as each module; keeps the stores open."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self.servers, self.clock = servers, clock
        self._stores: dict[Module, Any] = {}

    def store(self, module: Module) -> Any:
        if module not in self._stores:
            self._stores[module] = self.servers.store(module)
        return self._stores[module]

    def write(self, module: Module, *steps: Any) -> None:
        """Each step is given its own batch, so that one call may write to both servers."""
        store = self.store(module)
        for step in steps:
            batch: Batch = store.batch()
            step(batch)
            store.commit(batch)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    # -- Market ------------------------------------------------------------------------------------------------------------

    def quotes(self, step: int = 0) -> None:
        now = self.clock.market_ns()

        def put(batch: Batch) -> None:
            for i, (symbol, base) in enumerate(PRICES.items()):
                price = round(base * (1 + 0.0004 * math.sin(step / 3 + i)), 2)
                batch.put(
                    k.MARKET_LAST.at(symbol=symbol),
                    m.Last(
                        symbol, now, step, price - 0.01, 300, price + 0.01, 500, price, 100, 1_250_000,
                        base * 0.997, base * 1.004, base * 0.994, round(base * (1 + 0.003 * math.cos(i)), 2),
                    ),
                )  # fmt: skip
                received = now - (9 if symbol == "ZB" else 0) * SECOND
                batch.put(k.MARKET_TIMESTAMP.at(symbol=symbol), m.Timestamps(symbol, now, step, received, received, now, 0))

        self.write(Module.IBKR, put)

    def bars(self, symbol: str = "SPY") -> None:
        now = self.clock.market_ns()
        minute = 60 * SECOND
        first = now - now % minute - 240 * minute

        def bar(start: int, width: float, base: float) -> m.Bar:
            o, c = base * (1 + 0.002 * math.sin(start / minute / 23)), base * (1 + 0.002 * math.sin((start + minute) / minute / 23))
            return m.Bar(start, o, max(o, c) * (1 + width), min(o, c) * (1 - width), c, 90_000 + 40_000 * math.sin(start), o, 100)

        history = tuple(bar(first + i * minute, 0.0003, PRICES[symbol]) for i in range(240))
        recent = tuple(bar(now - now % (5 * SECOND) - (120 - i) * 5 * SECOND, 0.0001, PRICES[symbol]) for i in range(120))
        self.write(
            Module.IBKR,
            lambda b: b.put(k.MARKET_HISTORY.at(symbol=symbol), m.Bars(symbol, now, 60, history)),
            lambda b: b.put(k.MARKET_BARS.at(symbol=symbol), m.Bars(symbol, now, 5, recent)),
        )

    def metrics(self, symbol: str = "SPY") -> None:
        now = self.clock.market_ns()

        def metric(name: str, value: float | None, units: str, n: int, reason: str | None = None, **parts: Any) -> Metric:
            return Metric(name, symbol, now, value is not None, reason, value, units, "as documented", n, parts, {})

        found = (
            (k.METRICS_VPIN, metric("vpin", 0.41, "share", 50, bucket_size=180_000, buckets=50, percentile=0.88)),
            (k.METRICS_OBI, metric("obi", 0.27, "-1 to 1", 10, volume=0.31, pressure=0.22, slope=0.11, ofi=0.4)),
            (k.METRICS_GEX, metric("gex", 2.41e9, "USD per 1 %", 3120, call_wall=662.5, put_wall=660.5, flip=661.1, zero_dte=9.1e8)),
            (k.METRICS_DEX, metric("dex", -8.2e9, "USD", 3120, call=2.1e10, put=-2.92e10)),
            (k.METRICS_SWEEP, metric("sweep", 3.0, "sweeps", 3, buy=2, sell=1, notional_usd=812_000)),
            (k.METRICS_HIDDEN, metric("hidden", None, "share", 0, "no depth for this symbol now")),
            (k.METRICS_REGIME, metric("regime", 0.34, "trend strength, -1 to 1", 95, **{"class": "trend_up", "drift_t": 1.02, "atr_1m": 0.18})),
        )

        def put(batch: Batch) -> None:
            for key, message in found:
                batch.put(key.at(symbol=symbol), message)

        self.write(Module.ANALYTICS, put)

    # -- Trading -----------------------------------------------------------------------------------------------------------

    def option(self, symbol: str, strike: float, right: Any = "C") -> m.OptionRef:
        return m.OptionRef(symbol, "20261118", strike, right, round(strike) * 100 + len(symbol))

    def signal(self, symbol: str, strike: float, ident: str, minutes_ago: float = 0, strategy: Any = "0DTE") -> s.Signal:
        now = self.clock.market_ns() - int(minutes_ago * 60) * SECOND
        return s.Signal(
            ident, strategy, symbol, self.option(symbol, strike), "long_call", 78.0, False, 2, 1.85, 1.2, (2.5, 2.95, 3.6), 1.83, 1.87,
            PRICES[symbol], ("buyers lift offers faster than sellers hit bids", "dealers are short gamma above 661.1"),
            {"flow": 0.6}, now, self.clock.machine_ns(), now + 60 * SECOND, 1,
        )  # fmt: skip

    def approval(self, signal: s.Signal, approved: bool, reason: str) -> r.Approval:
        return r.Approval(
            f"i-{signal.id}", signal.id, approved, reason, signal.strategy, signal.symbol, signal.contract, signal.quantity,
            D("1.85"), D("1.20"), D("3.60"), self.clock.machine_ns(), signal.ts_ns + SECOND, 4, "v1", 1,
        )  # fmt: skip

    def order(self, ident: str, symbol: str, strike: float, role: Any, state: Any, filled: int = 0, minutes_ago: float = 0) -> e.OrderRecord:
        at = self.clock.market_ns() - int(minutes_ago * 60) * SECOND
        entry = role == "entry"
        return e.OrderRecord(
            ident, ident.split("/")[0], role, symbol, self.option(symbol, strike), "BUY" if entry else "SELL", 2,
            "LMT" if role != "stop" else "STP", D("1.85") if role != "stop" else None, D("1.20") if role == "stop" else None,
            state, filled, D("1.84") if filled else None, 17, 90017, 12, None, "0DTE", "s1", at, at, self.clock.machine_ns(), 1, 4,
        )  # fmt: skip

    def position(self, ident: str, symbol: str, strike: float, mark: str | None, average: str = "1.84", quantity: int = 2) -> p.Position:
        now = self.clock.market_ns()
        cost = D(average) * 100 * quantity
        value = D(mark) * 100 * quantity if mark else None
        return p.Position(
            ident, symbol, "0DTE", "s1", self.option(symbol, strike), "open", quantity, 2, D(average), cost, D(0), D("1.30"),
            D(mark) if mark else None, 180.0 if mark else None, value - cost if value is not None else None, D("1.20"),
            (D("2.50"), D("2.95"), D("3.60")), now - 900 * SECOND, None, now, D("1.20"), None, 0, 2, 78.0,
        )  # fmt: skip

    def positions(self, step: int = 0, *, unquoted: bool = False) -> None:
        now = self.clock.market_ns()
        spy = self.position("i-s1", "SPY", 661, f"{2.21 + 0.04 * math.sin(step):.2f}")
        nvda = self.position("i-s0", "NVDA", 187.5, None if unquoted else "0.97", "1.10")
        known = nvda.unrealized is not None
        made = (spy.unrealized or D(0)) + (nvda.unrealized or D(0)) if known else None
        session = DAY.isoformat()
        self.write(
            Module.POSITIONS,
            lambda b: b.put(k.POSITIONS.at(symbol="SPY", id="i-s1"), spy),
            lambda b: b.put(k.POSITIONS.at(symbol="NVDA", id="i-s0"), nvda),
            lambda b: b.put(
                k.POSITIONS_SUMMARY.at(),
                p.PositionsSummary(now, 2, {"SPY": 1, "NVDA": 1}, D("182.40"), made, D(442), True, (), self.clock.machine_ns()),
            ),
            lambda b: b.put(k.PNL_REALIZED.at(), p.Pnl(D("182.40"), session, now)),
        )

    def halt(self, *, halted: bool = False, flatten: bool = False, number: int = 4, reason: str = "asked", by: str = "operator") -> None:
        fields = (halted, flatten, number, reason, by, self.clock.market_ns(), self.clock.machine_ns())
        self.write(
            Module.EMERGENCY,
            lambda b: b.put(k.HALT.at(), r.Halt(*fields)),
            lambda b: b.append(k.EVENTS_HALT.at(), r.HaltEvent(*fields)),
        )

    def lease(self) -> None:
        self.write(Module.RISK, lambda b: b.put(k.LEASE.at(), r.Lease(True, None, 4, self.clock.machine_ns(), 1)))

    def beats(self, *, silent: tuple[str, ...] = ()) -> None:
        said = {"discovery": ("waiting", "runs at 20:00"), "telegram": ("degraded", "the vendor refused 2 of 14 messages")}
        for line in AlphaTrader.LINES:
            if not line.heartbeat or line.module in silent or line.module == Module.DASHBOARD:
                continue
            state, reason = said.get(str(line.module), ("ready", None))
            now = self.clock.machine_ns()
            beat = ops.Health(
                str(line.module), state, reason, 4242, now - 3600 * SECOND, now, self.clock.market_ns(), {"events": 18_230}, {"lag_ms": 4.1},
            )  # fmt: skip
            self.write(line.module, lambda b, beat=beat, line=line: b.put(k.HEALTH.at(module=line.module), beat))

    def whole_day(self) -> None:
        """Everything a morning leaves behind."""
        now, machine, session = self.clock.market_ns(), self.clock.machine_ns(), DAY.isoformat()
        first, second, third = self.signal("NVDA", 187.5, "s0", 22), self.signal("SPY", 661, "s1", 15), self.signal("TSLA", 405, "s2", 9, "14DTE")
        fourth = self.signal("QQQ", 595, "s3", 0)
        events = [s.SignalEvent("new", one) for one in (first, second, third, fourth)]
        gates = (
            s.Gate("window", True, "11:05", "09:45 to 15:00"), s.Gate("metrics fresh", True, "0.2 s", "under 5 s"),
            s.Gate("confidence", False, "54.1", "at least 60"), s.Gate("cooldown", True, "910 s", "at least 120 s"),
        )  # fmt: skip
        closed = (s.Gate("window", False, "11:05", "14:00 to 15:30"),)
        self.write(
            Module.SIGNALS,
            *[lambda b, event=event: b.append(k.EVENTS_SIGNALS.at(), event) for event in events],
            lambda b: b.put(k.SIGNALS_PENDING.at(symbol="QQQ"), s.SignalMap({"0DTE": fourth})),
            lambda b: b.put(k.SIGNALS_COUNT.at(), s.SignalCount(session, 4)),
            lambda b: b.put(k.SIGNALS_WHY.at(symbol="SPY"), s.WhyNot("SPY", now, {"0DTE": gates, "1DTE": closed})),
        )
        limits = {
            "daily loss": "0.00 of 2,000.00 USD", "drawdown": "0.4 % of 10.0 %", "losses in a row": "1 of 3",
            "positions": "2 of 5", "positions in SPY": "1 of 2",
        }  # fmt: skip
        verdicts = [self.approval(first, True, "2 of 5 places left"), self.approval(second, True, "3 of 5 places left")]
        verdicts.append(self.approval(third, False, "spread 0.34 is 12 % of mid, allowed 10 %"))
        self.write(
            Module.RISK,
            *[lambda b, verdict=verdict: b.append(k.EVENTS_APPROVALS.at(), verdict) for verdict in verdicts],
            lambda b: b.put(k.RISK_STATE.at(), r.RiskState(session, D(100000), D(100420), D("100182.40"), D("182.40"), D(74), 1, None, {}, limits, now)),
            lambda b: b.put(k.RISK_CORRELATION.at(), r.RiskMeasure(0.62, None, now)),
            lambda b: b.put(k.RISK_VAR.at(), r.RiskMeasure(None, "needs 20 sessions of returns", now)),
        )  # fmt: skip
        records = [
            self.order("i-s0", "NVDA", 187.5, "entry", "FILLED", 2, 21), self.order("i-s0/stop", "NVDA", 187.5, "stop", "WORKING", 0, 21),
            self.order("i-s1", "SPY", 661, "entry", "FILLED", 2, 14), self.order("i-s1/stop", "SPY", 661, "stop", "WORKING", 0, 14),
            self.order("i-s1/target", "SPY", 661, "target", "WORKING", 0, 14), self.order("i-s9", "IWM", 239, "entry", "UNKNOWN", 0, 1),
        ]  # fmt: skip
        fill = e.Fill("f1", "f1.01", 1, "i-s1", 66103, "SPY", self.option("SPY", 661), "BUY", 2, D("1.84"), D("1.30"), now, 9, "DUSIM0001")
        self.write(
            Module.EXECUTION,
            *[lambda b, record=record: b.append(k.EVENTS_ORDERS.at(), e.OrderEvent(record, record.updated_ns)) for record in records],
            lambda b: b.append(k.EVENTS_FILLS.at(), fill),
            lambda b: b.put(k.BUYING_POWER.at(), e.BuyingPower(D("398211.55"), now, machine)),
        )  # fmt: skip
        trade = p.ClosedTrade(
            "i-sa", "0DTE", "QQQ", self.option("QQQ", 594), 2, D("1.42"), D("2.34"), D("2.60"), D("182.40"), D("0.02"), 71.0,
            now - 3600 * SECOND, now - 2400 * SECOND, session, "third target",
        )  # fmt: skip
        self.write(
            Module.POSITIONS,
            lambda b: b.put_field(k.LEDGER_TRADES.at(), "i-sa", trade),
            lambda b: b.append(k.EVENTS_POSITIONS.at(), p.PositionEvent("opened", self.position("i-s1", "SPY", 661, "1.90"), now, None)),
        )
        told = d.Delivery("s1:basic", "basic", "signal", "SPY", now + 45 * SECOND, now, "SPY", (), {}, "no advice")
        self.write(
            Module.DISTRIBUTION,
            lambda b: b.enqueue(k.BASIC_QUEUE.at(), told.due_ns, told),
            lambda b: b.put(k.DISTRIBUTION_COUNT.at(), s.SignalCount(session, 2)),
        )
        for i, (who, state, reason) in enumerate((
            ("discord:premium", "sent", None), ("telegram:-1003", "sent", None), ("discord:basic", "sent", None),
            ("telegram:900017", "unknown", "read timed out after the message left"), ("discord:free", "failed", "429, gave up after 6"),
        )):  # fmt: skip
            record = d.DeliveryRecord(f"s{i}:premium", who, state, 1, now - 10 * SECOND, now - 9 * SECOND, machine + i, None, reason)
            self.write(Module.DELIVERY, lambda b, record=record, who=who, i=i: b.put_field(k.LEDGER_DELIVERY.at(), f"s{i}:premium|{who}", record))
        note = d.Analysis(
            session, "Futures firm before a quiet calendar", "ES holds above Monday's high.\nSPY: pivot 659.8, resistance 662.5 (call wall).",
            "template", {"ES": "6635.25 (+0.21 %)", "VX": "21.35"}, "no advice", exchange_instant(DAY, "08:00"),
        )  # fmt: skip
        self.write(Module.ROUTINES, lambda b: b.put(k.DASHBOARD_ANALYSIS.at(), note))
        seen = ops.Observed(machine, now, {"beat": "ok", "flower": "ok", "sandbox": "ok"}, ("order i-s9 unconfirmed for 62 s",))
        self.write(Module.WATCHDOG, lambda b: b.put(k.OBSERVED.at(), seen))
        self.halt()

    def moment(self, step: int) -> None:
        """What is renewed all the time."""
        self.quotes(step)
        self.bars()
        self.metrics()
        self.positions(step)
        self.lease()
        self.beats()


@dataclass
class Dashboard:
    url: str
    password: str
    process: subprocess.Popen[bytes]

    def login(self) -> requests.Session:
        session = requests.Session()
        answer = session.post(f"{self.url}/login", data={"password": self.password, "csrf_token": csrf(session, self.url)}, timeout=5)
        assert answer.status_code == 200 and answer.url == f"{self.url}/", answer.text
        return session


def csrf(session: requests.Session, url: str, path: str = "/login") -> str:
    page = session.get(url + path, timeout=5).text
    return page.split('name="csrf-token" content="')[1].split('"')[0]


@contextmanager
def running_dashboard(servers: Servers, port: int) -> Iterator[Dashboard]:
    """The process as its parent starts it: gunicorn, with the dashboard's own secrets only."""
    environment = dict(os.environ) | servers.environment | servers.vault.environment_for(Module.DASHBOARD)
    environment["ALPHATRADER_WEB__DASHBOARD_PORT"] = str(port)
    root = Path(__file__).resolve().parents[2]
    log = open(servers.folder / "dashboard.log", "wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "alphatrader.runtime.child", "dashboard"], cwd=root, env=environment, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 20
        while True:
            try:
                if requests.get(f"{url}/healthz", timeout=1).status_code == 200:
                    break
            except requests.RequestException:
                pass
            assert process.poll() is None and time.monotonic() < until, (servers.folder / "dashboard.log").read_text()
            time.sleep(0.05)
        yield Dashboard(url, servers.vault.get("operator_password") or "", process)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
