"""Rules of the market against their known answers: breakers, halts, closing auctions, and what a halt does to bands."""

from __future__ import annotations

import pytest

from alphatrader.contract.messages.market import Imbalance
from alphatrader.core.market.auctions import closing
from alphatrader.core.market.breakers import MINUTE_NS, MarketBreaker
from alphatrader.core.market.halts import Halts
from alphatrader.core.market.quotes import QuoteFold
from alphatrader.core.market.status import Hours, HoursNow, InstrumentStatus, MarketWide

SECOND = 1_000_000_000
OPEN = 1_800_000_000 * SECOND
CLOSE = OPEN + 390 * MINUTE_NS


@pytest.mark.parametrize("early", [0, 180])
def test_market_wide_breakers(early: int) -> None:
    close = CLOSE - early * MINUTE_NS
    market = MarketBreaker("SPY", 600.0, (OPEN, close))
    for outside in (OPEN - 1, close):  # thin trade before and after the session halts nothing
        market.see(outside, 600 * 0.79)
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
    assert state.level == 3 and state.day_over and state.halted_until_ns == close
    market.see(late + 2 * SECOND, 600 * 0.99)
    assert market.state(late + 2 * SECOND) == state  # nothing trades any more


@pytest.mark.parametrize(("before_close", "halted"), [(35 * MINUTE_NS + 1, True), (35 * MINUTE_NS, False)])
@pytest.mark.parametrize(("share", "level"), [(0.93, 1), (0.87, 2)])
def test_a_breaker_halts_until_15_25_and_not_from_then_on(before_close: int, halted: bool, share: float, level: int) -> None:
    market, at = MarketBreaker("SPY", 600.0, (OPEN, CLOSE)), CLOSE - before_close
    market.see(at, 600 * share)
    state = market.state(at)
    assert (state.level, state.halted_until_ns) == (level, at + 15 * MINUTE_NS if halted else None)
    assert market.state(at + 15 * MINUTE_NS).halted_until_ns is None


def test_a_day_that_a_breaker_ended_says_nothing_of_the_next() -> None:
    day = 24 * 60 * MINUTE_NS
    friday, monday = Hours("2027-01-15", OPEN, CLOSE), Hours("2027-01-18", OPEN + 3 * day, CLOSE + 3 * day)
    wide, quote = MarketWide(), QuoteFold()
    stock = InstrumentStatus("AAPL", wide, equity=True)
    stock.tell_halt(0, OPEN, friday)

    def said(at_ns: int, hours: Hours) -> tuple[bool | None, int | None]:
        told = stock.message(at_ns, at_ns, hours, quote, depth="none", depth_reason=None, prints="none")
        return told.halted, told.breaker and told.breaker.level

    wide.see("SPY", OPEN, 480.0, 600.0, friday)
    assert said(OPEN + SECOND, friday) == said(CLOSE + SECOND, friday) == (True, 3)
    assert said(monday.open_ns - 60 * MINUTE_NS, monday) == (False, None)
    # before the open the broker may still tell Friday's previous close: by it the market would be down 20 % again
    wide.see("SPY", monday.open_ns - 60 * MINUTE_NS, 480.0, 600.0, monday)
    wide.see("SPY", monday.open_ns, 480.0, 480.0, monday)
    assert said(monday.open_ns, monday) == (False, 0)


def test_the_session_of_an_instant_is_looked_up_once_a_second_and_again_where_the_clock_goes_back() -> None:
    asked = list[int]()

    def look_up(ns: int) -> Hours | None:
        asked.append(ns)
        return Hours("today", OPEN, CLOSE) if ns < CLOSE else None

    now = HoursNow(look_up)
    first = now.standing()
    assert [now.regular(ns) for ns in (OPEN - 1, OPEN, OPEN - 2 + SECOND)] == [False, True, True] and asked == [OPEN - 1]
    assert now.regular(OPEN - 1 + SECOND) and asked == [OPEN - 1, OPEN - 1 + SECOND]
    assert not now.regular(OPEN - 2) and asked[2:] == [OPEN - 2]
    assert now.at(OPEN - 2) is not None and len(asked) == 3
    assert now.at(CLOSE) is None and now.regular(CLOSE)  # no session there: every check is on
    now.stand_as(first)
    assert now.standing() == first and HoursNow(None).regular(0)


def test_nobody_but_a_proxy_in_a_session_with_a_previous_close_moves_a_breaker() -> None:
    wide, hours = MarketWide(), Hours("2026-11-18", OPEN, CLOSE)
    assert wide.state(OPEN, None) is None
    for symbol, at, close, session in (
        ("AAPL", OPEN, 600.0, hours),
        ("SPY", OPEN, None, hours),
        ("SPY", OPEN, 0.0, hours),
        ("SPY", OPEN, -1.0, hours),
        ("SPY", OPEN - 1, 600.0, hours),
        ("SPY", OPEN, 600.0, None),
    ):
        wide.see(symbol, at, 400.0, close, session)
        assert wide.state(OPEN, hours) is None
    wide.see("SPY", OPEN, 400.0, 600.0, hours)
    state = wide.state(CLOSE, None)
    assert state and state.day_over  # where no session is known, what was reached last stands


