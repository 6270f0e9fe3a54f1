"""Hidden prints, minutes, shards, and how a symbol's state takes what comes out of order."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.market import (
    Bar,
    BookEvent,
    GapEvent,
    Level,
    MakerRow,
    MakersEvent,
    QuoteEvent,
    StatusEvent,
)
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import measures, shards
from alphatrader.core.analytics.flow import MIN_WATCH_NS, FlowWindow, Shares
from alphatrader.core.analytics.makers import makers
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.minutes import MINUTE_NS, Minutes
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.symbol import VERSION, SymbolState, checkpoint, restored
from alphatrader.core.market.hidden_prints import HiddenDetector
from alphatrader.core.signals.atr import wilder_atr
from tests.core.symbol_states import HOURS, SECOND, state, trade

# -- hidden --------------------------------------------------------------------------------------------------------------


def test_hidden_is_strictly_inside_the_quote_on_a_lit_venue() -> None:
    detector = HiddenDetector()
    for price, venue, side in (
        (10.00, "ARCA", "sell"),  # at the bid
        (10.04, "ARCA", "buy"),  # at the ask
        (10.01, "ARCA", "sell"),  # inside
        (10.02, "IEX", "buy"),  # at mid
        (10.01, "FINRA", "sell"),  # off exchange: dark, not hidden
    ):
        detector.add(SECOND, price, 100, venue, side, 10.00, 10.04)
    assert detector.totals(SECOND) == (400, 100, 100, 100)
    # a locked quote has no inside
    detector.add(SECOND, 10.0, 100, "ARCA", "buy", 10.0, 10.0)
    assert detector.totals(SECOND)[0] == 400
    assert detector.totals(400 * SECOND) == (0, 0, 0, 0)


# -- flow, minutes, ATR ----------------------------------------------------------------------------------------------------


def test_flow_is_the_signed_share_of_its_window_and_needs_half_a_minute() -> None:
    flow = FlowWindow(180)
    flow.add(0, 100, "buy")
    assert flow.share(SECOND, Shares(60)) is None
    flow.add(MIN_WATCH_NS, 300, "sell")
    flow.add(MIN_WATCH_NS, 100, "unknown")
    assert flow.share(MIN_WATCH_NS, Shares(60)) == (100 - 300) / 500
    assert flow.share(MIN_WATCH_NS + 40 * SECOND, Shares(60)) == -300 / 400
    assert flow.share(MIN_WATCH_NS + 300 * SECOND, Shares(60)) is None
    flow.reset()
    assert flow.share(MIN_WATCH_NS, Shares(60)) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(1, 50), st.sampled_from(["buy", "sell", "unknown"])), min_size=1, max_size=60
    )
)
def test_seconds_that_are_over_are_summed_once_and_give_what_all_prints_give(prints: list[tuple[int, int, str]]) -> None:
    """Looked at after each print, later too, and over a hole: the sums that are kept are those of the prints themselves."""
    flow, kept, now, told = FlowWindow(30), [Shares(seconds) for seconds in (3, 10, 30)], 100 * SECOND, []
    for number, (wait, shares, side) in enumerate(prints):
        now += wait * SECOND
        if number == 40:
            flow.reset()
            told.clear()
        flow.add(now, shares, side)
        told.append((now, shares, side))
        flow.since_ns = now - MIN_WATCH_NS
        for later in (0, 2 * SECOND):
            for shares_of, seconds in zip(kept, (3, 10, 30), strict=True):
                counted = [one for one in told if one[0] // SECOND > (now + later) // SECOND - seconds]
                signed = sum(size * {"buy": 1, "sell": -1, "unknown": 0}[which] for _, size, which in counted)
                expected = signed / sum(size for _, size, _ in counted) if counted else None
                assert flow.share(now + later, shares_of) == expected


def test_wilders_atr_with_period_three_by_hand() -> None:
    bars = [(10, 9, 9.5), (11, 9.5, 10.5), (11, 10, 10.2), (12, 10.4, 11.9), (12.1, 11.5, 11.6)]
    ranges = [11 - 9.5, 11 - 10, 12 - 10.2, 12.1 - 11.5]
    seed = sum(ranges[:3]) / 3
    assert wilder_atr(bars[:3], 3) is None
    assert wilder_atr(bars[:4], 3) == pytest.approx(seed)
    assert wilder_atr(bars, 3) == pytest.approx((seed * 2 + ranges[3]) / 3)
    # a gap counts from the previous close
    assert wilder_atr([(10, 9, 9), (15, 14, 14.5)], 1) == 6.0


def bar(start: int, close: float) -> Bar:
    return Bar(start, close, close + 0.5, close - 0.5, close, 100.0, close, 1)


def test_minutes_are_folded_from_prints_and_history_replaces_the_minute_seen_in_part() -> None:
    minutes = Minutes()
    for second, price in ((90, 10.0), (100, 12.0), (110, 9.0), (125, 11.0), (190, 10.5)):
        minutes.add_print(second * SECOND, price)
    assert minutes.bars == [(MINUTE_NS, 10.0, 12.0, 9.0, 9.0), (2 * MINUTE_NS, 11.0, 11.0, 11.0, 11.0)]
    # when history comes, minute one is theirs; minute three, which runs, is ours
    assert minutes.warm_up([bar(i * MINUTE_NS, 50.0 + i) for i in range(4)]) == 3
    assert [b[0] // MINUTE_NS for b in minutes.bars] == [0, 1, 2] and minutes.bars[1][4] == 51.0
    assert minutes.current is not None and minutes.current[0] == 3 * MINUTE_NS
    assert minutes.closes_ago(190 * SECOND, 60) == 11.0
    assert minutes.closes_ago(190 * SECOND, 3000) is None


def test_a_night_splits_the_minutes_and_no_atr_spans_it() -> None:
    minutes = Minutes()
    night = 1000 * MINUTE_NS
    minutes.warm_up([bar(i * MINUTE_NS, 100.0) for i in range(20)] + [bar(night + i * MINUTE_NS, 150.0) for i in range(5)])
    assert [len(run) for run in minutes.runs()] == [20, 5]
    assert minutes.atr(14) == pytest.approx(1.0)
    assert minutes.atr(4) == pytest.approx(1.0)


# -- a symbol's state ------------------------------------------------------------------------------------------------------


def shares(of: SymbolState) -> int:
    return (of.vpin.buy + of.vpin.sell) // 2 + of.vpin.filled * (of.vpin.size or 0)


def test_duplicates_and_late_events_are_ignored_and_counted() -> None:
    folded = state()
    for seq in (1, 2, 2, 1, 3):
        folded.apply(trade(seq, seq), HOURS)
    assert shares(folded) == 300 and folded.counts["duplicate or late events ignored"] == 2


def test_a_feed_that_was_started_anew_is_a_break_and_not_a_duplicate() -> None:
    folded = state()
    folded.apply(trade(900, 10), HOURS)
    assert folded.apply(trade(1, 20), HOURS) is True
    assert folded.counts["feed restarts"] == 1 and shares(folded) == 200


def test_only_prints_that_count_and_only_regular_hours_reach_vpin() -> None:
    folded = state()
    folded.apply(trade(1, 5, vpin=False), HOURS)
    folded.apply(trade(2, 6, ts_ns=99), (100, 200))
    folded.apply(trade(3, 7, ts_ns=200), (100, 200))
    folded.apply(trade(4, 8, ts_ns=150), None)
    assert shares(folded) == 0 and folded.counts["prints outside regular hours ignored"] == 3
    # a print without a time, received at some real one
    assert folded.apply(trade(5, 10**18, ts_ns=0), HOURS) and shares(folded) == 0 and folded.seq == 5
    assert folded.counts["prints with an impossible time refused"] == 1
    folded.apply(trade(6, 9, ts_ns=199, last=False), (100, 200))
    assert shares(folded) == 100 and folded.last_price == 10.0


def test_a_gap_starts_the_order_flow_anew_and_one_source_feeds_it() -> None:
    folded = state()
    level = (Level(9.99, 5.0),), (Level(10.01, 5.0),)
    folded.apply(QuoteEvent(1, 0, 0, 9.99, 5.0, 10.01, 5.0), HOURS)
    folded.apply(QuoteEvent(2, 1, 1, 9.99, 9.0, 10.01, 5.0), HOURS)
    folded.apply(BookEvent(3, 2, 2, True, *level, 0, 0), HOURS)  # the same change again, by depth
    assert folded.ofi.value()[2] == 1
    folded.apply(GapEvent(4, 3, "resubscribed"), HOURS)
    assert folded.ofi.previous is None and folded.book is None and folded.counts["gaps announced"] == 1
    # without a quote feed, the book's best feeds it
    folded.apply(BookEvent(5, 4, 4, True, *level, 0, 0), HOURS)
    folded.apply(BookEvent(6, 5, 5, True, (Level(9.99, 9.0),), level[1], 0, 0), HOURS)
    assert folded.ofi.value()[1] == 1.0


def test_a_checkpoint_is_the_state_and_another_version_is_not_read() -> None:
    folded = state()
    for seq in range(1, 60):
        folded.apply(trade(seq, seq * SECOND, price=10 + seq % 3, venue=("ARCA", "BATS", "IEX")[seq % 3]), HOURS)
        folded.apply(QuoteEvent(seq + 1000, 0, seq * SECOND, 9.99, float(seq), 10.01, 5.0), HOURS) if seq == 59 else None
    plain = json.loads(json.dumps(checkpoint(folded)))
    assert restored(plain, VERSION, Analytics()) == folded
    assert restored(plain, VERSION + 1, Analytics()) is None
    assert restored(plain, VERSION, Analytics(vpin_buckets=20)) is None
    assert restored({"symbol": "SPY"}, VERSION, Analytics()) is None


def test_a_number_that_is_none_stops_at_the_gate() -> None:
    made = measures.make("obi", state(), 0, math.nan, None, units="", convention="", n=0, components={"x": math.inf}, ages={})
    assert made.value is None and not made.ready and made.reason == "computed nan" and made.components == {"x": None}


def test_shards_share_the_symbols_once_each() -> None:
    symbols = tuple("ABCDEFG")
    assert sorted(sum((shards.select(symbols, shard, 3) for shard in (1, 2, 3)), ())) == list(symbols)
    assert shards.select(symbols, 1, 1) == symbols
    for shard in (0, 4):
        with pytest.raises(ValueError, match="no shard"):
            shards.select(symbols, shard, 3)


def test_a_gap_of_the_depth_alone_leaves_what_prints_and_quotes_feed() -> None:
    folded = state()
    bids, asks = (Level(9.99, 5.0),), (Level(10.01, 5.0),)
    folded.apply(QuoteEvent(1, 0, 0, 9.99, 5.0, 10.01, 5.0), HOURS)
    folded.apply(QuoteEvent(2, 1, 1, 9.99, 9.0, 10.01, 5.0), HOURS)
    folded.apply(trade(3, 2, venue="ARCA"), HOURS)
    folded.apply(BookEvent(4, 3, 3, True, bids, asks, 0, 0), HOURS)
    # when the depth moves to another symbol, then its book is gone and nothing else
    folded.apply(GapEvent(5, 4, "depth given up", depth_only=True), HOURS)
    assert folded.book is None and folded.ofi.value()[2] == 1 and (folded.bid, folded.ask) == (9.99, 10.01)
    assert folded.flow.slots and folded.sweeps.since_ns is not None
    assert folded.counts == {"depth gaps announced": 1}
    # but one that comes with events missing before it is a whole gap, and a repeated one is none
    folded.apply(GapEvent(9, 5, "depth subscribed", depth_only=True), HOURS)
    assert folded.counts["sequence gaps"] == 1 and folded.bid is None and not folded.flow.slots
    assert folded.apply(GapEvent(9, 5, "depth subscribed", depth_only=True), HOURS) is False
    # and where the book fed the order flow, then its gap ends that
    folded.apply(BookEvent(10, 6, 6, True, bids, asks, 0, 0), HOURS)
    folded.apply(GapEvent(11, 7, "depth subscribed", depth_only=True), HOURS)
    assert folded.ofi.previous is None and folded.bid is None


def test_makers_are_a_number_only_with_a_book_that_names_them() -> None:
    folded = state()
    asks = (Level(10.01, 5.0, "ARCA"),)

    def told(age: float = 0.0) -> Metric:
        return makers(folded, 5, lambda instant_ns: None if instant_ns is None else age, None, folded.names)

    folded.apply(BookEvent(1, 1, 1, True, (Level(9.99, 5.0, "NASDAQ"),), asks, 0, 0), HOURS)
    assert not told().ready and told().reason == "no depth line that names market makers"
    bids, offers = (MakerRow(9.99, 300, "NITE"), MakerRow(9.99, 500, "NSDQ")), (MakerRow(10.01, 100, "NITE"),)
    for second in range(3):
        folded.apply(MakersEvent(2 + second, 2, 2 + second * SECOND, True, bids, offers, 0, 0), HOURS)
    metric = told()
    assert metric.ready and metric.value == pytest.approx(0.5) and metric.n == 1  # (300 - 100) / (300 + 100)
    assert metric.components["makers"]["NITE"]["firm"] == "Virtu"
    assert metric.components["attributed_share"] == pytest.approx(400 / 900)
    assert "is 60 s old" in str(told(60_000.0).reason)
    assert restored(checkpoint(folded), VERSION, Analytics()) == folded
    folded.apply(MakersEvent(5, 5, 5 * SECOND, False, (), (), 0, 0, "wrong checksum"), HOURS)
    assert told().value is None and told().reason == "wrong checksum"


# -- halts -----------------------------------------------------------------------------------------------------------------


def test_a_halted_symbol_has_no_metric_and_says_so_and_nothing_is_compared_across_the_halt() -> None:
    meter = Meter("SPY", Analytics(), OptionsView(0.04, 0.1), 5.0, 14)
    quotes = ((99.0, 100.0), (99.5, 100.0), None, (80.0, 81.0), (80.0, 82.0), None, (90.0, 91.0), (90.5, 91.0))
    compared = []
    for seq, quote in enumerate(quotes, 1):
        at = seq * SECOND
        if quote is None:
            meter.fold(StatusEvent(seq, at, seq == 3, 1 if seq == 3 else 0, "halted" if seq == 3 else "reopened"), HOURS)
        else:
            meter.fold(QuoteEvent(seq, at, at, quote[0], 5.0, quote[1], 5.0), HOURS)
        meter.changed.add("obi")
        told = {m.metric: m for m in meter.metrics(at, at, lambda ns: None if ns is None else 0.0, "20261118")}
        if 3 <= seq < 6:  # while it lasts, every one of them is null and says why
            assert len(told) == 8 and all((m.ready, m.value, m.reason) == (False, None, "halted") for m in told.values())
        else:
            assert told["obi"].ready and all(m.reason != "halted" for m in told.values())
        compared.append(meter.state.ofi.value()[2])
    # the first quote after the stop and the first after the opening are compared with none before them
    assert compared == [0, 1, 1, 1, 2, 2, 2, 3]
    assert {name: n for name, n in meter.state.counts.items() if "halt" in name} == {"halts": 1, "ends of halts": 1}


def test_a_halt_takes_no_volume_out_of_a_bucket() -> None:
    folded = state(size=400)
    folded.apply(trade(1, SECOND, side="buy"), HOURS)
    folded.apply(StatusEvent(2, 2 * SECOND, True, 2, "paused"), HOURS)
    folded.apply(StatusEvent(3, 302 * SECOND, False, 0, "reopened"), HOURS)
    for seq in (4, 5, 6):
        folded.apply(trade(seq, 303 * SECOND, side="sell"), HOURS)
    assert folded.vpin.filled == 1 and folded.vpin.imbalances == [2 * (100 - 300)]
