"""NYSE sessions, from a table made by the exchange-calendar library.

`sessions.csv` (date, open, close in New York) is generated: `python -m tests.tools.sessions` writes it and `make check` holds it
fresh against pandas_market_calendars. A table costs nothing to read; the library brings pandas into every process.
"""

from __future__ import annotations

import csv
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from alphatrader.runtime.clock import exchange_datetime, exchange_instant

TABLE: Final = Path(__file__).with_name("sessions.csv")
NORMAL_OPEN: Final = "09:30"
NORMAL_CLOSE: Final = "16:00"


class CalendarError(LookupError):
    """A date outside the table."""


@dataclass(frozen=True, slots=True)
class Session:
    day: date
    opens: str
    """HH:MM, New York."""
    closes: str
    open_ns: int
    close_ns: int

    @property
    def early(self) -> bool:
        return self.closes != NORMAL_CLOSE

    @property
    def name(self) -> str:
        """YYYY-MM-DD: how values that belong to a session carry it."""
        return self.day.isoformat()

    def contains(self, ts_ns: int) -> bool:
        return self.open_ns <= ts_ns < self.close_ns

    def window(self, opens: str, closes: str) -> tuple[int, int]:
        """A strategy's half-open window in this session; on an early close both ends that lie after noon move with the close."""
        shift = self.close_ns - exchange_instant(self.day, NORMAL_CLOSE)
        start, end = exchange_instant(self.day, opens), exchange_instant(self.day, closes)
        if opens >= "12:00":
            start += shift
        return max(start, self.open_ns), min(end + shift, self.close_ns)


class Calendar:
    def __init__(self, sessions: tuple[Session, ...]) -> None:
        self.sessions = sessions
        self._days = [session.day for session in sessions]
        self._last = self._days[-1] - timedelta(days=10)
        self._opens = [session.open_ns for session in sessions]
        self._latest = (0, 0, sessions[0])
        """(from, until, session) of the newest answer of `current`."""

    def on(self, day: date) -> Session | None:
        """The session of that date, None on a day without one."""
        self._check(day)
        index = bisect_left(self._days, day)
        return self.sessions[index] if index < len(self._days) and self._days[index] == day else None

    def close_of(self, expiry: str) -> int | None:
        """When the session of an expiry (YYYYMMDD) closes; None for a day without one, one before the table, and for no date. A
        weekday beyond the table's reach closes at 16:00: years away it matters not whether it closes early."""
        hours = self._hours_of(expiry)
        return hours[1] if hours else None

    def open_of(self, expiry: str) -> int | None:
        """When it opens; None as in `close_of`."""
        hours = self._hours_of(expiry)
        return hours[0] if hours else None

    def _hours_of(self, expiry: str) -> tuple[int, int] | None:
        try:
            day = date.fromisoformat(expiry)
        except ValueError:
            return None
        if day > self._last:
            return (exchange_instant(day, NORMAL_OPEN), exchange_instant(day, NORMAL_CLOSE)) if day.weekday() < 5 else None
        session = self.on(day) if day >= self._days[0] else None
        return (session.open_ns, session.close_ns) if session else None

    def at(self, ts_ns: int) -> Session | None:
        """The session that is open at this instant."""
        session = self.on(exchange_datetime(ts_ns).date())
        return session if session and session.contains(ts_ns) else None

    def current(self, ts_ns: int) -> Session:
        """The session that values of this instant belong to: today's from midnight on, else the next one."""
        since_ns, until_ns, session = self._latest
        if since_ns <= ts_ns < until_ns:  # asked at every turn of a loop, about one day
            return session
        day = exchange_datetime(ts_ns).date()
        session = self.from_day(day)
        self._latest = (exchange_instant(day, "00:00"), exchange_instant(day + timedelta(days=1), "00:00"), session)
        return session

    def known(self, ts_ns: int) -> Session | None:
        """As `current`; None for an instant that the table does not reach."""
        try:
            return self.current(ts_ns)
        except CalendarError:
            return None

    def from_day(self, day: date) -> Session:
        """The session of that date or the first after it."""
        self._check(day)
        return self.sessions[bisect_left(self._days, day)]

    def next(self, session: Session, steps: int = 1) -> Session:
        """The session `steps` later; earlier for negative steps."""
        index = bisect_left(self._days, session.day) + steps
        if not 0 <= index < len(self.sessions):
            raise CalendarError(f"{session.day}: the calendar has no session {steps} later")
        return self.sessions[index]

    def previous_close(self, ts_ns: int) -> int:
        """The last close at or before this instant."""
        index = bisect_right(self._opens, ts_ns) - 1
        session = self.sessions[index]
        return session.close_ns if session.close_ns <= ts_ns else self.sessions[index - 1].close_ns

    def _check(self, day: date) -> None:
        if not self._days[0] <= day <= self._last:
            raise CalendarError(f"{day}: the session table reaches from {self._days[0]} to {self._days[-1]}; make a new one")


@cache
def nyse() -> Calendar:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Calendar(
        tuple(
            Session(
                day := date.fromisoformat(row["date"]),
                row["open"],
                row["close"],
                exchange_instant(day, row["open"]),
                exchange_instant(day, row["close"]),
            )
            for row in rows
        )
    )
