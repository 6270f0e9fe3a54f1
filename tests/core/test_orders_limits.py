"""Prices, hard limits and permission: what may not pass, with the reason it gives."""

from __future__ import annotations

import math
from dataclasses import replace as with_fields
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.messages.risk import Approval, Halt, Lease
from alphatrader.contract.price_steps import step
from alphatrader.contract.settings.trading import Orders
from alphatrader.core.orders.permission import Hours, refusal, untimely
from alphatrader.core.orders.pricing import (
    EntryTerms,
    Prices,
    Refused,
    check_limits,
    check_stop,
    cover_price,
    entry_price,
    entry_terms,
    exit_price,
    to_tick,
)
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
    assert prices(bid=4.05).mid == Decimal("4.05")  # locked is not crossed
    assert prices(machine_ns=NOW + SECOND).mid == 4
    with pytest.raises(Refused, match=r"is -1\.1 s old"):
        prices(machine_ns=NOW + SECOND * 11 // 10)


def test_entry_prices_stand_on_the_grid_and_inside_the_collar() -> None:
    assert entry_price(APPROVAL, prices(), SETTINGS) == Decimal("4.00")
    assert entry_price(replace(APPROVAL, confidence=90.0), prices(), SETTINGS) == Decimal("4.10")
    # a wide market: the marketable limit is capped by the collar, and refused where even the ask is outside
    assert entry_price(replace(APPROVAL, confidence=90.0), prices(bid=3.65, ask=4.40), SETTINGS) == Decimal("4.40")
    with pytest.raises(Refused, match="collar"):
        entry_price(replace(APPROVAL, confidence=90.0), prices(bid=3.00, ask=5.00), SETTINGS)
    with pytest.raises(Refused, match="collar"):
        entry_price(replace(APPROVAL, limit_price=Decimal("4.60")), prices(), SETTINGS)
    # the collar itself, a price under a dollar and a quote of the last allowed age pass
    assert entry_price(replace(APPROVAL, limit_price=Decimal("4.40")), prices(), SETTINGS) == Decimal("4.40")
    cheap = prices(bid=0.90, ask=1.00, machine_ns=NOW - 5 * SECOND)
    assert entry_price(replace(APPROVAL, limit_price=Decimal("0.95")), cheap, SETTINGS) == Decimal("0.95")
    for wrong in ("NaN", "0.04"):  # a contract by nickels costs one at least
        with pytest.raises(Refused, match=f"limit_price.* {wrong}"):
            entry_price(replace(APPROVAL, limit_price=Decimal(wrong)), prices(bid=0.05, ask=0.10), SETTINGS)


def test_exit_prices_reach_further_each_time_but_never_past_the_collar_unless_the_bid_is_there() -> None:
    found = [exit_price(prices(), True, attempt, 0.10) for attempt in range(8)]
    assert found[:2] == [Decimal("3.90"), Decimal("3.85")] and found == sorted(found, reverse=True)
    assert found[-1] == Decimal("3.60")
    assert [exit_price(prices(), False, attempt, 0.10) for attempt in (0, 1)] == [Decimal("4.00"), Decimal("3.85")]
    assert exit_price(prices(bid=1.00, ask=4.00), True, 3, 0.10) == Decimal("1.00")


def test_ticks_round_as_asked_and_never_to_nothing() -> None:
    assert [to_tick(Decimal("4.03"), Decimal("0.05"), d) for d in ("down", "up", "nearest")] == [  # type: ignore[arg-type]
        Decimal("4.00"), Decimal("4.05"), Decimal("4.05"),
    ]  # fmt: skip
    assert to_tick(Decimal("0.01"), Decimal("0.05"), "down") == Decimal("0.05")


@pytest.mark.parametrize(
    ("symbol", "finest", "price", "expected"),
    [
        # in the penny program: cents under $3, nickels from there on; three classes by the cent throughout
        ("AAPL", "0.01", "2.99", "0.01"),
        ("AAPL", "0.01", "3.00", "0.05"),
        ("SPY", "0.01", "3.00", "0.01"),
        ("IWM", "0.01", "12.34", "0.01"),
        # outside of it: nickels, then dimes
        ("ABCD", "0.05", "2.95", "0.05"),
        ("ABCD", "0.05", "3.00", "0.10"),
        # a finest step that no rule has is left as it is
        ("ABCD", "0.25", "9.00", "0.25"),
    ],
)
def test_the_steps_between_an_options_prices_are_those_of_the_exchanges(
    symbol: str, finest: str, price: str, expected: str
) -> None:
    assert step(symbol, Decimal(finest), Decimal(price)) == Decimal(expected)


def test_what_is_priced_of_a_class_by_nickels_stands_on_nickels_from_three_dollars_on() -> None:
    apple = prices(symbol="AAPL", min_tick=0.01, bid=3.95, ask=4.05)
    cheap = prices(symbol="AAPL", min_tick=0.01, bid=2.98, ask=3.00)
    assert entry_price(replace(APPROVAL, limit_price=Decimal("4.02")), apple, SETTINGS) == Decimal("4.00")
    assert entry_price(replace(APPROVAL, confidence=90.0), apple, SETTINGS) == Decimal("4.10")
    assert entry_price(replace(APPROVAL, confidence=90.0), cheap, SETTINGS) == Decimal("3.05")
    assert [exit_price(apple, True, attempt, 0.10) for attempt in (0, 1)] == [Decimal("3.90"), Decimal("3.85")]
    assert [exit_price(cheap, True, attempt, 0.10) for attempt in (0, 1)] == [Decimal("2.97"), Decimal("2.96")]
    assert exit_price(cheap, False, 0, 0.10) == Decimal("2.99")
    assert [cover_price(cheap, attempt, 0.10) for attempt in (0, 1)] == [Decimal("3.05"), Decimal("3.10")]


@pytest.mark.parametrize(
    ("changes", "sent", "says"),
    [
        ({"quantity": 101}, 0, "quantity"),
        ({"quantity": 0}, 0, "quantity"),
        ({"quantity": 70}, 0, "notional"),
        ({}, 20, "orders in the last minute"),
        ({"stop_price": Decimal("4.00")}, 0, "not in order"),
        ({"target_price": Decimal("4.00")}, 0, "not in order"),
        ({"stop_price": Decimal("Infinity")}, 0, "stop_price"),
        ({"stop_price": Decimal(0)}, 0, "stop_price is 0"),
        ({"contract": replace(OPTION, multiplier=0)}, 0, "multiplier 0"),
        ({"contract": replace(OPTION, multiplier=-100)}, 0, "multiplier -100"),
        ({"symbol": "QQQ"}, 0, "approved of QQQ, but the contract is of SPY"),
    ],
)
def test_hard_limits(changes: dict[str, Any], sent: int, says: str) -> None:
    for quantity, price in ((2, "4.00"), (1, "4.00"), (100, "2.50")):  # one, and as many and as much as is allowed
        check_limits(replace(APPROVAL, stop_price=Decimal(1)), EntryTerms(quantity, Decimal(price)), SETTINGS, 19)
    check_limits(replace(APPROVAL, contract=replace(OPTION, multiplier=1)), EntryTerms(2, Decimal("4.00")), SETTINGS, 0)
    changed = replace(APPROVAL, **changes)
    with pytest.raises(Refused, match=says):
        check_limits(changed, EntryTerms(changed.quantity, Decimal("4.00")), SETTINGS, sent)


@pytest.mark.parametrize(
    ("approved", "quote", "expected"),
    [
        # the market stands where it was, or came down: risk's limit
        ({"limit_price": "4.05"}, {}, (2, "4.05")),
        ({"limit_price": "4.05"}, {"bid": 3.85, "ask": 3.95}, (2, "4.05")),
        # it moved up to two ticks away: the ask, and fewer contracts for the same premium
        ({"limit_price": "4.00", "quantity": 20}, {}, (19, "4.05")),
        ({"limit_price": "3.95", "quantity": 40}, {}, (39, "4.05")),
        ({"limit_price": "4.00", "quantity": 2}, {}, (1, "4.05")),
        # further away, or no premium left even for one: risk's limit, which may miss
        ({"limit_price": "3.90", "quantity": 40}, {}, (40, "3.90")),
        ({"limit_price": "4.00", "quantity": 1}, {}, (1, "4.00")),
        # high confidence goes through the ask, with as many as the approved premium buys at it, else at the approved limit
        ({"limit_price": "4.05", "confidence": 90.0}, {}, (2, "4.10")),
        ({"limit_price": "4.00", "confidence": 90.0, "quantity": 20}, {}, (19, "4.10")),
        ({"limit_price": "2.00", "confidence": 90.0, "quantity": 20}, {}, (9, "4.10")),
        ({"limit_price": "5.00", "confidence": 90.0}, {}, (2, "4.10")),
        ({"limit_price": "4.02", "confidence": 90.0, "quantity": 1}, {}, (1, "4.00")),
        # ... which 85 is not yet
        ({"limit_price": "4.05", "confidence": 85.0}, {}, (2, "4.05")),
    ],
)
def test_an_entry_follows_the_ask_a_little_and_never_spends_more_than_was_approved(
    approved: dict[str, Any], quote: dict[str, Any], expected: tuple[int, str]
) -> None:
    approval = replace(APPROVAL, **approved | {"limit_price": Decimal(approved["limit_price"])})
    terms = entry_terms(approval, prices(**quote), SETTINGS)
    assert (terms.quantity, terms.limit) == (expected[0], Decimal(expected[1]))
    at_ask = min(terms.limit, Decimal(str(quote.get("ask", QUOTE.ask))))
    assert terms.quantity * at_ask <= approval.quantity * approval.limit_price
    still = replace(SETTINGS, entry_slippage_ticks=0)
    if approval.confidence <= SETTINGS.high_confidence:
        assert entry_terms(approval, prices(**quote), still) == EntryTerms(approval.quantity, approval.limit_price)


def test_a_market_order_that_cannot_be_held_to_the_approved_premium_is_refused() -> None:
    at_market = replace(SETTINGS, high_confidence_type="market")
    sure = replace(APPROVAL, confidence=90.0, limit_price=Decimal("4.05"), quantity=1)
    assert entry_terms(sure, prices(), at_market) == EntryTerms(1, Decimal("4.10"))
    with pytest.raises(Refused, match=r"premium: one contract at the ask 4.05 is over the approved 4.04 for 1"):
        entry_terms(replace(sure, limit_price=Decimal("4.04")), prices(), at_market)
    with pytest.raises(Refused, match="limit_price is NaN"):
        entry_terms(replace(sure, limit_price=Decimal("NaN")), prices(), SETTINGS)


def test_a_stop_that_the_market_has_fallen_to_would_sell_at_once_and_is_refused() -> None:
    check_stop(Decimal("3.92"), prices())  # stands at 3.90, a tick under the bid
    for stop in ("3.93", "3.95", "4.00", "NaN"):  # 3.93 would stand at 3.95
        with pytest.raises(Refused, match=r"would sell at once|stop_price is NaN"):
            check_stop(Decimal(stop), prices())


def test_a_wide_market_is_not_followed_out_of_the_collar() -> None:
    terms = entry_terms(replace(APPROVAL, limit_price=Decimal("4.40"), quantity=9), prices(bid=3.65, ask=4.50), SETTINGS)
    assert terms == EntryTerms(9, Decimal("4.40"))


def test_prices_that_buy_a_short_back_reach_further_each_time() -> None:
    found = [cover_price(prices(), attempt, 0.10) for attempt in range(8)]
    assert found[:2] == [Decimal("4.10"), Decimal("4.15")] and found == sorted(found)
    assert found[-1] == Decimal("4.40")
    assert cover_price(prices(bid=1.00, ask=4.00), 3, 0.10) == Decimal("4.00")


@pytest.mark.parametrize(
    ("strategy", "at", "says"),
    [
        ("0DTE", 100, None),
        ("0DTE", 99, "outside its window"),
        ("0DTE", 200, "outside its window"),
        ("14DTE", 250, None),
        ("0DTE", 140, "restarts itself"),
        ("14DTE", 159, "restarts itself"),
        ("0DTE", 160, None),
        ("14DTE", 279, None),
        ("14DTE", 280, "closes in 20 s"),
        ("MOC", 170, "not enabled"),
        ("", 170, "not enabled"),
    ],
)
def test_openings_keep_to_their_window_and_out_of_the_last_seconds_and_the_gateways_restart(
    strategy: str, at: int, says: str | None
) -> None:
    hours = Hours(
        300 * SECOND, {"0DTE": (100 * SECOND, 200 * SECOND), "14DTE": (0, 300 * SECOND)}, 20.0, (140 * SECOND, 160 * SECOND)
    )
    found = untimely(strategy, at * SECOND, hours)
    assert found is None if says is None else says in (found or "")
    assert untimely(strategy, at * SECOND, None) == "the session is closed"
    without_restart = untimely(strategy, at * SECOND, with_fields(hours, restart=None))
    assert without_restart == (None if says == "restarts itself" else found)


def test_a_clock_that_is_a_little_ahead_is_no_reason_and_one_further_ahead_is() -> None:
    """A lease and an approval are written by another process: their clocks are one machine's, but no two readings are at once."""
    ahead = replace(LEASE, machine_ns=NOW + SECOND)
    assert refusal(APPROVAL, ahead, HALT, NOW, 1.0, 3) is None
    assert "lease is -1.1 s old" in str(refusal(APPROVAL, replace(ahead, machine_ns=NOW + 11 * SECOND // 10), HALT, NOW, 1.0, 3))
    early = replace(APPROVAL, machine_ns=NOW + SECOND // 10)
    assert refusal(early, LEASE, HALT, NOW, 1.0, 3) is None
    assert "-0.11 s old" in str(refusal(replace(early, machine_ns=NOW + 11 * SECOND // 100), LEASE, HALT, NOW, 1.0, 3))
    # and the last instant at which each still counts
    assert (
        refusal(replace(APPROVAL, machine_ns=NOW - SECOND), replace(LEASE, machine_ns=NOW - 3 * SECOND), HALT, NOW, 1.0, 3)
        is None
    )


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
