"""Invariants of quotes, books and prints while the market runs, and the flow that is there to be found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alphatrader.sandbox.market import Halt, SimulatedMarket
from alphatrader.sandbox.market.types import Book, Print, Quote, Step
from alphatrader.sandbox.market.venues import LETTERS, MARKET_MAKERS
from tests.support.market_world import AAPL, IWM, QQQ, SECOND, SPY, at, market_at


def check_quote(quote: Quote) -> None:
    assert quote.bid is not None and quote.ask is not None
    assert 0 < quote.bid < quote.ask and quote.bid_size > 0 and quote.ask_size > 0
    if quote.last is not None:
        assert quote.low is not None and quote.high is not None and quote.open is not None
        assert quote.low <= quote.last <= quote.high and quote.low <= quote.open <= quote.high


def check_book(book: Book, quote: Quote) -> None:
    assert all(len({(row.price, row.venue) for row in side}) >= 10 for side in (book.bids, book.asks))
    assert book.bids[0].price == quote.bid and book.asks[0].price == quote.ask
    bids, asks = [r.price for r in book.bids], [r.price for r in book.asks]
    assert bids == sorted(bids, reverse=True) and asks == sorted(asks)
    assert all(row.size > 0 and row.venue for row in (*book.bids, *book.asks))
    assert all((row.market_maker in (*MARKET_MAKERS, "NSDQ")) == (row.venue == "ISLAND") for row in (*book.bids, *book.asks))
    assert sum(r.size for r in book.bids if r.price == quote.bid) == quote.bid_size
    assert sum(r.size for r in book.asks if r.price == quote.ask) == quote.ask_size


def step_by_event(market: SimulatedMarket, start_ns: int, millis: int, count: int) -> list[tuple[Step, dict[int, Quote]]]:
    """Steps so short that the quote before a step is the one in force before its prints, but for rare coincidences."""
    turns = []
    instruments = [c.con_id for c in market.contracts() if c.sec_type in ("STK", "FUT")]
    before = {con_id: quote for con_id in instruments if (quote := market.quote(con_id)) is not None}
    for i in range(1, count + 1):
        step = market.step(start_ns + i * millis * 1_000_000)
        turns.append((step, dict(before)))
        for con_id in step.quotes:
            quote = market.quote(con_id)
            if con_id in before and quote is not None:
                before[con_id] = quote
    return turns


@pytest.mark.parametrize("clock", [(9, 30), (10, 0), (15, 58)])
def test_every_quote_book_and_print_holds_its_invariants(clock: tuple[int, int]) -> None:
    market = market_at(at(*clock))
    tradable = {c.con_id: c for c in market.contracts() if c.sec_type in ("STK", "FUT")}
    checked = 0
    for i in range(1, 600):
        step = market.step(at(*clock) + i * 20_000_000)
        for con_id in step.quotes:
            if con_id in tradable:
                quote = market.quote(con_id)
                assert quote is not None and quote.ts_ns <= step.ts_ns
                check_quote(quote)
                book = market.book(con_id)
                assert (book is not None) == (con_id in step.books)
                if book is not None:
                    check_book(book, quote)
                checked += 1
        assert [p.ts_ns for p in step.prints] == sorted(p.ts_ns for p in step.prints)
        assert all(p.size > 0 and p.con_id in tradable for p in step.prints)
    assert checked > 1_500


def test_prints_are_at_or_inside_the_quote_in_force_just_before() -> None:
    judged = 0
    for step, before in step_by_event(market_at(at(10, 1)), at(10, 1), 1, 8_000):
        seen: set[int] = set()
        for made in step.prints:
            # the quote may have turned within the same millisecond: judge first prints of turns in which it did not
            quote = before[made.con_id]
            if made.con_id in seen or quote.ts_ns == made.ts_ns:
                continue
            seen.add(made.con_id)
            assert quote.bid is not None and quote.ask is not None
            assert quote.bid <= made.price <= quote.ask, (made, quote)
            judged += 1
    assert judged > 500


def test_depth_is_there_for_all_equities_and_the_front_futures() -> None:
    market = market_at(at(10))
    deep = [c for c in market.contracts() if market.book(c.con_id) is not None]
    assert sum(c.sec_type == "STK" for c in deep) == 12
    assert {c.trading_class for c in deep if c.sec_type == "FUT"} == {"ES", "NQ", "RTY", "YM", "VX", "DX", "GC", "CL", "ZB"}


def prints_of(market: SimulatedMarket, start_ns: int, seconds: int) -> list[Print]:
    return [p for i in range(1, seconds + 1) for p in market.step(start_ns + i * SECOND).prints]


def test_the_tape_looks_like_a_tape() -> None:
    prints = prints_of(market_at(at(10)), at(10), 180)
    spy = [p for p in prints if p.con_id == SPY]
    odd, dark = [p for p in spy if p.conditions == "I"], [p for p in spy if p.exchange == "FINRA"]
    assert 0.1 < len(odd) / len(spy) < 0.35 and all(p.size < 40 for p in odd)
    assert 0.08 < len(dark) / len(spy) < 0.5
    assert len({p.exchange for p in spy}) >= 8 and {p.exchange for p in spy} <= set(LETTERS)
    assert {p.conditions for p in prints} <= {"@", "F", "I", "W", "4", "7", "Z", ""}
    per_second = {con_id: sum(p.con_id == con_id for p in prints) / 180 for con_id in (SPY, QQQ, IWM, AAPL)}
    assert all(2 <= n <= 15 for n in per_second.values()), per_second


def read_truth(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_each_three_minute_block_has_an_episode_with_one_sided_flow_and_a_leaning_book(tmp_path: Path) -> None:
    # given six minutes of market and its truth
    market = market_at(at(10), truth=tmp_path / "truth.jsonl")
    leans: dict[int, list[tuple[int, float]]] = {SPY: [], QQQ: [], IWM: []}
    for i in range(1, 361):
        now = at(10) + i * SECOND
        market.step(now)
        for con_id, seen in leans.items():
            book = market.book(con_id)
            assert book is not None
            bids, asks = sum(r.size for r in book.bids), sum(r.size for r in book.asks)
            seen.append((now, (bids - asks) / (bids + asks)))
    truth = read_truth(tmp_path / "truth.jsonl")
    for con_id, seen in leans.items():
        episodes = [t for t in truth if t["kind"] == "episode" and t["con_id"] == con_id]
        # then each block has one, of 60 to 90 seconds
        assert sorted((int(str(e["ts_ns"])) - at(10)) // (180 * SECOND) for e in episodes) == [0, 1]
        for episode in episodes:
            start, end, way = (int(str(episode[k])) for k in ("ts_ns", "end_ns", "direction"))
            assert 60 * SECOND <= end - start <= 90 * SECOND
            prints = [t for t in truth if t["kind"] == "print" and t["con_id"] == con_id and start <= int(str(t["ts_ns"])) < end]
            aligned = sum(t["side"] == way for t in prints) / len(prints)
            assert aligned > 0.65
            assert any(t["informed"] for t in prints)
            during = [lean * way for now, lean in seen if start + 5 * SECOND <= now < end]
            assert sum(during) / len(during) > 0.2
            # and the price went that way: the drift is worth more than the noise on average, not in each episode
            assert float(str(episode["log_move"])) * way > 0.0004
    # and sweeps hit three venues or more within 100 ms, on prints marked F
    sweeps = [t for t in truth if t["kind"] == "sweep"]
    assert len(sweeps) >= 5
    swept = [t for t in truth if t["kind"] == "print" and t["con_id"] == sweeps[0]["con_id"]]
    burst = [t for t in swept if 0 <= int(str(t["ts_ns"])) - int(str(sweeps[0]["ts_ns"])) <= 100_000_000]
    assert len({t["venue"] for t in burst if t["side"] == sweeps[0]["side"]}) >= 3
    assert {"iceberg", "hidden"} <= {str(t["kind"]) for t in truth}


def test_a_scheduled_halt_stops_the_name_and_its_options_and_is_announced() -> None:
    halts = [Halt("AAPL", at(10, 0, 10), at(10, 0, 30))]
    market = market_at(at(10), halts=halts)
    steps = [market.step(at(10) + i * SECOND // 2) for i in range(1, 80)]
    assert [h for s in steps for h in s.halts] == [(AAPL, 2), (AAPL, 0)]
    halted = [p for s in steps for p in s.prints if p.con_id == AAPL and at(10, 0, 10) <= p.ts_ns < at(10, 0, 30)]
    assert not halted and any(p.con_id == AAPL and p.ts_ns > at(10, 0, 30) for s in steps for p in s.prints)
    inside = market_at(at(10, 0, 20), halts=halts)
    quote, option = inside.quote(AAPL), inside.chain("AAPL")[0]
    assert quote is not None and (quote.halted, quote.bid, quote.ask) == (2, None, None)
    assert (option.halted, option.bid, option.ask) == (2, None, None)


def test_closing_imbalances_come_from_1500_on_arca_and_1550_on_nasdaq() -> None:
    def announced(hour: int, minute: int) -> set[int]:
        step = market_at(at(hour, minute)).step(at(hour, minute, 12))
        return {a.con_id for a in step.auctions}

    assert announced(14, 30) == set()
    assert announced(15, 30) == {SPY, IWM}
    assert {SPY, IWM, QQQ, AAPL} <= announced(15, 55)


def test_the_rate_scales_events_for_benches() -> None:
    market = market_at(at(10), rate=20)
    step = market.step(at(10, 0, 3))
    assert len(step.prints) > 20 * 3 * 30
