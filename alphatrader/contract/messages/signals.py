"""What `signals` proposes, and why it did not."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from alphatrader.contract.messages import Event, Message
from alphatrader.contract.messages.contracts import OptionRef

Strategy = Literal["0DTE", "1DTE", "14DTE", "MOC"]
Positive = Annotated[float, Meta(gt=0, lt=1e6)]


class Signal(Message, frozen=True):
    """A proposal to buy one option. It grants nothing: risk decides."""

    id: str
    strategy: Strategy
    symbol: str
    contract: OptionRef
    direction: Literal["long_call", "long_put"]
    confidence: Annotated[float, Meta(ge=0, le=100)]
    calibrated: bool
    quantity: Annotated[int, Meta(ge=1, le=1000)]
    """Contracts, by Kelly under its caps; risk may only lower it."""
    entry: Positive
    """Limit price per share, from the broker's quote."""
    stop: Positive
    targets: tuple[Positive, ...]
    """Option prices at which a third, half of the rest, and all of it is sold."""
    bid: float
    ask: float
    under_price: float
    reasons: tuple[str, ...]
    """In words a subscriber understands."""
    features: dict[str, float | None]
    ts_ns: int
    machine_ns: int
    expires_ns: int
    fence: int


class SignalMap(Message, frozen=True):
    """`signals:{symbol}:pending` (waits for a quote or a verdict) and `:active` (approved): strategy -> signal."""

    by_strategy: dict[str, Signal]


class SignalEvent(Event, frozen=True):
    """A signal was made, or ended."""

    kind: Literal["new", "expired", "withdrawn"]
    signal: Signal
    reason: str | None = None


class SignalCount(Message, frozen=True):
    """How many were made in a session: the value carries its session and rolls over with it."""

    session: str
    """YYYY-MM-DD."""
    count: int


class Gate(Event, frozen=True, tag=False):
    """One condition on the way to a signal."""

    name: str
    passed: bool
    value: str
    needed: str


class WhyNot(Message, frozen=True):
    """Which gate stopped each strategy's signal of a symbol, with the values."""

    symbol: str
    ts_ns: int
    by_strategy: dict[str, tuple[Gate, ...]]
