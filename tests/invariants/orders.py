"""Invariants of orders and halts, judged on the gateway's own stamps (faults.md I1, I2, I3, I7, I13, I14, I16)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from alphatrader.runtime.calendar import nyse
from tests.invariants.evidence import Evidence, Line

SECOND = 1_000_000_000
MAX_POSITIONS, MAX_PER_SYMBOL = 5, 2
APPROVAL_NS = SECOND
HALT_NS = SECOND // 2
WORKING_NS = 2 * SECOND
PROTECTION_NS = 2 * SECOND


def approved_first(evidence: Evidence) -> list[str]:
    """I1: no opening frame without an approval of the same intent, at most a second old, for that contract and no more of it."""
    found = []
    by_intent = {approval.intent_id: approval for approval in evidence.approvals if approval.approved}
    for line in evidence.openings():
        fields = line["fields"]
        ref = fields["orderRef"]
        approval = by_intent.get(ref)
        if approval is None:
            found.append(f"{ref} was sent without an approval")
        elif not 0 <= line["machine_ns"] - approval.machine_ns <= APPROVAL_NS and _first_frame(evidence, line):
            found.append(f"{ref} was sent {(line['machine_ns'] - approval.machine_ns) / 1e6:.0f} ms after its approval")
        elif float(fields["totalQuantity"]) > approval.quantity:
            found.append(f"{ref} was sent for {fields['totalQuantity']}, approved were {approval.quantity}")
    return found


def _first_frame(evidence: Evidence, line: Line) -> bool:
    """Whether this is the order's first frame: a later one with the same id modifies it."""
    return next(other for other in evidence.openings() if other["fields"]["orderRef"] == line["fields"]["orderRef"]) is line


def one_order_an_intent(evidence: Evidence) -> list[str]:
    """I3: one intent, at most one opening order."""
    ids = defaultdict(set)
    for line in evidence.openings():
        ids[line["fields"]["orderRef"]].add((line["client"], line["fields"]["orderId"]))
    return [f"{ref} was sent as {len(orders)} orders: {sorted(orders)}" for ref, orders in ids.items() if len(orders) > 1]


