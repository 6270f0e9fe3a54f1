"""Opening orders, judged on the gateway's own stamps: approved, one an intent, within limits, in session (I1, I3, I6, I7)."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta

from alphatrader.contract.messages.risk import Approval
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_datetime, exchange_instant
from tests.invariants.evidence import SECOND, Evidence, Line
from tests.invariants.story import moments
from tests.invariants.verdict import Verdict, judge

APPROVAL_NS = SECOND
EPOCH_NS = SECOND // 2
"""For so long after a halt changed an approval of the epoch before may still arrive (I16's own bound)."""
MOVED = 0.10
"""What an option's mid may move in the five seconds that a quote may be old, on top of the collar."""
CENTS = 0.02
LEAVE_NS = 5 * SECOND
"""Machine time an entry may still work past its window: its cancel is on its way."""


def firsts(evidence: Evidence) -> list[Line]:
    """The first frame of each opening order; a later one of the same id modifies it."""
    found: dict[tuple[int, int, str], Line] = {}
    for line in evidence.openings():
        found.setdefault((line["client"], line["fields"]["orderId"], line["fields"].get("orderRef", "")), line)
    return list(found.values())


@judge("I1 approved first", "approval", "age", "quantity", "contract", "halt epoch", "limits version")
def approved_first(evidence: Evidence, verdict: Verdict) -> None:
    """No opening frame without risk's approval of the same intent: at most a second old, of this contract, of no more of it, of
    the halt epoch in force and the limits in force."""
    by_intent = {approval.intent_id: approval for approval in evidence.approvals if approval.approved}
    newest = max(by_intent.values(), key=lambda a: a.machine_ns, default=None)
    first = {id(line) for line in firsts(evidence)}
    for line in evidence.openings():
        if line["machine_ns"] < evidence.since_ns:
            continue  # its approval was lost with the server
        ref, fields = line["fields"].get("orderRef", ""), line["fields"]
        approval = by_intent.get(ref)
        if not verdict.holds("approval", approval is not None, f"{ref or 'an order without a ref'} has none", line):
            continue
        assert approval is not None and newest is not None
        wanted, quantity = approval.contract, float(fields["totalQuantity"])
        verdict.holds("quantity", quantity <= approval.quantity, f"{ref}: {quantity:g} of {approval.quantity} approved", line)
        named = fields.get("conId")
        verdict.holds("contract", wanted.con_id in (None, named), f"{ref}: {named}, approved was {wanted.con_id}", line)
        verdict.holds(
            "limits version",
            approval.limits_version == newest.limits_version or approval.machine_ns < _last_start(evidence),
            f"{ref}: approved under {approval.limits_version!r}, in force is {newest.limits_version!r}",
            line,
        )
        if id(line) in first:
            age = evidence.arrived_ns(line) - approval.machine_ns
            late = f"{ref} came {age / 1e6:.0f} ms after its approval"
            verdict.holds("age", line["machine_ns"] >= approval.machine_ns and age <= APPROVAL_NS, late, line)
            _of_its_epoch(evidence, verdict, line, approval)


def _last_start(evidence: Evidence) -> int:
    return max((line["machine_ns"] for line in evidence.wire if line["kind"] == "start"), default=0)


def _of_its_epoch(evidence: Evidence, verdict: Verdict, line: Line, approval: Approval) -> None:
    """By emergency's records, which neither risk nor execution writes."""
    arrived = evidence.arrived_ns(line)
    before = [h for h in evidence.halts if h.machine_ns <= arrived]
    if not before:
        return
    in_force = {h.epoch for h in before if h.machine_ns >= arrived - EPOCH_NS} | {before[-1].epoch}
    older = [h.epoch for h in before if h.machine_ns < arrived - EPOCH_NS]
    in_force |= set(older[-1:])
    words = f"{approval.intent_id}: approved in epoch {approval.halt_epoch}, in force is {before[-1].epoch}"
    verdict.holds("halt epoch", approval.halt_epoch in in_force, words, line)


@judge("I3 one order an intent", "one opening", "one ref", "durable")
def one_order_an_intent(evidence: Evidence, verdict: Verdict) -> None:
    """One intent, at most one opening order; a ref names one order for ever; it stands on the disk before it is sent."""
    ids = defaultdict(set)
    for line in evidence.openings():
        ids[line["fields"].get("orderRef", "")].add((line["client"], line["fields"]["orderId"]))
    for ref, orders in ids.items():
        verdict.holds("one opening", len(orders) == 1, f"{ref} was sent as {len(orders)} orders: {sorted(orders)}")
    perms = defaultdict(set)
    for line in evidence.truths("order"):
        if line["owner"] == evidence.settings.broker.orders_client_id:
            perms[line["order_ref"]].add(line["perm_id"])
    for ref, orders_of_ref in perms.items():
        verdict.holds(
            "one ref", bool(ref) and len(orders_of_ref) == 1, f"{ref!r} names {len(orders_of_ref)} orders at the broker"
        )
    written: dict[str, int] = {}
    for booking in evidence.journal:
        if booking.order is not None:
            written.setdefault(booking.order.id, booking.machine_ns)
    for line in evidence.frames("placeOrder") if evidence.journal else ():
        ref = line["fields"].get("orderRef", "")
        if line["client"] == evidence.settings.broker.orders_client_id:
            since = written.get(ref)
            verdict.holds(
                "durable", since is not None and since <= line["machine_ns"], f"{ref} was sent before it was written", line
            )


@judge("I6 hard limits", "quantity", "price", "notional", "collar", "a minute")
def hard_limits(evidence: Evidence, verdict: Verdict) -> None:
    """Size, price, notional, distance from the market and openings a minute, as they came at the gateway."""
    limits = evidence.settings.orders
    sent: list[int] = []
    for line in evidence.openings():
        fields, ref = line["fields"], line["fields"].get("orderRef", "")
        quantity, kind, price = float(fields["totalQuantity"]), fields.get("orderType"), fields.get("lmtPrice")
        whole = math.isfinite(quantity) and quantity == int(quantity) and 1 <= quantity <= limits.max_quantity
        verdict.holds("quantity", whole, f"{ref}: {quantity:g} of at most {limits.max_quantity}", line)
        at_market = kind == "MKT" and limits.high_confidence_type == "market"
        sound = price is not None and math.isfinite(price) and price > 0
        if not verdict.holds("price", at_market or (kind == "LMT" and sound), f"{ref}: {kind} at {price}", line) or at_market:
            continue
        premium = float(price) * quantity * float(fields.get("multiplier") or 100)
        verdict.holds("notional", premium <= limits.max_notional_usd, f"{ref}: {premium:.2f} USD", line)
        bid, ask = line.get("bid"), line.get("ask")
        if bid and ask:
            most = (bid + ask) / 2 * (1 + limits.collar_share + MOVED) + CENTS
            verdict.holds("collar", float(price) <= most, f"{ref}: {price} in a market of {bid} to {ask}", line)
    for line in firsts(evidence):
        sent.append(line["machine_ns"])
        recent = sum(1 for stamp in sent if stamp > line["machine_ns"] - 60 * SECOND)
        verdict.holds("a minute", recent <= limits.max_orders_per_minute, f"{recent} openings in a minute", line)


@judge("I7 in session", "session", "window", "reset", "restart", "working")
def in_session(evidence: Evidence, verdict: Verdict) -> None:
    """No opening order outside the session or its strategy's window (moved with an early close), in the broker's reset, or within
    a minute of the gateway's own restart; and none that still works outside its window."""
    strategy = {approval.intent_id: str(approval.strategy) for approval in evidence.approvals}
    broker = evidence.settings.broker
    for line in evidence.openings():
        ref, at = line["fields"].get("orderRef", ""), line["market_ns"]
        verdict.holds("session", nyse().at(at) is not None, f"{ref} was sent outside a session", line)
        if ref in strategy:
            words = f"{ref} was sent outside the window of {strategy[ref]}"
            verdict.holds("window", _inside(evidence, strategy[ref], at), words, line)
        clock = f"{exchange_datetime(at):%H:%M}"
        resetting = clock >= broker.reset_from or clock < broker.reset_until
        verdict.holds("reset", not resetting, f"{ref} was sent in the broker's reset", line)
        apart_ns = 60 * SECOND
        if broker.restarts_at:
            apart_ns = abs(at - exchange_instant(exchange_datetime(at).date(), broker.restarts_at))
        verdict.holds("restart", apart_ns >= 60 * SECOND, f"{ref} was sent while the gateway restarts", line)
    leave_ns = int(LEAVE_NS * _speed(evidence))
    for line, book in moments(evidence):
        for order in book.entries():
            kind = strategy.get(order["order_ref"])
            if kind is not None:
                inside = any(_inside(evidence, kind, line["market_ns"] - ago) for ago in (0, leave_ns))
                away = not _connected(evidence, line["machine_ns"])
                verdict.holds("working", inside or away, f"{order['order_ref']} still works outside the window of {kind}", line)


def _inside(evidence: Evidence, strategy: str, market_ns: int) -> bool:
    """Whether the strategy may open then, by the plan's table: ends, and starts after noon, move with an early close."""
    windows = evidence.settings.strategies
    table = {"0DTE": windows.zero_dte, "1DTE": windows.one_dte, "14DTE": windows.fourteen_dte, "MOC": windows.moc}
    session = nyse().at(market_ns)
    window = table.get(strategy)
    if session is None or window is None or not window.enabled:
        return False
    shift = timedelta(microseconds=(exchange_instant(session.day, "16:00") - session.close_ns) // 1000)
    now = exchange_datetime(market_ns)
    moved = f"{now + shift:%H:%M:%S.%f}"
    begun = moved >= window.opens if window.opens >= "12:00" else f"{now:%H:%M:%S.%f}" >= window.opens
    return begun and moved < window.closes


def _speed(evidence: Evidence) -> float:
    """Market seconds in a machine second, since the gateway's last start."""
    run = [line for line in evidence.wire if line["machine_ns"] >= _last_start(evidence)]
    passed = run[-1]["machine_ns"] - run[0]["machine_ns"] if run else 0
    return max(1.0, (run[-1]["market_ns"] - run[0]["market_ns"]) / passed) if passed > 0 else 1.0


def _connected(evidence: Evidence, machine_ns: int) -> bool:
    """Whether the order connection stood then: without one nobody can cancel."""
    state = True
    for line in evidence.wire:
        if line["machine_ns"] > machine_ns:
            break
        if line["kind"] in ("connect", "disconnect") and line["client"] == evidence.settings.broker.orders_client_id:
            state = line["kind"] == "connect"
    return state
