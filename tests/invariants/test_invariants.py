"""Each judge can fail: a clean story passes all of them, and the same story with one thing wrong is caught by the right one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from alphatrader.contract.messages.market import OptionRef
from alphatrader.contract.messages.orders import Fill
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import Approval, ControlRequest, HaltEvent
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.runtime.clock import SECOND, exchange_instant
from tests.invariants import JUDGES, check
from tests.invariants.evidence import Evidence, Line

T = exchange_instant(date(2026, 11, 18), "10:00")
MACHINE = 1_790_000_000 * SECOND
REF = "2026-11-18-SPY-0DTE-1"
OPTION = OptionRef("SPY", "20261118", 660.0, "C", con_id=77)
DISCLAIMER = "Not investment advice."


def at(seconds: float) -> dict[str, int]:
    return {"machine_ns": MACHINE + int(seconds * SECOND), "market_ns": T + int(seconds * SECOND)}


def sent(seconds: float, ref: str, order_id: int, *, action: str = "BUY", quantity: int = 2) -> Line:
    fields = {"orderRef": ref, "orderId": order_id, "action": action, "totalQuantity": quantity}
    return {**at(seconds), "kind": "frame", "client": 12, "dir": "in", "message": "placeOrder", "fields": fields}


def order(seconds: float, perm_id: int, ref: str, *, action: str, kind: str, active: int, status: str, con_id: int = 77) -> Line:
    return {
        **at(seconds),
        "kind": "truth",
        "what": "order",
        "perm_id": perm_id,
        "order_id": perm_id,
        "owner": 12,
        "order_ref": ref,
        "con_id": con_id,
        "action": action,
        "type": kind,
        "quantity": 2,
        "filled": 0,
        "status": status,
        "active": active,
    }


def filled(
    seconds: float, exec_id: str, ref: str, *, side: str, shares: int, position: int, con_id: int = 77, symbol: str = "SPY"
) -> Line:
    return {
        **at(seconds),
        "kind": "truth",
        "what": "fill",
        "exec_id": exec_id,
        "perm_id": 1,
        "order_id": 1,
        "owner": 12,
        "order_ref": ref,
        "side": side,
        "shares": shares,
        "price": 2.0,
        "con_id": con_id,
        "symbol": symbol,
        "position": position,
    }


def post(seconds: float, channel: str, text: str) -> Line:
    return {
        "vendor": "discord",
        "accepted": True,
        "received_market_ns": T + int(seconds * SECOND),
        "told": {"channel": channel, "title": "Signal", "text": text},
    }


def clean() -> Evidence:
    """A signal at 10:00:00, approved and sent, filled for two contracts, protected, told to all tiers in time."""
    signal = Signal(
        REF,
        "0DTE",
        "SPY",
        OPTION,
        "long_call",
        70,
        False,
        2,
        2.0,
        1.5,
        (3.0,),
        1.95,
        2.0,
        660.0,
        (),
        {},
        T,
        MACHINE,
        T + 60 * SECOND,
        1,
    )
    approval = Approval(
        REF,
        REF,
        True,
        "",
        "0DTE",
        "SPY",
        OPTION,
        2,
        Decimal(2),
        Decimal("1.5"),
        Decimal(3),
        MACHINE + SECOND,
        T + SECOND,
        1,
        "v",
        1,
    )
    fill = Fill("e.1.01", "e.1.01.01", 1, REF, 77, "SPY", OPTION, "BUY", 2, Decimal(2), None, T, 1, "DUSIM0001")
    position = Position(
        REF,
        "SPY",
        "0DTE",
        REF,
        OPTION,
        "open",
        2,
        2,
        Decimal(2),
        Decimal(400),
        Decimal(0),
        Decimal(1),
        None,
        None,
        None,
        Decimal("1.5"),
        (Decimal(3),),
        T,
        None,
        T,
    )
    wire = [
        sent(1.1, REF, 1),
        order(1.2, 1, REF, action="BUY", kind="LMT", active=2, status="Submitted"),
        order(1.2, 2, f"{REF}/stop", action="SELL", kind="STP", active=0, status="PreSubmitted"),
        filled(1.3, "e.1.01.01", REF, side="BOT", shares=2, position=2),
        order(1.3, 1, REF, action="BUY", kind="LMT", active=0, status="Filled"),
        order(1.4, 2, f"{REF}/stop", action="SELL", kind="STP", active=2, status="PreSubmitted"),
        {**at(400), "kind": "stop", "account": "DUSIM0001"},
    ]
    vendors = [
        post(1.5, "premium", f"{REF} {DISCLAIMER}"),
        post(60.1, "basic", f"{REF} {DISCLAIMER}"),
        post(300.2, "free", f"{REF} {DISCLAIMER}"),
    ]
    return Evidence(
        wire,
        vendors,
        [approval],
        [],
        [],
        [SignalEvent("new", signal)],
        {fill.key: fill},
        [position],
        {"risk.jsonl": "approved"},
        ["canary-secret"],
    )


def test_a_clean_story_violates_nothing() -> None:
    assert {name: found for name, found in check(clean()).items() if found} == {}


def _halt(e: Evidence, seconds: float) -> None:
    stamp = at(seconds)
    e.controls.append(ControlRequest("c", "halt", "test", "", stamp["machine_ns"], stamp["market_ns"]))


def _unapproved(e: Evidence) -> None:
    e.approvals.clear()


def _late(e: Evidence) -> None:
    e.approvals[0] = msgspec.structs.replace(e.approvals[0], machine_ns=MACHINE - SECOND)


def _more_than_approved(e: Evidence) -> None:
    e.approvals[0] = msgspec.structs.replace(e.approvals[0], quantity=1)


def _six_positions(e: Evidence) -> None:
    e.wire[6:6] = [
        filled(2, f"x.{n}.01", "hand", side="SLD", shares=1, position=1, con_id=100 + n, symbol=f"S{n}") for n in range(5)
    ]


def _three_of_a_symbol(e: Evidence) -> None:
    e.wire[6:6] = [filled(2, f"x.{n}.01", "hand", side="SLD", shares=1, position=1, con_id=100 + n) for n in range(2)]


def _sent_twice(e: Evidence) -> None:
    e.wire.insert(1, sent(1.15, REF, 9))


def _on_a_sunday(e: Evidence) -> None:
    e.wire[0]["market_ns"] = exchange_instant(date(2026, 11, 22), "10:00")


def _naked(e: Evidence) -> None:
    e.wire[5]["active"] = 1


def _reversed(e: Evidence) -> None:
    e.wire.insert(6, filled(9, "e.3.01", f"{REF}/target", side="SLD", shares=3, position=-1))


def _opened_after_halt(e: Evidence) -> None:
    _halt(e, 0.5)


def _works_after_halt(e: Evidence) -> None:
    e.wire[4]["machine_ns"] = e.wire[3]["machine_ns"] = MACHINE + 300 * SECOND
    e.wire[3], e.wire[5] = e.wire[5], e.wire[3]
    _halt(e, 2.0)


def _halted_again_after_a_resume(e: Evidence) -> None:
    _halt(e, 0.2)
    e.halts.append(HaltEvent(False, False, 3, "", "", 0, MACHINE + SECOND // 2))
    _halt(e, 0.55)


def _forgotten(e: Evidence) -> None:
    e.positions.clear()


def _booked_twice(e: Evidence) -> None:
    e.fills["e.1.02"] = msgspec.structs.replace(e.fills["e.1.01"], key="e.1.02", exec_id="e.1.02.01")


def _not_booked(e: Evidence) -> None:
    e.fills.clear()


def _leaked(e: Evidence) -> None:
    e.logs["risk.jsonl"] = "key=canary-secret"


def _basic_early(e: Evidence) -> None:
    e.vendors[1]["received_market_ns"] = T + 60 * SECOND - 1


def _free_early(e: Evidence) -> None:
    e.vendors[2]["received_market_ns"] = T + 299 * SECOND


def _told_twice(e: Evidence) -> None:
    e.vendors.append(copy.deepcopy(e.vendors[0]))


def _without_disclaimer(e: Evidence) -> None:
    e.vendors[0]["told"]["text"] = REF


@pytest.mark.parametrize(
    ("judge", "wrong"),
    [
        ("I1 approved first", _unapproved),
        ("I1 approved first", _late),
        ("I1 approved first", _more_than_approved),
        ("I2 position limits", _six_positions),
        ("I2 position limits", _three_of_a_symbol),
        ("I3 one order an intent", _sent_twice),
        ("I7 in session", _on_a_sunday),
        ("I13 protected", _naked),
        ("I14 never reversed", _reversed),
        ("I16 halt obeyed", _opened_after_halt),
        ("I16 halt obeyed", _works_after_halt),
        ("I16 halt obeyed", _halted_again_after_a_resume),
        ("I9 positions equal", _forgotten),
        ("I10 executions once", _booked_twice),
        ("I10 executions once", _not_booked),
        ("I23 no secret in logs", _leaked),
        ("I18 never early", _basic_early),
        ("I18 never early", _free_early),
        ("I19 told once", _told_twice),
        ("disclaimer", _without_disclaimer),
    ],
)
def test_one_thing_wrong_is_caught_by_its_judge(judge: str, wrong: Callable[[Evidence], None]) -> None:
    evidence = clean()
    wrong(evidence)
    assert JUDGES[judge](evidence), f"{wrong.__name__} went unnoticed"


def test_every_judge_is_shown_to_fail() -> None:
    marks = test_one_thing_wrong_is_caught_by_its_judge.pytestmark  # type: ignore[attr-defined]
    shown = {case[0] for mark in marks for case in mark.args[1]}
    assert shown == set(JUDGES)
