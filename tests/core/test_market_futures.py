"""Futures: last trading days against the exchanges' lists, notice days, hard rolls, and a roll by volume that never goes back."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import pandas_market_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.market import futures
from alphatrader.core.market.futures import NoContractError, differences, front, leaves, months, shift
from alphatrader.runtime.calendar import nyse

LISTS = Path(__file__).with_name("futures_dates.csv")
"""Last trading days as the exchanges (CME Group, Cboe, ICE) listed them; 2014 to 2023 as collected in the test data of
QuantConnect Lean (Apache 2.0), VX of 2024 to 2026 from Cboe's calendar."""
GOLD_2021 = ("GC", "202112", date(2021, 12, 28))
"""The list assumed a holiday on 31 December 2021 that was not taken: trading ended on the 29th."""


@dataclass(frozen=True)
class Listed:
    contract_month: str
    last_trading_day: str


def listed(*dates: str) -> list[Listed]:
    """Each `month:day`, as 202612:20261218."""
    return [Listed(*text.split(":")) for text in dates]


ES = listed("202703:20270319", "202612:20261218", "202706:20270617")
GC = listed("202611:20261125", "202612:20261229", "202701:20270127", "202702:20270224")
CL = listed("202701:20261221", "202702:20270120")
VX = listed("202612:20261216", "202701:20270120")
ZB = listed("202612:20261221", "202703:20270322")
DX = listed("202612:20261214", "202703:20270315")


def session(day: date) -> bool:
    return nyse().on(day) is not None


@cache
def _sessions_since_2013() -> frozenset[date]:
    schedule = pandas_market_calendars.get_calendar("NYSE").schedule("2013-06-01", "2029-12-31")
    return frozenset(stamp.date() for stamp in schedule.index)


def long_session(day: date) -> bool:
    """Business days before the product's own table begins, from the calendar library."""
    return day in _sessions_since_2013()


# -- last trading days and notice days -----------------------------------------------------------------------------------------


def test_the_rules_give_every_date_the_exchanges_listed_but_one() -> None:
    # given 228 listed last trading days of all nine roots
    with LISTS.open(newline="") as file:
        rows = [(r["root"], r["contract_month"], date.fromisoformat(r["last_trading_day"])) for r in csv.DictReader(file)]
    assert len(rows) == len(set(rows)) == 228 and {root for root, _, _ in rows} == set(futures.RULES)
    # when the rules compute them from the business days alone
    missed = [row for row in rows if futures.month(row[0], row[1], long_session).last_trading_day != row[2]]
    # then only the list that was wrong differs
    assert missed == [GOLD_2021]


@pytest.mark.parametrize(
    ("root", "month", "last", "notice"),
    [
        ("GC", "202312", "2023-12-27", "2023-11-30"),
        ("GC", "202402", "2024-02-27", "2024-01-31"),
        ("GC", "202612", "2026-12-29", "2026-11-30"),
        ("ZB", "202403", "2024-03-19", "2024-02-29"),
        ("ZB", "202406", "2024-06-18", "2024-05-31"),
        ("ZB", "202609", "2026-09-21", "2026-08-31"),
        ("CL", "202402", "2024-01-22", "2024-01-24"),  # crude gives notice after trading ended
        ("CL", "202501", "2024-12-19", "2024-12-23"),
        ("CL", "202701", "2026-12-21", "2026-12-23"),
    ],
)
def test_first_notice_days(root: str, month: str, last: str, notice: str) -> None:
    found = futures.month(root, month, long_session)
    assert (str(found.last_trading_day), str(found.first_notice_day)) == (last, notice)


def test_good_friday_and_juneteenth_move_index_futures_and_vix() -> None:
    assert str(futures.month("VX", "202503", session).last_trading_day) == "2025-03-18"  # April's third Friday is Good Friday
    assert str(futures.month("VX", "202605", session).last_trading_day) == "2026-05-19"  # June's is Juneteenth
    assert str(futures.month("ES", "202606", session).last_trading_day) == "2026-06-18"


@pytest.mark.parametrize(
    ("root", "month", "hard"),
    [
        ("ES", "202612", "2026-12-10"),  # Thursday of the week before
        ("RTY", "202706", "2027-06-09"),
        ("VX", "202612", "2026-12-15"),
        ("CL", "202701", "2026-12-16"),
        ("DX", "202612", "2026-12-07"),
        ("GC", "202612", "2026-11-25"),  # two sessions before November 30: Thanksgiving is none
        ("ZB", "202612", "2026-11-25"),
    ],
)
def test_hard_roll_days(root: str, month: str, hard: str) -> None:
    assert str(futures.month(root, month, session).hard_roll_day) == hard


@given(st.integers(2024, 2029), st.sampled_from([3, 6, 9, 12]), st.sampled_from(["ES", "NQ", "RTY", "YM"]))
def test_index_futures_are_left_by_monday_of_their_last_week(year: int, number: int, root: str) -> None:
    found = futures.month(root, f"{year}{number:02d}", session)
    monday = found.last_trading_day - timedelta(days=found.last_trading_day.weekday())
    assert shift(found.hard_roll_day - timedelta(days=1), 1, session) <= monday


@given(st.dates(date(2024, 2, 1), date(2029, 6, 30)), st.sampled_from(sorted(futures.RULES)))
def test_listed_months_go_on_without_a_gap_and_none_is_held_into_delivery(day: date, root: str) -> None:
    found = months(root, day, session, 5)
    assert [m.last_trading_day for m in found] == sorted({m.last_trading_day for m in found})
    assert all(m.last_trading_day >= day and session(m.last_trading_day) for m in found)
    for m in found:
        assert m.hard_roll_day < m.last_trading_day
        if root in ("GC", "ZB"):
            assert m.first_notice_day is not None and m.hard_roll_day < m.first_notice_day < m.last_trading_day


