"""The gateway's own calendar agrees with exchange_calendars, day by day."""

import datetime as dt

import exchange_calendars
import pytest

from alphatrader.sandbox.gateway import hours
from tests.support.fixed_market import future, stock
from tests.support.gateway import new_york_ns


def test_sessions_and_closes_agree_with_the_exchange_calendar():
    calendar = exchange_calendars.get_calendar("XNYS", start="2024-01-02", end="2026-12-31")
    day = dt.date(2024, 1, 2)
    while day < dt.date(2026, 12, 30):
        bounds = hours.session(day)
        assert calendar.is_session(str(day)) == (bounds is not None), day
        if bounds is not None:
            assert calendar.session_open(str(day)).value == bounds[0], day
            assert calendar.session_close(str(day)).value == bounds[1], day
        day += hours.ONE_DAY


@pytest.mark.parametrize(
    ("at", "stock_open", "future_open"),
    [
        ("2026-11-23 09:29:59", False, True),
        ("2026-11-23 09:30:00", True, True),
        ("2026-11-23 16:00:00", False, True),
        ("2026-11-23 17:30:00", False, False),
        ("2026-11-23 18:00:00", False, True),
        ("2026-11-27 13:00:00", False, True),
        ("2026-11-27 17:00:00", False, False),
        ("2026-11-28 12:00:00", False, False),
        ("2026-11-29 18:00:00", False, True),
    ],
)
def test_who_trades_when(at, stock_open, future_open):
    ns = new_york_ns(at)
    assert hours.is_open(stock(1, "AAPL", "", "COMMON"), ns) is stock_open
    assert hours.is_open(future(2, "ESZ6", "20261218"), ns) is future_open


def test_a_day_order_ends_with_its_session_or_the_next_one():
    aapl = stock(1, "AAPL", "", "COMMON")
    assert hours.day_order_end(aapl, new_york_ns("2026-11-25 15:00:00")) == new_york_ns("2026-11-25 16:00:00")
    assert hours.day_order_end(aapl, new_york_ns("2026-11-25 16:00:01")) == new_york_ns("2026-11-27 13:00:00")
    assert hours.next_open(aapl, new_york_ns("2026-11-25 16:00:01")) == new_york_ns("2026-11-27 09:30:00")
