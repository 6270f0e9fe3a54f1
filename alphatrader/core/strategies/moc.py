"""MOC: closing imbalances, the first expiry after today.

The exchange's imbalance where it is published (Arca and Cboe names in this window; Nasdaq's starts at 15:50); before it exists
the score runs on order flow alone, is lower for it, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from alphatrader.core.strategies.inputs import Features, Inputs, clip, flow


def features(inputs: Inputs) -> Features:
    return {"imbalance": auction_imbalance(inputs), "flow": flow(inputs, 180)}


def auction_imbalance(inputs: Inputs) -> float | None:
    """Unmatched shares over matched and unmatched; + is buying. None where nothing was told of the closing auction yet: the
    broker's bare ticks may still be of the opening's."""
    closing = None if inputs.status is None else inputs.status.closing
    if closing is None or closing.basis != "data" or closing.shares is None or closing.paired is None:
        return None
    gross = closing.paired + abs(closing.shares)
    return clip(closing.shares / gross) if gross > 0 else None


def expiry(listed: Sequence[str], today: date, next_session: date) -> str | None:
    """The first listed after today: today's ends with the auction itself."""
    return min((name for name in listed if name > f"{today:%Y%m%d}"), default=None)


def reasons(inputs: Inputs, found: Features, up: bool) -> tuple[str, ...]:
    if found["imbalance"] is None:
        return (f"closing flow leans {'up' if up else 'down'}; no closing imbalance is published yet, so this runs on proxies",)
    return (f"the closing auction has {'buyers' if up else 'sellers'} unmatched ({abs(found['imbalance']):.0%} of its volume)",)
