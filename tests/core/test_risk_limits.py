"""Each limit at its bound: the last value that holds, the first that does not, and what is not known never holds."""

from __future__ import annotations

import math
from dataclasses import replace as with_fields
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.orders import BuyingPower
from alphatrader.contract.messages.positions import Pnl, PositionsSummary
from alphatrader.contract.messages.risk import Halt, Stop
from alphatrader.contract.settings.trading import Risk
from alphatrader.core.risk import limits, verdict
from alphatrader.core.risk import state as books
from alphatrader.core.risk.alike import Bet
from alphatrader.core.risk.picture import Picture
from alphatrader.runtime.clock import SECOND
from tests.support.holdings import MACHINE_NS, NOW_NS, SPY, account, signal

D = Decimal
RISK = Risk(start_halted=False)
SESSION = "2026-11-18"
STAMP = verdict.Stamp(fence=5, limits_version="v")


def pnl(value: str | None, session: str = SESSION) -> Pnl:
    return Pnl(value=D(value) if value is not None else None, session=session, ts_ns=NOW_NS)


def picture(**changes: Any) -> Picture:
    """All is well: flat, 100,000 USD, 10:30 in an open session."""
    summary = PositionsSummary(NOW_NS, 0, {}, D(0), D(0), D(0), True, (), MACHINE_NS)
    made = Picture(
        ts_ns=NOW_NS,
        machine_ns=MACHINE_NS,
        session=SESSION,
        session_open=True,
        flat_ns=NOW_NS + 7200 * SECOND,
        windows={"0DTE": (NOW_NS, NOW_NS + 3600 * SECOND)},
        state=books.with_equity(books.first(SESSION, NOW_NS), D(100_000)),
        halt=Halt(False, False, 4, "", "operator", NOW_NS, MACHINE_NS),
        account=account(),
        buying_power=BuyingPower(D(100_000), NOW_NS, MACHINE_NS),
        summary=summary,
        realized=pnl("0"),
        unrealized=pnl("0"),
        places={},
        pending_usd=D(0),
        unknown_orders=(),
    )
    return with_fields(made, **changes)


def with_state(**changes: Any) -> Picture:
    return picture(state=replace(picture().state, **changes))


def refusal(of: Picture, **of_signal: Any) -> str | None:
    approval = verdict.decide(of, RISK, signal(**of_signal), STAMP)
    return None if approval.approved else approval.reason


def old(seconds: float) -> int:
    return MACHINE_NS - int(seconds * SECOND)


def small(**changes: Any) -> Picture:
    """An account of 1,000 USD: 5 % of it is less than 2,000 USD."""
    return picture(state=replace(picture().state, opening_equity=D(1000)), **changes)


def day(realized: str, unrealized: str) -> Picture:
    return picture(realized=pnl(realized), unrealized=pnl(unrealized))


def power(value: Decimal, machine_ns: int) -> Picture:
    return picture(buying_power=BuyingPower(value, NOW_NS, machine_ns))


def riding(symbol: str, right: Any, usd: str, rho: float | None) -> Picture:
    """Premium held besides, and how its underlying moves with SPY, of which a call is proposed for 800 USD; 6,000 are allowed."""
    known = {} if rho is None else {(symbol, "SPY"): rho}
    return picture(bets={"a": Bet(symbol, right, D(usd))}, correlations=known)