# -- the broker's word ---------------------------------------------------------------------------------------------------------


def test_a_broker_that_agrees_is_passed_and_one_that_differs_is_told() -> None:
    assert differences("ES", ES, session) == [] and differences("GC", GC, session) == []
    told = differences("ES", listed("202612:20261217", "202703:20270319"), session)
    assert told == ["ES 202612: last trading day 2026-12-17 at the broker, 2026-12-18 by the rules"]
    assert "no rule" in differences("SI", listed("202612:20261229"), session)[0]


def test_the_brokers_date_decides_when_to_leave() -> None:
    assert leaves("ES", Listed("202612", "20261216"), session) == date(2026, 12, 8)
    assert leaves("GC", Listed("202612", "20261228"), session) == date(2026, 11, 25)  # counts from notice, not from the end
    assert leaves("SI", Listed("202612", "20261229"), session) == date(2026, 12, 21)  # without a rule: five sessions


# -- the front month -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "contracts", "today", "month"),
    [
        ("ES", ES, date(2026, 11, 18), "202612"),
        ("ES", ES, date(2026, 12, 9), "202612"),
        ("ES", ES, date(2026, 12, 10), "202703"),
        ("GC", GC, date(2026, 11, 18), "202612"),  # November and January are serial months
        ("GC", GC, date(2026, 11, 24), "202612"),
        ("GC", GC, date(2026, 11, 25), "202702"),
        ("CL", CL, date(2026, 12, 15), "202701"),
        ("CL", CL, date(2026, 12, 16), "202702"),
        ("VX", VX, date(2026, 12, 14), "202612"),
        ("VX", VX, date(2026, 12, 15), "202701"),
        ("DX", DX, date(2026, 12, 4), "202612"),
        ("DX", DX, date(2026, 12, 7), "202703"),
        ("ZB", ZB, date(2026, 11, 18), "202612"),
        ("ZB", ZB, date(2026, 11, 27), "202703"),
    ],
)
def test_hard_rolls_choose_the_front_month(root: str, contracts: list[Listed], today: date, month: str) -> None:
    assert front(root, contracts, today, session).month == month


def test_no_contract_left_is_an_error_that_names_the_root() -> None:
    with pytest.raises(NoContractError, match="VX"):
        front("VX", VX, date(2027, 3, 1), session)


TODAY = date(2026, 12, 3)
THREE_DAYS = [date(2026, 11, 30), date(2026, 12, 1), date(2026, 12, 2)]


def volumes(december: list[float], march: list[float], days: list[date] = THREE_DAYS) -> dict[str, dict[date, float]]:
    return {"202612": dict(zip(days, december, strict=True)), "202703": dict(zip(days, march, strict=True))}


def test_volume_rolls_after_two_sessions_in_a_row() -> None:
    def month(**given: object) -> tuple[str, str]:
        return tuple(front("ES", ES, TODAY, session, **given))  # type: ignore[arg-type, return-value]

    assert month() == ("202612", "nearest")
    assert month(volumes=volumes([9, 9, 9], [1, 8, 10])) == ("202612", "nearest")  # one session is not enough
    assert month(volumes=volumes([9, 9, 9], [10, 8, 10])) == ("202612", "nearest")  # nor are two that are apart
    assert month(volumes=volumes([9, 9, 9], [1, 10, 10])) == ("202703", "volume")
    # today's own volume is not over and does not count
    assert month(volumes=volumes([9, 9, 9], [1, 10, 10], [*THREE_DAYS[1:], TODAY])) == ("202612", "nearest")
    # a session that is missing breaks the row: Friday and Monday are neighbours, Friday and Tuesday are not
    friday, monday, tuesday = date(2026, 11, 27), *THREE_DAYS[:2]
    assert month(volumes=volumes([9, 9], [10, 10], [friday, monday])) == ("202703", "volume")
    assert month(volumes=volumes([9, 9], [10, 10], [friday, tuesday])) == ("202612", "nearest")


def test_a_roll_is_kept_over_a_restart_and_never_taken_back() -> None:
    # given that March was the front, and December trades more again
    again = volumes([90, 90, 90], [1, 1, 1])
    assert front("ES", ES, TODAY, session, kept="202703", volumes=again) == ("202703", "kept")
    # when the kept month must be left, then the next one follows
    assert front("ES", ES, date(2027, 3, 12), session, kept="202703") == ("202706", "hard roll")
    # a kept month that the broker no longer lists, and nothing after it, is no reason to have none
    assert front("ES", ES, TODAY, session, kept="202812").month == "202612"


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40),
    st.booleans(),
)
def test_the_front_month_only_goes_forward_whatever_trades_and_however_often_it_restarts(
    traded: list[tuple[int, int, int]], restarts: bool
) -> None:
    day, kept, seen = date(2026, 11, 16), None, dict[str, dict[date, float]]()
    for row in traded:
        for contract, volume in zip(sorted(ES, key=lambda c: c.contract_month), row, strict=True):
            seen.setdefault(contract.contract_month, {})[day] = volume
        day = shift(day, 1, session)
        chosen = front("ES", ES, day, session, kept=kept, volumes={} if restarts else seen).month
        assert kept is None or chosen >= kept
        contract = next(c for c in ES if c.contract_month == chosen)
        assert day < leaves("ES", contract, session)
        kept = chosen
