"""Both clocks, and the only file that reads one.

Market time is what the exchange's clock shows: in paper and live the machine's, in the sandbox an epoch of its own that may run
faster. Machine time is the machine's: TTLs, leases, time-outs, back-off, budgets.

The epoch stands in `data/<mode>/clock.json`: the sandbox line's parent makes it when a run begins and stamps it once a second;
all others wait for a fresh stamp. Market time never goes back: a new run goes on where the last one stopped.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

EXCHANGE: Final = ZoneInfo("America/New_York")
SECOND: Final = 1_000_000_000
_FILE: Final = "clock.json"
_FRESH_SECONDS: Final = 5.0
_SAME_RUN_SECONDS: Final = 60.0
"""A stamp younger than this without a clean stop is the same run: its line was restarted and time has gone on."""


def exchange_datetime(ts_ns: int) -> datetime:
    """New York time of a market instant."""
    return datetime.fromtimestamp(ts_ns / SECOND, tz=EXCHANGE)


def instant(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime."""
    return int(moment.timestamp()) * SECOND + moment.microsecond * 1000


def exchange_instant(day: date, clock: str) -> int:
    """The market instant of `HH:MM` New York time on `day`."""
    hour, minute = (int(part) for part in clock.split(":"))
    return instant(datetime(day.year, day.month, day.day, hour, minute, tzinfo=EXCHANGE))


def monotonic() -> float:
    """Seconds for measuring a duration; never jumps."""
    return time.monotonic()


class ClockError(RuntimeError):
    """The sandbox's clock does not run."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Market time as a line: `market_start + (machine - machine_start) * speed`; both starts 0 outside the sandbox."""

    market_start_ns: int = 0
    machine_start_ns: int = 0
    speed: float = 1.0

    def machine_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds for measuring a duration; never jumps."""
        return monotonic()

    def market_ns(self) -> int:
        return self.market_at(self.machine_ns())

    def market_at(self, machine_ns: int) -> int:
        """Market time at a machine instant."""
        if self.market_start_ns == 0:
            return machine_ns
        return self.market_start_ns + int((machine_ns - self.machine_start_ns) * self.speed)

    def market_datetime(self) -> datetime:
        """Now, in New York."""
        return exchange_datetime(self.market_ns())

    def session_date(self) -> date:
        """Today's date in New York, session or not."""
        return self.market_datetime().date()

    def machine_seconds_until(self, market_ns: int) -> float:
        """Machine seconds until a market instant; negative when it is past."""
        return (market_ns - self.market_ns()) / SECOND / self.speed


class ClockSteps:
    """Whether somebody set the machine's clock: it and the monotonic clock then moved apart. One that is corrected bit by bit,
    as time servers do, stays far under LEAST_SECONDS between two looks; a machine that slept did not count its sleep."""

    LEAST_SECONDS: Final = 1.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = self._now()

    def _now(self) -> float:
        return self._clock.machine_ns() / SECOND - self._clock.monotonic()

    def look(self) -> float:
        """Seconds that the clock was set forward (+) or back (-) since the last look; 0.0 where it ran on."""
        before, self._apart = self._apart, self._now()
        step = self._apart - before
        return step if abs(step) >= self.LEAST_SECONDS else 0.0


def _read(path: Path) -> dict[str, float] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: Path, content: dict[str, float]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content))
    os.replace(beside, path)


class Epoch:
    """The sandbox's epoch, held by the parent of its line."""

    def __init__(self, folder: Path, *, start_ns: int, speed: float, resume_at: ResumeRule) -> None:
        self._path = folder / _FILE
        now = time.time_ns()
        known = _read(self._path)
        if known and not known["stopped"] and now - known["stamp_ns"] < _SAME_RUN_SECONDS * SECOND and known["speed"] == speed:
            market, machine = int(known["market_start_ns"]), int(known["machine_start_ns"])
        else:
            last = int(known["last_market_ns"]) if known else start_ns
            market, machine = max(resume_at(last), last), now
        self.clock = Clock(market, machine, speed)
        self.stamp()

    def stamp(self, *, stopped: bool = False) -> None:
        """Say that the clock runs, and how far it has come."""
        _write(
            self._path,
            {
                "market_start_ns": self.clock.market_start_ns,
                "machine_start_ns": self.clock.machine_start_ns,
                "speed": self.clock.speed,
                "last_market_ns": self.clock.market_ns(),
                "stamp_ns": time.time_ns(),
                "stopped": stopped,
            },
        )


class ResumeRule:
    """Where a run goes on: where the last one stopped, or at the start of the next session when too little of it is left."""

    def __init__(self, sessions: list[tuple[int, int]], *, least_left: timedelta, begin_after_open: timedelta) -> None:
        self._sessions = sessions
        self._least_left = int(least_left.total_seconds()) * SECOND
        self._begin = int(begin_after_open.total_seconds()) * SECOND

    def __call__(self, last_ns: int) -> int:
        for opens, closes in self._sessions:
            if last_ns < closes - self._least_left:
                return max(last_ns, opens + self._begin) if last_ns < opens + self._begin else last_ns
        raise ClockError("the calendar ends before the sandbox's clock: make a new one (see runtime/calendar.py)")


def open_clock(folder: Path, mode: str, *, wait_seconds: float = 30.0) -> Clock:
    """The mode's clock. In the sandbox, waits for a fresh stamp; raises ClockError when none comes."""
    if mode != "sandbox":
        return Clock()
    path = folder / _FILE
    limit = time.monotonic() + wait_seconds
    while time.monotonic() < limit:
        known = _read(path)
        if known and not known["stopped"] and time.time_ns() - known["stamp_ns"] < _FRESH_SECONDS * SECOND:
            return Clock(int(known["market_start_ns"]), int(known["machine_start_ns"]), float(known["speed"]))
        time.sleep(0.05)
    raise ClockError(f"{path.name} has no fresh stamp: does the sandbox line run (`alphatrader run sandbox`)?")


def last_known_clock(folder: Path, mode: str) -> Clock:
    """For commands that must work while the system is down: the clock as it was last stamped."""
    known = _read(folder / _FILE) if mode == "sandbox" else None
    if known is None:
        return Clock()
    return Clock(int(known["market_start_ns"]), int(known["machine_start_ns"]), float(known["speed"]))
