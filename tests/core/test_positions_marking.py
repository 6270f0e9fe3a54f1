"""What a quote says a position is worth: the middle of both sides, where both are there and sane; firm where they are near."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.core.positions.marking import firm, mid, tick

D = Decimal


def quote(bid: float | None, ask: float | None, min_tick: float = 0.01) -> ContractQuote:
    given: dict[str, Any] = {"con_id": 7, "symbol": "SPY", "local_symbol": "", "sec_type": "OPT", "ts_ns": 1, "machine_ns": 1}
    return ContractQuote(**given, min_tick=min_tick, bid=bid, ask=ask)


@pytest.mark.parametrize(
    ("bid", "ask", "middle"),
    [
        (3.95, 4.05, "4"),
        (4.0, 4.0, "4"),
        (0.0, 0.01, "0.005"),
        (0.0, 1.0, "0.5"),
        (None, 4.0, None),
        (3.9, None, None),
        (4.01, 4.0, None),
        (-0.01, 4.0, None),
        (0.0, 0.0, None),
        (math.nan, 4.0, None),
        (3.9, math.inf, None),
    ],
)
def test_the_middle_of_a_quote_with_both_sides(bid: float | None, ask: float | None, middle: str | None) -> None:
    assert mid(quote(bid, ask)) == (D(middle) if middle else None)
    assert mid(None) is None


@pytest.mark.parametrize(
    ("bid", "ask", "decides"),
    [
        (3.50, 4.50, True),  # a quarter of the middle
        (3.49, 4.50, False),
        (0.05, 0.15, True),  # ten cents, for what is worth little
        (0.05, 0.16, False),
        (0.0, 4.0, False),  # its bid was pulled
        (None, 4.0, False),
        (4.01, 4.0, False),
    ],
)
def test_only_a_quote_that_is_near_itself_decides(bid: float | None, ask: float | None, decides: bool) -> None:
    assert firm(quote(bid, ask)) is decides
    assert firm(None) is False


@pytest.mark.parametrize(
    ("symbol", "bid", "ask", "min_tick", "step"),
    [
        ("SPY", 3.95, 4.05, 0.01, "0.01"),
        ("AAPL", 2.94, 2.96, 0.01, "0.01"),
        ("AAPL", 2.99, 3.01, 0.01, "0.05"),  # by nickels from three dollars on
        ("AAPL", None, 4.05, 0.01, "0.01"),  # where it stands is not known: as finely as it ever is
        ("SPY", 3.95, 4.05, 0.05, "0.05"),
        ("SPY", 3.95, 4.05, 0.0, "0.01"),
        ("SPY", 3.95, 4.05, math.nan, "0.01"),
    ],
)
def test_the_step_between_its_prices(symbol: str, bid: float | None, ask: float | None, min_tick: float, step: str) -> None:
    assert tick(msgspec.structs.replace(quote(bid, ask, min_tick), symbol=symbol)) == D(step)
    assert tick(None) == D("0.01")
