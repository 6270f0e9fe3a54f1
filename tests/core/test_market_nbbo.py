"""The consolidated best bid and offer against its known answers: round lots, odd lots, silent and unprotected venues, crosses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.core.market.book import Row
from alphatrader.core.market.nbbo import nbbo, round_lot, stale


@pytest.mark.parametrize(
    ("price", "lot"), [(1, 100), (250, 100), (250.01, 40), (1000, 40), (1000.01, 10), (10_000, 10), (10_001, 1)]
)
def test_round_lots_by_price(price: float, lot: int) -> None:
    assert round_lot(price) == lot


def test_odd_lots_of_a_venue_count_at_the_worst_price_they_need() -> None:
    bids = [Row(10.03, 40, "ARCA"), Row(10.02, 30, "ARCA"), Row(10.01, 50, "ARCA"), Row(10.00, 300, "NASDAQ")]
    best = nbbo(bids, [Row(10.05, 250, "BATS")], lot=100)
    assert (best.bid, best.bid_size, best.bid_venues) == (10.01, 100, ("ARCA",))
    assert (best.ask, best.ask_size, best.ask_venues) == (10.05, 200, ("BATS",))


def test_sizes_at_the_best_are_added_over_venues() -> None:
    best = nbbo([Row(10, 100, "ARCA"), Row(10, 300, "IEX"), Row(9.99, 900, "NASDAQ")], [], lot=100)
    assert (best.bid, best.bid_size, best.bid_venues, best.ask) == (10, 400, ("IEX", "ARCA"), None)


ROWS = st.lists(
    st.builds(
        Row,
        st.integers(min_value=9_990, max_value=10_010).map(lambda cents: cents / 100),
        st.sampled_from((0.0, 1.0, 30.0, 40.0, 60.0, 100.0, 250.0, 700.0)),
        st.sampled_from(("ARCA", "NASDAQ", "IEX", "FINRA")),
    ),
    max_size=14,
)


@given(ROWS, st.sampled_from((100, 40, 10, 1)), st.booleans())
def test_the_best_bid_and_offer_by_trying_every_price(rows: list[Row], lot: int, bid: bool) -> None:
    """A venue protects the best price at which, and better, it shows a round lot; the best of them is the nation's."""
    per_venue = {}
    for venue in ("ARCA", "NASDAQ", "IEX"):
        for price in sorted({row.price for row in rows}, reverse=bid):
            reach = [row.size for row in rows if row.venue == venue and (row.price >= price if bid else row.price <= price)]
            if sum(reach) >= lot:
                per_venue[venue] = (price, sum(reach) // lot * lot)
                break
    best = (max if bid else min)((price for price, _ in per_venue.values()), default=None)
    size = sum(shares for price, shares in per_venue.values() if price == best)
    told = nbbo(rows if bid else (), () if bid else rows, lot=lot)
    assert ((told.bid, told.bid_size) if bid else (told.ask, told.ask_size)) == (best, size)
    assert set(told.bid_venues if bid else told.ask_venues) == {venue for venue, (price, _) in per_venue.items() if price == best}


def test_all_rows_of_a_venue_at_its_best_price_count() -> None:
    rows = [Row(10, 100, "NASDAQ", "NITE"), Row(10, 260, "NASDAQ", "NSDQ"), Row(9.99, 900, "NASDAQ"), Row(10, 50, "ARCA")]
    best = nbbo(rows, [], lot=100)
    assert (best.bid, best.bid_size, best.bid_venues) == (10, 300, ("NASDAQ",))
    odd = [Row(10.01, 60, "NASDAQ", "NITE"), Row(10, 70, "NASDAQ", "NITE"), Row(10, 80, "NASDAQ", "NSDQ")]
    best = nbbo([], [Row(-row.price + 20, row.size, row.venue, row.market_maker) for row in odd], lot=100)
    assert (best.ask, best.ask_size) == (10, 200)


@pytest.mark.parametrize(
    ("arca", "bats", "heard_ago", "left_out"),
    [
        ((99.99, 100.01), (99.99, 100.02), (600, 1), set()),  # stands still at the best: it is good
        ((99.97, 100.05), (99.99, 100.02), (600, 1), set()),  # behind the best: it harms nobody
        ((99.99, 100.01), (100.02, 100.03), (600, 1), {"ARCA"}),  # its ask would cross
        ((99.99, 100.01), (100.01, 100.03), (600, 1), {"ARCA"}),  # its ask would lock
        ((99.99, 100.01), (99.97, 99.98), (600, 1), {"ARCA"}),  # its bid would cross
        ((99.99, 100.01), (99.97, 99.99), (600, 1), {"ARCA"}),  # its bid would lock
        ((99.99, 100.01), (100.02, 100.03), (4, 1), set()),  # heard of late: a crossed market is told, not mended
        ((99.99, 100.01), (99.99, 100.01), (600, 60), {"ARCA", "BATS"}),  # the whole line is silent
        ((99.99, 100.01), (100.02, 100.03), (600, 60), {"ARCA", "BATS"}),
    ],
)
def test_a_silent_venue_is_left_out_only_when_the_others_moved_through_its_quote(
    arca: tuple[float, float], bats: tuple[float, float], heard_ago: tuple[float, float], left_out: set[str]
) -> None:
    bids, asks = ([Row(arca[side], 100, "ARCA"), Row(bats[side], 100, "BATS")] for side in (0, 1))
    heard = {"ARCA": 1000.0 - heard_ago[0], "BATS": 1000.0 - heard_ago[1]}
    assert stale(bids, asks, heard, 1000.0, lot=100) == left_out


HEARD = st.dictionaries(st.sampled_from(("ARCA", "NASDAQ", "IEX")), st.sampled_from((100.0, 95.0, 94.9, 40.0)), min_size=1)


@given(ROWS, ROWS, HEARD, st.sampled_from((100, 40)), st.booleans())
def test_stale_venues_by_trying_every_price(
    bids: list[Row], asks: list[Row], heard: dict[str, float], lot: int, continuous: bool
) -> None:
    """Silent for over 5 s, and its best round lot is at or through the best of those that are not."""
    silent = {venue for venue, at in heard.items() if at < 95.0}

    def best(rows: list[Row], venue: str, *, bid: bool) -> float | None:
        of = [row for row in rows if row.venue == venue]
        for price in sorted({row.price for row in of}, reverse=bid):
            if sum(row.size for row in of if (row.price >= price if bid else row.price <= price)) >= lot:
                return price
        return None

    speak = {"ARCA", "NASDAQ", "IEX"} - silent
    top = max((price for venue in speak if (price := best(bids, venue, bid=True)) is not None), default=float("-inf"))
    bottom = min((price for venue in speak if (price := best(asks, venue, bid=False)) is not None), default=float("inf"))
    through = set()
    for venue in silent:
        its_bid, its_ask = best(bids, venue, bid=True), best(asks, venue, bid=False)
        if (its_bid is not None and its_bid >= bottom) or (its_ask is not None and its_ask <= top):
            through.add(venue)
    expected = silent if len(silent) == len(heard) else through if continuous else set()
    assert stale(bids, asks, heard, 100.0, lot=lot, continuous=continuous) == expected


def test_a_market_without_a_side_is_neither_locked_nor_crossed() -> None:
    assert [(best.locked, best.crossed) for best in (nbbo([], [], lot=100), nbbo([Row(10.0, 100, "ARCA")], [], lot=100))] == [
        (False, False),
        (False, False),
    ]
    none = nbbo([Row(10.0, 0, "FINRA")], [Row(10.0, 0, "ARCA")], lot=1)
    assert (none.bid, none.ask, none.excluded) == (None, None, ())  # a row of no size is nobody's quote


def test_venues_without_protected_quotes_are_left_out_and_named() -> None:
    rows = [Row(10.05, 100, "FINRA"), Row(10.04, 100, "MEMX"), Row(10.0, 100, "ARCA")]
    best = nbbo(rows, [], lot=100, excluded={"MEMX"})
    assert (best.bid, best.excluded) == (10.0, ("FINRA", "MEMX"))


@pytest.mark.parametrize(("ask", "locked", "crossed"), [(10.01, False, False), (10.0, True, False), (9.99, False, True)])
def test_locked_and_crossed_are_told_not_mended(ask: float, locked: bool, crossed: bool) -> None:
    best = nbbo([Row(10.0, 100, "ARCA")], [Row(ask, 100, "BATS")], lot=100)
    assert (best.bid, best.ask, best.locked, best.crossed) == (10.0, ask, locked, crossed)
