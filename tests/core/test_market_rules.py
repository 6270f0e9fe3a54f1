"""Rules of the market against their known answers: NBBO, round lots, bands, breakers, halts, auctions, the day, bars, stages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Bar, Imbalance
from alphatrader.core.market.auctions import closing
from alphatrader.core.market.bar_check import BarCheck
from alphatrader.core.market.book import Row
from alphatrader.core.market.breakers import MINUTE_NS, MarketBreaker
from alphatrader.core.market.conditions import counts
from alphatrader.core.market.day import DayFold
from alphatrader.core.market.halts import Halts
from alphatrader.core.market.luld import LuldEstimate, Security, bands, pause_ends_ns
from alphatrader.core.market.nbbo import nbbo, round_lot, stale
from alphatrader.core.market.quotes import BadTickError, QuoteFold
from alphatrader.core.market.stages import Stages
from alphatrader.core.market.status import Hours, InstrumentStatus, MarketWide
from alphatrader.core.market.tape import Raw, Tape

SECOND = 1_000_000_000
OPEN = 1_800_000_000 * SECOND
CLOSE = OPEN + 390 * MINUTE_NS
TIER_1, TIER_2 = Security(1), Security(2)


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


def test_venues_without_protected_quotes_are_left_out_and_named() -> None:
    rows = [Row(10.05, 100, "FINRA"), Row(10.04, 100, "MEMX"), Row(10.0, 100, "ARCA")]
    best = nbbo(rows, [], lot=100, excluded={"MEMX"})
    assert (best.bid, best.excluded) == (10.0, ("FINRA", "MEMX"))


@pytest.mark.parametrize(("ask", "locked", "crossed"), [(10.01, False, False), (10.0, True, False), (9.99, False, True)])
def test_locked_and_crossed_are_told_not_mended(ask: float, locked: bool, crossed: bool) -> None:
    best = nbbo([Row(10.0, 100, "ARCA")], [Row(ask, 100, "BATS")], lot=100)
    assert (best.bid, best.ask, best.locked, best.crossed) == (10.0, ask, locked, crossed)


@pytest.mark.parametrize(
    ("reference", "previous", "security", "doubled", "lower", "upper"),
    [
        (100, 100, TIER_1, False, 95, 105),
        (100, 100, TIER_1, True, 90, 110),
        (100, 100, TIER_2, False, 90, 110),
        (100, 100, TIER_2, True, 90, 110),  # Tier 2 over $3.00 is not doubled
        (3.01, 3.01, TIER_1, False, 2.86, 3.16),
        (3.00, 3.00, TIER_1, False, 2.40, 3.60),
        (2.00, 2.00, TIER_2, True, 1.20, 2.80),
        (0.75, 0.75, TIER_2, False, 0.60, 0.90),
        (1.00, 0.75, TIER_2, False, 0.80, 1.20),  # $0.75 itself is of the class above
        (0.50, 0.50, TIER_1, True, 0.20, 0.80),  # doubled, dollars are, too
        (0.50, 0.50, TIER_1, False, 0.35, 0.65),  # $0.15 is less than 75 %
        (0.10, 0.10, TIER_1, False, 0.03, 0.18),  # 75 % is less than $0.15; to the cent, halves up
        (50, 50, Security(2, 3.0), False, 35, 65),  # leveraged three times
        (2.90, 3.10, TIER_1, False, 2.76, 3.05),  # the class goes by the previous close, not by the price
    ],
)
def test_bands(reference: float, previous: float, security: Security, doubled: bool, lower: float, upper: float) -> None:
    band = bands(reference, previous, security, doubled=doubled)
    assert (band.lower, band.upper) == pytest.approx((lower, upper), abs=1e-9)


def test_the_reference_moves_by_a_percent_and_after_thirty_seconds() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    assert luld.estimate(OPEN, 99.99, 100.01) is None
    luld.add(OPEN, 100.0)
    for second in range(1, 30):
        luld.add(OPEN + second * SECOND, 103.0)
    at = luld.estimate(OPEN + 29 * SECOND, 103, 103.01)
    assert at and at.reference == 100.0  # far enough, too soon
    luld.add(OPEN + 30 * SECOND, 103.0)
    at = luld.estimate(OPEN + 30 * SECOND, 103, 103.01)
    assert at and at.reference == pytest.approx((100 + 30 * 103) / 31, abs=1e-4)
    moved = at.reference
    for second in range(61, 120):
        luld.add(OPEN + second * SECOND, moved * 1.005)
    at = luld.estimate(OPEN + 120 * SECOND, 103, 103.01)
    assert at and at.reference == moved  # less than a percent away


@pytest.mark.parametrize(("after_ns", "reference"), [(0, 100.0), (1, 101.0)])
def test_a_print_is_of_the_mean_for_five_minutes_and_one_percent_is_enough(after_ns: int, reference: float) -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    now = OPEN + 300 * SECOND + after_ns
    luld.add(now, 101.0)
    at = luld.estimate(now, 100.99, 101.01)
    assert at and at.reference == reference


def test_bands_double_in_the_last_25_minutes_and_not_at_the_open() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    shares = [at.share for ns in (OPEN, CLOSE - 25 * MINUTE_NS - 1, CLOSE - 25 * MINUTE_NS) if (at := luld.estimate(ns, 99, 101))]
    assert shares == [0.05, 0.05, 0.10]


def test_a_limit_state_says_since_when_and_when_it_becomes_a_pause() -> None:
    luld = LuldEstimate(TIER_1, 100.0, (OPEN, CLOSE))
    luld.add(OPEN, 100.0)
    at = luld.estimate(OPEN + SECOND, 105.0, 105.01)
    assert at and at.state == "limit_up"
    assert (at.limit_since_ns, at.pause_due_ns) == (OPEN + SECOND, OPEN + 16 * SECOND)
    at = luld.estimate(OPEN + 5 * SECOND, 105.0, 105.2)
    assert at and at.limit_since_ns == OPEN + SECOND
    at = luld.estimate(OPEN + 6 * SECOND, 100.0, 100.1)
    assert at and (at.state, at.limit_since_ns) == ("inside", None)
    at = luld.estimate(OPEN + 7 * SECOND, 94.0, 95.0)
    assert at and at.state == "limit_down"
    at = luld.estimate(OPEN + 8 * SECOND, 94.0, 96.0)
    assert at and at.state == "straddle"
    assert pause_ends_ns(OPEN, CLOSE) == OPEN + 5 * MINUTE_NS
    assert pause_ends_ns(CLOSE - 9 * MINUTE_NS, CLOSE) == CLOSE
    assert pause_ends_ns(CLOSE - 15 * MINUTE_NS, CLOSE) == CLOSE  # it would reopen as the last ten minutes begin
    assert pause_ends_ns(CLOSE - 15 * MINUTE_NS - 1, CLOSE) == CLOSE - 10 * MINUTE_NS - 1


@pytest.mark.parametrize("early", [0, 180])
def test_market_wide_breakers(early: int) -> None:
    close = CLOSE - early * MINUTE_NS
    market = MarketBreaker("SPY", 600.0, (OPEN, close))
    market.see(OPEN + SECOND, 600 * 0.9301)
    assert market.state(OPEN + SECOND).level == 0
    market.see(OPEN + 2 * SECOND, 600 * 0.93)
    state = market.state(OPEN + 3 * SECOND)
    assert state.level == 1 and state.halted_until_ns == OPEN + 2 * SECOND + 15 * MINUTE_NS
    again = OPEN + 20 * MINUTE_NS
    market.see(again, 600 * 0.92)
    assert market.state(again).halted_until_ns is None  # once a day
    late = close - 35 * MINUTE_NS
    market.see(late, 600 * 0.87)
    state = market.state(late)
    assert state.level == 2 and state.halted_until_ns is None  # from 15:25 on no more
    market.see(late + SECOND, 600 * 0.80)
    state = market.state(late + SECOND)
    assert state.day_over and state.halted_until_ns == close


def test_the_index_itself_stands_before_its_proxy() -> None:
    wide, hours = MarketWide(), Hours("2026-11-18", OPEN, CLOSE)
    wide.see("SPY", OPEN, 500.0, 600.0, hours)
    state = wide.state(OPEN)
    assert state and (state.proxy, state.level) == ("SPY", 2)
    wide.see("SPX", OPEN + 1, 6000.0, 6000.0, hours)
    wide.see("SPY", OPEN + 2, 400.0, 600.0, hours)
    wide.see("AAPL", OPEN + 3, 1.0, 600.0, hours)
    state = wide.state(OPEN + 3)
    assert state and (state.proxy, state.level) == ("SPX", 0)


def test_halts_begin_unknown_and_reopen_for_a_minute() -> None:
    halts, told = Halts(), []
    for second, value in enumerate((0, 2, 2, 0, 0, 1, -1, 7, 0)):
        changed = halts.tell(value, second * SECOND, "today")
        told.append((changed, halts.state(second * SECOND), halts.halted))
    assert told == [
        (True, "open", False),
        (True, "paused", True),
        (False, "paused", True),
        (True, "reopened", False),
        (False, "reopened", False),
        (True, "halted", True),
        (True, "unknown", None),
        (False, "unknown", None),
        (True, "reopened", False),  # it was halted when it became unknown
    ]
    assert halts.today == 2
    halts.forget()  # the line broke: nothing is known of what was before
    assert halts.tell(0, 99 * SECOND, "today") and halts.state(99 * SECOND) == "open"


def test_a_halt_told_again_after_unknown_is_the_same_halt_and_its_end_starts_the_bands_anew() -> None:
    halts = Halts()
    for second, value in enumerate((0, 1, -1, 2)):
        halts.tell(value, second * SECOND, "today")
    assert (halts.today, halts.since_ns, halts.state(4 * SECOND)) == (1, 1 * SECOND, "paused")
    hours = Hours("2027-01-15", OPEN, CLOSE)
    status, quote = InstrumentStatus("AAPL", MarketWide(), equity=True), QuoteFold()
    status.printed(OPEN, 100.0, 100.0, hours)
    for second, value in enumerate((0, 2, -1, 0)):
        status.tell_halt(value, OPEN + second * SECOND, hours)
    status.printed(OPEN + 9 * SECOND, 103.0, 100.0, hours)  # the reopening print is the reference at once
    now = OPEN + 9 * SECOND
    told = status.message(now, now, hours, quote, depth="none", depth_reason=None, prints="none")
    assert told.luld and told.luld.reference == 103.0
    assert Halts().state(0) == "unknown" and Halts().halted is None


def test_a_reopening_is_told_for_a_minute_and_none_of_a_halt_that_the_line_lost() -> None:
    halts = Halts()
    halts.tell(1, 0, "today")
    halts.tell(0, SECOND, "today")
    assert [halts.state(SECOND + after) for after in (0, 60 * SECOND - 1, 60 * SECOND)] == ["reopened", "reopened", "open"]
    halts.tell(1, 90 * SECOND, "today")
    halts.forget()
    assert (halts.stopped, halts.halted, halts.state(91 * SECOND)) == (False, None, "unknown")
    halts.tell(0, 92 * SECOND, "today")
    assert (halts.halted, halts.state(92 * SECOND)) == (False, "open")  # it may have opened long ago


@pytest.mark.parametrize(
    ("symbol", "minutes", "basis"),
    [
        ("SPY", 61, "proxies"),
        ("SPY", 60, "data"),
        ("QQQ", 11, "proxies"),
        ("QQQ", 10, "data"),
        ("VXX", 6, "proxies"),
        ("VXX", 5, "data"),
    ],
)
def test_an_imbalance_is_data_only_from_its_exchanges_time_on(symbol: str, minutes: int, basis: str) -> None:
    for close in (CLOSE, CLOSE - 180 * MINUTE_NS):
        known = {"shares": -5e5, "regulatory_shares": None, "price": 10.0, "paired": 1e6}
        at = closing(symbol, close - minutes * MINUTE_NS, close, **known)
        assert at and at.basis == basis and (at.shares is None) == (basis == "proxies")
        nothing = dict.fromkeys(known)
        silent = closing(symbol, close - 1, close, **nothing)
        assert silent and silent.basis == "proxies"
        assert closing(symbol, close, close, **known) is None
    assert closing("ES", OPEN, CLOSE, **known) is None


def test_an_imbalance_counts_from_the_instant_its_exchange_begins_and_arcas_orders_end_a_minute_before_the_close() -> None:
    begins = CLOSE - 60 * MINUTE_NS
    for told_ns, basis in ((begins - 1, "proxies"), (begins, "data")):
        at = closing(
            "SPY", CLOSE - 30 * MINUTE_NS, CLOSE, shares=5e5, regulatory_shares=None, price=None, paired=None,
            told_ns={"shares": told_ns},
        )  # fmt: skip
        assert at and (at.basis, at.entry_until_ns) == (basis, CLOSE - MINUTE_NS)


def test_halts_of_yesterday_are_not_counted_today_though_nothing_was_told_since() -> None:
    yesterday, today = (
        Hours("2027-01-14", OPEN, CLOSE),
        Hours("2027-01-15", OPEN + 24 * 60 * MINUTE_NS, CLOSE + 24 * 60 * MINUTE_NS),
    )
    status, quote = InstrumentStatus("AAPL", MarketWide(), equity=True), QuoteFold()
    for second, value in enumerate((0, 1, 0)):
        status.tell_halt(value, OPEN + second * SECOND, yesterday)

    def said(hours: Hours | None, at_ns: int) -> int:
        return status.message(at_ns, at_ns, hours, quote, depth="none", depth_reason=None, prints="none").halts_today

    assert [said(yesterday, CLOSE - 1), said(None, CLOSE + 1), said(today, today.open_ns)] == [1, 1, 0]


def test_what_was_told_of_an_earlier_auction_is_no_closing_imbalance() -> None:
    hours, status, quote = Hours("2027-01-15", OPEN, CLOSE), InstrumentStatus("QQQ", MarketWide(), equity=True), QuoteFold()

    def told(tick: int, value: float, at_ns: int) -> None:
        name = quote.price(tick, value, None) if tick == 35 else quote.size(tick, value)
        assert name is not None
        status.tell_auction(name, at_ns)

    def said(at_ns: int) -> Imbalance | None:
        return status.message(at_ns, at_ns, hours, quote, depth="none", depth_reason=None, prints="none").closing

    for tick, value in ((36, 7e4), (34, 1e5), (35, 500.0), (61, 3e4)):  # of the opening auction
        told(tick, value, OPEN - MINUTE_NS)
    at = said(CLOSE - 10 * MINUTE_NS)
    assert at and (at.basis, at.shares) == ("proxies", None)
    told(36, -2e5, CLOSE - 10 * MINUTE_NS + SECOND)  # Nasdaq's early word has no price
    at = said(CLOSE - 9 * MINUTE_NS)
    assert at and (at.basis, at.shares, at.price, at.paired, at.regulatory_shares) == ("data", -2e5, None, None, None)
    told(35, 501.5, CLOSE - 5 * MINUTE_NS)
    at = said(CLOSE - 4 * MINUTE_NS)
    assert at and (at.shares, at.price) == (-2e5, 501.5)


def test_the_day_by_update_flags() -> None:
    day = DayFold()
    day.of("today")
    for price, size, codes in ((100, 200, "O"), (101, 100, ""), (150, 10, "I"), (90, 500, "W"), (99, 100, "Z"), (98.5, 0, "M")):
        day.add(price, size, counts(codes, first_of_day=not day.eligible_seen))
    said = day.message()
    assert (said.prints, said.volume, said.high, said.low, said.last) == (6, 910, 101, 99, 101)
    assert (said.odd_lots, said.late) == (1, 1)
    assert said.vwap == pytest.approx((100 * 200 + 101 * 100 + 150 * 10 + 99 * 100) / 410)
    day.of("tomorrow")
    assert day.message().prints == 0 and day.message().high is None


def raw(price: float, second: int = 0, size: float = 100, codes: str = "") -> Raw:
    return Raw(OPEN + second * SECOND, price, size, "ISLAND", codes, past_limit=False, unreported=False)


def test_a_tape_counts_what_is_wrong_with_its_prints() -> None:
    tape, quote = Tape(), (99.99, 100.01)
    first = tape.add(raw(100.01), 1, OPEN, "today", quote)
    assert first and (first.side, first.rule, first.bid, first.ask, first.venue) == ("buy", "quote", 99.99, 100.01, "NASDAQ")
    assert tape.add(raw(100.01), 2, OPEN, "today", quote)  # equal prints on a line that stands are two prints
    tape.broken()
    assert tape.add(raw(100.01), 3, OPEN, "today", quote) is None
    for wrong in (raw(0.0), raw(130.0), raw(float("nan")), raw(100.0, size=-1)):
        with pytest.raises(BadTickError):
            tape.add(wrong, 4, OPEN, "today", quote)
    assert tape.add(raw(130.0, codes="W"), 4, OPEN, "today", quote)  # an average price moves nothing and may be far
    said = tape.day.message()
    assert (said.prints, said.duplicates, said.impossible, said.last) == (3, 1, 2, 100.01)


def test_which_rule_gave_the_side() -> None:
    tape = Tape()
    steps = [
        ((99, 101), 100, "unknown", "none"),
        ((99, 101), 100.5, "buy", "quote"),
        ((99, 101), 100, "sell", "midpoint"),
        ((101, 101), 100.2, "buy", "tick"),
        ((102, 101), 100.1, "sell", "tick"),
        ((None, None), 100.1, "sell", "tick"),
    ]
    for n, (quote, price, side, rule) in enumerate(steps):
        trade = tape.add(raw(price, n), n, OPEN, "today", quote)
        assert trade and (trade.side, trade.rule) == (side, rule)


def test_bars_are_compared_only_where_ours_is_whole() -> None:
    check = BarCheck()
    for second in range(12):
        check.add(OPEN + second * SECOND, 100 + second / 100, 100, volume=True, in_range=True)

    def bar(second: int, volume: float, high: float) -> Bar:
        return Bar(OPEN + second * SECOND, 100, high, 100.05, 100, volume, 100, 5)

    assert check.compare(bar(0, 9999, 100.04)) is None and check.reconciled == 0  # heard only from within it
    assert check.compare(bar(5, 500, 100.09)) is None and (check.reconciled, check.different) == (1, 0)
    assert check.compare(bar(10, 2000, 101.0)) == "volume 2000, from prints 200; high 101, from prints 100.11"
    assert check.different == 1
    check.broken()
    assert check.compare(bar(15, 500, 100)) is None and check.reconciled == 2


def test_exchange_time_going_back_is_a_violation_and_the_offset_is_the_least_of_a_minute() -> None:
    stages = Stages()
    stages.see(100 * SECOND, 100 * SECOND + 700, late=False)
    stages.see(101 * SECOND, 101 * SECOND + 300, late=False)
    stages.see(99 * SECOND, 101 * SECOND + 400, late=True)
    assert (stages.offset_ns, stages.violations, stages.exchange_ns) == (300, 0, 101 * SECOND)
    stages.see(100 * SECOND, 101 * SECOND + 500, late=False)
    assert stages.violations == 1
    stages.see(170 * SECOND, 170 * SECOND + 900, late=False)
    assert stages.offset_ns == 900
