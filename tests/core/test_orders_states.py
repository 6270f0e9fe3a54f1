"""The order state machine as a table, and the words that feed it."""

from __future__ import annotations

import pytest

from alphatrader.contract.messages.orders import OPEN_STATES
from alphatrader.core.orders import refs
from alphatrader.core.orders.states import AFTER, STATUS_WORDS, after, is_harmless

STATES = ("INTENT", "SENT", "WORKING", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN")
#            INTENT       SENT         WORKING      FILLED    CANCELLED    REJECTED    EXPIRED      UNKNOWN
TABLE = {
    "pending": ("SENT", "SENT", "WORKING", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN"),
    "working": ("WORKING", "WORKING", "WORKING", "FILLED", "CANCELLED", "UNKNOWN", "WORKING", "WORKING"),
    "filled": ("FILLED",) * 8,
    "cancelled": ("CANCELLED", "CANCELLED", "CANCELLED", "FILLED", "CANCELLED", "REJECTED", "CANCELLED", "CANCELLED"),
    "rejected": ("REJECTED", "REJECTED", "REJECTED", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "REJECTED"),
    "unclear": ("UNKNOWN", "UNKNOWN", "UNKNOWN", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "UNKNOWN"),
    "gone": ("EXPIRED", "EXPIRED", "EXPIRED", "FILLED", "CANCELLED", "REJECTED", "EXPIRED", "EXPIRED"),
}


@pytest.mark.parametrize("word", TABLE)
def test_every_state_after_every_word(word: str) -> None:
    assert tuple(after(state, word) for state in STATES) == TABLE[word]  # type: ignore[arg-type]


def test_the_table_is_whole_and_filled_is_never_left() -> None:
    assert set(AFTER) == set(TABLE)
    assert all("FILLED" not in table for table in AFTER.values())
    assert set(STATES) > OPEN_STATES


def test_inactive_and_pending_cancel_are_not_ends() -> None:
    assert after("WORKING", STATUS_WORDS["Inactive"]) == "UNKNOWN"
    assert after("WORKING", STATUS_WORDS["PendingCancel"]) == "WORKING"


@pytest.mark.parametrize(
    ("code", "harmless"),
    [
        *((code, True) for code in (202, 399, 404, 10349, 10167, 2100, 2109, 2199)),
        *((code, False) for code in (201, 110, 10148, 203, 2099, 2200)),
    ],
)
def test_which_errors_put_an_order_in_doubt(code: int, harmless: bool) -> None:
    assert is_harmless(code) is harmless


def test_refs_name_role_and_intent_and_are_never_used_twice() -> None:
    assert refs.role_of("s-1/x") == "entry" and refs.intent_of("s-1/x") == "s-1/x"
    assert refs.role_of("s-1/stop-2") == "stop" and refs.intent_of("s-1/stop-2") == "s-1"
    taken = ["i/stop", "i/stop-2", "i/exit-1"]
    assert refs.child("i", "stop", taken) == "i/stop-3"
    assert refs.child("i", "exit", taken) == "i/exit-2"
    assert refs.child("i", "target", taken) == "i/target"
