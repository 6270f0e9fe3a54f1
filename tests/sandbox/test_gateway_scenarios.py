"""Scripted faults: the example of docs/scenarios.md does all it says, and each newer kind does what it promises."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest
import yaml
from ib_insync import IB, Stock

from alphatrader.runtime.settings import ROOT
from tests.support.fixed_market import AAPL, SPY
from tests.support.gateway import MONDAY_TEN, client, running_gateway
from tests.support.waiting import until

EXAMPLE = ROOT / "config" / "scenarios" / "rough_hour.yaml"


def run(story):
    asyncio.run(asyncio.wait_for(story, 40))


def session(tmp_path, steps, **options):
    async def story():
        async with running_gateway(tmp_path, **options) as running, client(running, tolerate=True) as ib:
            errors = []
            ib.errorEvent += lambda req_id, code, *_: errors.append((req_id, code))
            await steps(running, ib, errors)

    run(story())


def test_the_example_runs_to_its_end_and_the_gateway_listens_again(tmp_path):
    entries = yaml.safe_load(EXAMPLE.read_text())

    async def steps(running, ib, errors):
        for entry in entries:
            running.clock.set(max(running.clock(), MONDAY_TEN + int(entry["after_seconds"] * 1e9)))
            running.gateway.turn()
            await asyncio.sleep(0)
        done = [line["what"] for line in running.wire() if line["kind"] == "fault"]
        assert done == [entry["do"] for entry in entries]
        assert not any("failed" in line for line in running.wire() if line["kind"] == "fault")
        running.clock.advance(61)
        running.gateway.turn()

        async def back():
            again = IB()
            try:
                await again.connectAsync("127.0.0.1", running.port, clientId=11, timeout=4)
            except OSError:
                return False
            again.disconnect()
            return True

        for _ in range(200):
            if await back():
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the gateway did not come back after its reset")

    session(tmp_path, steps, scenario=EXAMPLE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {after_seconds: 1, do: dance}", "entry 1: fault 'dance' is unknown"),
        ("- {do: drop}", "entry 1: it needs `at` or `after_seconds`, and not both"),
        ("- {do: drop, after_seconds: 1, at: 2026-11-23 10:00:00}", "entry 1: it needs `at` or `after_seconds`, and not both"),
        ("- {do: drop, at: tomorrow}", "entry 1: Invalid isoformat string: 'tomorrow'"),
        ("- {do: drop, after_seconds: .inf}", "entry 1: cannot convert float infinity"),
        ("- {after_seconds: 1}", "entry 1: it does not say what to `do`"),
        ("- {after_seconds: 1, do: [drop]}", "entry 1: it does not say what to `do`"),
        ("- drop", "entry 1: Expected `object`, got `str`"),
        (
            "- {after_seconds: 1, do: drop}\n- {after_seconds: 2, do: drop, clientid: 11}",
            "entry 2: drop: Object contains unknown field `clientid`",
        ),
        ("- {after_seconds: 1, do: halt}", "entry 1: halt: Object missing required field `symbol`"),
        ("- {after_seconds: 1, do: halt, symbol: SPX500}", "entry 1: symbol 'SPX500' is unknown"),
        ("- {after_seconds: 1, do: halt, symbol: SPY, value: 7}", "entry 1: halt: value 7: there are 0, 1, 2"),
        ("- {after_seconds: 1, do: down, index: 2}", "entry 1: down: index 2: there are 0, 1"),
        ("- {after_seconds: 1, do: garbage, what: dust}", "entry 1: garbage: what 'dust': there are text, length, cut"),
        ("- {after_seconds: 1, do: fill_cap, size: much}", "entry 1: fill_cap: Expected `int`, got `str` - at `$.size`"),
        ("do: drop", "a scenario is a list"),
        ("- [", "not YAML"),
        ("- {after_seconds: 1, do: drop, do: lost}", "'do' stands 2 times"),
        (b"\xff\xfe", "not text"),
        (None, "s.yaml: No such file or directory"),
    ],
)
def test_a_bad_scenario_is_refused_by_its_place(tmp_path, text, words):
    path = tmp_path / "s.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    async def steps(running, ib, errors):
        raise AssertionError("it started")

    with pytest.raises(ValueError, match=re.escape(words)):
        session(tmp_path / "g", steps, scenario=path)


def test_lines_of_json_are_read_likewise_and_refused_by_their_line(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(
        '\n{"after_seconds": 2, "do": "notice", "code": 2108}\n{"at": "2026-11-23T10:00:01", "do": "notice", "code": 2106}\n'
    )

    async def steps(running, ib, errors):
        running.clock.advance(3)
        await until(lambda: {(-1, 2106), (-1, 2108)} <= {*errors})
        assert [line["args"]["code"] for line in running.wire() if line["kind"] == "fault"] == [2106, 2108]

    session(tmp_path / "g", steps, scenario=path)
    path.write_text('{"after_seconds": 1, "do": "drop"}\n{"after_seconds": 1,\n')
    with pytest.raises(ValueError, match="line 2: Input data was truncated"):
        session(tmp_path / "h", steps, scenario=path)


def test_what_was_to_happen_before_the_gateway_began_is_not_done_late(tmp_path):
    # given a scenario of a day, and a gateway that is started again amid it
    path = tmp_path / "s.yaml"
    path.write_text('- {at: "2026-11-23 09:59:59", do: competing}\n- {at: "2026-11-23 10:00:01", do: notice, code: 2108}\n')

    async def steps(running, ib, errors):
        running.clock.advance(3)
        await until(lambda: (-1, 2108) in errors)
        told = [(line["what"], line.get("failed")) for line in running.wire() if line["kind"] == "fault"]
        assert told == [("competing", "its instant was over when the gateway began"), ("notice", None)]

    session(tmp_path / "g", steps, scenario=path)


def test_an_entry_that_cannot_be_done_is_told_and_the_rest_goes_on(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("- {after_seconds: 1, do: repeat_fill}\n- {after_seconds: 2, do: notice, code: 2108, text: farm}\n")

    async def steps(running, ib, errors):
        running.clock.advance(3)
        await until(lambda: (-1, 2108) in errors)
        (failed,) = [line for line in running.wire() if line["kind"] == "fault" and "failed" in line]
        assert "nothing has been filled" in failed["failed"]

    session(tmp_path / "g", steps, scenario=path)


def test_the_broker_ends_what_is_subscribed_of_one_kind_with_its_code(tmp_path):
    async def steps(running, ib, errors):
        spy, apple = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"), Stock("AAPL", "SMART", "USD"))
        ended, kept = ib.reqMktDepth(spy, isSmartDepth=True), ib.reqMktDepth(apple, isSmartDepth=True)
        ib.reqRealTimeBars(spy, 5, "TRADES", True), ib.reqTickByTickData(spy, "AllLast")
        await until(lambda: ended.domBids and kept.domBids and running.gateway.data.counts()["tick_by_tick"] == 1)
        running.gateway.inject("end", what="depth", code=316, symbol="SPY", text="Market depth data has been HALTED.")
        running.gateway.inject("end", what="ticks", code=10182, text="Failed to request live updates (disconnected).")
        await until(lambda: {316, 10182} <= {code for _, code in errors})
        told = running.gateway.data.counts()
        assert (told["depth"], told["tick_by_tick"], told["realtime_bars"]) == (1, 0, 1)
        with pytest.raises(ValueError, match="'deep': there are quote, depth, ticks, bars"):
            running.gateway.inject("end", what="deep", code=316)

    session(tmp_path, steps)


def test_every_kind_of_fault_stands_in_the_documentation(tmp_path):
    async def steps(running, ib, errors):
        documented = (ROOT / "docs" / "scenarios.md").read_text()
        assert [kind for kind in running.gateway.faults.kinds if f"`{kind}`" not in documented] == []

    session(tmp_path, steps)


def test_one_symbol_is_mute_while_the_other_speaks(tmp_path):
    async def steps(running, ib, errors):
        spy, apple = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"), Stock("AAPL", "SMART", "USD"))
        spy_line, apple_line = ib.reqMktData(spy), ib.reqMktData(apple)
        await until(lambda: spy_line.bid == 599.99 and apple_line.bid == 249.99)
        running.gateway.inject("silence", symbol="SPY")
        running.market.quote_set(SPY, bid=600.0)
        running.market.quote_set(AAPL, bid=250.0)
        await until(lambda: apple_line.bid == 250.0)
        assert spy_line.bid == 599.99
        running.gateway.inject("speak", symbol="SPY")
        await until(lambda: spy_line.bid == 600.0)
        with pytest.raises(ValueError, match="symbol 'NOPE' is unknown"):
            running.gateway.inject("silence", symbol="NOPE")

    session(tmp_path, steps)


def test_market_data_come_twice_and_in_another_order(tmp_path):
    async def steps(running, ib, errors):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = ib.reqTickByTickData(spy, "AllLast")
        heard = []
        ticker.updateEvent += lambda t: heard.extend(tick.price for tick in t.tickByTicks)
        await until(lambda: running.gateway.data.counts()["tick_by_tick"] == 1)
        running.gateway.inject("repeat", count=1)
        running.market.trade(SPY, 1.0, 100)
        running.market.trade(SPY, 2.0, 100)
        await until(lambda: len(heard) == 3)
        running.gateway.inject("reorder", count=1)
        for price in (3.0, 4.0, 5.0):
            running.market.trade(SPY, price, 100)
        await until(lambda: len(heard) == 6)
        assert heard == [1.0, 1.0, 2.0, 4.0, 3.0, 5.0]

    session(tmp_path, steps)


def test_a_competing_session_an_id_in_use_and_a_gateway_that_does_not_read(tmp_path):
    async def steps(running, ib, errors):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = ib.reqMktData(spy)
        await until(lambda: ticker.bid == 599.99)
        running.gateway.inject("competing")
        await until(lambda: 10197 in Counter(code for _, code in errors))
        running.gateway.inject("speak")
        running.gateway.inject("in_use", client_id=5)
        other = IB()
        refused = []
        other.errorEvent += lambda req_id, code, *_: refused.append(code)
        with pytest.raises((TimeoutError, ConnectionError, asyncio.TimeoutError)):
            await other.connectAsync("127.0.0.1", running.port, clientId=5, timeout=0.5)
        assert 326 in refused
        running.gateway.inject("free", client_id=5)
        await other.connectAsync("127.0.0.1", running.port, clientId=5, timeout=4)
        other.disconnect()
        running.gateway.inject("deaf", client_id=1)
        asked = asyncio.ensure_future(ib.reqCurrentTimeAsync())
        await asyncio.sleep(0.2)
        assert not asked.done()
        running.gateway.inject("hear", client_id=1)
        assert await asked

    session(tmp_path, steps)
