"""Who took the initiative in a print, and what it counts for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.market.conditions import counts
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.prints import TickRule
from alphatrader.core.market.venues import LETTERS, PROTECTED, VENUES, venue_name


@pytest.mark.parametrize(
    ("price", "bid", "ask", "before", "side"),
    [
        (100.02, 100.0, 100.02, [], "buy"),
        (100.0, 100.0, 100.02, [], "sell"),
        (100.015, 100.0, 100.02, [], "buy"),  # inside, above the middle
        (100.01, 100.0, 100.02, [], "unknown"),  # at the middle, no change of price yet: never a random side
        (100.01, 100.0, 100.02, [100.0], "buy"),  # at the middle, an uptick
        (100.01, 100.0, 100.02, [100.02], "sell"),
        (100.01, 100.0, 100.02, [100.0, 100.01], "buy"),  # a zero tick inherits the last change
        (100.5, 100.0, 100.0, [101.0], "sell"),  # locked: the tick rule alone
        (100.5, 100.1, 100.0, [100.0], "buy"),  # crossed: the tick rule alone
        (100.5, None, 100.6, [100.0], "buy"),  # no bid: the tick rule alone
        (100.5, 100.4, None, [101.0], "sell"),  # no ask, likewise
        (100.5, None, None, [], "unknown"),
    ],
)
def test_quote_rule_then_tick_rule(price: float, bid: float | None, ask: float | None, before: list[float], side: str) -> None:
    rule = TickRule()
    for earlier in before:
        rule.side(earlier, None, None, moves=True)
    assert rule.side(price, bid, ask, moves=True) == side


def test_a_late_print_does_not_move_the_tick_rule() -> None:
    rule = TickRule()
    rule.side(100.0, None, None, moves=True)
    rule.side(90.0, None, None, moves=False)
    assert rule.side(100.01, None, None, moves=True) == "buy"


CENTS = st.integers(min_value=9_990, max_value=10_010)
QUOTED = st.one_of(st.none(), st.tuples(CENTS, CENTS))
TAPES = st.lists(st.tuples(st.integers(min_value=19_978, max_value=20_022), QUOTED, st.booleans()), max_size=40)
"""Prints: the price in half cents, the quote in cents (also locked and crossed) or none, whether it moves the tick rule."""


@given(TAPES)
def test_every_side_is_what_lee_and_readys_words_give_in_exact_arithmetic(
    tape: list[tuple[int, tuple[int, int] | None, bool]],
) -> None:
    rule, past = TickRule(), list[int]()
    for price, quoted, moves in tape:
        bid, ask = quoted or (None, None)
        told = rule.side(price / 200, None if bid is None else bid / 100, None if ask is None else ask / 100, moves=moves)
        other = next((before for before in reversed(past) if before != price), None)  # the nearest price that is another one
        expected = "unknown" if other is None else "buy" if price > other else "sell"
        if bid is not None and ask is not None and bid < ask and price != bid + ask:
            expected = "buy" if price > bid + ask else "sell"
        assert told == expected
        if moves:
            past.append(price)


@pytest.mark.parametrize(
    ("conditions", "volume", "last", "vpin"),
    [
        ("", True, True, True),
        ("@", True, True, True),
        ("F", True, True, True),
        ("I", True, False, True),
        ("F I", True, False, True),
        ("O", True, True, False),
        ("6 X", True, True, False),
        ("4", True, False, False),
        ("Z", True, False, False),
        ("L", True, True, False),
        ("T", True, False, False),
        ("T I", True, False, False),
        ("M", False, False, False),
        ("Q", False, False, False),
        ("9", False, True, False),
        ("@ 9", False, True, False),
        ("%", True, False, False),
    ],
)
def test_what_a_sale_condition_counts_for(conditions: str, volume: bool, last: bool, vpin: bool) -> None:
    count = counts(conditions)
    assert (count.volume, count.last, count.vpin) == (volume, last, vpin)


@pytest.mark.parametrize(
    ("told", "codes", "odd_lot", "last", "vpin"),
    [
        ("", "", False, True, True),
        ("    ", "", False, True, True),
        (" F  ", "F", False, True, True),
        ("   I", "I", True, False, True),
        (" F I", "F I", True, False, True),
        ("  T ", "T", False, False, False),
        ("  TI", "T I", True, False, False),
        (" FT ", "F T", False, False, False),
        (" FTI", "F T I", True, False, False),
        (" O X", "O X", False, True, False),
        (" 4 W", "4 W", False, False, False),
        ("C  I", "C I", True, False, False),
        ("F I", "F I", True, False, True),
    ],
)
def test_the_brokers_four_places_are_four_codes(told: str, codes: str, odd_lot: bool, last: bool, vpin: bool) -> None:
    """As recorded from the broker: where two codes have neighbouring places no blank stands between them."""
    count = counts(told)
    assert (count.codes, count.odd_lot, count.last, count.vpin, count.unknown) == (codes, odd_lot, last, vpin, ())


def test_a_print_is_told_with_its_codes_apart() -> None:
    feed = SymbolFeed("AAPL", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=lambda: 10**18, monotonic=lambda: 0.0)
    feed.set_ticks(True)
    feed.trade(10**9, 190.0, 10, False, False, "FINRA", " FTI")
    assert [trade.conditions for trade in feed.trades().trades] == ["F T I"] and not feed.refused


UTP_RULES = {  # consolidated update rules of the UTP specification: high and low, last (- only as the first of the day), volume
    "@ A B D F K O S X Y 1 5 6 L": "YYY",
    "4 G P R Z": "Y-Y",
    "C H I N T U V W 7": "NNY",
    "M Q": "NNN",
    "9": "YYN",
}
CTA_RULES = {  # of the CTA specification
    "E F K O X 5 6 L": "YYY",
    "4 P R Z": "Y-Y",
    "B C H I N T U V 7": "NNY",
    "M Q": "NNN",
    "9": "YYN",
}


@pytest.mark.parametrize(
    ("code", "rule", "cta"),
    [
        (code, rule, cta)
        for cta, rules in ((False, UTP_RULES), (True, CTA_RULES))
        for codes, rule in rules.items()
        for code in codes.split()
    ],
)
def test_each_tapes_own_update_rules(code: str, rule: str, cta: bool) -> None:
    later, first = (counts(code, first_of_day=first, cta=cta) for first in (False, True))
    told = ("Y" if later.range else "N") + ("Y" if later.last else "-" if first.last else "N") + ("Y" if later.volume else "N")
    assert (told, later.unknown) == (rule, ())


def test_an_average_price_on_cta_moves_nothing_and_a_bunched_trade_on_utp_does() -> None:
    assert not counts("B", cta=True).vpin and counts("B").vpin
    for symbol, last in (("SPY", 600.0), ("AAPL", 590.0), ("NOT LISTED", 600.0)):
        feed = SymbolFeed(
            symbol, full=True, depth_rows=10, quiet_seconds=5.0, market_ns=lambda: 1_800_000_000 * 10**9, monotonic=lambda: 0.0
        )
        feed.set_ticks(True)
        feed.trade(1_800_000_000, 600.0, 100, False, False, "ARCA", "@")
        feed.trade(1_800_000_000, 590.0, 100, False, False, "FINRA", "B")
        day = feed.last().day
        assert day and (day.last, day.low, day.volume) == (last, last, 200)


def test_a_late_print_is_the_last_price_only_as_the_first_of_the_day() -> None:
    assert counts("Z", first_of_day=True).last
    assert not counts("Z I", first_of_day=True).last


def test_unknown_codes_are_named() -> None:
    assert counts("@ ? F").unknown == ("?",)


def test_past_limit_and_unreported_prints_say_nothing_of_the_price() -> None:
    past, unreported = counts("@", past_limit=True), counts("@", unreported=True)
    assert past.volume and not past.last and not past.vpin
    assert not unreported.volume and not unreported.last and not unreported.vpin


def test_venues_have_one_name_and_one_letter_each() -> None:
    assert venue_name("ISLAND") == venue_name("NASDAQ") == "NASDAQ"
    assert len(VENUES) == len({venue.mic for venue in VENUES}) == 24
    letters = [venue.letter for venue in VENUES if venue.letter and venue.protected]
    assert len(set(letters)) == len(letters) == 18
    assert len(PROTECTED) == 19 and not PROTECTED & {"FINRA", "OTC", "FINC"}
    assert LETTERS["ARCA"] == "P"
    assert venue_name("NOWHERE") == "NOWHERE"
