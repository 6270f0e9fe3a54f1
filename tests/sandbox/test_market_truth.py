"""The truth log says what the market showed, and a gateway that falls behind loses no print of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from ib_insync import Stock

from alphatrader.sandbox.gateway.wirelog import WireLog
from alphatrader.sandbox.market import SimulatedMarket, TruthLog
from alphatrader.sandbox.market.instruments import SPECS
from alphatrader.sandbox.market.paths import Paths
from alphatrader.sandbox.market.types import Quote
from tests.support.gateway import MONDAY_TEN, client, running_gateway, sessions_around
from tests.support.waiting import until

MINUTES = 4
STEP_NS = 100_000_000


def told(path: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        found[entry["kind"]].append(entry)
    return found


def simulated(tmp_path: Path) -> SimulatedMarket:
    truth = TruthLog(tmp_path / "truth.jsonl")
    return SimulatedMarket(seed=7, start_ns=MONDAY_TEN, sessions=sessions_around(MONDAY_TEN), truth=truth)


def test_prints_icebergs_hidden_trades_and_sweeps_are_as_the_log_says(tmp_path: Path) -> None:
    market = simulated(tmp_path)
    shown: list[tuple[int, int, float, int, str]] = []
    for step in range(1, MINUTES * 600 + 1):
        made = market.step(MONDAY_TEN + step * STEP_NS).prints
        shown += [(p.con_id, p.ts_ns, p.price, p.size, p.conditions) for p in made]
    found = told(tmp_path / "truth.jsonl")
    logged = [(p["con_id"], p["ts_ns"], p["price"], p["size"], p["conditions"]) for p in found["print"]]
    assert sorted(shown) == sorted(logged)
    by_place: dict[tuple[int, float], list[dict[str, Any]]] = defaultdict(list)
    for made in found["print"]:
        by_place[made["con_id"], made["price"]].append(made)
    assert found["iceberg"] and found["hidden"] and found["sweep"] and found["episode"]
    alone: list[bool] = []
    for iceberg in found["iceberg"]:
        fills = [
            p for p in by_place[iceberg["con_id"], iceberg["price"]]
            if iceberg["from_ns"] <= p["ts_ns"] <= iceberg["ts_ns"] and p["side"] == -iceberg["side"]
        ]  # fmt: skip
        fills = [p for p in fills if p["venue"] == iceberg["venue"] and not p["hidden"]]
        taken = sum(p["size"] for p in fills)
        assert 0 <= iceberg["executed"] - iceberg["refills"] * iceberg["peak"] < iceberg["peak"]
        # others are filled first: who stood before it, and whoever came to its venue before it showed its next part
        assert taken >= iceberg["executed"] + (iceberg["ahead"] if iceberg["executed"] else 0)
        contract = market.contract(iceberg["con_id"])
        if contract and contract.sec_type == "STK" and not iceberg["ahead"]:  # a future has one venue: others come there, too
            alone.append(taken == iceberg["executed"] == iceberg["refills"] * iceberg["peak"])
        assert iceberg["refills"] >= 1 or iceberg["ahead"]
    assert sum(alone) >= max(1, 0.8 * len(alone)), "hardly anybody comes between the refills of one that stands alone"
    assert {bool(iceberg["ahead"]) for iceberg in found["iceberg"]} == {False, True}
    for hidden in found["hidden"]:
        assert hidden["venue"] != "FINRA"
        assert any(p["hidden"] and p["ts_ns"] == hidden["ts_ns"] for p in by_place[hidden["con_id"], hidden["price"]])
    for sweep in found["sweep"]:
        swept = [
            p for p in found["print"]
            if p["con_id"] == sweep["con_id"] and p["conditions"] == "F" and 0 <= p["ts_ns"] - sweep["ts_ns"] <= 100_000_000
        ]  # fmt: skip
        assert len({p["venue"] for p in swept}) >= 3 and {p["side"] for p in swept} == {sweep["side"]}


def test_a_maker_does_what_the_log_says_and_its_rows_add_up_to_the_venues(tmp_path: Path) -> None:
    market = simulated(tmp_path)
    spy = next(c.con_id for c in market.contracts(sec_type="STK", symbol="SPY"))
    shown: list[tuple[int, str, int, float, int]] = []
    for second in range(1, 721):
        market.step(MONDAY_TEN + second * 1_000_000_000)
        book = market.book(spy)
        assert book is not None
        for side, rows in ((1, book.bids), (-1, book.asks)):
            best = rows[0].price
            shown += [
                (MONDAY_TEN + second * 10**9, r.market_maker, side, abs(r.price - best), r.size) for r in rows if r.market_maker
            ]
    market._truth.flush()
    moves = [m for m in told(tmp_path / "truth.jsonl")["maker"] if m["con_id"] == spy and m["end_ns"] < MONDAY_TEN + 720 * 10**9]
    assert {m["what"] for m in moves} == {"leans", "away"}
    for move in moves:
        assert 40 < (move["end_ns"] - move["ts_ns"]) / 1e9 < 121
        during = [s for s in shown if s[1] == move["maker"] and move["ts_ns"] < s[0] < move["end_ns"] - 10**9]
        near = {side: sum(s[4] for s in during if s[2] == side and s[3] < 0.035) for side in (1, -1)}
        if move["what"] == "away":
            assert not during
        else:
            assert during
            assert near[move["side"]] > 1.2 * near[-move["side"]]
    usual = {(s[1], s[2]) for s in shown if s[3] < 0.035 and s[1] != "NSDQ"}
    assert len(usual) >= 16  # of ten makers, two sides


def test_a_hedge_is_what_customers_did_in_options_before_the_stock(tmp_path: Path) -> None:
    market, seconds = simulated(tmp_path), 1_200
    aapl = next(c.con_id for c in market.contracts(sec_type="STK", symbol="AAPL"))
    nearest = market.expiries("AAPL")[0]
    contracts = {c.con_id: c for c in market.contracts(sec_type="OPT", symbol="AAPL", expiry=nearest)}
    before: dict[int, Quote] = {}
    steps: list[tuple[int, int, int, int]] = []  # (when, contracts traded, trades that took delta, that gave it)
    for second in range(5, seconds + 1, 5):
        now = MONDAY_TEN + second * 10**9
        market.step(now)
        quotes = {con_id: quote for con_id in contracts if (quote := market.quote(con_id))}
        taken = given = 0
        for con_id, quote in quotes.items():
            old = before.get(con_id)
            if old is None or quote.last is None or quote.last == old.last or None in (quote.bid, quote.ask, old.bid, old.ask):
                continue
            bought = quote.last > max(quote.bid + quote.ask, old.bid + old.ask) / 2
            sold = quote.last < min(quote.bid + quote.ask, old.bid + old.ask) / 2
            call = contracts[con_id].right == "C"
            taken, given = taken + (bought if call else sold), given + (sold if call else bought)
        steps.append((now, sum(q.volume for q in quotes.values()) - sum(q.volume for q in before.values()), taken, given))
        before = quotes
    market._truth.flush()
    truth = told(tmp_path / "truth.jsonl")
    hedges = [h for h in truth["hedge"] if h["con_id"] == aapl and h["end_ns"] < MONDAY_TEN + seconds * 10**9]
    episodes = {(e["ts_ns"], e["direction"]) for e in truth["episode"] if e["con_id"] == aapl}
    assert hedges
    idle = [s for s in steps[1:] if not any(h["ts_ns"] - 5e9 <= s[0] <= h["end_ns"] + 10e9 for h in hedges)]
    for hedge in hedges:
        assert hedge["lag_seconds"] in (10, 15, 20, 25, 30)
        assert (hedge["ts_ns"] + hedge["lag_seconds"] * 10**9, hedge["direction"]) in episodes
        during = [s for s in steps if hedge["ts_ns"] + 10e9 <= s[0] <= hedge["end_ns"]]
        taken, given = (sum(s[at] for s in during) for at in (2, 3))
        with_it, against_it = (taken, given) if hedge["direction"] > 0 else (given, taken)
        assert with_it > 3 * against_it
        assert sum(s[1] for s in during) / len(during) > 2 * sum(s[1] for s in idle) / len(idle)


def test_a_session_tells_the_correlation_its_paths_have(tmp_path: Path) -> None:
    simulated(tmp_path)._truth.flush()
    (session,) = told(tmp_path / "truth.jsonl")["session"]
    assert session["day"] == "2026-11-23" and set(session["symbols"]) == set(SPECS)
    paths, day = Paths(7), sessions_around(MONDAY_TEN)[0][0]
    moves = {s: np.diff(paths._levels[s]) for s in ("SPY", "QQQ", "VXX", "CL") if paths.level(s, day)}
    for first, second in (("SPY", "QQQ"), ("SPY", "VXX"), ("QQQ", "CL")):
        true = session["correlation"][session["symbols"].index(first)][session["symbols"].index(second)]
        assert abs(float(np.corrcoef(moves[first], moves[second])[0, 1]) - true) < 0.04  # 9,000 days; reversion adds a little


def test_at_ten_times_its_speed_a_late_gateway_says_so_and_loses_no_print(tmp_path: Path) -> None:
    began = time.monotonic_ns()

    def clock() -> int:
        return MONDAY_TEN + 10 * (time.monotonic_ns() - began)

    async def story() -> None:
        market = simulated(tmp_path)
        options: dict[str, Any] = {"market": market, "clock": clock}
        async with running_gateway(tmp_path / "gateway", **options) as running, client(running) as ib:
            (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
            ticker = ib.reqTickByTickData(spy, "AllLast")
            heard: list[tuple[float, float]] = []
            ticker.updateEvent += lambda t: heard.extend((tick.price, tick.size) for tick in t.tickByTicks)
            await until(lambda: heard)
            time.sleep(1.5)
            stood = len(heard)
            await until(lambda: len(heard) > stood + 40)
            market._truth.flush()
            prints = [(p["price"], p["size"]) for p in told(tmp_path / "truth.jsonl")["print"] if p["con_id"] == spy.conId]
            first = next(at for at in range(len(prints)) if prints[at : at + 20] == heard[:20])
            assert prints[first : first + len(heard)] == heard
            assert [line for line in running.wire() if line["kind"] == "late" and line["seconds"] > 1]

    asyncio.run(asyncio.wait_for(story(), 60))


def test_the_wire_log_keeps_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    log = WireLog(path, lambda: 1, lambda: 1, most_bytes=10_000)
    for number in range(1000):
        log.write("raw", fields=[str(number)])
    log.close()
    assert path.stat().st_size <= 10_000 and path.with_name("wire.jsonl.1").stat().st_size < 10_200
    assert json.loads(path.read_text().splitlines()[-1])["fields"] == ["999"]
