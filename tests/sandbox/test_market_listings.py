"""Contracts: expiry rules against known dates, and finding contracts as a client asks for them."""

from __future__ import annotations

from datetime import date

import pytest

from alphatrader.sandbox.market.business_days import Sessions, holidays
from alphatrader.sandbox.market.expiry_rules import RULES
from tests.support.market_world import at, market_at, session_list

SESSIONS = Sessions(session_list())

KNOWN = [  # exchange-listed last trading days
    ("third_friday", 2026, 12, date(2026, 12, 18)),
    ("third_friday", 2027, 3, date(2027, 3, 19)),
    ("third_friday", 2027, 6, date(2027, 6, 17)),  # Juneteenth observed on the Friday
    ("vix", 2026, 11, date(2026, 11, 18)),
    ("vix", 2026, 12, date(2026, 12, 16)),
    ("vix", 2025, 3, date(2025, 3, 18)),  # Good Friday is the third Friday of April 2025
    ("crude", 2026, 12, date(2026, 11, 20)),
    ("crude", 2027, 1, date(2026, 12, 21)),  # the 25th is Christmas
    ("third_last_day", 2026, 12, date(2026, 12, 29)),
    ("third_last_day", 2027, 2, date(2027, 2, 24)),
    ("eighth_last_day", 2026, 12, date(2026, 12, 21)),
    ("eighth_last_day", 2025, 12, date(2025, 12, 19)),
    ("before_third_wednesday", 2026, 12, date(2026, 12, 14)),
    ("before_third_wednesday", 2025, 9, date(2025, 9, 15)),
]


@pytest.mark.parametrize(("rule", "year", "month", "expected"), KNOWN)
def test_last_trading_days(rule: str, year: int, month: int, expected: date) -> None:
    assert RULES[rule](SESSIONS, year, month) == expected


def test_holidays_of_2026() -> None:
    assert sorted(holidays(2026)) == [
        date(2026, 1, 1), date(2026, 1, 19), date(2026, 2, 16), date(2026, 4, 3), date(2026, 5, 25), date(2026, 6, 19),
        date(2026, 7, 3), date(2026, 9, 7), date(2026, 11, 26), date(2026, 12, 25),
    ]  # fmt: skip


def test_what_the_market_lists() -> None:
    market = market_at(at(10))
    assert len(market.contracts(sec_type="STK")) == 12
    assert {c.symbol for c in market.contracts(sec_type="IND")} == {"VIX", "N225", "HSI", "Z", "DAX"}
    es = market.contracts(symbol="ES", sec_type="FUT", exchange="CME")
    assert [c.local_symbol for c in es] == ["ESZ6", "ESH7", "ESM7", "ESU7"]
    assert (es[0].expiry, es[0].contract_month, es[0].multiplier, es[0].min_tick) == ("20261218", "202612", "50", 0.25)
    vx = market.contracts(symbol="VIX", sec_type="FUT", exchange="CFE", trading_class="VX")
    assert vx[0].expiry == "20261216"  # November's ended this morning
    assert [c.contract_month for c in market.contracts(symbol="CL", expiry="202701")] == ["202701"]
    assert market.contracts(local_symbol="GCZ6")[0].expiry == "20261229"
    assert market.contracts(symbol="YM", exchange="CBOT")[0].local_symbol == "YM   DEC 26"
    assert market.contracts(symbol="SPY", sec_type="STK", exchange="ARCA")[0].primary_exchange == "ARCA"
    option = market.contracts(symbol="SPY", sec_type="OPT", expiry="20261118", right="CALL")[0]
    assert market.contracts(local_symbol=option.local_symbol) == [option]
    assert market.contracts(symbol="NOPE") == [] and market.contract(42) is None


def test_the_front_month_is_the_busy_one_after_the_roll() -> None:
    market = market_at(at(15))
    volumes = {c.local_symbol: q.volume for c in market.contracts(sec_type="FUT") if (q := market.quote(c.con_id)) is not None}
    for front, others in {"ESZ6": ("ESH7",), "CLF7": ("CLZ6", "CLG7"), "GCZ6": ("GCX6", "GCG7"), "VXZ6": ("VXF7",)}.items():
        assert all(volumes[front] > 4 * volumes[other] for other in others), volumes


def test_es_moves_with_spy() -> None:
    market = market_at(at(10))
    ratios = []
    for i in range(1, 20):
        market.step(at(10, i // 2, 30 * (i % 2)))
        spy, es = (
            market.quote(c.con_id)
            for c in (market.contracts(symbol="SPY", sec_type="STK")[0], market.contracts(local_symbol="ESZ6")[0])
        )
        assert spy is not None and es is not None and spy.bid is not None and es.bid is not None
        ratios.append(es.bid / spy.bid)
    assert max(ratios) / min(ratios) - 1 < 0.0002


def test_bad_sessions_are_refused_by_name() -> None:
    day, opens, closes = session_list()[0]
    with pytest.raises(ValueError, match=str(day)):
        Sessions([(day, closes, opens)])
    with pytest.raises(ValueError, match="rate"):
        market_at(at(10), rate=0)
