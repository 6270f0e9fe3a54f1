"""A trading day on the two servers, written as the modules write it."""

from __future__ import annotations

import math
from decimal import Decimal as D
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.messages import orders as e
from alphatrader.contract.messages import positions as p
from alphatrader.contract.messages import risk as r
from alphatrader.contract.messages import signals as s
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.clock import SECOND, exchange_instant
from tests.web.desk_market import DAY, PRICES, MarketDesk

ALERTS = (
    ops.Alarm("broker", "The broker cannot be reached (refused).", "broker"),
    ops.Alarm("order i-s9", "order i-s9 unconfirmed", "order i-s9", (Module.EXECUTION,)),
    ops.Alarm("module telegram", "telegram: degraded: 3 in a row", "telegram"),
)


class Desk(MarketDesk):
    """Everything that the dashboard shows, one method for each kind."""

    # -- Trading -----------------------------------------------------------------------------------------------------------

    def option(self, symbol: str, strike: float, right: Any = "C") -> OptionRef:
        return OptionRef(symbol, "20261118", strike, right, round(strike) * 100 + len(symbol))

    def signal(self, symbol: str, strike: float, ident: str, minutes_ago: float = 0, strategy: Any = "0DTE") -> s.Signal:
        now = self.clock.market_ns() - int(minutes_ago * 60) * SECOND
        return s.Signal(
            ident,
            strategy,
            symbol,
            self.option(symbol, strike),
            "long_call",
            78.0,
            False,
            2,
            1.85,
            1.2,
            (2.5, 2.95, 3.6),
            1.83,
            1.87,
            PRICES[symbol],
            ("buyers lift offers faster than sellers hit bids", "dealers are short gamma above 661.1"),
            {"flow": 0.6},
            now,
            self.clock.machine_ns(),
            now + 60 * SECOND,
            1,
        )

    def approval(self, signal: s.Signal, approved: bool, reason: str) -> r.Approval:
        return r.Approval(
            f"i-{signal.id}",
            signal.id,
            approved,
            reason,
            signal.strategy,
            signal.symbol,
            signal.contract,
            signal.quantity,
            D("1.85"),
            D("1.20"),
            D("3.60"),
            self.clock.machine_ns(),
            signal.ts_ns + SECOND,
            4,
            "v1",
            1,
        )

    def order(
        self, ident: str, symbol: str, strike: float, role: Any, state: Any, filled: int = 0, minutes_ago: float = 0
    ) -> e.OrderRecord:
        at = self.clock.market_ns() - int(minutes_ago * 60) * SECOND
        entry = role == "entry"
        return e.OrderRecord(
            ident,
            ident.split("/")[0],
            role,
            symbol,
            self.option(symbol, strike),
            "BUY" if entry else "SELL",
            2,
            "LMT" if role != "stop" else "STP",
            D("1.85") if role != "stop" else None,
            D("1.20") if role == "stop" else None,
            state,
            filled,
            D("1.84") if filled else None,
            17,
            90017,
            12,
            None,
            "0DTE",
            "s1",
            at,
            at,
            self.clock.machine_ns(),
            1,
            4,
        )

    def position(
        self, ident: str, symbol: str, strike: float, mark: str | None, average: str = "1.84", quantity: int = 2
    ) -> p.Position:
        now = self.clock.market_ns()
        cost = D(average) * 100 * quantity
        value = D(mark) * 100 * quantity if mark else None
        return p.Position(
            ident,
            symbol,
            "0DTE",
            "s1",
            self.option(symbol, strike),
            "open",
            quantity,
            2,
            D(average),
            cost,
            D(0),
            D("1.30"),
            D(mark) if mark else None,
            180.0 if mark else None,
            value - cost if value is not None else None,
            D("1.20"),
            (D("2.50"), D("2.95"), D("3.60")),
            now - 900 * SECOND,
            None,
            now,
            D("1.20"),
            None,
            0,
            2,
            78.0,
        )

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

    def halt(
        self, *, halted: bool = False, flatten: bool = False, number: int = 4, reason: str = "asked", by: str = "operator"
    ) -> None:
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
                str(line.module),
                state,
                reason,
                4242,
                now - 3600 * SECOND,
                now,
                self.clock.market_ns(),
                {"events": 18_230},
                {"lag_ms": 4.1},
            )
            self.write(line.module, lambda b, beat=beat, line=line: b.put(k.HEALTH.at(module=line.module), beat))

    def silence(self) -> None:
        """Analytics and positions have been gone for longer than their keys live."""
        self.write(
            Module.ANALYTICS,
            *[lambda b, key=key: b.drop(key.at(symbol="SPY")) for key in k.METRICS.values()],
            lambda b: b.drop(k.HEALTH.at(module=Module.ANALYTICS)),
        )
        self.write(Module.POSITIONS, lambda b: b.drop(k.HEALTH.at(module=Module.POSITIONS)))

    def whole_day(self) -> None:
        """Everything a morning leaves behind."""
        now, machine, session = self.clock.market_ns(), self.clock.machine_ns(), DAY.isoformat()
        first, second, third = (
            self.signal("NVDA", 187.5, "s0", 22),
            self.signal("SPY", 661, "s1", 15),
            self.signal("TSLA", 405, "s2", 9, "14DTE"),
        )
        fourth = self.signal("QQQ", 595, "s3", 0)
        events = [s.SignalEvent("new", one) for one in (first, second, third, fourth)]
        gates = (
            s.Gate("window", True, "11:05", "09:45 to 15:00"),
            s.Gate("metrics fresh", True, "0.2 s", "under 5 s"),
            s.Gate("confidence", False, "54.1", "at least 60"),
            s.Gate("cooldown", True, "910 s", "at least 120 s"),
        )
        closed = (s.Gate("window", False, "11:05", "14:00 to 15:30"),)
        self.write(
            Module.SIGNALS,
            *[lambda b, event=event: b.append(k.EVENTS_SIGNALS.at(), event) for event in events],
            lambda b: b.put(k.SIGNALS_PENDING.at(symbol="QQQ"), s.SignalMap({"0DTE": fourth})),
            lambda b: b.put(k.SIGNALS_COUNT.at(), s.SignalCount(session, 4)),
            lambda b: b.put(k.SIGNALS_WHY.at(symbol="SPY"), s.WhyNot("SPY", now, {"0DTE": gates, "1DTE": closed})),
        )
        limits = {
            "daily loss": "0.00 of 2,000.00 USD",
            "drawdown": "0.4 % of 10.0 %",
            "losses in a row": "1 of 3",
            "positions": "2 of 5",
            "positions in SPY": "1 of 2",
        }
        verdicts = [self.approval(first, True, "2 of 5 places left"), self.approval(second, True, "3 of 5 places left")]
        verdicts.append(self.approval(third, False, "spread 0.34 is 12 % of mid, allowed 10 %"))
        self.write(
            Module.RISK,
            *[lambda b, verdict=verdict: b.append(k.EVENTS_APPROVALS.at(), verdict) for verdict in verdicts],
            lambda b: b.put(
                k.RISK_STATE.at(),
                r.RiskState(session, D(100000), D(100420), D("100182.40"), D("182.40"), D(74), 1, None, {}, limits, now),
            ),
            lambda b: b.put(k.RISK_CORRELATION.at(), r.RiskMeasure(0.62, None, now)),
            lambda b: b.put(k.RISK_VAR.at(), r.RiskMeasure(None, "needs 20 sessions of returns", now)),
        )
        records = [
            self.order("i-s0", "NVDA", 187.5, "entry", "FILLED", 2, 21),
            self.order("i-s0/stop", "NVDA", 187.5, "stop", "WORKING", 0, 21),
            self.order("i-s1", "SPY", 661, "entry", "FILLED", 2, 14),
            self.order("i-s1/stop", "SPY", 661, "stop", "WORKING", 0, 14),
            self.order("i-s1/target", "SPY", 661, "target", "WORKING", 0, 14),
            self.order("i-s9", "IWM", 239, "entry", "UNKNOWN", 0, 1),
        ]
        fill = e.Fill(
            "f1", "f1.01", 1, "i-s1", 66103, "SPY", self.option("SPY", 661), "BUY", 2, D("1.84"), D("1.30"), now, 9, "DUSIM0001"
        )
        self.write(
            Module.EXECUTION,
            *[
                lambda b, record=record: b.append(k.EVENTS_ORDERS.at(), e.OrderEvent(record, record.updated_ns))
                for record in records
            ],
            lambda b: b.append(k.EVENTS_FILLS.at(), fill),
            lambda b: b.put(k.BUYING_POWER.at(), e.BuyingPower(D("398211.55"), now, machine)),
        )
        trade = p.ClosedTrade(
            "i-sa",
            "0DTE",
            "QQQ",
            self.option("QQQ", 594),
            2,
            D("1.42"),
            D("2.34"),
            D("2.60"),
            D("182.40"),
            D("0.02"),
            71.0,
            now - 3600 * SECOND,
            now - 2400 * SECOND,
            session,
            "third target",
        )
        self.write(
            Module.POSITIONS,
            lambda b: b.put_field(k.LEDGER_TRADES.at(), "i-sa", trade),
            lambda b: b.append(
                k.EVENTS_POSITIONS.at(), p.PositionEvent("opened", self.position("i-s1", "SPY", 661, "1.90"), now, None)
            ),
        )
        told = d.Delivery("s1:basic", "basic", "signal", "SPY", now + 45 * SECOND, now, "SPY", (), {}, "no advice")
        self.write(
            Module.DISTRIBUTION,
            lambda b: b.enqueue(k.BASIC_QUEUE.at(), told.due_ns, told),
            lambda b: b.put(k.DISTRIBUTION_COUNT.at(), s.SignalCount(session, 2)),
        )
        for i, (who, state, reason) in enumerate(
            (
                ("discord:premium", "sent", None),
                ("telegram:-1003", "sent", None),
                ("discord:basic", "sent", None),
                ("telegram:900017", "unknown", "read timed out after the message left"),
                ("discord:free", "failed", "429, gave up after 6"),
            )
        ):
            record = d.DeliveryRecord(
                f"s{i}:premium", who, state, 1, now - 10 * SECOND, now - 9 * SECOND, machine + i, None, reason
            )
            self.write(
                Module.DELIVERY,
                lambda b, record=record, who=who, i=i: b.put_field(k.LEDGER_DELIVERY.at(), f"s{i}:premium|{who}", record),
            )
        note = d.Analysis(
            session,
            "Futures firm before a quiet calendar",
            "ES holds above Monday's high.\nSPY: pivot 659.8, resistance 662.5 (call wall).",
            "template",
            {"ES": "6635.25 (+0.21 %)", "VX": "21.35"},
            "no advice",
            exchange_instant(DAY, "08:00"),
        )
        self.write(Module.ROUTINES, lambda b: b.put(k.DASHBOARD_ANALYSIS.at(), note))
        self.observed()
        self.halt()

    def observed(self) -> None:
        """What the watchdog says; it lapses within a quarter of a minute."""
        states = {"beat": "ok", "flower": "ok", "sandbox": "ok"}
        seen = ops.Observed(self.clock.machine_ns(), self.clock.market_ns(), states, ALERTS)
        self.write(Module.WATCHDOG, lambda b: b.put(k.OBSERVED.at(), seen))

    def moment(self, step: int) -> None:
        """What is renewed all the time."""
        self.quotes(step)
        self.bars()
        self.metrics()
        self.positions(step)
        self.lease()
        self.beats()
