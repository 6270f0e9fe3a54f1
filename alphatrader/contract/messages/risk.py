"""What `risk` decides and `emergency` records: approvals, the lease, halts, requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from alphatrader.contract.messages import Event, Message
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.signals import Strategy


class Approval(Event, frozen=True):
    """Risk's verdict on one signal. Execution acts only on `approved`, for at most 1 s of machine time."""

    intent_id: str
    """Also the orderRef at the broker: made from the signal's id, so one signal is one intent."""
    signal_id: str
    approved: bool
    reason: str
    """The rule that refused, with its values; for an approval, what was left of each limit."""
    strategy: Strategy
    symbol: str
    contract: OptionRef
    quantity: int
    limit_price: Decimal
    stop_price: Decimal
    target_price: Decimal
    machine_ns: int
    ts_ns: int
    halt_epoch: int
    limits_version: str
    fence: int
    confidence: float = 0.0
    targets: tuple[Decimal, ...] = ()
    """Where a third, half of the rest, and all of it is sold; `target_price`, at the broker, is the last."""


class Lease(Message, frozen=True):
    """Permission to trade, renewed every second, 3 s long: its absence means halted."""

    granted: bool
    reason: str | None
    """Why it is not granted."""
    halt_epoch: int
    machine_ns: int
    fence: int


class Halt(Message, frozen=True):
    """`global:halt`: missing means halted."""

    halted: bool
    flatten: bool
    epoch: int
    """Grows with every change; an approval of an older epoch is worth nothing."""
    reason: str
    by: str
    ts_ns: int
    machine_ns: int


class HaltEvent(Event, frozen=True):
    halted: bool
    flatten: bool
    epoch: int
    reason: str
    by: str
    ts_ns: int
    machine_ns: int


class ControlRequest(Event, frozen=True):
    """Somebody asks to halt, to resume or to flatten. Halting is obeyed at once by all who read it."""

    id: str
    kind: Literal["halt", "resume", "flatten"]
    by: str
    """Who, in words: `operator on the dashboard`, `daily loss limit`."""
    reason: str
    machine_ns: int
    ts_ns: int


class RiskMeasure(Message, frozen=True):
    """`global:risk:var` (USD, the loss of one day at 95 %) and `:correlation` (-1 to 1: how alike the positions are).

    None with its reason where it cannot be computed."""

    value: float | None
    reason: str | None
    ts_ns: int


class Reservation(Message, frozen=True):
    """A place under the position limits, held from the approval until the broker has confirmed the end."""

    intent_id: str
    symbol: str
    machine_ns: int
    max_loss_usd: Decimal
    right: Literal["C", "P"] | None = None
    """None in a record of before it was kept."""


class Stop(Message, frozen=True):
    """A halt that somebody asked for and risk obeys before emergency has recorded it. Ends when emergency lifts it."""

    by: str
    reason: str
    machine_ns: int
    recorded: bool
    """Emergency's halt has been seen."""


class RiskState(Message, frozen=True):
    """Risk's own books: what the limits are measured against. Survives restarts; the day rolls with the session."""

    session: str
    opening_equity: Decimal | None
    peak_equity: Decimal | None
    equity: Decimal | None
    realized_today: Decimal
    unrealized: Decimal
    consecutive_losses: int
    latched: str | None
    """The limit that latched the halt this session, with its values."""
    reservations: dict[str, Reservation]
    limits: dict[str, str]
    """Each limit in words: used of allowed."""
    ts_ns: int
    starting_equity: Decimal | None = None
    """The first equity ever seen in this mode: what returns are measured from."""
    carried_unrealized: Decimal = Decimal(0)
    """Unrealized at the last close: the day's result is realized plus unrealized less this."""
    stop: Stop | None = None
