"""Last trading days of futures and option expiries, by the rules of sources.md §10 and §6.

Pure functions of a contract month and the business days; used by `listings.py` only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from .business_days import Sessions, month_days, nth_weekday
from .instruments import MONTH_CODES

FRIDAY, WEDNESDAY = 4, 2


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def third_friday(sessions: Sessions, year: int, month: int) -> date:
    return sessions.at_or_before(nth_weekday(year, month, FRIDAY, 3))


def vix(sessions: Sessions, year: int, month: int) -> date:
    """30 days before the third Friday of the next month, or before the business day preceding it where that is a holiday."""
    following = third_friday(sessions, *_next_month(year, month))
    return sessions.at_or_before(following - timedelta(days=30))


def before_third_wednesday(sessions: Sessions, year: int, month: int) -> date:
    return sessions.shift(nth_weekday(year, month, WEDNESDAY, 3), -2)


def third_last_day(sessions: Sessions, year: int, month: int) -> date:
    return month_days(sessions, year, month)[-3]


def crude(sessions: Sessions, year: int, month: int) -> date:
    """3 business days before the 25th of the prior month; 4 where the 25th is none."""
    anchor = date(year, month, 1) - timedelta(days=1)
    anchor = anchor.replace(day=25)
    return sessions.shift(anchor, -3 if sessions.is_session(anchor) else -4)


def eighth_last_day(sessions: Sessions, year: int, month: int) -> date:
    """The 7th business day before the last business day of the month."""
    return month_days(sessions, year, month)[-8]


RULES: dict[str, Callable[[Sessions, int, int], date]] = {
    "third_friday": third_friday,
    "vix": vix,
    "before_third_wednesday": before_third_wednesday,
    "third_last_day": third_last_day,
    "crude": crude,
    "eighth_last_day": eighth_last_day,
}


def _first_notice(sessions: Sessions, year: int, month: int) -> date:
    """Last business day of the month before (GC, ZB)."""
    return sessions.shift(date(year, month, 1), -1)


# From this date on, the contract month is no longer the front: (sessions, year, month, last trading day) -> date.
ROLLS: dict[str, Callable[[Sessions, int, int, date], date]] = {
    "expiry_week": lambda sessions, year, month, last: last - timedelta(days=8),
    "1_session": lambda sessions, year, month, last: sessions.shift(last, -1),
    "3_sessions": lambda sessions, year, month, last: sessions.shift(last, -3),
    "5_sessions": lambda sessions, year, month, last: sessions.shift(last, -5),
    "notice": lambda sessions, year, month, last: sessions.shift(_first_notice(sessions, year, month), -2),
}


def listed_months(sessions: Sessions, rule: str, months: str, first_live: date, count: int) -> list[tuple[int, int, date]]:
    """The nearest `count` (year, month, last trading day) whose last trading day is not before `first_live`."""
    year, month = first_live.year, first_live.month
    found: list[tuple[int, int, date]] = []
    while len(found) < count:
        if MONTH_CODES[month - 1] in months:
            last = RULES[rule](sessions, year, month)
            if last >= first_live:
                found.append((year, month, last))
        year, month = _next_month(year, month)
    return found


def option_expiries(sessions: Sessions, today: date, *, daily: bool) -> list[date]:
    """Daily names: 11 sessions from today. All: Fridays for six weeks and the next month's third, moved back from holidays."""
    found = {sessions.at_or_before(today)} if daily else set()
    if daily:
        day = today
        for _ in range(10):
            day = sessions.shift(day, 1)
            found.add(day)
    friday = today + timedelta(days=(FRIDAY - today.weekday()) % 7)
    for week in range(7):
        found.add(sessions.at_or_before(friday + timedelta(days=7 * week)))
    horizon = today + timedelta(days=42)
    found.add(third_friday(sessions, *_next_month(horizon.year, horizon.month)))
    return sorted(day for day in found if day >= today)
