"""Market time runs on from where it stopped, never back, and every process of a run reads the same one."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from alphatrader.runtime.calendar import CalendarError, nyse
from alphatrader.runtime.clock import (
    SECOND,
    Clock,
    ClockError,
    ClockSteps,
    Epoch,
    ResumeRule,
    exchange_datetime,
    exchange_instant,
    open_clock,
)

START = exchange_instant(date(2026, 11, 18), "10:00")


def rule() -> ResumeRule:
    sessions = [(session.open_ns, session.close_ns) for session in nyse().sessions]
    return ResumeRule(sessions, least_left=timedelta(minutes=75), begin_after_open=timedelta(minutes=30))


def epoch(folder: Path, speed: float = 1.0) -> Epoch:
    return Epoch(folder, start_ns=START, speed=speed, resume_at=rule())


def stopped_at(folder: Path, market_ns: int) -> None:
    """The file a run leaves when it is told to stop at that market time."""
    known = json.loads((folder / "clock.json").read_text())
    (folder / "clock.json").write_text(json.dumps(known | {"last_market_ns": market_ns, "stopped": True}))


def test_a_first_run_starts_at_the_set_instant_and_all_read_the_same(tmp_path: Path) -> None:
    held = epoch(tmp_path)
    assert 0 <= held.clock.market_ns() - START < SECOND
    assert open_clock(tmp_path, "sandbox") == held.clock


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    epoch(tmp_path).stamp(stopped=True)
    stopped_at(tmp_path, START + 1800 * SECOND)
    assert 0 <= epoch(tmp_path).clock.market_ns() - (START + 1800 * SECOND) < SECOND


def test_a_line_restarted_in_a_run_keeps_the_runs_epoch(tmp_path: Path) -> None:
    assert epoch(tmp_path).clock == epoch(tmp_path).clock


def test_too_late_in_a_session_it_goes_on_in_the_next_one(tmp_path: Path) -> None:
    epoch(tmp_path).stamp(stopped=True)
    stopped_at(tmp_path, exchange_instant(date(2026, 11, 18), "15:10"))
    assert exchange_datetime(epoch(tmp_path).clock.market_ns()).strftime("%Y-%m-%d %H:%M") == "2026-11-19 10:00"


def test_over_a_weekend_and_a_holiday(tmp_path: Path) -> None:
    epoch(tmp_path).stamp(stopped=True)
    stopped_at(tmp_path, exchange_instant(date(2026, 11, 25), "16:30"))
    assert exchange_datetime(epoch(tmp_path).clock.market_ns()).strftime("%Y-%m-%d %H:%M") == "2026-11-27 10:00"


def test_a_faster_clock_gains_and_knows_machine_seconds(tmp_path: Path) -> None:
    clock = epoch(tmp_path, speed=10.0).clock
    assert 5.9 < clock.machine_seconds_until(clock.market_ns() + 60 * SECOND) <= 6.0


def test_without_a_fresh_stamp_nobody_starts(tmp_path: Path) -> None:
    with pytest.raises(ClockError, match="does the sandbox line run"):
        open_clock(tmp_path, "sandbox", wait_seconds=0.2)
    epoch(tmp_path).stamp(stopped=True)
    with pytest.raises(ClockError):
        open_clock(tmp_path, "sandbox", wait_seconds=0.2)


def test_outside_the_sandbox_market_time_is_the_machines(tmp_path: Path) -> None:
    clock = open_clock(tmp_path, "paper")
    assert clock == Clock()
    assert abs(clock.market_ns() - clock.machine_ns()) < SECOND


def test_known_sessions_of_the_exchange() -> None:
    calendar = nyse()
    assert calendar.on(date(2026, 11, 26)) is None, "Thanksgiving"
    early = calendar.on(date(2026, 11, 27))
    assert early is not None
    assert (early.closes, early.early) == ("13:00", True)
    assert calendar.on(date(2026, 11, 22)) is None, "a Sunday"
    assert calendar.from_day(date(2026, 11, 26)).day == date(2026, 11, 27)
    assert calendar.next(early).day == date(2026, 11, 30)
    with pytest.raises(CalendarError, match="make a new one"):
        calendar.on(date(2035, 1, 2))


@pytest.mark.parametrize(
    ("expiry", "closes"),
    [
        ("20261118", exchange_instant(date(2026, 11, 18), "16:00")),
        ("20261127", exchange_instant(date(2026, 11, 27), "13:00")),
        ("20261126", None),
        ("20310117", exchange_instant(date(2031, 1, 17), "16:00")),  # beyond the table: a weekday as usual
        ("20310118", None),
        ("20231229", None),
        ("20261332", None),
        ("", None),
    ],
)
def test_an_expiry_closes_with_its_session_and_without_one_never(expiry: str, closes: int | None) -> None:
    assert nyse().close_of(expiry) == closes


def test_windows_move_with_an_early_close() -> None:
    calendar = nyse()
    normal, early = calendar.from_day(date(2026, 11, 18)), calendar.from_day(date(2026, 11, 27))

    def shown(window: tuple[int, int]) -> list[str]:
        return [exchange_datetime(edge).strftime("%H:%M") for edge in window]

    assert shown(normal.window("09:45", "15:00")) == ["09:45", "15:00"]
    assert shown(early.window("09:45", "15:00")) == ["09:45", "12:00"]
    assert shown(early.window("15:30", "15:50")) == ["12:30", "12:50"]


def test_exchange_time_follows_daylight_saving() -> None:
    spring = exchange_instant(date(2026, 3, 9), "09:30") - exchange_instant(date(2026, 3, 6), "09:30")
    assert spring == (3 * 24 - 1) * 3600 * SECOND


class Machine(Clock):
    """Its two clocks, as a test sets them."""

    now_ns, seconds = START, 100.0

    def machine_ns(self) -> int:
        return Machine.now_ns

    def monotonic(self) -> float:
        return Machine.seconds

    @classmethod
    def passes(cls, seconds: float, shown: float | None = None) -> None:
        cls.seconds += seconds
        cls.now_ns += round((seconds if shown is None else shown) * SECOND)


def test_a_clock_that_was_set_is_told_once_and_one_that_is_corrected_is_not() -> None:
    steps = ClockSteps(Machine())
    Machine.passes(3600.0)
    assert steps.look() == 0.0
    Machine.passes(1.0, shown=1.999)
    assert steps.look() == 0.0
    Machine.passes(1.0, shown=3601.0)
    assert steps.look() == pytest.approx(3600.0, abs=1e-6)
    Machine.passes(1.0)
    assert steps.look() == 0.0
    Machine.passes(1.0, shown=-1.5)
    assert steps.look() == pytest.approx(-2.5, abs=1e-6)
    Machine.passes(5.0)
    assert steps.look() == 0.0
