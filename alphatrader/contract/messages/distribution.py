"""What subscribers are told, and the proof that they were told once."""

from __future__ import annotations

from typing import Literal

from alphatrader.contract.messages import Message

Tier = Literal["premium", "basic", "free"]


class Delivery(Message, frozen=True):
    """One message for one tier, in its queue until it is due. The payload is inside: the signal's own key has long expired."""

    id: str
    """`{signal or position event}:{tier}`: the ledger's key together with the recipient."""
    tier: Tier
    kind: Literal["signal", "position", "analysis", "notice"]
    symbol: str
    due_ns: int
    """Market time before which no byte of it may leave."""
    created_ns: int
    """Market time of what it tells of."""
    title: str
    lines: tuple[str, ...]
    fields: dict[str, str]
    """Label -> text, in order, as the tier may see them."""
    disclaimer: str
    about: str = ""
    """The signal it belongs to; every message shows it."""


class DeliveryRecord(Message, frozen=True):
    """One recipient's line of the delivery ledger."""

    delivery_id: str
    recipient: str
    """`discord:premium`, `telegram:12345`."""
    state: Literal["sending", "sent", "failed", "unknown", "late"]
    attempts: int
    due_ns: int
    ts_ns: int
    machine_ns: int
    vendor_id: str | None
    reason: str | None
    retry_machine_ns: int | None = None
    """When a `failed` one is tried again, not before; None: it has ended."""


class Subscriber(Message, frozen=True):
    """One customer, as Stripe's current state has it."""

    id: str
    """Our id."""
    stripe_customer: str | None
    stripe_subscription: str | None
    tier: Tier
    status: str
    period_end_s: int | None
    telegram_id: int | None
    machine_ns: int
    until_s: int | None = None
    """Machine time (Unix seconds) at which access ends unless Stripe says otherwise before; None: no end is known."""


class TelegramTier(Message, frozen=True):
    tier: Tier
    subscriber: str | None
    machine_ns: int
    until_s: int | None = None
    """As the subscriber's: at that instant pages makes the tier free."""

    def held_at(self, machine_ns: int) -> Tier:
        """The tier as it counts at this instant: an end holds although pages has not recorded it yet."""
        ended = self.until_s is not None and machine_ns >= self.until_s * 1_000_000_000
        return "free" if ended else self.tier


class Tweet(Message, frozen=True):
    id: str
    """X's id; empty until X has answered."""
    text: str
    about: str
    ts_ns: int
    state: Literal["sending", "posted", "failed", "unknown"] = "posted"
    machine_ns: int = 0
    reason: str | None = None


class Analysis(Message, frozen=True):
    """The morning note."""

    session: str
    title: str
    text: str
    source: Literal["openai", "template"]
    """`template` when the model failed or is not configured; the text says so."""
    facts: dict[str, str]
    disclaimer: str
    ts_ns: int
