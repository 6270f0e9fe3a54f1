"""Prices, hard limits and permission: what may not pass, with the reason it gives."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import ContractQuote
from alphatrader.contract.messages.risk import Approval, Halt, Lease
from alphatrader.contract.settings.trading import Orders
from alphatrader.core.orders.permission import refusal
from alphatrader.core.orders.pricing import Prices, Refused, check_limits, entry_price, exit_price, to_tick
from tests.core.test_orders_book import OPTION, SECOND

NOW = 1000 * SECOND
SETTINGS = Orders()
QUOTE = ContractQuote(
    con_id=7, symbol="SPY", local_symbol="", sec_type="OPT", ts_ns=NOW, machine_ns=NOW, min_tick=0.05, bid=3.95, ask=4.05
)
APPROVAL = Approval(
    "i-1", "s-1", True, "", "0DTE", "SPY", OPTION, 2, Decimal("4.02"), Decimal("3.00"), Decimal("6.00"), NOW, NOW, 4, "1", 3, 70.0
)
LEASE = Lease(True, None, 4, NOW, 3)
HALT = Halt(False, False, 4, "", "", NOW, NOW)


def prices(**changes: Any) -> Prices:
    return Prices(replace(QUOTE, **changes), 7, NOW, 5.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bid": None}, "bid is None"),
        ({"ask": math.nan}, "ask is nan"),
        ({"ask": math.inf}, "ask is inf"),
        ({"bid": 0.0}, "bid is 0"),
        ({"bid": 4.20}, "over ask"),
        ({"min_tick": 0.0}, "min_tick"),
        ({"machine_ns": NOW - 6 * SECOND}, "6.0 s old"),
    ],
)
def test_a_bad_quote_prices_nothing(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=says):
        prices(**changes)
    with pytest.raises(Refused, match="no quote"):
        Prices(None, 7, NOW, 5.0)


def test_entry_prices_stand_on_the_grid_and_inside_the_collar() -> None:
    assert entry_price(APPROVAL, prices(), SETTINGS) == Decimal("4.00")
    assert entry_price(replace(APPROVAL, confidence=90.0), prices(), SETTINGS) == Decimal("4.10")
    # a wide market: the marketable limit is capped by the collar, and refused where even the ask is outside
    assert entry_price(replace(APPROVAL, confidence=90.0), prices(bid=3.65, ask=4.40), SETTINGS) == Decimal("4.40")
    with pytest.raises(Refused, match="collar"):
        entry_price(replace(APPROVAL, confidence=90.0), prices(bid=3.00, ask=5.00), SETTINGS)
    with pytest.raises(Refused, match="collar"):
        entry_price(replace(APPROVAL, limit_price=Decimal("4.60")), prices(), SETTINGS)
    with pytest.raises(Refused, match="limit_price"):
        entry_price(replace(APPROVAL, limit_price=Decimal("NaN")), prices(), SETTINGS)


def test_exit_prices_reach_further_each_time_but_never_past_the_collar_unless_the_bid_is_there() -> None:
    found = [exit_price(prices(), True, attempt, 0.10) for attempt in range(8)]
    assert found[:2] == [Decimal("3.90"), Decimal("3.85")] and found == sorted(found, reverse=True)
    assert found[-1] == Decimal("3.60")
    assert exit_price(prices(), False, 0, 0.10) == Decimal("4.00")
    assert exit_price(prices(bid=1.00, ask=4.00), True, 3, 0.10) == Decimal("1.00")


def test_ticks_round_as_asked_and_never_to_nothing() -> None:
    assert [to_tick(Decimal("4.03"), Decimal("0.05"), d) for d in ("down", "up", "nearest")] == [  # type: ignore[arg-type]
        Decimal("4.00"), Decimal("4.05"), Decimal("4.05"),
    ]  # fmt: skip
    assert to_tick(Decimal("0.01"), Decimal("0.05"), "down") == Decimal("0.05")


@pytest.mark.parametrize(
    ("changes", "sent", "says"),
    [
        ({"quantity": 101}, 0, "quantity"),
        ({"quantity": 0}, 0, "quantity"),
        ({"quantity": 70}, 0, "notional"),
        ({}, 20, "orders in the last minute"),
        ({"stop_price": Decimal("4.00")}, 0, "not in order"),
        ({"target_price": Decimal("3.90")}, 0, "not in order"),
        ({"stop_price": Decimal("Infinity")}, 0, "stop_price"),
    ],
)
def test_hard_limits(changes: dict[str, Any], sent: int, says: str) -> None:
    check_limits(APPROVAL, Decimal("4.00"), SETTINGS, 0)
    with pytest.raises(Refused, match=says):
        check_limits(replace(APPROVAL, **changes), Decimal("4.00"), SETTINGS, sent)


@pytest.mark.parametrize(
    ("approval", "lease", "halt", "says"),
    [
        ({"approved": False}, {}, {}, "not approved"),
        ({"machine_ns": NOW - 2 * SECOND}, {}, {}, "the approval is 2.00 s old"),
        ({"machine_ns": NOW + 5 * SECOND}, {}, {}, "s old"),
        ({"halt_epoch": 3}, {}, {}, "halt epoch"),
        ({"fence": 2}, {}, {}, "fence"),
        ({}, None, {}, "no lease"),
        ({}, {"granted": False, "reason": "daily loss"}, {}, "daily loss"),
        ({}, {"machine_ns": NOW - 4 * SECOND}, {}, "lease is 4.0 s old"),
        ({}, {"halt_epoch": 3}, {}, "lease is of halt epoch"),
        ({}, {"fence": 4}, {}, "fence"),
        ({}, {}, None, "cannot be read"),
        ({}, {}, {"halted": True, "reason": "the operator"}, "halted: the operator"),
        ({}, {}, {"flatten": True}, "halted"),
        ({}, {}, {"epoch": 5}, "epoch"),
    ],
)
def test_permission_needs_everything_fresh_and_of_one_epoch(approval: Any, lease: Any, halt: Any, says: str) -> None:
    assert refusal(APPROVAL, LEASE, HALT, NOW, 1.0, 3) is None
    assert "fence" in (refusal(APPROVAL, LEASE, HALT, NOW, 1.0, 4) or "")
    reason = refusal(
        msgspec.structs.replace(APPROVAL, **approval),
        None if lease is None else replace(LEASE, **lease),
        None if halt is None else replace(HALT, **halt),
        NOW,
        1.0,
        3,
    )
    assert reason is not None and says in reason
