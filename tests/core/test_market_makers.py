"""What named makers show: folded from one exchange's own book, told from what they usually do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alphatrader.contract.messages.market import MakerRow, MakersEvent
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.analytics.makers import usual_presence
from alphatrader.core.market.book import ASK, BID, DELETE, INSERT, UPDATE
from alphatrader.core.market.checksum import intact
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.maker_book import CONFLATE_SECONDS
from alphatrader.core.market.makers import MakerInterest

SECOND = 1_000_000_000
NAMES = {"CDRG": "Citadel Securities", "JNST": "Jane Street"}
Rows = list[tuple[float, float, str]]


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds

    def market_ns(self) -> int:
        return round(self.seconds * SECOND)


def feed() -> tuple[SymbolFeed, Clock]:
    clock = Clock()
    made = SymbolFeed("SPY", full=True, depth_rows=20, quiet_seconds=5, market_ns=clock.market_ns, monotonic=clock.monotonic)
    made.set_makers(True)
    made.take_events(clock.seconds)
    return made, clock


def books(made: SymbolFeed, clock: Clock) -> list[MakersEvent]:
    clock.seconds += CONFLATE_SECONDS
    return [event for event in made.take_events(clock.seconds) if isinstance(event, MakersEvent)]


def test_rows_of_one_price_keep_their_makers_and_the_book_its_checksum() -> None:
    made, clock = feed()
    tell = made.makers.depth
    for position, (price, size, maker) in enumerate([(99.99, 300, "NSDQ"), (99.99, 200, "CDRG"), (99.98, 100, "JNST")]):
        tell(INSERT, position, BID, price, size, "", maker)
    tell(INSERT, 0, ASK, 100.01, 400, "", "CDRG")
    tell(UPDATE, 1, BID, 99.99, 250, "", "CDRG")
    tell(DELETE, 0, BID, 0, 0, "", "")
    (book,) = books(made, clock)
    assert book.ready and book.conflated == 5 and intact(book)
    assert book.bids == (MakerRow(99.99, 250, "CDRG"), MakerRow(99.98, 100, "JNST"))
    assert book.asks == (MakerRow(100.01, 400, "CDRG"),)
    # the consolidated book and the numbering of events are another matter
    assert made.status().depth == "none" and made.book(clock.seconds).source == "quote" and book.seq == made.seq
    assert books(made, clock) == []


def test_what_fits_no_book_makes_it_unready_until_it_is_asked_for_anew() -> None:
    made, clock = feed()
    made.makers.depth(INSERT, 0, BID, 99.99, 300, "", "CDRG")
    made.makers.depth(INSERT, 0, ASK, 100.01, 300, "", "CDRG")
    assert books(made, clock)[0].ready
    made.makers.depth(UPDATE, 7, BID, 99.99, 300, "", "CDRG")
    (broken,) = books(made, clock)
    assert not broken.ready and broken.bids == () and "update at 7 of 1 rows" in str(broken.reason)
    assert made.makers.broken
    made.makers.depth(INSERT, 0, BID, 99.99, 300, "", "CDRG")
    assert books(made, clock) == []  # late rows of the line that is dead
    made.makers.lose("depth resubscribed")
    for side, price in ((BID, 99.99), (ASK, 100.01)):
        made.makers.depth(INSERT, 0, side, price, 300, "", "CDRG")
    assert books(made, clock)[-1].ready


def test_a_gap_of_the_whole_feed_ends_it_and_one_of_the_consolidated_depth_does_not() -> None:
    made, clock = feed()
    for side, price in ((BID, 99.99), (ASK, 100.01)):
        made.makers.depth(INSERT, 0, side, price, 300, "", "CDRG")
    assert books(made, clock)[0].ready
    made.gap("317: depth reset", depth_only=True)
    assert books(made, clock) == []
    made.gap("reconnected")
    (lost,) = books(made, clock)
    assert not lost.ready and lost.bids == () and "reconnected" in str(lost.reason)


def watched(shown: Callable[[int], tuple[Rows, Rows]], seconds: int, usual: dict[str, float] | None = None) -> MakerInterest:
    interest = MakerInterest(usual=usual or {})
    for second in range(seconds):
        bids, asks = (tuple(MakerRow(*row) for row in rows) for rows in shown(second))
        interest.fold(MakersEvent(second + 1, 0, (1000 + second) * SECOND, True, bids, asks, 0, 0), NAMES)
    return interest


BOTH: tuple[Rows, Rows] = ([(99.99, 100, "CDRG"), (99.98, 500, "NSDQ")], [(100.01, 100, "CDRG"), (100.02, 900, "NSDQ")])


def test_two_sided_interest_leans_to_nobody_and_orders_without_a_name_do_not_count() -> None:
    interest = watched(lambda second: BOTH, 300)
    assert interest.share() == 0.0 and interest.moves == [] and list(interest.makers) == ["CDRG"]
    assert interest.usually("CDRG") == 1.0 and (interest.bid, interest.ask) == (600, 1000)


def test_a_maker_that_leaves_one_side_leans_and_one_that_leaves_both_is_away() -> None:
    def shown(second: int) -> tuple[Rows, Rows]:
        if 200 <= second < 260:
            return [(99.99, 400, "CDRG"), (99.99, 100, "NSDQ")], [(100.01, 900, "NSDQ"), (100.07, 100, "CDRG")]
        if 350 <= second < 420:
            return [(99.99, 100, "NSDQ")], [(100.01, 900, "NSDQ")]
        return BOTH

    interest = watched(shown, 480)
    assert [(move.maker, move.what, move.side) for move in interest.moves] == [("CDRG", "leans", "bid"), ("CDRG", "away", "")]
    lean, away = interest.moves
    # by 10 s averages 400 of 500 shares on the bid outweigh the 100 that stood on each side after 10 ln(...) seconds
    assert 1200 < lean.from_ns / SECOND < 1225 and 1260 <= lean.last_ns / SECOND < 1280
    assert 1350 < away.from_ns / SECOND <= 1385 and 1420 <= away.last_ns / SECOND < 1430


def test_what_is_usual_decides_whether_an_absence_says_anything() -> None:
    one_sided: tuple[Rows, Rows] = ([(99.99, 100, "CDRG")], [(100.01, 900, "NSDQ")])
    assert watched(lambda second: one_sided, 300).moves == []  # it always does
    (move,) = watched(lambda second: one_sided, 60, {"CDRG": 0.9}).moves
    assert (move.what, move.side) == ("leans", "bid")


def test_a_book_that_is_not_ready_is_no_book_without_makers() -> None:
    interest = watched(lambda second: BOTH, 200)
    interest.fold(MakersEvent(900, 0, 1_300 * SECOND, False, (), (), 0, 0, "depth is broken"), NAMES)
    assert interest.reason == "depth is broken" and interest.share() is None and interest.moves == []


def test_profiles_that_cannot_be_read_leave_what_is_usual_to_the_last_minutes() -> None:
    def profile(detail: Any) -> Parameter:
        return Parameter(2.0, 1, 1.0, None, {"profiles": detail})

    names = {"CDRG": "Citadel Securities", "NITE": "Virtu"}
    assert usual_presence(profile({"CDRG": {"presence": 0.8, "size": 3}, "ARCA": {"presence": 1.0}}), names) == {"CDRG": 0.8}
    for broken in (None, [], {"CDRG": 0.8}, {"CDRG": {}}, {"CDRG": {"presence": "often"}}, {"CDRG": {"presence": 7.0}}):
        assert usual_presence(profile(broken), names) == {}
    assert usual_presence(None, names) == {}
