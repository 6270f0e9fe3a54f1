"""What `positions` holds, and what it wants of execution."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from alphatrader.contract.messages import Event, Message
from alphatrader.contract.messages.contracts import OptionRef


class Position(Message, frozen=True):
    """One position, booked from executions, marked from the broker's quote."""

    id: str
    """The intent id that opened it; `ext-{conId}` for one that was not opened here."""
    symbol: str
    strategy: str
    signal_id: str | None
    contract: OptionRef
    status: Literal["open", "closing", "closed", "external"]
    quantity: int
    opened_quantity: int
    average_price: Decimal
    cost: Decimal
    """Paid for what is held now, with commissions."""
    realized: Decimal
    commissions: Decimal
    mark: Decimal | None
    """Mid of the quote; None while there is no fresh quote."""
    mark_age_ms: float | None
    unrealized: Decimal | None
    stop: Decimal | None
    targets: tuple[Decimal, ...]
    opened_ns: int
    closed_ns: int | None
    updated_ns: int
    initial_stop: Decimal | None = None
    """The first stop: its distance from the entry is the first risk, R."""
    best_mark: Decimal | None = None
    """The highest mark since the entry: what the trailing stop follows."""
    targets_hit: int = 0
    planned_quantity: int = 0
    """What risk approved; 0 for an external position."""
    confidence: float | None = None
    commissions_known: bool = True
    """False while the commission of one of its fills is not reported yet: `realized` is more than it will be."""


class PositionsSummary(Message, frozen=True):
    ts_ns: int
    open: int
    by_symbol: dict[str, int]
    realized_today: Decimal
    unrealized: Decimal | None
    """None while a held contract has no fresh quote."""
    market_value: Decimal | None
    reconciled: bool
    """True when our positions equal the broker's; a difference younger than `positions.reconcile_seconds` is in flight."""
    differences: tuple[str, ...]
    machine_ns: int = 0
    """When it was written: an old one means that nobody watches the positions."""
    shorts: tuple[str, ...] = ()
    """Positions that are short, in words: this system never opens one, so nothing opens until they are gone."""


class Count(Message, frozen=True):
    value: int
    ts_ns: int


class Pnl(Message, frozen=True):
    """USD of the session named."""

    value: Decimal | None
    session: str
    ts_ns: int


class WantedExit(Message, frozen=True):
    """`exits:{position}`: what positions wants held and protected. Execution makes it so; it needs no permission."""

    position_id: str
    contract: OptionRef
    hold: int
    """Contracts that should remain; 0 closes it."""
    stop: Decimal | None
    """Where the broker-side stop should stand for what remains."""
    reason: str
    urgency: Literal["patient", "now"]
    version: int
    """Grows with each change of mind."""
    machine_ns: int


class PositionEvent(Event, frozen=True):
    """A position opened, changed, closed, or its wanted exit changed."""

    kind: Literal["opened", "changed", "closed", "exit"]
    position: Position
    ts_ns: int
    reason: str | None = None


class ClosedTrade(Message, frozen=True):
    """One round trip, for `alphatrader report` and the calibration of the score."""

    position_id: str
    strategy: str
    symbol: str
    contract: OptionRef
    quantity: int
    entry_price: Decimal
    exit_price: Decimal
    commissions: Decimal
    pnl: Decimal
    slippage: Decimal | None
    confidence: float | None
    opened_ns: int
    closed_ns: int
    session: str
    reason: str
    exit_known: bool = True
    """False: it ended at the broker without an execution that we saw; `exit_price` is what `reason` says, not a price paid."""
    commissions_known: bool = True
    """As of its position."""
