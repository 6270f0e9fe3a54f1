"""Risk's books over days, and the stop that a person asked for."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.contract.messages.risk import ControlRequest, Halt
from alphatrader.core.risk import state as books
from tests.support.holdings import NOW_NS, SPY

D = Decimal


def trade(number: int, pnl: str, session: str = "2026-11-18", strategy: str = "0DTE") -> ClosedTrade:
    return ClosedTrade(
        f"t{number}", strategy, "SPY", SPY, 1, D(4), D(4), D(1), D(pnl), None, None, NOW_NS, NOW_NS + number, session, "stop"
    )


def test_losses_in_a_row_end_with_a_win_and_with_the_day() -> None:
    row = [trade(1, "-5"), trade(2, "5"), trade(3, "-5"), trade(4, "0"), trade(5, "-5")]
    assert books.consecutive_losses(row, "2026-11-18") == 2
    assert books.consecutive_losses(reversed(row), "2026-11-18") == 2
    assert books.consecutive_losses([*row, trade(6, "1")], "2026-11-18") == 0
    assert books.consecutive_losses(row, "2026-11-19") == 0
    assert books.consecutive_losses([*row, trade(7, "-50", strategy="external")], "2026-11-18") == 2


def test_the_first_equity_opens_the_day_and_the_peak_only_rises() -> None:
    state = books.first("2026-11-18", 0)
    for equity in (1000, 1200, 1100):
        state = books.with_equity(state, D(equity))
    assert (state.opening_equity, state.peak_equity, state.equity, state.starting_equity) == (D(1000), D(1200), D(1100), D(1000))
    for nonsense in ("NaN", "0", "-5", "Infinity"):
        assert books.with_equity(state, D(nonsense)) == state


def test_a_new_session_clears_the_latch_and_carries_what_was_unrealized() -> None:
    state = replace(
        books.with_equity(books.first("2026-11-18", 0), D(1200)), latched="daily loss: x", unrealized=D(-30), consecutive_losses=2
    )
    new = books.rolled(state, "2026-11-19", 9)
    assert (new.latched, new.consecutive_losses, new.opening_equity, new.carried_unrealized) == (None, 0, None, D(-30))
    assert new.peak_equity == D(1200)
    # after a drawdown the peak starts anew, or the latch would close again at once
    assert books.rolled(replace(state, latched="drawdown: x"), "2026-11-19", 9).peak_equity is None


def change(halted: bool, machine_ns: int) -> Halt:
    return Halt(halted, False, 5, "", "emergency", machine_ns, machine_ns)


def test_a_stop_ends_only_after_its_halt_was_recorded_and_lifted() -> None:
    request = ControlRequest("r", "halt", "operator", "test", 100, 100)
    state = books.stopped(books.first("d", 0), request, halted=False)
    # what stood before, and a resume that was on its way, are not the end of it
    assert books.heard_halt(state, change(False, 99)).stop is not None
    assert books.heard_halt(state, change(False, 101)).stop is not None
    recorded = books.heard_halt(state, change(True, 102))
    assert recorded.stop is not None and recorded.stop.recorded
    assert books.heard_halt(recorded, change(False, 103)).stop is None


def test_a_stop_while_halted_ends_with_the_next_resume() -> None:
    request = ControlRequest("r", "halt", "operator", "test", 100, 100)
    state = books.stopped(books.first("d", 0), request, halted=True)
    assert books.heard_halt(state, change(False, 99)).stop is not None
    assert books.heard_halt(state, change(False, 101)).stop is None


def test_a_stop_whose_record_was_missed_ends_with_a_resume_well_after_it() -> None:
    request = ControlRequest("r", "halt", "operator", "test", 100, 100)
    state = books.stopped(books.first("d", 0), request, halted=False)
    assert books.heard_halt(state, change(False, 100 + 2_000_000_000)).stop is not None
    assert books.heard_halt(state, change(False, 101 + 2_000_000_000)).stop is None


def test_a_halt_that_comes_late_does_not_bring_an_older_one_back() -> None:
    older, newer = (Halt(halted, False, epoch, "", "operator", 1, 1) for halted, epoch in ((False, 3), (True, 4)))
    assert books.never_back(newer, older) == newer
    assert books.never_back(older, newer) == newer
    same = replace(newer, reason="said again")
    assert books.never_back(newer, same) == same
    # missing stays missing: that counts as halted
    assert books.never_back(newer, None) is None and books.never_back(None, older) == older