TABLE: list[tuple[str, Picture, Picture]] = [
    # limit, the last that holds, the first that does not
    ("daily loss", picture(realized=pnl("-1999.99")), picture(realized=pnl("-2000"))),
    ("daily loss", day("-2500", "500.01"), day("-2500", "500")),
    ("daily loss", small(realized=pnl("-49.99")), small(realized=pnl("-50"))),
    ("daily loss", with_state(), with_state(carried_unrealized=D(2000))),
    ("daily loss", picture(), picture(unrealized=pnl(None))),
    ("daily loss", picture(), picture(realized=None)),
    ("daily loss", picture(), picture(realized=pnl("0", "2026-11-17"))),
    ("daily loss", picture(), with_state(opening_equity=None)),
    ("consecutive losses", with_state(consecutive_losses=2), with_state(consecutive_losses=3)),
    ("drawdown", with_state(peak_equity=D(100_000), equity=D("90000.01")), with_state(peak_equity=D(100_000), equity=D(90_000))),
    ("drawdown", with_state(), with_state(equity=None)),
    ("drawdown", with_state(), with_state(peak_equity=None)),
    ("positions and opening orders", picture(places=dict.fromkeys("abcd", "X")), picture(places=dict.fromkeys("abcde", "X"))),
    ("positions a symbol", picture(places={"a": "SPY"}), picture(places={"a": "SPY", "b": "SPY"})),
    ("unknown orders", picture(), picture(unknown_orders=("i-1",))),
    ("unknown orders", picture(), picture(account=account(unknown_orders=1))),
    ("buying power", power(D(800), MACHINE_NS), power(D("799.99"), MACHINE_NS)),
    ("buying power", picture(pending_usd=D(99_200)), picture(pending_usd=D("99200.01"))),
    ("buying power", power(D(900), old(60)), power(D(900), old(60.1))),
    ("buying power", picture(), picture(buying_power=None)),
    ("buying power", picture(), power(D("NaN"), MACHINE_NS)),
    ("account", picture(account=account(machine_ns=old(10))), picture(account=account(machine_ns=old(10.1)))),
    ("account", picture(), picture(account=account(confirmed=False))),
    ("account", picture(), picture(account=None)),
    ("alike premium", riding("QQQ", "C", "5200", 0.9), riding("QQQ", "C", "5200.01", 0.9)),
    ("alike premium", riding("QQQ", "C", "90000", 0.7), riding("QQQ", "C", "90000", 0.71)),
    ("alike premium", riding("QQQ", "P", "90000", 0.9), riding("VXX", "P", "90000", -0.9)),
    ("alike premium", riding("VXX", "C", "90000", -0.9), riding("SPY", "C", "90000", None)),
    ("alike premium", riding("SPY", "P", "90000", None), riding("SPY", None, "90000", None)),
    ("alike premium", riding("QQQ", "C", "5200", None), riding("QQQ", "P", "90000", None)),
    ("alike premium", riding("QQQ", "P", "90000", 0.9), riding("QQQ", "P", "90000", math.nan)),
    ("positions", picture(), picture(summary=None)),
    ("positions", picture(), picture(summary=PositionsSummary(NOW_NS, 0, {}, D(0), D(0), D(0), False, ("conId 7",), MACHINE_NS))),
    ("positions", picture(), picture(summary=PositionsSummary(NOW_NS, 0, {}, D(0), D(0), D(0), True, (), old(5.1)))),
    ("positions", picture(), picture(summary=PositionsSummary(NOW_NS, 1, {}, D(0), D(0), D(0), True, (), MACHINE_NS, ("7",)))),
    ("halt", picture(), picture(halt=None)),
    ("halt", picture(), picture(halt=Halt(True, False, 4, "why", "x", NOW_NS, MACHINE_NS))),
    ("halt", picture(), picture(halt=Halt(False, True, 4, "why", "x", NOW_NS, MACHINE_NS))),
    ("halt", picture(), with_state(stop=Stop("operator", "test", MACHINE_NS, False))),
    ("latch", picture(), with_state(latched="daily loss: 2000 of 2000")),
    ("session", picture(), picture(session_open=False)),
    ("window", picture(windows={"0DTE": (NOW_NS, NOW_NS + 1)}), picture(windows={"0DTE": (NOW_NS - 1, NOW_NS)})),
    ("window", picture(), picture(windows={})),
    ("expiry", picture(flat_ns=NOW_NS + 1), picture(flat_ns=NOW_NS)),
    ("expiry", picture(session="2026-11-17", flat_ns=NOW_NS), picture(session="2026-11-19")),
    ("account", picture(account=account(machine_ns=old(-1))), picture(account=account(machine_ns=old(-1.1)))),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "holds", "fails"), TABLE)
def test_each_limit_at_its_bound(limit: str, holds: Picture, fails: Picture) -> None:
    assert refusal(holds) is None
    assert (refusal(fails) or "").startswith(f"{limit}:"), refusal(fails)


