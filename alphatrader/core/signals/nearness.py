"""How near a symbol is to a signal: `ibkr` gives its scarce depth and tick-by-tick subscriptions to the nearest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ALIVE: Final = 1.0
"""A signal lives: nothing is nearer."""
_MOST: Final = 0.99
_EVEN: Final = 50.0
"""The confidence of no evidence at all, see score.py."""


def nearness(confidences: Iterable[tuple[float, float]], *, alive: bool) -> float:
    """0 to 1. `confidences`: (score, least score that becomes a signal) of each strategy whose window is open or opens soon."""
    if alive:
        return ALIVE
    shares = [(score - _EVEN) / (least - _EVEN) if least > _EVEN else 1.0 for score, least in confidences]
    return min(_MOST, max([0.0, *shares]))
