"""Sessions of the New York exchanges: the list that was given, and the holiday rules where the list ends.

The list has the last word inside its range. Outside it (months of futures expiries, a year of history) the rules below hold:
weekdays, the ten holidays with their observed days, 13:00 closes before Independence Day, after Thanksgiving and on
Christmas Eve. No clock is read: dates and instants come from outside. Used by `listings.py`, `expiry_rules.py`, `simulation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
DAY = timedelta(days=1)
NS = 1_000_000_000


def easter(year: int) -> date:
    """Gregorian computus (Meeus/Jones/Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _observed(day: date) -> date:
    return {5: day - DAY, 6: day + DAY}.get(day.weekday(), day)


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    last_of_may = date(year, 5, 31)
    days = {
        nth_weekday(year, 1, 0, 3),  # Martin Luther King
        nth_weekday(year, 2, 0, 3),  # Presidents
        easter(year) - 2 * DAY,  # Good Friday
        last_of_may - timedelta(days=last_of_may.weekday()),  # Memorial
        _observed(date(year, 7, 4)),
        nth_weekday(year, 9, 0, 1),  # Labor
        nth_weekday(year, 11, 3, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    if year >= 2022:
        days.add(_observed(date(year, 6, 19)))  # Juneteenth
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # a Saturday New Year is not observed: the Friday belongs to the old year
        days.add(_observed(new_year))
    return frozenset(days)


def is_business_day(day: date) -> bool:
    return day.weekday() < 5 and day not in holidays(day.year)


def _closes_early(day: date) -> bool:
    eve = (day.month, day.day) in {(7, 3), (12, 24)}
    return eve or day == nth_weekday(day.year, 11, 3, 4) + DAY


def instant_ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, NEW_YORK).timestamp()) * NS


@dataclass(frozen=True, slots=True)
class Session:
    day: date
    open_ns: int
    close_ns: int


class Sessions:
    """Every session there is: those given, and by rule those before and after."""

    def __init__(self, given: Sequence[tuple[date, int, int]]) -> None:
        ordered = sorted(given)
        for day, opens, closes in ordered:
            if closes <= opens or (closes - opens) % (5 * NS):
                raise ValueError(f"session {day}: close must follow open by a multiple of 5 s, got {opens}..{closes}")
        for (_, _, closes), (day, opens, _) in pairwise(ordered):
            if opens < closes:
                raise ValueError(f"session {day}: opens before the one before it has closed")
        self._given = {day: Session(day, opens, closes) for day, opens, closes in ordered}
        self._first = ordered[0][0] if ordered else date.max
        self._last = ordered[-1][0] if ordered else date.min

    def is_session(self, day: date) -> bool:
        return day in self._given if self._first <= day <= self._last else is_business_day(day)

    def on(self, day: date) -> Session:
        found = self._given.get(day)
        if found is None:
            if not self.is_session(day):
                raise ValueError(f"no session on {day}")
            closes = time(13) if _closes_early(day) else time(16)
            found = self._given[day] = Session(day, instant_ns(day, time(9, 30)), instant_ns(day, closes))
        return found

    def shift(self, day: date, count: int) -> date:
        """The business day `count` after (or before) `day`, which itself need not be one."""
        step = DAY if count > 0 else -DAY
        for _ in range(abs(count)):
            day += step
            while not self.is_session(day):
                day += step
        return day

    def at_or_before(self, day: date) -> date:
        return day if self.is_session(day) else self.shift(day, -1)

    def started(self, now_ns: int) -> Session:
        """The latest session whose open is not after `now_ns`."""
        day = datetime.fromtimestamp(now_ns // NS, NEW_YORK).date()
        session = self.on(self.at_or_before(day))
        return session if session.open_ns <= now_ns else self.on(self.shift(session.day, -1))

    def after(self, session: Session) -> Session:
        return self.on(self.shift(session.day, 1))

    def before(self, session: Session) -> Session:
        return self.on(self.shift(session.day, -1))

    def within(self, start_ns: int, end_ns: int) -> Iterator[Session]:
        """Sessions that have any instant in [start, end), oldest first."""
        session = self.started(start_ns)
        while session.open_ns < end_ns:
            if session.close_ns > start_ns:
                yield session
            session = self.after(session)

    def trading_date(self, now_ns: int) -> date:
        """The date whose listings are shown: the session running, or the next one once it has closed."""
        session = self.started(now_ns)
        return session.day if now_ns < session.close_ns else self.after(session).day


def month_days(sessions: Sessions, year: int, month: int) -> list[date]:
    """All business days of a month."""
    day, days = date(year, month, 1), []
    while day.month == month:
        if sessions.is_session(day):
            days.append(day)
        day += DAY
    return days
