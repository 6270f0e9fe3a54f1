"""A subscription is live by its data only: how long one may go without, and when a person should know.

Used by `streams/ibkr/lines.py` with times of one monotonic clock, in seconds, and only while the market is open.
"""

from __future__ import annotations

from typing import Final

PROOF_SECONDS: Final = 15.0
"""The broker answers a subscription with what stands within a second or two; a farm that wakes takes longer."""
MOST_DOUBLINGS: Final = 4
TOLD_AFTER: Final = 2
"""Asked for again so often without data: that is no slow farm."""


def patience(tries: int, quiet_seconds: float) -> float:
    """How long to wait for data after having asked `tries` times again."""
    return max(PROOF_SECONDS, quiet_seconds) * 2.0 ** min(tries, MOST_DOUBLINGS)


def is_due(asked_at: float, heard_at: float | None, tries: int, quiet_seconds: float, at: float) -> bool:
    """Whether a subscription is to be asked for again: nothing came since it was asked for, or nothing more came."""
    since = asked_at if heard_at is None else max(asked_at, heard_at)
    return at - since >= patience(tries, quiet_seconds)


def given_up(tries: int) -> bool:
    """Whether what never proved itself should be told."""
    return tries >= TOLD_AFTER
