"""Prints of a day, judged and counted, their bars and the times of their stages, against known answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import Bar
from alphatrader.core.market.bar_check import KEPT, BarCheck
from alphatrader.core.market.conditions import counts
from alphatrader.core.market.day import REMEMBERED, DayFold, Repeats, impossible
from alphatrader.core.market.quotes import BadTickError
from alphatrader.core.market.stages import Stages
from alphatrader.core.market.tape import Raw, Tape

SECOND = 1_000_000_000
OPEN = 1_800_000_000 * SECOND


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


FLAGS = {  # of UTP's table: high and low, last (1 only as the day's first), volume; whether it is in the average price; late
    **dict.fromkeys("@FABDKSYE1XO56", "YYYY-"),
    **dict.fromkeys("4GPR", "Y1YY-"),
    **dict.fromkeys("CNWHTV7?", "NNYN-"),
    **dict.fromkeys("MQ", "NNNN-"),
    "Z": "Y1YYL",
    "L": "YYYYL",
    "U": "NNYNL",
    "I": "NNYY-",
    "9": "YYNY-",
}
told = st.tuples(
    st.text("".join(FLAGS), max_size=3),
    st.integers(9900, 10_100),
    st.integers(0, 500),
    st.sampled_from(["", "", "", "past", "not"]),
)


@given(st.lists(told, max_size=30))
def test_any_day_by_the_tables_of_the_tape(tape: list[tuple[str, int, int, str]]) -> None:
    """The strictest of its codes wins. A print past the bands moves no price, one that is not reported counts for nothing."""
    day = DayFold()
    day.of("today")
    ranged, lasts, notional, priced, volume, late = list[int](), list[int](), 0, 0, 0, 0
    for codes, price, size, flag in tape:
        day.add(
            price / 100,
            size,
            counts(codes, first_of_day=not day.eligible_seen, past_limit=flag == "past", unreported=flag == "not"),
        )
        rows = [FLAGS[code] for code in codes]
        late += any(row[4] == "L" for row in rows)
        counted = all(row[2] == "Y" for row in rows) and flag != "not"
        volume += size * counted
        if not flag:
            if counted and all(row[3] == "Y" for row in rows):
                notional, priced = notional + price * size, priced + size
            if all(row[0] == "Y" for row in rows):
                ranged.append(price)
            if all(row[1] == "Y" or (row[1] == "1" and not lasts) for row in rows):
                lasts.append(price)
    said = day.message()
    assert (said.prints, said.volume, said.late) == (len(tape), volume, late)
    assert said.odd_lots == sum("I" in codes for codes, *_ in tape)
    assert (said.high, said.low) == ((max(ranged) / 100, min(ranged) / 100) if ranged else (None, None))
    assert said.last == (lasts[-1] / 100 if lasts else None)
    assert said.vwap == (pytest.approx(notional / priced / 100) if priced else None)


def test_an_odd_lot_is_of_the_average_price_but_not_one_made_elsewhere() -> None:
    """After hours, at an average or past the bands a print is of another trade than the session's, however few its shares."""
    day = DayFold()
    day.of("today")
    for price, size, codes in (
        (101, 100, ""),
        (103, 50, "I"),
        (80, 30, "T I"),
        (90, 20, "W I"),
        (95, 40, "? I"),
        (70, 10, "I Z"),
    ):
        day.add(price, size, counts(codes, first_of_day=not day.eligible_seen))
    day.add(60, 5, counts("I", past_limit=True))
    said = day.message()
    assert said.vwap == pytest.approx((101 * 100 + 103 * 50 + 70 * 10) / 160)
    assert (said.volume, said.high, said.low, said.last, said.odd_lots) == (255, 101, 101, 101, 6)


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


def test_prints_told_again_are_left_out_as_often_as_the_old_line_told_them() -> None:
    tape, quote = Tape(), (99.99, 100.01)
    for n, price in enumerate((100.01, 100.0, 100.01)):
        assert tape.add(raw(price), n, OPEN, "today", quote)
    tape.broken()
    was = tape.standing()
    told = [tape.add(raw(price), n, OPEN, "today", quote) is not None for n, price in enumerate((100.01, 100.01, 100.01, 99.99))]
    assert told == [False, False, True, True] and tape.day.duplicates == 2
    # and so it is where another stands in its place, and after a second break: of each line, what it told itself
    other = Tape()
    other.stand_as(was)
    assert other.standing() == was
    assert [other.add(raw(100.0), n, OPEN, "today", quote) is not None for n in range(2)] == [False, True]
    other.broken()
    assert [other.add(raw(100.0), n, OPEN, "today", quote) is not None for n in range(3)] == [False, False, True]


