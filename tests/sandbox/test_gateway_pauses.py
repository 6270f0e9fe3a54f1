"""Volatility pauses, paced contract details, data that are not subscribed, and the farm of past bars: as a client meets them."""

import asyncio
import time

import pytest
from ib_insync import Contract, Future, Option, Stock

from alphatrader.sandbox.gateway.limits import Limits
from alphatrader.sandbox.market.business_days import Sessions
from alphatrader.sandbox.market.pauses import CHANCE, FIRST_NS, LAST_NS, PAUSE_NS, natural
from tests.support.fixed_market import SPY
from tests.support.gateway import Clock, client, new_york_ns, running_gateway
from tests.support.market_world import AAPL, SECOND, at, market_at, session_list
from tests.support.waiting import until


def run(story, limit=60):
    asyncio.run(asyncio.wait_for(story, limit))


# -- pauses --------------------------------------------------------------------------------------------------------------


def test_a_scripted_pause_stops_prints_and_quotes_and_ends_by_a_print_that_reopens():
    market, before = market_at(at(11)), market_at(at(11))
    for one in (market, before):
        one.step(at(11, 0, 3))
    market.pause("AAPL", 30)
    steps = [market.step(at(11, 0, 3) + i * SECOND // 2) for i in range(1, 120)]
    # it begins with the next slot of five seconds, and ends after its time
    assert [halt for step in steps for halt in step.halts] == [(AAPL, 2), (AAPL, 0)]
    prints = [print_ for step in steps for print_ in step.prints if print_.con_id == AAPL]
    paused = (at(11, 0, 5), at(11, 0, 35))
    assert not [print_ for print_ in prints if paused[0] <= print_.ts_ns < paused[1]]
    # the first print after it is the cross, and the only one of its kind
    after = [print_ for print_ in prints if print_.ts_ns >= paused[1]]
    assert after[0].conditions == "5" and [p.conditions for p in prints].count("5") == 1
    assert after[0].size > sorted(print_.size for print_ in after)[len(after) // 2]
    # what came before it is what would have come without it, and so is the price it goes on with
    untouched = [before.step(at(11, 0, 3) + i * SECOND // 2) for i in range(1, 120)]
    others = [print_ for step in untouched for print_ in step.prints if print_.con_id == AAPL]
    assert [p for p in prints if p.ts_ns < paused[0]] == [p for p in others if p.ts_ns < paused[0]]
    assert (market.quote(AAPL).bid, market.quote(AAPL).ask) == (before.quote(AAPL).bid, before.quote(AAPL).ask)
    for wrong in ("ES", "N0NE"):
        with pytest.raises(ValueError, match=wrong):
            market.pause(wrong, 30)


def test_pauses_come_by_themselves_rarely_and_within_the_day():
    sessions = Sessions(session_list())
    days = [sessions.on(day) for day, *_ in session_list()]
    found = [(session, halt) for n in range(400) for session in days for halt in natural(n, "AAPL", session)]
    expected = CHANCE * 400 * len(days)
    assert expected / 2 < len(found) < expected * 2
    for session, halt in found:
        assert session.open_ns + FIRST_NS <= halt.start_ns <= session.close_ns - LAST_NS
        assert halt.end_ns - halt.start_ns == PAUSE_NS and halt.symbol == "AAPL"
    # and the simulated market has it, without being told
    session, halt = next((s, h) for s, h in found if s.day == at_day())
    seed = next(n for n in range(400) if natural(n, "AAPL", session))
    market = market_at(halt.start_ns + 10 * SECOND, seed=seed)
    quote = market.quote(AAPL)
    assert (quote.halted, quote.bid, quote.ask) == (2, None, None)


def at_day():
    return next(day for day, open_ns, close_ns in session_list() if open_ns <= at(11) < close_ns)


def test_a_client_sees_tick_49_no_prints_and_the_reopening(tmp_path):
    async def story():
        clock = Clock(new_york_ns("2026-11-23 10:00:00"), running=True)
        async with running_gateway(tmp_path, market="simulated", clock=clock) as running, client(running) as ib:
            (aapl,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            ticker = ib.reqMktData(aapl)
            prints = []
            ticks = ib.reqTickByTickData(aapl, "AllLast")
            ticks.updateEvent += lambda t: prints.extend((tick.time, tick.specialConditions) for tick in t.tickByTicks)
            await until(lambda: prints and ticker.halted == 0, limit=20)
            running.gateway.inject("pause", symbol="AAPL", seconds=5)
            await until(lambda: ticker.halted == 2, limit=20)
            seen = len(prints)
            await until(lambda: ticker.halted == 0, limit=20)
            await until(lambda: len(prints) > seen, limit=20)
            assert prints[seen][1] == "5"

    run(story())


# -- contract details ----------------------------------------------------------------------------------------------------


def test_a_wide_request_for_details_is_throttled_and_what_follows_waits_its_turn(tmp_path):
    async def story():
        limits = Limits(details_at_once=10, details_per_second=200)
        async with running_gateway(tmp_path, market="simulated", limits=limits) as running, client(running) as ib:
            # one contract is told at once
            begun = time.monotonic()
            (spy,) = await ib.reqContractDetailsAsync(Stock("SPY", "SMART", "USD"))
            assert spy.contract.symbol == "SPY"
            # a whole expiry comes at the pace, whole, and what was asked for after it comes after it
            chain = running.market.contracts(symbol="SPY", sec_type="OPT")
            expiry = chain[0].expiry
            whole = [one for one in chain if one.expiry == expiry]
            assert len(whole) > 60
            order = []
            begun = time.monotonic()

            async def ask(what, contract):
                found = await ib.reqContractDetailsAsync(contract)
                order.append(what)
                return found

            wide, narrow = await asyncio.gather(
                ask("chain", Option("SPY", expiry, exchange="SMART")), ask("one", Stock("QQQ", "SMART", "USD"))
            )
            assert time.monotonic() - begun >= (len(whole) - 1) / 200
            assert {one.contract.conId for one in wide} == {one.con_id for one in whole} and len(narrow) == 1
            assert order == ["chain", "one"]
            # and option parameters are the way that is not throttled
            assert await ib.reqSecDefOptParamsAsync("SPY", "", "STK", spy.contract.conId)

    run(story())


# -- what is not subscribed ----------------------------------------------------------------------------------------------


def test_354_ends_the_lines_of_a_symbol_and_refuses_them_until_it_is_subscribed(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, tolerate=True) as ib:
            errors = []
            ib.errorEvent += lambda req_id, code, text, contract: errors.append((code, contract.symbol if contract else ""))
            spy, aapl = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"), Stock("AAPL", "SMART", "USD"))
            for contract in (spy, aapl):
                ib.reqMktData(contract)
            await until(lambda: ib.ticker(spy).bid == 599.99)
            running.gateway.inject("not_subscribed", symbol="SPY")
            await until(lambda: errors == [(354, "SPY")])
            running.market.quote_set(SPY, bid=598.0)
            again = Contract(conId=spy.conId, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
            ib.reqMktData(again)
            ib.reqMktDepth(again, 5)
            ib.reqTickByTickData(again, "AllLast")
            ib.reqRealTimeBars(again, 5, "TRADES", True)
            await until(lambda: len(errors) == 5)
            assert sorted(code for code, _ in errors[1:]) == [354, 354, 420, 10189]
            assert running.gateway.data.counts() == {"lines": 1, "depth": 0, "tick_by_tick": 0, "realtime_bars": 0}
            running.gateway.inject("subscribed", symbol="SPY")
            fresh = Contract(conId=spy.conId, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
            ticker = ib.reqMktData(fresh)
            await until(lambda: ticker.bid == 598.0)

    run(story())


# -- the farm of past bars -----------------------------------------------------------------------------------------------


def test_a_broken_farm_refuses_past_bars_and_one_asleep_wakes_when_asked(tmp_path):
    async def story():
        async with running_gateway(tmp_path, market="simulated") as running, client(running, tolerate=True) as ib:
            codes = []
            ib.errorEvent += lambda req_id, code, *_: codes.append(code)
            (es,) = (await ib.reqContractDetailsAsync(Future("ES", exchange="CME")))[:1]

            async def bars():
                return await ib.reqHistoricalDataAsync(es.contract, "", "600 S", "1 min", "TRADES", True)

            assert await bars()
            running.gateway.inject("hmds", state="broken")
            await until(lambda: 2105 in codes)
            assert not await bars() and codes[-1] == 162
            running.gateway.inject("hmds", state="asleep")
            await until(lambda: 2107 in codes)
            codes.clear()
            assert await bars()
            assert codes == [2106]

    run(story())
