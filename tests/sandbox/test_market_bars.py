"""Historical bars agree with the prints that were shown, whatever their length and whenever they are asked for."""

from __future__ import annotations

import itertools
from datetime import date

import pytest

from alphatrader.sandbox.market.types import Print
from tests.support.market_world import AAPL, QQQ, SECOND, SPY, at, market_at

SETS_NO_PRICE = {"I", "W", "4", "7", "Z"}


def test_five_second_bars_are_exactly_what_was_printed() -> None:
    # given three minutes of prints, and the finished bars of the steps
    market = market_at(at(10))
    prints: list[Print] = []
    bars = {}
    for i in range(1, 361):
        step = market.step(at(10) + i * SECOND // 2)
        prints += step.prints
        bars.update({(con_id, bar.ts_ns): bar for con_id, bar in step.bars})
    # then open, high, low, close, volume and count of every bar are those of its prints, and history says the same
    for contract in (c for c in market.contracts() if c.sec_type in ("STK", "FUT")):
        con_id = contract.con_id
        history = market.bars(con_id, at(10, 3), 180, 5)
        assert history == [bar for (owner, _), bar in bars.items() if owner == con_id] and len(history) == 36
        for bar in history:
            inside = [p for p in prints if p.con_id == con_id and bar.ts_ns <= p.ts_ns < bar.ts_ns + 5 * SECOND]
            assert (bar.volume, bar.count) == (sum(p.size for p in inside), len(inside))
            priced = [p.price for p in inside if p.conditions not in SETS_NO_PRICE]
            if priced:
                assert (bar.open, bar.high, bar.low, bar.close) == (priced[0], max(priced), min(priced), priced[-1])
                assert bar.low <= bar.wap <= bar.high
            else:
                assert bar.open == bar.high == bar.low == bar.close


def test_longer_bars_are_sums_of_shorter_ones_and_the_day_is_the_sum_of_all() -> None:
    market = market_at(at(10))
    tuesday = date(2026, 11, 17)
    day = market.bars(SPY, at(16, day=tuesday), 86_400, 86_400)
    minutes = market.bars(SPY, at(16, day=tuesday), 6 * 3600 + 1800, 60)
    assert len(day) == 1 and len(minutes) == 390
    for size, parts in ((300, 5), (3600, 60)):
        longer = market.bars(SPY, at(16, day=tuesday), 6 * 3600 + 1800, size)
        for i, bar in enumerate(longer):
            inside = minutes[i * parts : (i + 1) * parts]
            assert (bar.open, bar.close) == (inside[0].open, inside[-1].close)
            assert (bar.high, bar.low) == (max(b.high for b in inside), min(b.low for b in inside))
            assert bar.volume == sum(b.volume for b in inside)
    assert day[0].volume == sum(b.volume for b in minutes) and day[0].high == max(b.high for b in minutes)
    quote = market.quote(SPY)
    assert quote is not None and quote.prev_close == day[0].close


def test_the_day_so_far_is_in_the_quote() -> None:
    market = market_at(at(10, 17, 33))
    quote = market.quote(QQQ)
    bars = market.bars(QQQ, at(10, 17, 33), 3600, 5)
    assert quote is not None and quote.high is not None and quote.low is not None and quote.open == bars[0].open
    assert quote.high >= max(b.high for b in bars) and quote.low <= min(b.low for b in bars)
    assert quote.volume >= sum(b.volume for b in bars) > 0


def test_daily_bars_are_sane_over_a_year_and_repeat() -> None:
    market = market_at(at(10))
    bars = market.bars(AAPL, at(10), 365 * 86_400, 86_400)
    assert 249 <= len(bars) <= 253
    assert all(b.low <= min(b.open, b.close) <= max(b.open, b.close) <= b.high and b.volume > 10_000_000 for b in bars)
    moves = [abs(b.close / a.close - 1) for a, b in itertools.pairwise(bars)]
    assert 0.005 < sum(moves) / len(moves) < 0.03 and max(moves) < 0.12
    assert bars == market.bars(AAPL, at(10), 365 * 86_400, 86_400)


def test_a_quarter_of_daily_history() -> None:
    assert len(market_at(at(10)).bars(AAPL, at(10), 87 * 86_400, 86_400)) >= 59


def test_options_have_bars_along_their_underlying() -> None:
    market = market_at(at(11))
    contract = market.contracts(symbol="SPY", sec_type="OPT", expiry=market.expiries("SPY")[1], right="C")[15]
    bars = market.bars(contract.con_id, at(11), 3600, 60)
    assert len(bars) == 60 and all(0 <= b.low <= b.open <= b.high and b.volume >= 0 for b in bars)
    assert len({b.close for b in bars}) > 10


def test_nothing_of_the_future_is_told_and_bars_shorter_than_five_seconds_are_refused() -> None:
    market = market_at(at(10))
    assert max(b.ts_ns for b in market.bars(SPY, at(16), 86_400, 60)) < at(10)
    with pytest.raises(ValueError, match="bar_seconds"):
        market.bars(SPY, at(10), 60, 1)
    assert market.bars(123, at(10), 3600, 60) == []