class _Book:
    """Positions and orders as the truth lines tell them, in order."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.symbols: dict[int, str] = {}
        self.orders: dict[int, Line] = {}

    def take(self, line: Line) -> None:
        if line["what"] == "fill":
            self.positions[line["con_id"]] = int(float(line["position"]))
            self.symbols[line["con_id"]] = line["symbol"]
        elif line["what"] == "expiry":
            self.positions[line["con_id"]] = int(float(line["position"]))
        elif line["what"] == "order":
            self.orders[line["perm_id"]] = line

    def entries(self) -> list[Line]:
        """Opening orders that could still fill."""
        return [
            o for o in self.orders.values() if "/" not in o["order_ref"] and o["order_ref"] and _alive(o) and o["action"] == "BUY"
        ]

    def stopped(self, con_id: int) -> int:
        """Contracts a working stop would sell."""
        stops = (o for o in self.orders.values() if o["con_id"] == con_id and o["action"] == "SELL" and o["type"] == "STP")
        return sum(int(float(o["active"])) for o in stops if _alive(o))

    def closing(self, con_id: int) -> int:
        """Contracts a working closing order (market or marketable) would sell."""
        sells = (
            o for o in self.orders.values() if o["con_id"] == con_id and o["action"] == "SELL" and o["type"] in ("MKT", "LMT")
        )
        return sum(int(float(o["active"])) for o in sells if _alive(o))


def _alive(order: Line) -> bool:
    return order["status"] in ("PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel", "ApiPending")


def _story(evidence: Evidence) -> Iterator[tuple[Line, _Book]]:
    book = _Book()
    for line in evidence.wire:
        if line["kind"] == "truth":
            book.take(line)
            yield line, book


def position_limits(evidence: Evidence) -> list[str]:
    """I2: never more than 5 positions and opening orders, never more than 2 of a symbol."""
    found = []
    for line, book in _story(evidence):
        held = {con_id for con_id, quantity in book.positions.items() if quantity}
        waiting = [order for order in book.entries() if order["con_id"] not in held]
        if len(held) + len(waiting) > MAX_POSITIONS:
            found.append(f"{len(held)} positions and {len(waiting)} opening orders at {line['machine_ns']}")
        by_symbol: dict[str, int] = defaultdict(int)
        for con_id in held:
            by_symbol[book.symbols.get(con_id, str(con_id))] += 1
        found += [f"{n} positions in {s} at {line['machine_ns']}" for s, n in by_symbol.items() if n > MAX_PER_SYMBOL]
    return found


def never_reversed(evidence: Evidence) -> list[str]:
    """I14, as it ends: a long-only book is never short, whatever stops and targets race for."""
    short = [line for line in evidence.truths("fill") if float(line["position"]) < 0]
    return [f"position {line['position']} of {line['con_id']} by {line['order_ref']}" for line in short]


def protected(evidence: Evidence) -> list[str]:
    """I13: two seconds after an opening fill a stop at the broker covers all that is held, or it is being closed."""
    found = []
    due: list[tuple[int, Line]] = []
    last: dict[int, tuple[int, int]] = {}
    for line, book in _story(evidence):
        while due and due[0][0] <= line["machine_ns"]:
            _, fill = due.pop(0)
            held, covered = last.get(fill["con_id"], (0, 0))
            if held > covered:
                found.append(f"{held} of {fill['con_id']} held, {covered} protected, two seconds after {fill['exec_id']}")
        if line["what"] == "fill" and line["side"] in ("BOT", "BUY"):
            due.append((line["machine_ns"] + PROTECTION_NS, line))
        for con_id, quantity in book.positions.items():
            last[con_id] = (quantity, max(book.stopped(con_id), book.closing(con_id)))
    ended = evidence.wire[-1]["machine_ns"] if evidence.wire else 0
    for moment, fill in due:
        held, covered = last.get(fill["con_id"], (0, 0))
        if moment <= ended and held > covered:
            found.append(f"{held} of {fill['con_id']} held, {covered} protected, two seconds after {fill['exec_id']}")
    return found


def _halted_spans(evidence: Evidence) -> list[tuple[int, int]]:
    """(from, until) on machine time: from the first request or record of a halt to the record that lifted it."""
    moments: list[tuple[int, bool]] = [(c.machine_ns, True) for c in evidence.controls if c.kind in ("halt", "flatten")]
    moments += [(h.machine_ns, h.halted) for h in evidence.halts]
    spans: list[tuple[int, int]] = []
    began: int | None = None
    for moment, halted in sorted(moments):
        if halted and began is None:
            began = moment
        elif not halted and began is not None:
            spans.append((began, moment))
            began = None
    if began is not None:
        spans.append((began, 2**63))
    return spans


def halt_obeyed(evidence: Evidence) -> list[str]:
    """I16: no opening frame later than 500 ms after a halt, no working entry 2 s after it."""
    found = []
    for began, until in _halted_spans(evidence):
        for line in evidence.openings():
            if began + HALT_NS < line["machine_ns"] < until:
                late = (line["machine_ns"] - began) / 1e6
                found.append(f"{line['fields']['orderRef']} reached the gateway {late:.0f} ms after a halt")
        book = _Book()
        for line in evidence.wire:
            if line["kind"] == "truth":
                if line["machine_ns"] > began + WORKING_NS:
                    break
                book.take(line)
        last = evidence.wire[-1]["machine_ns"] if evidence.wire else 0
        if last > began + WORKING_NS:
            found += [f"{order['order_ref']} still worked 2 s after a halt" for order in book.entries()]
    return found


def in_session(evidence: Evidence) -> list[str]:
    """I7: no opening order outside the session of its market date."""
    calendar = nyse()
    outside = [line for line in evidence.openings() if calendar.at(line["market_ns"]) is None]
    return [f"{line['fields']['orderRef']} was sent at market time {line['market_ns']}, outside a session" for line in outside]


ORDER_JUDGES: dict[str, Any] = {
    "I1 approved first": approved_first,
    "I2 position limits": position_limits,
    "I3 one order an intent": one_order_an_intent,
    "I7 in session": in_session,
    "I13 protected": protected,
    "I14 never reversed": never_reversed,
    "I16 halt obeyed": halt_obeyed,
}
