"""What Stripe said, as `clients/stripe` hands it to `core/billing`. These never stand in Redis."""

from __future__ import annotations

import msgspec


class Price(msgspec.Struct, frozen=True):
    id: str
    product: str
    lookup_key: str | None
    cents: int | None
    """US cents; None where the currency is another or the amount varies."""
    monthly: bool
    active: bool


class Subscription(msgspec.Struct, frozen=True):
    """One subscription, as Stripe has it now. Times are Unix seconds."""

    id: str
    customer: str
    subscriber: str
    """Our id; the customer's where it was not sold through our pages."""
    telegram_id: int | None
    status: str
    prices: tuple[Price, ...]
    period_start_s: int
    period_end_s: int
    ends_at_s: int | None
    collection_paused: bool
    refunded_until_s: int | None = None
    """The latest end of a period whose payment was refunded whole."""
    disputed: bool = False
