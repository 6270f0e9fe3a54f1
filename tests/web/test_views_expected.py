"""What is said of the next signal: never a promise, always what it waits for."""

from __future__ import annotations

from alphatrader.contract.messages.signals import Gate, SignalCount, WhyNot
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.settings import load
from alphatrader.web.dashboard.views.expected import expected
from tests.web.desk_market import DAY

STRATEGIES = load({"ALPHATRADER_MODE": "sandbox"}).strategies


def at(clock: str) -> int:
    return exchange_instant(DAY, clock)


def why(symbol: str, clock: str, *stopped: str, strategy: str = "0DTE") -> WhyNot:
    names = ("session", "metrics", "score", "cooldown")
    gates = tuple(Gate(name, name not in stopped, f"{symbol} {name}", "more") for name in names)
    return WhyNot(symbol, at(clock), {strategy: gates})


def said(clock: str, *whys: WhyNot, count: SignalCount | None = None, speed: float = 1.0) -> str:
    return expected(STRATEGIES, nyse(), at(clock), count, whys, speed)


def test_before_a_window_its_opening_is_named_and_how_long_that_is() -> None:
    assert said("09:00").endswith("none before Wed 09:30 ET, when 14DTE's window opens (in 30 min)")
    assert said("09:00", speed=10.0).endswith("(in 3 min)")
    assert "none before Thu 09:30 ET, when 14DTE's window opens (in 16.5 h)" in said("17:00")


def test_in_a_window_the_nearest_is_named_with_the_gate_that_stops_it() -> None:
    far, near = why("SPY", "10:00", "metrics", "score"), why("QQQ", "10:00", "score")
    text = said("10:00", far, near)
    assert text.startswith("none yet in this session; windows open: 0DTE until 15:00, 14DTE until 16:00; ")
    assert text.endswith("QQQ 0DTE is nearest: score is QQQ score, needs more")
    assert "SPY 0DTE warms up: metrics is" in said("10:00", far)
    # neither one whose window is shut, nor what was said long ago, nor yesterday's count
    assert "looks at nothing now" in said("10:00", why("QQQ", "10:00", "score", strategy="1DTE"))
    assert "looks at nothing now" in said("10:01", near)
    assert said("10:00", count=SignalCount("2026-11-17", 4)).startswith("none yet")
    assert said("10:00", count=SignalCount(DAY.isoformat(), 4)).startswith("4 in this session")
