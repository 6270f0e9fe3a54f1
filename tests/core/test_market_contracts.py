"""Which future is the front month: left in time before its last trading day or first notice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import pytest

from alphatrader.core.market.contracts import NoContractError, front_month
from alphatrader.runtime.calendar import nyse


@dataclass(frozen=True)
class Listed:
    contract_month: str
    last_trading_day: str


ES = [Listed("202703", "20270319"), Listed("202612", "20261218"), Listed("202706", "20270618")]
GC = [Listed("202611", "20261125"), Listed("202612", "20261229"), Listed("202701", "20270127"), Listed("202702", "20270224")]
CL = [Listed("202701", "20261221"), Listed("202702", "20270120")]
VX = [Listed("202612", "20261216"), Listed("202701", "20270120")]
ZB = [Listed("202612", "20261221"), Listed("202703", "20270322")]


def session(day: date) -> bool:
    return nyse().on(day) is not None


@pytest.mark.parametrize(
    ("root", "listed", "today", "month"),
    [
        ("ES", ES, date(2026, 11, 18), "202612"),
        ("ES", ES, date(2026, 12, 9), "202612"),
        ("ES", ES, date(2026, 12, 10), "202703"),  # 8 days before the third Friday
        ("GC", GC, date(2026, 11, 18), "202612"),  # November is a serial month
        ("GC", GC, date(2026, 11, 24), "202612"),
        ("GC", GC, date(2026, 11, 25), "202702"),  # first notice is November 30, and Thanksgiving is no session
        ("CL", CL, date(2026, 12, 15), "202701"),
        ("CL", CL, date(2026, 12, 16), "202702"),
        ("VX", VX, date(2026, 12, 14), "202612"),
        ("VX", VX, date(2026, 12, 15), "202701"),
        ("ZB", ZB, date(2026, 11, 18), "202612"),
        ("ZB", ZB, date(2026, 11, 27), "202703"),
    ],
)
def test_front_month(root: str, listed: list[Listed], today: date, month: str) -> None:
    assert front_month(root, listed, today, session).contract_month == month


def test_no_contract_left_is_an_error_that_names_the_root() -> None:
    with pytest.raises(NoContractError, match="VX"):
        front_month("VX", VX, date(2027, 3, 1), session)
