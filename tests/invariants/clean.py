"""A good story, as the logs of a run tell it: what the judges are shown to pass, and what each test spoils in one thing.

10:00:00 a signal; a second later risk approves, the bracket goes out, two contracts are bought, protected at once; the stop is
moved; at 10:05:00 the stop sells both. Every tier is told in time.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.distribution import DeliveryRecord
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade, Position
from alphatrader.contract.messages.risk import Approval, HaltEvent, Lease
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.runtime.clock import SECOND, exchange_instant
from alphatrader.runtime.journal import Line as Booking
from tests.invariants.evidence import Evidence, Line, ServerFacts

T = exchange_instant(date(2026, 11, 18), "10:00")
MACHINE = 1_790_000_000 * SECOND
REF = "2026-11-18-SPY-0DTE-1"
OPTION = OptionRef("SPY", "20261118", 660.0, "C", con_id=77)
DISCLAIMER = "Not investment advice."


def at(seconds: float) -> dict[str, int]:
    return {"machine_ns": MACHINE + int(seconds * SECOND), "market_ns": T + int(seconds * SECOND)}


def sent(seconds: float, ref: str, order_id: int, **fields: Any) -> Line:
    """A placeOrder frame; an entry for two at 2.00 unless told otherwise."""
    order = {
        "orderRef": ref,
        "orderId": order_id,
        "conId": 77,
        "symbol": "SPY",
        "multiplier": "",
        "action": "BUY",
        "totalQuantity": 2.0,
        "orderType": "LMT",
        "lmtPrice": 2.0,
        "auxPrice": None,
        "transmit": False,
        "parentId": 0,
    }
    line = {**at(seconds), "kind": "frame", "client": 12, "dir": "in", "message": "placeOrder", "bid": 1.95, "ask": 2.0}
    return {**line, "fields": order | fields}


def asked(seconds: float, message: str, order_id: int = 0, client: int = 12) -> Line:
    return {**at(seconds), "kind": "frame", "client": client, "dir": "in", "message": message, "fields": {"orderId": order_id}}


def said(seconds: float, message: str, **fields: Any) -> Line:
    return {**at(seconds), "kind": "frame", "client": 12, "dir": "out", "message": message, "fields": fields}


def order(
    seconds: float,
    perm_id: int,
    ref: str,
    *,
    action: str,
    kind: str,
    active: int,
    status: str,
    con_id: int = 77,
    group: str = "",
    owner: int = 12,
) -> Line:
    return {
        **at(seconds),
        "kind": "truth",
        "what": "order",
        "turn": int(seconds * 20),
        "perm_id": perm_id,
        "order_id": perm_id,
        "owner": owner,
        "order_ref": ref,
        "con_id": con_id,
        "action": action,
        "type": kind,
        "quantity": 2,
        "filled": 0,
        "status": status,
        "active": active,
        "oca_group": group,
    }


def filled(
    seconds: float,
    exec_id: str,
    ref: str,
    *,
    side: str,
    shares: int,
    position: int,
    con_id: int = 77,
    symbol: str = "SPY",
    price: float = 2.0,
    cash: float | None = None,
) -> Line:
    return {
        **at(seconds),
        "kind": "truth",
        "what": "fill",
        "turn": int(seconds * 20),
        "exec_id": exec_id,
        "perm_id": 1,
        "order_id": 1,
        "owner": 12,
        "order_ref": ref,
        "side": side,
        "shares": shares,
        "price": price,
        "con_id": con_id,
        "symbol": symbol,
        "position": position,
        "cash": None if cash is None else str(cash),
    }


def report(seconds: float, exec_id: str, ref: str, *, side: str, shares: int, price: float) -> list[Line]:
    """What the broker tells its client of an execution."""
    named = {"reqId": -1, "orderId": 1, "permId": 1, "clientId": 12, "conId": 77, "orderRef": ref}
    return [
        said(seconds, "execDetails", execId=exec_id, side=side, shares=shares, price=price, **named),
        said(seconds, "commissionReport", execId=exec_id, commission="1.30"),
    ]


def post(seconds: float, channel: str, text: str, vendor: str = "discord") -> Line:
    return {
        "vendor": vendor,
        "accepted": True,
        "received_market_ns": T + int(seconds * SECOND),
        "received_machine_ns": MACHINE + int(seconds * SECOND),
        "told": {"channel": channel, "title": "Signal", "text": text},
    }


def record(ref: str, role: Any, state: Any) -> OrderRecord:
    side: Any = "BUY" if role == "entry" else "SELL"
    return OrderRecord(
        ref, REF, role, "SPY", OPTION, side, 2, "LMT", Decimal(2), None, state, 0, None, 1, 1, 12, None, "0DTE", REF, T, T,
        MACHINE + SECOND, 1, 1,
    )  # fmt: skip


def fill(key: str, ref: str, side: Any, price: str) -> Fill:
    return Fill(key, f"{key}.01", 1, ref, 77, "SPY", OPTION, side, 2, Decimal(price), Decimal("1.30"), T, 1, "DUSIM0001")


def clean() -> Evidence:
    signal = Signal(
        REF, "0DTE", "SPY", OPTION, "long_call", 70, False, 2, 2.0, 1.5, (3.0,), 1.95, 2.0, 660.0, (), {}, T, MACHINE,
        T + 60 * SECOND, 1,
    )  # fmt: skip
    approval = Approval(
        REF, REF, True, "", "0DTE", "SPY", OPTION, 2, Decimal(2), Decimal("1.5"), Decimal(3), MACHINE + SECOND, T + SECOND, 1,
        "v", 1,
    )  # fmt: skip
    position = Position(
        REF, "SPY", "0DTE", REF, OPTION, "closed", 0, 2, Decimal(2), Decimal(0), Decimal("77.4"), Decimal("2.6"), None, None,
        None, None, (Decimal(3),), T, T, T,
    )  # fmt: skip
    trade = ClosedTrade(
        REF, "0DTE", "SPY", OPTION, 2, Decimal(2), Decimal("2.4"), Decimal("2.6"), Decimal("77.4"), None, 70, T, T, "2026-11-18",
        "stop",
    )  # fmt: skip
    stop, target, group = f"{REF}/stop", f"{REF}/target", "oca"
    wire = [
        {**at(0), "kind": "start", "account": "DUSIM0001", "equity": "100000"},
        {**at(0.1), "kind": "connect", "client": 12},
        sent(1.1, REF, 1),
        sent(1.1, stop, 2, action="SELL", orderType="STP", auxPrice=1.5, lmtPrice=None, parentId=1),
        sent(1.1, target, 3, action="SELL", lmtPrice=3.0, parentId=1, transmit=True),
        order(1.2, 1, REF, action="BUY", kind="LMT", active=2, status="Submitted"),
        order(1.2, 2, stop, action="SELL", kind="STP", active=0, status="PreSubmitted", group=group),
        order(1.2, 3, target, action="SELL", kind="LMT", active=0, status="PreSubmitted", group=group),
        filled(1.3, "e.1.01.01", REF, side="BOT", shares=2, position=2, cash=99598.7),
        order(1.3, 1, REF, action="BUY", kind="LMT", active=0, status="Filled"),
        order(1.3, 2, stop, action="SELL", kind="STP", active=2, status="PreSubmitted", group=group),
        order(1.3, 3, target, action="SELL", kind="LMT", active=2, status="Submitted", group=group),
        *report(1.3, "e.1.01.01", REF, side="BOT", shares=2, price=2.0),
        sent(100, stop, 2, action="SELL", orderType="STP", auxPrice=2.4, lmtPrice=None, parentId=1, transmit=True),
        order(100, 2, stop, action="SELL", kind="STP", active=2, status="PreSubmitted", group=group),
        *report(300, "e.2.01.01", stop, side="SLD", shares=2, price=2.4),
        filled(300, "e.2.01.01", stop, side="SLD", shares=2, position=0, price=2.4, cash=100077.4),
        order(300, 2, stop, action="SELL", kind="STP", active=0, status="Filled", group=group),
        order(300, 3, target, action="SELL", kind="LMT", active=0, status="Cancelled", group=group),
        {**at(600), "kind": "stop", "account": "DUSIM0001"},
    ]
    told = [("discord", "premium", 1.5), ("telegram", "-1003", 1.5), ("discord", "basic", 60.1), ("telegram", "-1002", 60.1)]
    vendors = [post(when, channel, f"{REF} {DISCLAIMER}", vendor) for vendor, channel, when in told]
    vendors += [post(61.4, "basic", f"position opened {REF} {DISCLAIMER}"), post(300.2, "free", f"{REF} {DISCLAIMER}")]
    names = {"-1003": "premium", "-1002": "basic"}
    addresses = {(f"{vendor}:{channel}", names.get(channel, channel)) for vendor, channel, _ in told} | {("discord:free", "free")}
    legs: tuple[tuple[str, Any], ...] = ((REF, "entry"), (stop, "stop"), (target, "target"))
    return Evidence(
        wire,
        vendors,
        [approval],
        [HaltEvent(False, False, 1, "first start", "emergency", T, MACHINE)],
        [],
        [SignalEvent("new", signal)],
        {"e.1.01": fill("e.1.01", REF, "BUY", "2.0"), "e.2.01": fill("e.2.01", stop, "SELL", "2.4")},
        [position],
        {"risk.jsonl": "approved"},
        ["canary-secret"],
        orders={
            REF: record(REF, "entry", "FILLED"),
            stop: record(stop, "stop", "FILLED"),
            target: record(target, "target", "CANCELLED"),
        },
        trades={REF: trade},
        deliveries={
            f"{REF}:{tier}|{who}": DeliveryRecord(f"{REF}:{tier}", who, "sent", 1, T, T, MACHINE, "1", None)
            for who, tier in addresses
        },
        leases=[Lease(True, None, 1, MACHINE + n * SECOND, 1) for n in range(600)],
        journal=[
            *(Booking("order", MACHINE + SECOND, order=record(ref, role, "INTENT")) for ref, role in legs),
            Booking("fill", MACHINE + 2 * SECOND, fill=fill("e.1.01", REF, "BUY", "2.0")),
        ],
        servers={
            "state": ServerFacts("noeviction", 0, 0.1, {"global:halt": -1, "lease": 2500}),
            "data": ServerFacts("volatile-lru", 5, 0.1, {"market:SPY:last": 900}),
        },
        views={REF: record(REF, "entry", "WORKING")},
        users={
            "default": "off resetpass -@all",
            "execution": "on ~orders:pending:*",
            "pages": "on ~telegram:user:*",
            "telegram": "on %R~orders:*",
        },
    )
