"""What the dashboard says of an instrument that is halted, at its bands or without a book, and of a book that was damaged."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import Book, Breaker, Last, Level, Luld, Status
from alphatrader.core.market.checksum import checksum
from alphatrader.web.dashboard.views.market import depth, quote

BIDS, ASKS = (Level(99.0, 100.0),), (Level(100.0, 200.0),)
TRADING = Status("SPY", 1, False, 0)
LAST = Last("SPY", 1, 1, last=100.0)
UP = Luld(95.0, 105.0, 100.0, 0.05, "limit_up", 1, 2)


@pytest.mark.parametrize(
    ("status", "flag", "words"),
    [
        (TRADING, None, None),
        (None, None, "no status"),
        (replace(TRADING, halted=None, halt_reason="the broker has not said"), None, "has not said"),
        (
            replace(TRADING, halted=True, halted_by="broker", halt_reason="the broker says: general halt"),
            "HALTED",
            "general halt",
        ),
        (replace(TRADING, halted=True, halted_by="estimate", halt_reason="our estimate"), "HALTED, est.", "our estimate"),
        (replace(TRADING, luld=UP), "LIMIT UP", "by our estimate: bands 95 to 105"),
        (replace(TRADING, luld=replace(UP, state="inside")), None, None),
        (replace(TRADING, breaker=Breaker("SPY", 0.08, 1)), "BREAKER 1", "estimated from SPY"),
        (replace(TRADING, depth="not ready", depth_reason="crossed"), "no book", "depth not ready: crossed"),
    ],
)
def test_what_stops_trading_is_flagged_and_said_in_words(status: Status | None, flag: str | None, words: str | None) -> None:
    shown = quote(LAST, None, status)
    assert shown["flag"] == flag
    assert shown["warning"] is None if words is None else words in shown["warning"]


def test_a_book_that_is_not_the_one_that_was_written_is_refused_in_words() -> None:
    book = Book("SPY", 1, 1, True, None, "depth", BIDS, ASKS, checksum(BIDS, ASKS))
    assert depth(book)["bids"] == [[99.0, 100.0]]
    refused = depth(replace(book, bids=(Level(99.0, 101.0),)))
    assert refused == {"ready": False, "reason": "refused: wrong checksum", "bids": [], "asks": []}
