"""ScheduledTasks: the day's routines in New York time, on trading days only, each once a session.

Reads positions, trades, counts and the calendar; writes `ledger:routines`. Values carry their session, so nothing is reset here:
halt and the day's losses are never touched. Beat sends `routines.run` with the routine's name. One whose worker died within it
stands there as `running`: the watchdog tells of it, and when the broker delivers it anew it is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from celery import current_app

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import RUNNING, RoutineRun
from alphatrader.runtime.calendar import Calendar, Session
from alphatrader.runtime.celery_app import AlphaTask, app
from alphatrader.runtime.clock import SECOND, Clock
from alphatrader.runtime.store import Store

LEFT_SECONDS: Final = 60.0
"""A routine takes well under a second: one that began so long ago ended with its worker."""


class ScheduledTasks:
    """Each routine gives one line that says what it did or found."""

    def __init__(self, store: Store, calendar: Calendar, clock: Clock, send: Callable[[str], Any]) -> None:
        self._store = store
        self._calendar = calendar
        self._clock = clock
        self._send = send
        self.routines: dict[str, Callable[[Session], str]] = {
            "morning": self._morning,
            "open": self._open,
            "midday": self._midday,
            "close": self._close,
            "evening": self._evening,
        }

    def run(self, name: str, session: Session | None) -> str | None:
        """What the routine did; None where it was not its day, or it had run. Raises KeyError for an unknown name."""
        routine = self.routines[name]
        if session is None:
            return None
        claim = self._entry(name, session, RUNNING)
        if not self._store.put_field_once(k.LEDGER_ROUTINES.at(), claim.field, claim) and not self._left(claim):
            return None
        try:
            outcome = routine(session)
        except Exception as error:
            self._write(self._entry(name, session, f"failed: {error!r}"))
            raise
        self._write(self._entry(name, session, outcome))
        return outcome

    def _entry(self, name: str, session: Session, outcome: str) -> RoutineRun:
        return RoutineRun(name, session.name, self._clock.market_ns(), outcome, self._clock.machine_ns())

    def _left(self, claim: RoutineRun) -> bool:
        """Whether it began before and its worker ended within it; then this run is in its place."""
        began = self._store.field(k.LEDGER_ROUTINES.at(), claim.field)
        if began is None or began.outcome != RUNNING or claim.machine_ns - began.machine_ns < LEFT_SECONDS * SECOND:
            return False
        self._write(claim)
        return True

    def _write(self, entry: RoutineRun) -> None:
        batch = self._store.batch()
        batch.put_field(k.LEDGER_ROUTINES.at(), entry.field, entry)
        self._store.commit(batch)

    def _morning(self, session: Session) -> str:
        self._send("analysis.morning")
        return f"asked for the note of {session.name}"

    def _open(self, session: Session) -> str:
        halt = self._store.get(k.HALT.at())
        summary = self._store.get(k.POSITIONS_SUMMARY.at())
        state = "halt is unknown" if halt is None else f"halted: {halt.reason}" if halt.halted else "not halted"
        held = "positions are unknown" if summary is None else f"{summary.open} positions carried in"
        early = f", closes early at {session.closes}" if session.early else ""
        return f"session {session.name} opens{early}; {state}; {held}"

    def _midday(self, session: Session) -> str:
        return f"so far: {self._performance(session)}"

    def _close(self, session: Session) -> str:
        return f"session {session.name}: {self._performance(session)}"

    def _evening(self, session: Session) -> str:
        following = self._calendar.next(session)
        early = f", closes early at {following.closes}" if following.early else ""
        return f"next session {following.name}{early}"

    def _performance(self, session: Session) -> str:
        trades = [trade for trade in self._store.fields(k.LEDGER_TRADES.at()).values() if trade.session == session.name]
        signals = self._store.get(k.SIGNALS_COUNT.at())
        made = signals.count if signals and signals.session == session.name else 0
        total = sum((trade.pnl for trade in trades), Decimal(0))
        wins = sum(1 for trade in trades if trade.pnl > 0)
        open_pnl = self._store.get(k.PNL_UNREALIZED.at())
        unrealized = f"{open_pnl.value} USD" if open_pnl and open_pnl.value is not None else "unknown"
        return f"{made} signals, {len(trades)} closed trades, {wins} won, {total} USD realized, {unrealized} unrealized"


@app.task(name="routines.run", bind=True)
def run(self: AlphaTask, name: str) -> None:
    session = self.calendar.on(self.clock.session_date())
    tasks = ScheduledTasks(self.store, self.calendar, self.clock, current_app.send_task)
    outcome = tasks.run(name, session)
    if outcome is not None:
        self.log.info("routine", name=name, outcome=outcome)
