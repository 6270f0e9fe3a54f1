"""Risk's own books: equity, peak, day, losses, latch. Each function derives the next state; nothing here looks at a clock.

The day rolls at the session's open. A latch is cleared then and at no other time. After a drawdown latch the peak starts anew
with that session, so that the operator who resumes can trade again.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.contract.messages.risk import ControlRequest, Halt, HaltEvent, RiskState, Stop

DRAWDOWN: Final = "drawdown"
UNREAD_NS: Final = 2_000_000_000
"""A halt lifted sooner after a request than this may have been lifted by somebody who had not read the request."""


def first(session: str, ts_ns: int) -> RiskState:
    return RiskState(
        session=session,
        opening_equity=None,
        peak_equity=None,
        equity=None,
        realized_today=Decimal(0),
        unrealized=Decimal(0),
        consecutive_losses=0,
        latched=None,
        reservations={},
        limits={},
        ts_ns=ts_ns,
    )


def rolled(state: RiskState, session: str, ts_ns: int) -> RiskState:
    """The first state of a session. What was unrealized at the last close is carried: the day's result starts from it."""
    after_drawdown = state.latched is not None and state.latched.startswith(DRAWDOWN)
    return replace(
        state,
        session=session,
        opening_equity=None,
        peak_equity=None if after_drawdown else state.peak_equity,
        realized_today=Decimal(0),
        carried_unrealized=state.unrealized,
        consecutive_losses=0,
        latched=None,
        ts_ns=ts_ns,
    )


def with_equity(state: RiskState, equity: Decimal) -> RiskState:
    """A confirmed account's equity; the first of a session opens its day. Nonsense is no equity."""
    if not equity.is_finite() or equity <= 0:
        return state
    return replace(
        state,
        equity=equity,
        opening_equity=state.opening_equity if state.opening_equity is not None else equity,
        peak_equity=max(state.peak_equity, equity) if state.peak_equity is not None else equity,
        starting_equity=state.starting_equity if state.starting_equity is not None else equity,
    )


def consecutive_losses(trades: Iterable[ClosedTrade], session: str) -> int:
    """Losing round trips of ours at the end of a session's row: a win ends the row, break-even changes nothing."""
    losses = 0
    for trade in sorted(trades, key=lambda t: (t.closed_ns, t.position_id)):
        if trade.session == session and trade.strategy != "external":
            losses = losses + 1 if trade.pnl < 0 else 0 if trade.pnl > 0 else losses
    return losses


def never_back(known: Halt | None, read: Halt | None) -> Halt | None:
    """`global:halt` as it counts for a reader who has seen `known`: a write that was held up on a dead connection may come after
    the newer one, and must not lift a halt until emergency has written anew. Missing stays missing: halted."""
    return known if known is not None and read is not None and read.epoch < known.epoch else read


def stopped(state: RiskState, request: ControlRequest, *, halted: bool) -> RiskState:
    """Obeys a request to halt or flatten at once; emergency records it in its own time. `halted`: whether a halt stood before."""
    return replace(state, stop=Stop(request.by, request.reason, request.machine_ns, recorded=halted))


def heard_halt(state: RiskState, change: Halt | HaltEvent) -> RiskState:
    """A halt recorded after the request is the stop's; what lifts a halt after that ends the stop."""
    stop = state.stop
    if stop is None or change.machine_ns <= stop.machine_ns:
        return state
    if change.halted:
        return replace(state, stop=replace(stop, recorded=True))
    read_by_then = change.machine_ns - stop.machine_ns > UNREAD_NS
    return replace(state, stop=None) if stop.recorded or read_by_then else state
