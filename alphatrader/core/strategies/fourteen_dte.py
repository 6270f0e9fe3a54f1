"""14DTE: unusual option activity, expiry nearest 14 days in 10 to 18. First form: the side the unusual premium was bought on,
with news sentiment and the session's trend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from alphatrader.contract.messages.options import Unusual
from alphatrader.core.strategies.inputs import Features, Inputs, clip, session_trend

DAYS = 14
MIN_DAYS = 10
MAX_DAYS = 18


def features(inputs: Inputs) -> Features:
    news = inputs.sentiment.score if inputs.sentiment is not None else None
    return {
        "unusual": unusual_side(inputs.unusual),
        "sentiment": clip(2.0 * news) if news is not None else None,
        "trend": session_trend(inputs),
    }


def unusual_side(unusual: Unusual | None) -> float | None:
    """Signed share of the unusual premium: calls bought and puts sold are up. Items without a known side count nothing.

    `ask_side` 1 is all bought at the ask, 0 all sold at the bid; 0.5 says nothing."""
    if unusual is None:
        return None
    known = [(item, item.ask_side) for item in unusual.items if item.ask_side is not None and item.premium_usd > 0]
    total = math.fsum(item.premium_usd for item, _ in known)
    if total <= 0:
        return None
    return clip(math.fsum((1 if _is_call(item.occ) else -1) * (2 * side - 1) * item.premium_usd for item, side in known) / total)


def _is_call(occ: str) -> bool:
    return occ[-9] == "C"


def expiry(listed: Sequence[str], today: date, next_session: date) -> str | None:
    """Listed expiry nearest 14 calendar days within 10 to 18; the earlier of two equally near."""
    near = []
    for name in sorted(listed):
        days = (date.fromisoformat(name) - today).days
        if MIN_DAYS <= days <= MAX_DAYS:
            near.append((abs(days - DAYS), name))
    return min(near)[1] if near else None


def reasons(inputs: Inputs, found: Features, up: bool) -> tuple[str, ...]:
    approximate = " (sides estimated from last against bid and ask)" if inputs.unusual and inputs.unusual.approximate else ""
    words = {
        "unusual": f"unusual option premium leans {'up' if up else 'down'}{approximate}",
        "sentiment": f"news are {'positive' if up else 'negative'}",
        "trend": f"the session's trend is {'up' if up else 'down'}",
    }
    return tuple(text for name, text in words.items() if (found[name] or 0.0) * (1 if up else -1) > 0.1) or (
        "several weak signs agree",
    )