@pytest.mark.parametrize(
    ("limit", "holds", "fails"),
    [
        ("signal age", {"machine_ns": old(5)}, {"machine_ns": old(5.1)}),
        ("signal age", {"expires_ns": NOW_NS + 1}, {"expires_ns": NOW_NS}),
        ("prices", {"stop": 3.99}, {"stop": 4.0}),
        ("prices", {"stop": 0.01}, {"stop": 0.0}),
        ("contract", {}, {"symbol": "QQQ"}),
        ("contract", {"contract": replace(SPY, multiplier=1)}, {"contract": replace(SPY, multiplier=0)}),
        ("prices", {"targets": (4.01,)}, {"targets": (4.0,)}),
        ("prices", {"targets": (4.01, 5.0)}, {"targets": (4.0, 5.0)}),
        ("prices", {"targets": (5.0,)}, {"targets": ()}),
        ("prices", {"targets": (5.0, 6.0)}, {"targets": (6.0, 5.0)}),
    ],
)
def test_each_condition_on_the_signal_at_its_bound(limit: str, holds: dict[str, Any], fails: dict[str, Any]) -> None:
    assert refusal(picture(), **holds) is None
    assert (refusal(picture(), **fails) or "").startswith(f"{limit}:")


def test_an_approval_carries_what_execution_must_check_and_positions_must_plan() -> None:
    approval = verdict.decide(picture(), RISK, signal(), STAMP)
    assert (approval.intent_id, approval.halt_epoch, approval.fence, approval.machine_ns) == ("s-1", 4, 5, MACHINE_NS)
    assert (approval.limit_price, approval.stop_price, approval.target_price) == (D("4.00"), D("3.00"), D("8.00"))
    assert approval.targets == (D("5.00"), D("6.00"), D("8.00")) and approval.quantity == 2
    assert "0 of 5" in approval.reason


def test_intents_fit_the_brokers_field_and_are_never_taken_for_external_ones() -> None:
    assert verdict.intent_id("SPY-0DTE-17") == "SPY-0DTE-17"
    for odd in ("a/stop", "ext-7", "flatten-1-7", "x" * 60, "with space"):
        intent = verdict.intent_id(odd)
        assert intent == verdict.intent_id(odd) and len(intent) <= 36 and intent.startswith("sig-")
    assert verdict.limits_version(RISK) != verdict.limits_version(replace(RISK, max_positions=4))


def test_only_a_known_breach_latches() -> None:
    assert verdict.breach(picture(), RISK) is None
    assert verdict.breach(picture(realized=None), RISK) is None
    assert (verdict.breach(picture(realized=pnl("-2000")), RISK) or "").startswith("daily loss: 2000.00 USD of 2000.00 USD")
    assert (verdict.breach(with_state(consecutive_losses=3), RISK) or "").startswith("consecutive losses")
    at_bound = with_state(peak_equity=D(100_000), equity=D(90_000))
    assert (verdict.breach(at_bound, RISK) or "").startswith("drawdown: 10.00% of 10% from the peak of 100000.00 USD")


def test_what_refuses_says_what_is_missing() -> None:
    assert verdict.in_words(with_state(opening_equity=None), RISK)["daily loss"] == "the day's opening equity is not known"
    assert verdict.in_words(picture(realized=None), RISK)["daily loss"] == "today's P&L is not known"
    assert verdict.in_words(picture(unknown_orders=("i-1", "i-2")), RISK)["unknown orders"] == "2 of 0 allowed: i-1, i-2"
    assert verdict.in_words(picture(), RISK)["session"] == "open"
    assert verdict.in_words(picture(session_open=False), RISK)["session"] == "the session is closed"
    unknown = limits.alike_premium(with_state(equity=None), RISK, signal())
    assert (unknown.holds, unknown.words) == (False, "equity is not known")


def test_the_lease_needs_no_signal_and_no_marks_but_everything_that_must_be_known() -> None:
    assert verdict.without_lease(picture(), RISK) is None
    assert verdict.without_lease(picture(unrealized=pnl(None), session_open=False), RISK) is None
    assert (verdict.without_lease(picture(account=None), RISK) or "").startswith("account")
    words = verdict.in_words(picture(places={"a": "SPY"}), RISK)
    assert words["positions and opening orders"] == "1 of 5" and words["daily loss"] == "0.00 USD of 2000.00 USD"
