"""The order state machine, ours: what an order is after the broker has said something of it.

`AFTER[word][state]` is the next state; a state that a word does not list stays. FILLED is never left. The words come from the
wire's orderStatus and from the broker's lists; the library's own "Cancelled" after an error is not among them: an error makes
an open order UNKNOWN, and the broker is asked.
"""

from __future__ import annotations

from typing import Final, Literal

from alphatrader.contract.messages.orders import OPEN_STATES, OrderState

Word = Literal["pending", "working", "filled", "cancelled", "rejected", "unclear", "gone"]

STATUS_WORDS: Final[dict[str, Word]] = {
    "ApiPending": "pending",
    "PendingSubmit": "pending",
    "PendingCancel": "pending",
    "PreSubmitted": "working",
    "Submitted": "working",
    "Filled": "filled",
    "Cancelled": "cancelled",
    "ApiCancelled": "cancelled",
    "Inactive": "unclear",
}
"""Inactive may be a refusal or an order that will be active again: only the broker's lists tell."""

_OPEN: Final[tuple[OrderState, ...]] = ("INTENT", "SENT", "WORKING", "UNKNOWN")
AFTER: Final[dict[Word, dict[OrderState, OrderState]]] = {
    "pending": {"INTENT": "SENT"},
    # REJECTED is a conclusion of ours, from an error and the broker's lists: an order that works after it is asked about anew.
    "working": {"INTENT": "WORKING", "SENT": "WORKING", "UNKNOWN": "WORKING", "EXPIRED": "WORKING", "REJECTED": "UNKNOWN"},
    "filled": dict.fromkeys((*_OPEN, "CANCELLED", "REJECTED", "EXPIRED"), "FILLED"),
    "cancelled": dict.fromkeys((*_OPEN, "EXPIRED"), "CANCELLED"),
    "rejected": dict.fromkeys(_OPEN, "REJECTED"),
    "unclear": dict.fromkeys(_OPEN, "UNKNOWN"),
    "gone": dict.fromkeys(_OPEN, "EXPIRED"),
}

HARMLESS_CODES: Final = frozenset({202, 399, 404, 10349, 10167})
"""Errors with an order's id that change nothing: 202 announces the orderStatus that follows, 399 and 404 and 10349 are notes on a
live order. Codes 2100 to 2199 are notices too."""


def after(state: OrderState, word: Word) -> OrderState:
    return AFTER[word].get(state, state)


def is_harmless(code: int) -> bool:
    return code in HARMLESS_CODES or 2100 <= code < 2200


def is_open(state: OrderState) -> bool:
    return state in OPEN_STATES