def test_a_print_after_a_reconnect_is_not_compared_with_all_that_the_old_line_told() -> None:
    compared = 0

    class Told(int):
        __hash__ = int.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return int(self) == other

    repeats = Repeats[Told]()
    for n in range(REMEMBERED):
        assert not repeats.is_repeat(Told(n))
    repeats.line_begins()
    compared = 0
    assert not any(repeats.is_repeat(Told(n)) for n in range(REMEMBERED, 2 * REMEMBERED))
    assert compared < REMEMBERED


@pytest.mark.parametrize(
    ("bid", "ask", "price", "wrong"),
    [
        (59.99, 60.01, 72.0, False),  # 20 % is still a print, also where prices may be below zero
        (59.99, 60.01, 72.01, True),
        (-37.64, -37.62, -30.11, False),
        (-37.64, -37.62, -30.09, True),
        (-37.64, -37.62, -45.17, True),
        (-0.01, 0.01, 1.0, False),  # of a price near zero a share says nothing: a point
        (-0.01, 0.01, -1.01, True),
        (0.05, 0.06, 1.05, False),
        (0.01, -0.01, 50.0, False),  # crossed: no quote to judge by
        (0.01, 0.01, 50.0, False),
    ],
)
def test_a_print_far_from_the_quote_is_none_below_zero_either(bid: float, ask: float, price: float, wrong: bool) -> None:
    assert bool(impossible(price, bid, ask, counts(""), below_zero=True)) is wrong


@pytest.mark.parametrize(
    ("bid", "ask", "price", "wrong"),
    [
        (99.0, 101.0, 120.0, False),
        (99.0, 101.0, 120.01, True),
        (99.0, 101.0, 80.0, False),
        (99.0, 101.0, 79.99, True),
        (0.04, 0.06, 0.1, True),  # no grace for a share, however cheap
        (0.0, 0.02, 5.0, False),  # a bid of nothing is no quote of a share
        (100.0, 100.0, 500.0, False),
        (None, 100.0, 500.0, False),
        (100.0, None, 500.0, False),
    ],
)
def test_a_share_of_the_quotes_middle_is_the_most_a_print_may_be_from_it(
    bid: float | None, ask: float | None, price: float, wrong: bool
) -> None:
    assert bool(impossible(price, bid, ask, counts(""))) is wrong


@pytest.mark.parametrize(("price", "wrong"), [(-0.01, True), (0.0, True), (0.0001, False), (0.99, False)])
def test_without_a_quote_any_price_over_nothing_is_one(price: float, wrong: bool) -> None:
    assert bool(impossible(price, None, None, counts(""))) is wrong


@pytest.mark.parametrize("codes", ["I", "F I", "W", "T", "Z", "4", "?"])
def test_a_print_that_is_bound_to_no_quote_is_not_judged_by_one(codes: str) -> None:
    """An odd lot trades through, an average is of other times, a late one of another quote."""
    assert impossible(140.0, 99.99, 100.01, counts(codes)) is None
    assert impossible(0.0, 99.99, 100.01, counts(codes)) is not None


@pytest.mark.parametrize("codes", ["5", "O", "X", "6", "@ 5", "L"])
def test_a_reopening_far_from_the_quote_of_before_the_halt_is_a_print(codes: str) -> None:
    tape, quote = Tape(), (99.99, 100.01)
    assert tape.add(raw(100.0), 1, OPEN, "today", quote)
    reopened = tape.add(raw(140.0, size=500_000, codes=codes), 2, OPEN, "today", quote)
    assert reopened and reopened.counts_for_last and not reopened.counts_for_vpin
    said = tape.day.message()
    assert (said.last, said.high, said.volume, said.impossible) == (140.0, 140.0, 500_100, 0)
    with pytest.raises(BadTickError, match="print at 140"):  # a regular print is made at a quote
        tape.add(raw(140.0, codes="F"), 3, OPEN, "today", quote)


def test_the_tick_rule_begins_anew_with_each_session() -> None:
    tape, none = Tape(), (None, None)
    sides = []
    for session, price in (("today", 100), ("today", 101), ("tomorrow", 104), ("tomorrow", 104), ("tomorrow", 103.9)):
        trade = tape.add(raw(price), 1, OPEN, session, none)
        sides.append(trade and trade.side)
    assert sides == ["unknown", "buy", "unknown", "unknown", "sell"]  # what the night did is nobody's initiative