def test_the_index_itself_stands_before_its_proxy() -> None:
    wide, hours = MarketWide(), Hours("2026-11-18", OPEN, CLOSE)
    wide.see("SPY", OPEN, 500.0, 600.0, hours)
    state = wide.state(OPEN, hours)
    assert state and (state.proxy, state.level) == ("SPY", 2)
    wide.see("SPX", OPEN + 1, 6000.0, 6000.0, hours)
    wide.see("SPY", OPEN + 2, 400.0, 600.0, hours)
    wide.see("AAPL", OPEN + 3, 1.0, 600.0, hours)
    state = wide.state(OPEN + 3, hours)
    assert state and (state.proxy, state.level) == ("SPX", 0)


def test_while_the_index_is_silent_its_proxy_stands_but_not_for_the_halt_that_the_index_began() -> None:
    wide, hours = MarketWide(), Hours("2026-11-18", OPEN, CLOSE)

    def said(at_ns: int) -> tuple[str, int, bool] | None:
        state = wide.state(at_ns, hours)
        return state and (state.proxy, state.level, state.halted_until_ns is not None)

    wide.see("SPX", OPEN, 5999.0, 6000.0, hours)
    silent = OPEN + 61 * SECOND
    assert said(silent) == ("SPX", 0, False)  # nobody else speaks
    wide.see("SPY", silent, 555.0, 600.0, hours)
    assert [said(OPEN + 60 * SECOND), said(silent)] == [("SPX", 0, False), ("SPY", 1, True)]
    later = silent + 20 * MINUTE_NS
    wide.see("SPX", later, 5570.0, 6000.0, hours)
    wide.see("SPY", later + 70 * SECOND, 559.0, 600.0, hours)
    assert said(later + 70 * SECOND) == ("SPX", 1, True)  # no index is told while all is halted
    wide.see("SPX", CLOSE - SECOND, 4800.0, 6000.0, hours)
    wide.see("SPY", CLOSE - 1, 490.0, 600.0, hours)
    assert said(CLOSE + 2 * MINUTE_NS) == ("SPX", 3, False)  # nor on a day that it ended


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
    assert (halts.halted, halts.state(91 * SECOND)) == (None, "unknown")
    halts.tell(0, 92 * SECOND, "today")
    assert (halts.halted, halts.state(92 * SECOND)) == (False, "open")  # it may have opened long ago


def test_what_was_open_before_it_was_unknown_does_not_reopen() -> None:
    halts = Halts()
    for second, value in enumerate((1, 0, -1, 0)):
        halts.tell(value, second * 100 * SECOND)
    assert (halts.state(300 * SECOND), halts.today, halts.since_ns) == ("open", 1, None)


def test_a_halt_that_the_new_line_tells_again_is_the_one_that_the_old_line_told() -> None:
    halts = Halts()
    halts.tell(2, 10 * SECOND, "today")
    for second, said in ((20, 2), (30, -1), (40, 1)):
        halts.forget()
        halts.tell(said, second * SECOND, "today")
    assert (halts.today, halts.since_ns, halts.state(40 * SECOND)) == (1, 10 * SECOND, "halted")
    # one that ended is another, also where its end was told by the new line
    halts.forget()
    halts.tell(0, 50 * SECOND, "today")
    halts.tell(2, 60 * SECOND, "today")
    assert (halts.today, halts.since_ns, halts.state(60 * SECOND)) == (2, 60 * SECOND, "paused")
    # of another session a halt that the line lost is not known to be the same, one that it told all along is
    for lost, today, since in ((True, 1, 90 * SECOND), (False, 0, 60 * SECOND)):
        overnight = Halts()
        overnight.tell(1, 60 * SECOND, "today")
        if lost:
            overnight.forget()
        overnight.tell(1, 90 * SECOND, "tomorrow")
        assert (overnight.today, overnight.since_ns) == (today, since)
    # and an unknown state that turns out to be a halt began when it was told
    other = Halts()
    other.tell(-1, 10 * SECOND, "today")
    other.tell(1, 20 * SECOND, "today")
    assert (other.today, other.since_ns) == (1, 20 * SECOND)


def test_the_bands_start_anew_after_a_halt_whose_end_a_new_line_tells() -> None:
    hours, status, quote = Hours("2027-01-15", OPEN, CLOSE), InstrumentStatus("AAPL", MarketWide(), equity=True), QuoteFold()
    status.printed(OPEN, 100.0, 100.0, hours)
    status.tell_halt(2, OPEN + SECOND, hours)
    status.halts.forget()
    status.tell_halt(0, OPEN + 2 * SECOND, hours)
    now = OPEN + 3 * SECOND
    status.printed(now, 100.9, 100.0, hours)
    told = status.message(now, now, hours, quote, depth="none", depth_reason=None, prints="none")
    assert told.luld and told.luld.reference == 100.9


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


@pytest.mark.parametrize(
    ("exchange", "publishes", "orders_end"), [("NASDAQ", 10, 5), ("NYSE", 10, 10), ("ARCA", 60, 1), ("BATS", 5, 5)]
)
@pytest.mark.parametrize("close", [CLOSE, CLOSE - 180 * MINUTE_NS])
def test_each_exchanges_own_minutes_before_the_close(exchange: str, publishes: int, orders_end: int, close: int) -> None:
    nothing = dict.fromkeys(("shares", "regulatory_shares", "price", "paired"))
    at = closing("ANY", OPEN, close, listed_on=exchange, **nothing)
    assert at == Imbalance(exchange, "proxies", close - publishes * MINUTE_NS, close - orders_end * MINUTE_NS)
    assert closing("ANY", OPEN, close, listed_on="NOWHERE", **nothing) is None


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
