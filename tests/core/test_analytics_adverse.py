"""VPIN's adjustment: spread and markout against a recount from the prints and quotes, and the adjusted value by hand."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import GapEvent, QuoteEvent, Trade
from alphatrader.contract.messages.metrics import VpinHistory
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import vpin_metric
from alphatrader.core.analytics.adverse import SECOND_NS, adjusted
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.symbol import SymbolState, fresh
from alphatrader.core.analytics.vpin_history import VpinRanks
from tests.core.test_analytics_tape import HOURS as HOURS_OF_TAPE
from tests.core.test_analytics_tape import events, lobster, needs_sample

HOURS = (0, 10**18)


def quote(seq: int, at: int, bid: float, ask: float) -> QuoteEvent:
    return QuoteEvent(seq, at, at, bid, 100.0, ask, 100.0)


def trade(seq: int, at: int, price: float, side: str, size: float = 10.0) -> Trade:
    return Trade(seq, at, at, price, size, "ARCA", "@", side, True, True, True)  # type: ignore[arg-type]


def test_vpin_is_raised_and_lowered_by_known_answers() -> None:
    # both at the top of their history, then both at the bottom, then one of each
    assert adjusted(0.4, {"spread": 1.0, "markout": 1.0}, 0.25).value == pytest.approx(0.5)
    assert adjusted(0.4, {"spread": 0.0, "markout": 0.0}, 0.25).value == pytest.approx(0.3)
    assert adjusted(0.4, {"spread": 1.0, "markout": 0.0}, 0.25).value == pytest.approx(0.4)
    mixed = adjusted(0.4, {"spread": 0.9, "markout": 0.6}, 0.2)
    assert mixed.z == pytest.approx(0.5) and mixed.value == pytest.approx(0.44) and mixed.reason is None
    # it stays a share
    assert adjusted(0.9, {"spread": 1.0, "markout": 1.0}, 0.25).value == 1.0


def test_with_fewer_than_two_inputs_it_is_vpin_and_says_which_is_missing() -> None:
    one = adjusted(0.4, {"spread": 1.0, "markout": None}, 0.25)
    assert one.value == 0.4 and one.z is None and one.reason == "equal to vpin: 1 of 2 inputs have a percentile, not markout"
    assert adjusted(None, {"spread": None, "markout": None}, 0.25).value is None


def test_a_buyer_the_price_then_ran_with_cost_the_resting_side_by_hand() -> None:
    state = fresh("SPY", Analytics())
    # given twenty buys at the ask in one second, two cents over a mid of 100
    state.apply(quote(1, 0, 99.98, 100.02), HOURS)
    for n in range(20):
        state.apply(trade(2 + n, n + 1, 100.02, "buy"), HOURS)
    # when the mid 30 s after that second was 100.10: a quote that comes just then is later than it
    state.apply(quote(22, 20 * SECOND_NS, 100.08, 100.12), HOURS)
    state.apply(quote(23, 31 * SECOND_NS - 1, 100.08, 100.12), HOURS)
    assert state.adverse.markout_bps is None
    state.apply(quote(24, 31 * SECOND_NS, 90.0, 90.02), HOURS)
    # then they cost eight cents, and the spread they met was four
    assert state.adverse.markout_bps == pytest.approx(0.08 / 100.10 * 10_000)
    assert state.adverse.spread == pytest.approx(0.04 / 100.0)
    # and after a hole in the feed nothing is known
    state.apply(GapEvent(25, 32 * SECOND_NS, "resubscribed"), HOURS)
    assert state.adverse.markout_bps is None and state.adverse.spread is None


Quotes = list[tuple[int, float, float]]
Prints = list[tuple[int, float, str, float, float]]


def test_spread_and_markout_are_those_recounted_from_every_print_and_quote() -> None:
    draw, state = random.Random(5), fresh("SPY", Analytics())
    quotes: Quotes = []
    prints: Prints = []
    at, cents = 0, 10_000
    for seq in range(1, 4001):
        at += draw.randrange(1, 300_000_000)
        if draw.random() < 0.5 or not quotes:
            cents += draw.randrange(-3, 4)
            quotes.append((at, cents / 100, (cents + draw.randrange(1, 6)) / 100))
            state.apply(quote(seq, *quotes[-1]), HOURS)
        else:
            side, (_, bid, ask) = draw.choice(["buy", "sell", "unknown"]), quotes[-1]
            price = {"buy": ask, "sell": bid}.get(side, bid)
            prints.append((at, price, side, bid, ask))
            state.apply(trade(seq, at, price, side), HOURS)
    assert recounted(state, quotes, prints, at) > 300


@needs_sample
def test_on_the_real_tape_spread_and_markout_are_those_recounted() -> None:
    """LOBSTER's best quotes and executions; a book whose best did not move quotes again."""
    state, quotes, prints, seq, at = fresh("AAPL", Analytics()), Quotes(), Prints(), 0, 0
    for step, event in events([step for step, _ in lobster()]):
        seq, at = seq + 1, step.ns
        if isinstance(event, Trade):
            if event.bid is not None and event.ask is not None:
                prints.append((at, event.price, event.side, event.bid, event.ask))
            state.apply(replace(event, seq=seq), HOURS_OF_TAPE)
        elif event.bids and event.asks:
            quotes.append((at, event.bids[0].price, event.asks[0].price))
            state.apply(quote(seq, *quotes[-1]), HOURS_OF_TAPE)
        else:
            seq -= 1
    assert recounted(state, quotes, prints, at) > 50


