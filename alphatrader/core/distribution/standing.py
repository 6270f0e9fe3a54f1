"""What a Telegram user is shown of the present: by tier, and never earlier than the tier is told anything else."""

from __future__ import annotations

from collections.abc import Iterable

from alphatrader.contract.messages.distribution import Tier
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.settings.people import Distribution
from alphatrader.core.distribution.tiers import delay_ns


def open_positions(positions: Iterable[Position], tier: Tier, now_ns: int, rules: Distribution) -> int | None:
    """How many were open at the instant this tier may know of; None for free, which is not told of positions."""
    if tier == "free":
        return None
    known_ns = now_ns - delay_ns(tier, rules)
    return sum(1 for one in positions if one.opened_ns <= known_ns and (one.closed_ns is None or one.closed_ns > known_ns))