def test_a_print_of_no_clock_is_refused_and_leaves_no_trace() -> None:
    tape, quote, hour = Tape(), (99.99, 100.01), 3600
    for second in (-OPEN // SECOND - 1, hour + 1, 10**10, 10**14):  # before 1970, and ahead of us
        with pytest.raises(BadTickError, match="print stamped"):
            tape.add(raw(100.01, second), 1, OPEN, "today", quote)
    assert tape.day.message().prints == 0 and tape.stages.exchange_ns is None and not tape.recent
    assert tape.add(raw(100.01, hour), 1, OPEN, "today", quote)
    assert tape.add(raw(100.01, -10 * 365 * 24 * hour), 2, OPEN, "today", quote)  # a recorded tape


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


def whole_bar(volume: float, *, low: float = 99.0, high: float = 101.0) -> BarCheck:
    """A check that heard one whole bar of five seconds from `OPEN` on."""
    check = BarCheck()
    check.add(OPEN - 5 * SECOND, 100.0, 1, volume=True, in_range=True)
    for price, size in ((low, volume / 2), (100.0, 0.0), (high, volume / 2)):
        check.add(OPEN, price, size, volume=True, in_range=True)
    check.add(OPEN + SECOND, 500.0, 9000, volume=False, in_range=False)  # an official price is of neither
    return check


@pytest.mark.parametrize(
    ("ours", "theirs", "differs"),
    [
        (1000, 1200, False),  # 200 shares at the edge of a small bar
        (1000, 1201, True),
        (1201, 1000, True),
        (9500, 10_000, False),  # 5 % of a large one
        (9499, 10_000, True),
        (10_501, 10_000, True),
    ],
)
def test_a_bars_volume_may_differ_by_its_edges(ours: float, theirs: float, differs: bool) -> None:
    check = whole_bar(ours)
    said = check.compare(Bar(OPEN, 100, 101.0, 99.0, 100, theirs, 100, 5))
    assert said == (f"volume {theirs}, from prints {ours}" if differs else None) and check.different == differs


@pytest.mark.parametrize(
    ("theirs", "differs"),
    [
        ((101.05, 99.0), None),  # a twentieth of a percent
        ((101.06, 99.0), "high 101.06, from prints 101"),
        ((100.94, 99.0), "high 100.94, from prints 101"),
        ((101.0, 99.04), None),
        ((101.0, 99.06), "low 99.06, from prints 99"),
        ((101.06, 98.9), "high 101.06, from prints 101; low 98.9, from prints 99"),
    ],
)
def test_a_bars_range_may_differ_by_a_hair(theirs: tuple[float, float], differs: str | None) -> None:
    check = whole_bar(1000)
    assert check.compare(Bar(OPEN, 100, *theirs, 100, 1000, 100, 5)) == differs == check.difference


def test_a_bar_of_ours_without_prints_has_no_range_and_prints_of_theirs_are_missed() -> None:
    check = BarCheck()
    check.add(OPEN - 5 * SECOND, 100.0, 1, volume=True, in_range=True)
    assert check.compare(Bar(OPEN, 100, 100, 100, 100, 0, 100, 0)) is None  # nothing traded
    assert check.compare(Bar(OPEN + 5 * SECOND, 90, 90, 90, 90, 500, 90, 1)) == "volume 500, from prints 0"
    check.add(OPEN + 10 * SECOND, 100.0, 50, volume=True, in_range=True)
    assert check.compare(Bar(OPEN + 10 * SECOND, 90, 90, 90, 90, 0, 90, 0)) is None  # theirs tells no trade: no range to compare
    assert check.reconciled == 3


def test_bars_of_ours_are_kept_for_half_a_minute_and_not_over_a_break() -> None:
    check = BarCheck()
    for n in range(-1, KEPT):
        check.add(OPEN + n * 5 * SECOND, 100.0, 1000, volume=True, in_range=True)
    check.add(OPEN - 300 * SECOND, 100.0, 1000, volume=True, in_range=True)  # a late one takes no newer one's place
    for n in range(KEPT):
        assert check.compare(Bar(OPEN + n * 5 * SECOND, 100, 100, 100, 100, 1000, 100, 1)) is None
    assert (check.reconciled, check.different) == (KEPT, 0)
    check.add(OPEN + 60 * SECOND, 100.0, 1000, volume=True, in_range=True)
    check.broken()
    check.add(OPEN + 54 * SECOND, 100.0, 1, volume=True, in_range=True)
    check.add(OPEN + 61 * SECOND, 100.0, 700, volume=True, in_range=True)
    assert check.compare(Bar(OPEN + 60 * SECOND, 100, 100, 100, 100, 700, 100, 1)) is None  # what was before is not in it
    assert (check.reconciled, check.different) == (KEPT + 1, 0)


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


def test_a_tape_of_whole_seconds_after_one_of_milliseconds_does_not_go_back() -> None:
    stages = Stages()
    for exchange_ns in (101 * SECOND + 900_000_000, 101 * SECOND, 101 * SECOND + 899_000_000):  # the quote line, then ticks
        stages.see(exchange_ns, 102 * SECOND, late=False)
    assert (stages.violations, stages.exchange_ns) == (0, 101 * SECOND + 900_000_000)
    stages.see(101 * SECOND - 1, 102 * SECOND, late=False)
    assert stages.violations == 1
