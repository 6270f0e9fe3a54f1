"""Late, duplicate, out-of-order and impossible input never changes a metric silently: each piece is counted, and leaves no trace.

Given any feed, and the same feed with bad events put anywhere between: the metrics are equal as bytes, and the counts name each.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alphatrader.contract.messages.market import BookEvent, Level, MarketEvent, QuoteEvent, Trade
from alphatrader.contract.messages.metrics import VpinHistory
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.symbol import VERSION, checkpoint, restored
from alphatrader.core.analytics.vpin_history import VpinRanks

START_NS = 1_795_014_000 * 10**9
SESSION = (START_NS - 60 * 10**9, START_NS + 3_600 * 10**9)
LATE, CLOCK, HOURS, NOTHING = (
    "duplicate or late events ignored",
    "prints with an impossible time refused",
    "prints outside regular hours ignored",
    "prints of no price or no size refused",
)
FAR_NS = 2 * 3_600 * 10**9

kinds = st.tuples(
    st.sampled_from(("trade", "quote", "book")),
    st.integers(1, 2_000_000_000),
    st.integers(-5, 5),
    st.integers(1, 400),
    st.sampled_from(("buy", "sell", "unknown")),
)
bad = st.tuples(
    st.integers(0, 60),
    st.sampled_from(
        ("again", "late", "clock", "after hours", "no price", "no size", "nan price", "huge price", "endless size", "nan size")
    ),
    st.integers(1, 50),
)


def feed(made: list[tuple[str, int, int, int, str]]) -> list[MarketEvent]:
    events: list[MarketEvent] = []
    at = START_NS
    for seq, (kind, wait, cents, shares, side) in enumerate(made, 1):
        at, size = at + wait, float(shares)
        bid, ask = round(600 + cents / 100, 2), round(600.02 + cents / 100, 2)
        if kind == "trade":
            price = ask if side == "buy" else bid
            events.append(Trade(seq, at, at, price, size, "ARCA", "", side, True, True, True, bid=bid, ask=ask))  # type: ignore[arg-type]
        elif kind == "quote":
            events.append(QuoteEvent(seq, at, at, bid, size, ask, size + 1))
        else:
            levels = [tuple(Level(round(p + s * i / 100, 2), size + i) for i in range(4)) for p, s in ((bid, -1), (ask, 1))]
            events.append(BookEvent(seq, at, at, True, *levels, 0, 0))
    return events


def with_bad(events: list[MarketEvent], where: list[tuple[int, str, int]]) -> tuple[list[MarketEvent], dict[str, int]]:
    """The feed and what is put between, numbered without a hole, with how often each count must say so."""
    mixed: list[tuple[MarketEvent, bool]] = [(event, True) for event in events]
    counts: dict[str, int] = {}
    for position, what, back in where:
        at = min(position, len(mixed) - 1) + 1
        before = mixed[at - 1][0]
        if what in ("again", "late"):
            mixed.insert(at, (mixed[max(0, at - back)][0] if what == "late" else before, False))
            counts[LATE] = counts.get(LATE, 0) + 1
            continue
        received: Any = before.received_ns  # type: ignore[union-attr]
        name, stamped = {"clock": (CLOCK, received + FAR_NS), "after hours": (HOURS, SESSION[0] - 1)}.get(
            what, (NOTHING, received)
        )
        price = {"no price": -float(back % 2), "nan price": nan, "huge price": 1e300}.get(what, 1.0)
        size = {"no size": 0.0, "nan size": nan, "endless size": inf}.get(what, 9_999_999.0)
        print_ = Trade(0, stamped, received, price, size, "", "", "buy", True, True, True)
        mixed.insert(at, (print_, True))
        counts[name] = counts.get(name, 0) + 1
    # those that carry a number of their own are numbered through; a duplicate keeps the one it was first told with
    told: list[MarketEvent] = []
    numbers: dict[int, int] = {}
    seq = 0
    for event, own in mixed:
        if own:
            seq += 1
            numbers[id(event)] = seq
        told.append(replace(event, seq=numbers[id(event)]))
    return told, counts


def folded(events: list[MarketEvent], end_ns: int) -> tuple[list[bytes], dict[str, int]]:
    meter = Meter("SPY", Analytics(vpin_buckets=5), None, 5.0, 14)
    meter.take_bucket_size(100, "test", (), START_NS)
    for event in events:
        meter.fold(event, SESSION)
    made = meter.metrics(end_ns, end_ns, lambda ns: None if ns is None else (end_ns - ns) / 1e6, "20261118")
    plain = []
    for metric in made:
        # what may differ is that a print came at all: its number, how long ago, over which line
        parts = {name: part for name, part in metric.components.items() if name != "prints"}
        plain.append(msgspec.json.encode(replace(metric, source_seq=None, input_age_ms={}, components=parts)))
    return plain, meter.state.counts


@settings(max_examples=60)
@given(st.lists(kinds, min_size=2, max_size=60), st.lists(bad, max_size=8))
def test_bad_events_are_counted_and_leave_no_trace(
    made: list[tuple[str, int, int, int, str]], where: list[tuple[int, str, int]]
) -> None:
    events = feed(made)
    told, counts = with_bad(events, where)
    clean = [replace(event, seq=number) for number, event in enumerate(events, 1)]
    end_ns = events[-1].received_ns + 1  # type: ignore[union-attr]
    expected, none = folded(clean, end_ns)
    found, counted = folded(told, end_ns)
    assert found == expected
    assert {name: n for name, n in counted.items() if name in (LATE, CLOCK, HOURS, NOTHING)} == counts
    # nothing else was counted that the clean feed did not count
    assert {name: n for name, n in counted.items() if name not in counts} == none


def test_a_quote_or_book_of_no_price_is_none_and_is_counted() -> None:
    """What stood before it does not stand in for it, and what comes after it is compared with nothing."""
    sound = feed([("book", 1, 0, 100, "buy"), ("quote", 1, 0, 200, "buy"), ("quote", 1, 0, 250, "buy")])
    at = START_NS + 10
    bid, asks = Level(599.99, 5.0), (Level(600.02, 5.0),)
    for bad, what in (
        (QuoteEvent(4, at, at, 0.0, 5.0, 600.02, 5.0), "quotes of no price refused"),
        (QuoteEvent(4, at, at, 599.99, 5.0, -1.0, 5.0), "quotes of no price refused"),
        (QuoteEvent(4, at, at, nan, 5.0, 600.02, 5.0), "quotes of no price refused"),
        (QuoteEvent(4, at, at, 599.99, 5.0, inf, 5.0), "quotes of no price refused"),
        (QuoteEvent(4, at, at, 599.99, nan, 600.02, 5.0), "quotes of no size refused"),
        (QuoteEvent(4, at, at, 599.99, 5.0, 600.02, -1.0), "quotes of no size refused"),
        (BookEvent(4, at, at, True, (bid, Level(0.0, 5.0)), asks, 0, 0), "books of no price refused"),
        (BookEvent(4, at, at, True, (bid, Level(nan, 5.0), Level(599.0, 1.0)), asks, 0, 0), "books of no price refused"),
        (BookEvent(4, at, at, True, (bid, Level(599.98, inf)), asks, 0, 0), "books of no price refused"),
        (BookEvent(4, at, at, True, (bid,), (Level(600.02, -5.0),), 0, 0), "books of no price refused"),
        (BookEvent(4, at, at, True, (bid,), (Level(-1.0, 5.0), *asks), 0, 0), "books of no price refused"),
    ):
        meter = Meter("SPY", Analytics(), None, 5.0, 14)
        for event in (*sound, bad):
            meter.fold(event, SESSION)
        state = meter.state
        assert state.counts == {what: 1}
        if isinstance(bad, QuoteEvent):
            assert state.mid is None and state.spot is None and state.ofi.value() == (None, None, 0)
        else:
            obi = {m.metric: m for m in meter.metrics(at, at, lambda ns: None if ns is None else 0.0, "20261118")}["obi"]
            assert obi.value is None and obi.reason == "book not ready"
            assert state.mid is not None  # the quote line goes on


def test_a_one_sided_quote_begins_the_order_flow_anew() -> None:
    meter = Meter("SPY", Analytics(), None, 5.0, 14)
    for seq, bid in enumerate((599.0, 599.1, None, 599.2), 1):
        meter.fold(QuoteEvent(seq, START_NS + seq, START_NS + seq, bid, 5.0 if bid else None, 600.0, 5.0), SESSION)
        assert meter.state.ofi.value()[2] == (1 if seq == 2 else 0)
    meter.fold(QuoteEvent(5, START_NS + 5, START_NS + 5, 599.2, 9.0, 600.0, 5.0), SESSION)
    assert meter.state.ofi.value() == (2 * 4 / 14, 1.0, 1)


@settings(max_examples=25)
@given(st.lists(kinds, min_size=4, max_size=60), st.data())
def test_a_restart_anywhere_leaves_no_jump_in_any_metric(made: list[tuple[str, int, int, int, str]], data: st.DataObject) -> None:
    """The checkpoint and VPIN's history, as they come back out of Redis, and the feed since: all metrics equal as bytes."""
    events, analytics = feed(made), Analytics(vpin_buckets=5)
    at = data.draw(st.integers(1, len(events) - 1))
    end_ns = events[-1].received_ns + 1  # type: ignore[union-attr]

    def metrics(meter: Meter) -> list[bytes]:
        made = meter.metrics(end_ns, end_ns, lambda ns: None if ns is None else float(end_ns - ns), "20261118")
        return [msgspec.json.encode(metric) for metric in made]

    whole = Meter("SPY", analytics, None, 5.0, 14)
    whole.take_bucket_size(100, "test", (), START_NS)
    again = Meter("SPY", analytics, None, 5.0, 14)
    for number, event in enumerate(events):
        if number == at:
            state = restored(msgspec.json.decode(msgspec.json.encode(checkpoint(whole.state))), VERSION, analytics)
            kept = msgspec.json.decode(msgspec.json.encode(whole.ranks.message("SPY")), type=VpinHistory)
            assert state is not None
            again.state, again.ranks = state, VpinRanks(kept)
        whole.fold(event, SESSION)
        if number >= at:
            again.fold(event, SESSION)
    assert metrics(again) == metrics(whole)
    assert again.state == whole.state and again.ranks.message("SPY") == whole.ranks.message("SPY")
