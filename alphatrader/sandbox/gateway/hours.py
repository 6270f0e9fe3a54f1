"""Trading hours of what the gateway trades: US equities and their options, and CME-style futures.

The gateway's own calendar by the exchange's rules (NYSE Rule 7.2), so that it does not grade the product with the
product's calendar; a test holds it to `exchange_calendars`. All instants are market time in nanoseconds.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from alphatrader.sandbox.market.types import Contract

NEW_YORK = ZoneInfo("America/New_York")
NS = 10**9
ONE_DAY = timedelta(days=1)
OPEN, CLOSE, EARLY_CLOSE = time(9, 30), time(16, 0), time(13, 0)
EXTENDED_OPEN, EXTENDED_CLOSE = time(4, 0), time(20, 0)
FUTURES_OPEN, FUTURES_CLOSE = time(18, 0), time(17, 0)

MOURNING = frozenset({date(2025, 1, 9)})  # national day of mourning for President Carter


def new_york(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // NS, UTC).astimezone(NEW_YORK)


def to_ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * NS


def _easter(year: int) -> date:
    """Gregorian Easter Sunday (anonymous algorithm)."""
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return date(year, f // 31, f % 31 + 1)


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


@cache
def holidays(year: int) -> frozenset[date]:
    """Full-day closures of NYSE. A Saturday holiday moves to Friday except New Year's (it would fall in the old year)."""

    def observed(day: date) -> date:
        return day - ONE_DAY if day.weekday() == 5 else day + ONE_DAY if day.weekday() == 6 else day

    last_of_may = date(year, 5, 31)
    days = {
        _nth_weekday(year, 1, 0, 3),
        _nth_weekday(year, 2, 0, 3),
        _easter(year) - 2 * ONE_DAY,
        last_of_may - timedelta(days=last_of_may.weekday()),
        observed(date(year, 7, 4)),
        _nth_weekday(year, 9, 0, 1),
        _nth_weekday(year, 11, 3, 4),
        observed(date(year, 12, 25)),
    }
    if year >= 2022:
        days.add(observed(date(year, 6, 19)))
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:
        days.add(observed(new_year))
    return frozenset(days | {day for day in MOURNING if day.year == year})


@cache
def early_closes(year: int) -> frozenset[date]:
    """13:00 closes: the day after Thanksgiving, and July 3 and December 24 when the holiday itself is Tuesday to Friday."""
    days = {_nth_weekday(year, 11, 3, 4) + ONE_DAY}
    days |= {day for day in (date(year, 7, 3), date(year, 12, 24)) if day.weekday() <= 3}
    return frozenset(days)


def is_session(day: date) -> bool:
    return day.weekday() < 5 and day not in holidays(day.year)


def session(day: date) -> tuple[int, int] | None:
    """Open and close of the regular session of `day`, None when there is none."""
    if not is_session(day):
        return None
    return to_ns(day, OPEN), to_ns(day, EARLY_CLOSE if day in early_closes(day.year) else CLOSE)


def next_session(day: date) -> date:
    """The first session date on or after `day`."""
    while not is_session(day):
        day += ONE_DAY
    return day


def is_open(contract: Contract, ns: int, *, extended: bool = False) -> bool:
    now = new_york(ns)
    if contract.sec_type == "FUT":
        weekday, at = now.weekday(), now.time()
        if weekday == 5 or (weekday == 4 and at >= FUTURES_CLOSE) or (weekday == 6 and at < FUTURES_OPEN):
            return False
        return not FUTURES_CLOSE <= at < FUTURES_OPEN
    if contract.sec_type == "IND":
        return False
    bounds = session(now.date())
    if bounds is None:
        return False
    if extended and contract.sec_type == "STK":
        return EXTENDED_OPEN <= now.time() < EXTENDED_CLOSE
    return bounds[0] <= ns < bounds[1]


def day_order_end(contract: Contract, ns: int) -> int:
    """When a DAY order placed at `ns` expires: the end of the present session, or of the next one."""
    day = new_york(ns).date()
    if contract.sec_type == "FUT":
        end = to_ns(day, FUTURES_CLOSE)
        return end if ns < end else to_ns(next_session(day + ONE_DAY), FUTURES_CLOSE)
    bounds = session(day)
    if bounds is None or ns >= bounds[1]:
        bounds = session(next_session(day + ONE_DAY))
    return bounds[1]  # type: ignore[index]  # next_session returns a session date


def next_open(contract: Contract, ns: int) -> int:
    """The next regular opening after `ns`."""
    day = new_york(ns).date()
    if contract.sec_type == "FUT":
        day = day if ns < to_ns(day, FUTURES_OPEN) else day + ONE_DAY
        while day.weekday() in (4, 5):
            day += ONE_DAY
        return to_ns(day, FUTURES_OPEN)
    bounds = session(day)
    if bounds is None or ns >= bounds[0]:
        bounds = session(next_session(day + ONE_DAY))
    return bounds[0]  # type: ignore[index]


def expiry_close(expiry: str) -> int:
    """The close on an option's last trading day (YYYYMMDD)."""
    day = datetime.strptime(expiry, "%Y%m%d").replace(tzinfo=NEW_YORK).date()
    bounds = session(day)
    return bounds[1] if bounds else to_ns(day, CLOSE)


def hours_text(contract: Contract, ns: int, *, liquid: bool, days: int = 6) -> str:
    """tradingHours / liquidHours of contractDetails, in New York time whatever the contract's zone."""
    parts = []
    start = new_york(ns).date()
    for offset in range(days):
        day = start + timedelta(days=offset)
        stamp = f"{day:%Y%m%d}"
        bounds = session(day)
        if bounds is None:
            parts.append(f"{stamp}:CLOSED")
        elif contract.sec_type == "FUT" and not liquid:
            parts.append(f"{day - ONE_DAY:%Y%m%d}:1800-{stamp}:1700")
        elif contract.sec_type == "STK" and not liquid:
            parts.append(f"{stamp}:0400-{stamp}:2000")
        else:
            parts.append(f"{stamp}:0930-{stamp}:{new_york(bounds[1]):%H%M}")
    return ";".join(parts)


def stamp(ns: int, version: int = 176) -> str:
    """Time text of executions and bars; before 176 two blanks and no zone, as recorded gateways write it."""
    now = new_york(ns)
    return f"{now:%Y%m%d %H:%M:%S} US/Eastern" if version >= 176 else f"{now:%Y%m%d  %H:%M:%S}"
