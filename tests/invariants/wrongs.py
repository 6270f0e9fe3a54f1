"""What can be wrong with a good story: each function spoils the evidence of `clean.py` in one way, and `CASES` names the clause
that must notice it. `test_invariants.py` plays them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from alphatrader.contract.messages.risk import ControlRequest, HaltEvent
from alphatrader.runtime.clock import SECOND, exchange_instant
from tests.invariants.clean import MACHINE, REF, T, asked, at, filled, order, post, report, said, sent
from tests.invariants.evidence import Evidence

STOP, TARGET = f"{REF}/stop", f"{REF}/target"
Wrong = Callable[[Evidence], Any]


def halt(e: Evidence, seconds: float, kind: Any = "halt") -> None:
    stamp = at(seconds)
    e.controls.append(ControlRequest("c", kind, "test", "", stamp["machine_ns"], stamp["market_ns"]))


def recorded(e: Evidence, seconds: float, epoch: int, *, halted: bool = True, flatten: bool = False, by: str = "test") -> None:
    stamp = at(seconds)
    e.halts.append(HaltEvent(halted, flatten, epoch, "", by, stamp["market_ns"], stamp["machine_ns"]))


def insert(*lines: Any) -> Wrong:
    """Lines of the wire log at their place in time."""

    def wrong(e: Evidence) -> None:
        e.wire.extend(lines)
        e.wire.sort(key=lambda line: line["machine_ns"])

    return wrong


def entry(**fields: Any) -> Wrong:
    return lambda e: next(e.frames("placeOrder"))["fields"].update(fields)


def approval(**changes: Any) -> Wrong:
    def wrong(e: Evidence) -> None:
        e.approvals[0] = replace(e.approvals[0], **changes)

    return wrong


def another_limit(e: Evidence) -> None:
    e.approvals.append(replace(e.approvals[0], intent_id="other", limits_version="w", machine_ns=MACHINE + 2 * SECOND))


def old_epoch(e: Evidence) -> None:
    recorded(e, 0.1, 2)
    recorded(e, 0.2, 3, halted=False)


def not_written(e: Evidence) -> None:
    e.journal = [line for line in e.journal if line.order is None or line.order.id != REF]


def moved_to(day: date, clock: str) -> Wrong:
    def wrong(e: Evidence) -> None:
        shift = exchange_instant(day, clock) - T
        for line in e.wire:
            line["market_ns"] += shift

    return wrong


def gateway_restarts(clock: str) -> Wrong:
    def wrong(e: Evidence) -> None:
        e.settings = replace(e.settings, broker=replace(e.settings.broker, restarts_at=clock))

    return wrong


def many_openings(e: Evidence) -> None:
    insert(*(sent(2 + n / 10, f"i-{n}", 100 + n) for n in range(20)))(e)


def still_working(e: Evidence) -> None:
    insert(order(2, 50, REF, action="BUY", kind="LMT", active=2, status="Submitted", con_id=78))(e)
    moved_to(date(2026, 11, 18), "14:58")(e)


def entries(n: int, symbol: str | None = None) -> Wrong:
    def wrong(e: Evidence) -> None:
        frames = [sent(2, f"w-{i}", 60 + i, conId=200 + i, symbol=symbol or f"S{i}") for i in range(n)]
        waiting = {"action": "BUY", "kind": "LMT", "active": 2, "status": "Submitted"}
        insert(*frames, *(order(2.1, 60 + i, f"w-{i}", con_id=200 + i, **waiting) for i in range(n)))(e)

    return wrong


def positions(n: int) -> Wrong:
    made = [filled(2, f"x.{i}.01", "hand", side="BOT", shares=1, position=1, con_id=100 + i, symbol=f"S{i}") for i in range(n)]
    return insert(*made)


def sent_while_lost(e: Evidence) -> None:
    insert(said(1.0, "error", id=-1, code=1100, text="lost"))(e)


def unanswered(e: Evidence) -> None:
    e.wire = [line for line in e.wire if line.get("order_ref") != TARGET]


def limbo(e: Evidence) -> None:
    insert(order(20, 3, TARGET, action="SELL", kind="LMT", active=0, status="Inactive", group="oca"))(e)


def told_of_limbo(e: Evidence) -> None:
    limbo(e)
    alarm = f"AlphaTrader sandbox, 10:18:12 ET\nALARM ibkr: waiting\nALARM not confirmed by the broker: {TARGET}"
    e.vendors += [post(70, "operator", alarm), post(70, "900001", alarm, vendor="telegram")]


def slow_exit(e: Evidence) -> None:
    e.journal = [replace(line, machine_ns=MACHINE - 2 * SECOND) for line in e.journal]


def flattening(*, cancelled: bool, flat: bool) -> Wrong:
    def wrong(e: Evidence) -> None:
        recorded(e, 110, 2, flatten=True)
        if cancelled:
            insert(asked(110.5, "reqGlobalCancel", client=13))(e)
        if flat:
            lines = [filled(111, "e.2.01.01", "flatten-2-77", side="SLD", shares=2, position=0, price=2.4)]
            insert(*lines, *(order(111, n, STOP, action="SELL", kind="STP", active=0, status="Cancelled") for n in (2, 3)))(e)

    return wrong


def naked_from(seconds: float, until: float) -> Wrong:
    """The stop gone for a while in the middle of the position, and there again before the end."""
    gone = order(seconds, 2, STOP, action="SELL", kind="STP", active=0, status="Cancelled", group="oca")
    back = order(until, 2, STOP, action="SELL", kind="STP", active=2, status="PreSubmitted", group="oca")
    return insert(gone, back)


def half_covered(e: Evidence) -> None:
    insert(order(20, 2, STOP, action="SELL", kind="STP", active=1, status="PreSubmitted", group="oca"))(e)


def part_for_sale(group: str) -> Wrong:
    """One contract under a stop and one for sale, of the two that are held."""
    of_exit = {"action": "SELL", "kind": "LMT", "active": 1, "status": "Submitted", "group": group}
    return lambda e: (half_covered(e), insert(order(20, 4, f"{REF}/exit-1", **of_exit))(e))


def ungrouped_target(e: Evidence) -> None:
    insert(order(20, 3, TARGET, action="SELL", kind="LMT", active=2, status="Submitted", group=""))(e)


def cancelled_to_replace(e: Evidence) -> None:
    insert(asked(50, "cancelOrder", 2))(e)
    naked_from(50.1, 50.3)(e)


def refused_change(e: Evidence) -> None:
    insert(said(100.1, "error", id=2, code=201, text="refused"), asked(100.2, "cancelOrder", 2))(e)


def works_after_halt(e: Evidence) -> None:
    insert(order(2, 50, "w-1", action="BUY", kind="LMT", active=2, status="Submitted", con_id=78))(e)
    halt(e, 2.5)


def comes_back_to_work_after_halt(e: Evidence) -> None:
    halt(e, 2.0)
    insert(
        order(9, 50, "w-1", action="BUY", kind="LMT", active=2, status="Submitted", con_id=78),
        order(10, 50, "w-1", action="BUY", kind="LMT", active=0, status="Cancelled", con_id=78),
    )(e)


def halted_again_after_a_resume(e: Evidence) -> None:
    halt(e, 0.2)
    recorded(e, 0.3, 2, halted=False)
    halt(e, 0.55)


def seen_and_sent(e: Evidence) -> None:
    e.logs["execution.jsonl"] = '{"event": "halt_obeyed", "utc": "2026-09-21T14:13:20.900Z"}'


def lapsed(e: Evidence) -> None:
    e.leases = [lease for lease in e.leases if lease.machine_ns < MACHINE - 2 * SECOND or lease.machine_ns > MACHINE + 2 * SECOND]
    e.leases.insert(0, replace(e.leases[0], machine_ns=MACHINE - 3 * SECOND))


def refused_lease(e: Evidence) -> None:
    e.leases = [replace(lease, granted=False) for lease in e.leases]


def lifted_by_itself(e: Evidence) -> None:
    recorded(e, 400, 2)
    recorded(e, 401, 3, halted=False, by="risk")


def trade(seconds: float, number: int, cash: float) -> list[Any]:
    """A round trip that loses ten dollars a contract."""
    ref, bought, sold = f"l-{number}", f"l.{number}.01.01", f"l.{number}.02.01"
    return [
        filled(seconds, bought, ref, side="BOT", shares=1, position=1, con_id=80 + number, cash=cash + 1000),
        filled(seconds + 1, sold, f"{ref}/stop", side="SLD", shares=1, position=0, con_id=80 + number, price=1.9, cash=cash),
    ]


def losses(n: int, each: float, *, then: bool, halted: bool = True) -> Wrong:
    def wrong(e: Evidence) -> None:
        lines = [line for i in range(n) for line in trade(310 + 3 * i, i, 100077.4 - each * (i + 1))]
        insert(*lines, *([sent(340, "after", 90)] if then else []))(e)
        if halted:
            halt(e, 311)

    return wrong


def unbooked_loss(e: Evidence) -> None:
    losses(3, 10, then=False, halted=False)(e)


def set_to(name: str, value: Any) -> Wrong:
    return lambda e: setattr(e, name, value)


def fill(**changes: Any) -> Wrong:
    def wrong(e: Evidence) -> None:
        e.fills["e.1.01"] = replace(e.fills["e.1.01"], **changes)

    return wrong


def counted_twice(e: Evidence) -> None:
    e.fills["e.1.02"] = replace(e.fills["e.1.01"], key="e.1.02", exec_id="e.1.02.01")


def told_otherwise(e: Evidence) -> None:
    insert(*report(1.4, "e.1.01.02", REF, side="BOT", shares=2, price=2.1))(e)


def profit(e: Evidence) -> None:
    e.trades[REF] = replace(e.trades[REF], pnl=Decimal("80.00"))


def facts(server: str, **changes: Any) -> Wrong:
    def wrong(e: Evidence) -> None:
        for name, value in changes.items():
            setattr(e.servers[server], name, value)

    return wrong


def early(index: int, seconds: float) -> Wrong:
    return lambda e: e.vendors[index].update(received_market_ns=T + int(seconds * SECOND))


def user(name: str, rules: str) -> Wrong:
    return lambda e: e.users.update({name: rules})


CASES: list[tuple[str, str, Wrong]] = [
    ("I1 approved first", "approval", set_to("approvals", [])),
    ("I1 approved first", "approval", entry(orderRef="")),
    ("I1 approved first", "age", approval(machine_ns=MACHINE - SECOND)),
    ("I1 approved first", "age", approval(machine_ns=MACHINE + 2 * SECOND)),
    ("I1 approved first", "quantity", approval(quantity=1)),
    ("I1 approved first", "contract", entry(conId=78)),
    ("I1 approved first", "halt epoch", old_epoch),
    ("I1 approved first", "limits version", another_limit),
    ("I2 position limits", "in all", positions(5)),
    ("I2 position limits", "in all", entries(5)),
    ("I2 position limits", "a symbol", entries(2, "SPY")),
    ("I3 one order an intent", "one opening", insert(sent(1.15, REF, 9))),
    ("I3 one order an intent", "one ref", insert(order(2, 9, STOP, action="SELL", kind="STP", active=0, status="Cancelled"))),
    ("I3 one order an intent", "durable", not_written),
    ("I4 unknown blocks", "link", sent_while_lost),
    ("I5 every order ends", "answered", unanswered),
    ("I5 every order ends", "limbo", limbo),
    ("I5 every order ends", "cancelled", insert(asked(20, "cancelOrder", 3))),
    ("I6 hard limits", "quantity", entry(totalQuantity=101.0)),
    ("I6 hard limits", "quantity", entry(totalQuantity=0.0)),
    ("I6 hard limits", "price", entry(lmtPrice=float("nan"))),
    ("I6 hard limits", "price", entry(orderType="MKT", lmtPrice=None)),
    ("I6 hard limits", "notional", entry(totalQuantity=100.0, lmtPrice=2.6)),
    ("I6 hard limits", "collar", entry(lmtPrice=2.6)),
    ("I6 hard limits", "a minute", many_openings),
    ("I7 in session", "session", moved_to(date(2026, 11, 22), "10:00")),
    ("I7 in session", "window", moved_to(date(2026, 11, 18), "09:40")),
    ("I7 in session", "window", moved_to(date(2026, 11, 27), "12:05")),
    ("I7 in session", "reset", moved_to(date(2026, 11, 18), "23:50")),
    ("I7 in session", "restart", gateway_restarts("10:00")),
    ("I7 in session", "working", still_working),
    ("I8 exits are free", "prompt", slow_exit),
    ("I8 exits are free", "cancelled", flattening(cancelled=False, flat=True)),
    ("I8 exits are free", "flat", flattening(cancelled=True, flat=False)),
    ("I9 equal to the broker", "positions", insert(filled(500, "h.1.01", "", side="BOT", shares=1, position=1))),
    (
        "I9 equal to the broker",
        "open orders",
        insert(order(500, 3, TARGET, action="SELL", kind="LMT", active=2, status="Submitted")),
    ),
    ("I10 executions once", "booked", set_to("fills", {})),
    ("I10 executions once", "as made", fill(quantity=1)),
    ("I10 executions once", "as made", fill(price=Decimal("2.1"))),
    ("I10 executions once", "as made", fill(side="SELL")),
    ("I10 executions once", "never invented", counted_twice),
    ("I10 executions once", "any order", told_otherwise),
    ("I10 executions once", "profit", profit),
    ("I11 nothing is lost", "fills", set_to("fills", {})),
    ("I11 nothing is lost", "views", set_to("orders", {})),
    ("I12 lifetimes", "policy", facts("state", policy="volatile-lru")),
    ("I12 lifetimes", "evicted", facts("state", evicted=1)),
    ("I12 lifetimes", "declared", facts("state", ttl_ms={"nobody:knows": -1})),
    ("I12 lifetimes", "lifetime", facts("state", ttl_ms={"lease": -1})),
    ("I12 lifetimes", "lifetime", facts("state", ttl_ms={"global:halt": 900})),
    ("I12 lifetimes", "memory", facts("data", memory_share=0.8)),
    ("I13 protected", "covered", naked_from(20, 23)),
    ("I13 protected", "covered", half_covered),
    ("I13 protected", "covered", part_for_sale("oca")),
    ("I13 protected", "bracket", entry(transmit=True)),
    ("I13 protected", "stop price", approval(stop_price=Decimal("0.5"))),
    ("I14 never reversed", "sellable", ungrouped_target),
    ("I14 never reversed", "short", insert(filled(301, "e.3.01.01", TARGET, side="SLD", shares=2, position=-2))),
    ("I15 no gap", "in place", cancelled_to_replace),
    ("I15 no gap", "refused", refused_change),
    ("I16 halt obeyed", "opening", lambda e: halt(e, 0.5)),
    ("I16 halt obeyed", "opening", halted_again_after_a_resume),
    ("I16 halt obeyed", "once seen", seen_and_sent),
    ("I16 halt obeyed", "working", works_after_halt),
    ("I16 halt obeyed", "working", comes_back_to_work_after_halt),
    ("I16 halt obeyed", "lease", lapsed),
    ("I16 halt obeyed", "lease", refused_lease),
    ("I16 halt obeyed", "by a person", lifted_by_itself),
    ("I17 limits latch", "losses", losses(3, 10, then=True)),
    ("I17 limits latch", "daily loss", losses(1, 2500, then=True)),
    ("I17 limits latch", "drawdown", losses(1, 12_000, then=True)),
    ("I17 limits latch", "recorded", unbooked_loss),
    ("I18 never early", "signal", early(2, 59.999)),
    ("I18 never early", "signal", early(3, 59.999)),
    ("I18 never early", "signal", early(5, 299)),
    ("I18 never early", "position", early(4, 61)),
    ("I19 told once", "once", lambda e: e.vendors.append(copy.deepcopy(e.vendors[0]))),
    ("I19 told once", "told", lambda e: (e.vendors.clear(), e.deliveries.clear())),
    ("I19 told once", "in the ledger", lambda e: e.deliveries.pop(f"{REF}:basic|telegram:-1002")),
    ("disclaimer", "disclaimer", lambda e: e.vendors[0]["told"].update(text=REF)),
    ("I23 no secret", "logs", set_to("logs", {"risk.jsonl": "key=canary-secret"})),
    ("I25 own users", "default", user("default", "on nopass ~*")),
    ("I25 own users", "orders", user("telegram", "on ~orders:*")),
    ("I25 own users", "tiers", user("delivery", "on ~telegram:user:*")),
]
