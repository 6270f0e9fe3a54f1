"""The messages of a position: its record, its closed trade, the summary of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from alphatrader.contract.messages.positions import ClosedTrade, Position, PositionEvent, WantedExit
from alphatrader.contract.messages.risk import Approval
from alphatrader.core.positions.booking import Booked

SessionOf = Callable[[int], str]
EventKind = Literal["opened", "changed", "closed"]

_CLOSED_WORDS = {
    "expired": "expired: the broker no longer holds it; booked at 0, its settlement price is not known here",
    "vanished": "closed at the broker without an execution that we saw; booked at the last mark, or 0 without one",
}


@dataclass(frozen=True, slots=True)
class Mark:
    price: Decimal | None = None
    age_ms: float | None = None


def position(held: Booked, approval: Approval | None, before: Position | None, mark: Mark, wanted: WantedExit | None) -> Position:
    """The record. What was planned comes from the record before (it may have been moved since) or from risk's approval."""
    value = held.quantity * mark.price * held.contract.multiplier if mark.price is not None else None
    stop: Decimal | None
    if before is not None:
        stop, initial_stop, targets = before.stop, before.initial_stop, before.targets
    elif approval is not None:
        stop = initial_stop = approval.stop_price
        targets = approval.targets or (approval.target_price,)
    else:
        stop, initial_stop, targets = None, None, ()
    closing = wanted is not None and wanted.hold == 0
    status: Literal["open", "closing", "closed", "external"]
    if held.quantity == 0:
        status = "closed"
    elif held.external:
        status = "external"
    else:
        status = "closing" if closing else "open"
    return Position(
        id=held.id,
        symbol=held.contract.symbol,
        strategy=_strategy(held, approval, before),
        signal_id=before.signal_id if before else approval.signal_id if approval else None,
        contract=held.contract,
        status=status,
        quantity=held.quantity,
        opened_quantity=held.opened_quantity,
        average_price=held.average_price,
        cost=held.cost,
        realized=held.realized,
        commissions=held.commissions,
        mark=mark.price if held.quantity else None,
        mark_age_ms=mark.age_ms if held.quantity and mark.price is not None else None,
        unrealized=Decimal(0) if held.quantity == 0 else value - held.cost if value is not None else None,
        stop=stop,
        targets=targets,
        opened_ns=held.opened_ns,
        closed_ns=held.closed_ns,
        updated_ns=held.updated_ns,
        initial_stop=initial_stop,
        best_mark=before.best_mark if before else None,
        targets_hit=before.targets_hit if before else 0,
        planned_quantity=before.planned_quantity if before else approval.quantity if approval else 0,
        confidence=before.confidence if before else approval.confidence if approval else None,
        commissions_known=held.commissions_known,
    )


def _strategy(held: Booked, approval: Approval | None, before: Position | None) -> str:
    if before is not None:
        return before.strategy
    return str(approval.strategy) if approval else "external" if held.external else "unknown"


def change(before: Position | None, now: Position) -> EventKind | None:
    """What a booking did to a position; a new mark alone is no event."""
    if before is None or before.status == "closed":
        if now.status != "closed":
            return "opened"
        if before is None:
            return "closed"
    elif now.status == "closed":
        return "closed"
    same = (before.quantity, before.cost, before.realized, before.status) == (now.quantity, now.cost, now.realized, now.status)
    return None if same else "changed"


def closing_event(now: Position, held: Booked, ts_ns: int, kind: EventKind) -> PositionEvent:
    reason = closing_words(held) if kind == "closed" else None
    return PositionEvent(kind=kind, position=now, ts_ns=ts_ns, reason=reason)


def closing_words(held: Booked) -> str:
    return _CLOSED_WORDS.get(held.closed_by, held.closed_by)


def trade(now: Position, held: Booked, wanted: WantedExit | None, session_of: SessionOf) -> ClosedTrade:
    """The round trip of a closed position."""
    reason = closing_words(held)
    if held.closed_by == "exit" and wanted is not None:
        reason = f"exit: {wanted.reason}"
    closed_ns = held.closed_ns or held.updated_ns
    return ClosedTrade(
        position_id=held.id,
        strategy=now.strategy,
        symbol=now.symbol,
        contract=held.contract,
        quantity=held.opened_quantity,
        entry_price=held.average_price,
        exit_price=held.exit_price,
        commissions=held.commissions,
        pnl=held.realized,
        slippage=held.slippage,
        confidence=now.confidence,
        opened_ns=held.opened_ns,
        closed_ns=closed_ns,
        session=session_of(closed_ns),
        reason=reason,
        exit_known=held.exit_known,
        commissions_known=held.commissions_known,
    )


def realized_in(books: Iterable[Booked], session: str, session_of: SessionOf, since_ns: int) -> Decimal:
    """USD realized in a session: by the fills that fell into it. Nothing of it is older than `since_ns`."""
    recent = (held for held in books if held.updated_ns >= since_ns)
    amounts = (amount for held in recent for ts_ns, amount in held.realizations if session_of(ts_ns) == session)
    return sum(amounts, Decimal(0))


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Their sum; None when one of them is not known."""
    found = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        found += amount
    return found