def recounted(state: SymbolState, quotes: Quotes, prints: Prints, at: int) -> int:
    """Compares after all that was told until `at`; how many prints were marked."""
    # when a new second begins, so that all of it is measured
    now, seq = at - at % SECOND_NS + SECOND_NS, (state.seq or 0) + 1
    hours = (0, now + SECOND_NS)
    state.apply(quote(seq, now, 1.0, 1.01), hours)
    state.apply(trade(seq + 1, now + 1, 1.0, "unknown"), hours)

    def mid_before(instant: int) -> float:
        bid, ask = next((b, a) for t, b, a in reversed(quotes) if t < instant)
        return (bid + ask) / 2

    seconds = [(p, p[0] - p[0] % SECOND_NS) for p in prints]
    window = [(p, start) for p, start in seconds if start > now - 300 * SECOND_NS]
    spreads = [(ask - bid) / ((ask + bid) / 2) for (_, _, _, bid, ask), _ in window]
    assert state.adverse.spread == pytest.approx(sum(spreads) / len(spreads))
    markouts = []
    for (_, price, side, _, _), start in window:
        marked_at = start + 31 * SECOND_NS
        if side != "unknown" and marked_at <= now:
            mid = mid_before(first_event_from(marked_at, quotes, prints, now))
            markouts.append((1 if side == "buy" else -1) * (mid - price) / mid * 10_000)
    assert state.adverse.markout_bps == pytest.approx(sum(markouts) / len(markouts))
    return len(markouts)


def first_event_from(instant: int, quotes: Quotes, prints: Prints, now: int) -> int:
    """The mid in force at an instant is the one before the first event at it or after."""
    return min([t for t, *_ in quotes if t >= instant] + [t for t, *_ in prints if t >= instant] + [now])


def filled(sessions: int) -> VpinRanks:
    """Spreads of 1 to 5 basis points and markouts of -2 to 2, alike each session."""
    ranks = VpinRanks()
    for session in range(sessions):
        for n in range(1, 6):
            ranks.spread.add(session, n * 1e-4)
            ranks.markout.add(session, n - 3.0)
    return ranks


def test_it_is_vpin_until_both_inputs_have_twenty_sessions_of_their_own() -> None:
    state: SymbolState = fresh("SPY", Analytics(vpin_buckets=5))
    state.vpin.set_size(10, "test")
    state.apply(quote(1, 0, 99.99, 100.01), HOURS)
    for n in range(7):
        state.apply(trade(2 + n, n + 1, 100.01, "buy" if n % 2 else "sell", 7.0), HOURS)
    state.apply(trade(9, 10, 100.01, "buy", 20.0), HOURS)
    state.adverse.spread, state.adverse.markout_bps = 4e-4, 1.0

    def parts(ranks: VpinRanks) -> dict[str, object]:
        return vpin_metric.vpin(state, ranks, 11, lambda instant_ns: 0.0, None, vpin_metric.VpinParts(0.25)).components

    raw = state.vpin.value
    assert raw is not None and 0 < raw < 0.8
    young = parts(filled(20))
    assert young["vpin_adj"] == raw and young["input_reasons"] == {
        "spread": "19 of 20 whole sessions of its own history",
        "markout": "19 of 20 whole sessions of its own history",
    }
    # three of five are under each, and a fifth beside it: the 70th percentile, 0.4 from the middle up
    grown = parts(filled(21))
    assert grown["input_percentiles"] == {"spread": pytest.approx(0.7), "markout": pytest.approx(0.7)}
    assert grown["vpin_adj"] == pytest.approx(raw * (1 + 0.25 * 0.4)) and grown["vpin_adj_reason"] is None
    # and one of them missing now makes it VPIN again
    state.adverse.markout_bps = None
    lacking = parts(filled(21))
    assert lacking["vpin_adj"] == raw and lacking["input_reasons"] == {"markout": "no markout to rank"}


def test_a_full_bucket_adds_one_of_each_to_the_history_and_it_comes_back() -> None:
    meter = Meter("SPY", Analytics(), None, 10.0, 14)
    meter.state.vpin.set_size(100, "test")
    meter.state.adverse.spread, meter.state.adverse.markout_bps = 1e-4, -0.5
    meter.fold(trade(1, 1, 100.0, "buy", 100.0), HOURS)
    meter.fold(trade(2, 2, 100.0, "buy", 50.0), HOURS)
    kept = meter.ranks.message("SPY")
    assert [sum(one.counts) for one in kept.spreads] == [1] == [sum(one.counts) for one in kept.markouts]
    assert VpinRanks(kept).message("SPY") == kept
    # a history kept before there were inputs is read
    assert VpinRanks(VpinHistory("SPY", kept.sessions)).spread.kept() == ()
