"""1DTE: overnight positioning, next session's expiry. First form: the session's trend, with late flow and the book behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from alphatrader.core.strategies.inputs import Features, Inputs, book, flow, session_trend


def features(inputs: Inputs) -> Features:
    return {"flow": flow(inputs, 180), "book": book(inputs), "trend": session_trend(inputs)}


def expiry(listed: Sequence[str], today: date, next_session: date) -> str | None:
    """The next session's: on a Friday that is Monday."""
    name = f"{next_session:%Y%m%d}"
    return name if name in listed else None


def reasons(inputs: Inputs, found: Features, up: bool) -> tuple[str, ...]:
    words = {
        "trend": f"the session's trend is {'up' if up else 'down'} into the close",
        "flow": f"late {'buyers' if up else 'sellers'} dominate the prints",
        "book": f"the book leans to the {'bid' if up else 'ask'}",
    }
    return tuple(text for name, text in words.items() if (found[name] or 0.0) * (1 if up else -1) > 0.1) or (
        "several weak signs agree",
    )
