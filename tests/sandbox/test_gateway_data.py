"""Reference data, live data and historical data, as an ib_insync session sees them."""

import asyncio

import pytest
from ib_insync import Contract, Future, Index, Option, Stock

from alphatrader.sandbox.gateway import Limits
from alphatrader.sandbox.market.types import Auction, Bar, Row
from tests.support.fixed_market import AAPL, ES_DEC, SPY
from tests.support.gateway import MONDAY_TEN, client, running_gateway
from tests.support.waiting import until


def run(story):
    asyncio.run(asyncio.wait_for(story, 15))


def collect_errors(ib):
    errors = []
    ib.errorEvent += lambda req_id, code, text, contract: errors.append((code, text))
    return errors


def session(tmp_path, steps, **options):
    async def story():
        async with running_gateway(tmp_path, **options) as running, client(running) as ib:
            await steps(running, ib)

    run(story())


def test_contracts_are_found_ambiguous_ones_listed_and_unknown_ones_refused(tmp_path):
    async def steps(running, ib):
        errors = collect_errors(ib)
        (spy,) = await ib.reqContractDetailsAsync(Stock("SPY", "SMART", "USD"))
        assert (spy.contract.conId, spy.stockType, spy.minTick) == (SPY, "ETF", 0.01)
        assert spy.liquidHours.startswith("20261123:0930-20261123:1600;")
        assert "20261126:CLOSED;20261127:0930-20261127:1300" in spy.liquidHours
        futures = await ib.reqContractDetailsAsync(Future("ES", exchange="CME"))
        assert [d.contract.localSymbol for d in futures] == ["ESZ6", "ESH7"]
        (front,) = await ib.reqContractDetailsAsync(Contract(secType="CONTFUT", symbol="ES", exchange="CME"))
        assert front.contract.conId == ES_DEC
        (month,) = await ib.reqContractDetailsAsync(Future("ES", "202703", "CME"))
        assert (month.contract.localSymbol, month.underConId, month.minTick) == ("ESH7", 416904, 0.25)
        (index,) = await ib.reqContractDetailsAsync(Index("SPX", "CBOE"))
        assert index.longName == "S&P 500 Index"
        options = await ib.reqContractDetailsAsync(Option("SPY", "20261218", 600, exchange="SMART"))
        assert {d.contract.right for d in options} == {"C", "P"}
        assert await ib.reqContractDetailsAsync(Stock("NOPE", "SMART", "USD")) == []
        assert await ib.reqContractDetailsAsync(Contract(symbol="SPY", secType="XYZ")) == []
        assert [code for code, _ in errors] == [200, 321]

    session(tmp_path, steps)


def test_option_parameters_exchanges_rules_and_components(tmp_path):
    async def steps(running, ib):
        chains = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", SPY)
        smart = next(chain for chain in chains if chain.exchange == "SMART")
        assert (smart.expirations, len(smart.strikes), smart.multiplier) == (["20261123", "20261218"], 5, "100")
        assert any(e.exchange == "ISLAND" for e in await ib.reqMktDepthExchangesAsync())
        assert {c.exchangeLetter for c in await ib.reqSmartComponentsAsync("9c0001")} >= {"P", "Q", "Z"}
        (details,) = await ib.reqContractDetailsAsync(Stock("SPY", "SMART", "USD"))
        (rule,) = await ib.reqMarketRuleAsync(int(details.marketRuleIds.split(",")[0]))
        assert rule.increment == 0.01
        (option,) = await ib.reqContractDetailsAsync(Contract(conId=running.market.option_of("AAPL").con_id))
        steps = await ib.reqMarketRuleAsync(int(option.marketRuleIds.split(",")[0]))
        assert [(step.lowEdge, step.increment) for step in steps] == [(0.0, 0.01), (3.0, 0.05)]
        assert [d.contract.symbol for d in await ib.reqMatchingSymbolsAsync("AAP")] == ["AAPL"]

    session(tmp_path, steps)


def test_a_stock_line_shows_quotes_prints_halts_and_auctions(tmp_path):
    async def steps(running, ib):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        volumes = []
        ticker = ib.reqMktData(spy, "233,225,101,106")
        ticker.updateEvent += lambda t: volumes.append(t.rtVolume)
        await until(lambda: ticker.bid == 599.99 and ticker.ask == 600.01)
        assert (ticker.bidSize, ticker.askSize, ticker.last, ticker.close, ticker.volume) == (500, 500, 600.0, 599.5, 10_000)
        assert (ticker.bidExchange, ticker.halted, ticker.callOpenInterest, ticker.impliedVolatility) == ("PQ", 0, 10_000, 0.15)

        running.market.quote_set(SPY, bid=600.0, bid_size=700, ask=None, ask_size=0)
        await until(lambda: ticker.bid == 600.0 and ticker.ask == -1)
        assert (ticker.bidSize, ticker.askSize) == (700, 0)

        running.market.trade(SPY, 600.02, 250)
        await until(lambda: ticker.last == 600.02 and ticker.volume == 10_250)
        await until(lambda: 10_250 in volumes)

        running.market.auction(Auction(SPY, MONDAY_TEN, 5_000, 600.1, -1_200, 300))
        await until(lambda: ticker.auctionImbalance == -1200 and ticker.auctionPrice == 600.1 and ticker.auctionVolume == 5000)
        running.gateway.inject("halt", symbol="SPY", value=2)
        await until(lambda: ticker.halted == 2)

    session(tmp_path, steps)


def test_an_option_line_carries_greeks_for_bid_ask_last_and_model(tmp_path):
    async def steps(running, ib):
        option = running.market.option()
        contract = Option("SPY", "20261218", 600, "C", "SMART")
        await ib.qualifyContractsAsync(contract)
        ticker = ib.reqMktData(contract, "101,106")
        await until(lambda: ticker.modelGreeks and ticker.bidGreeks and ticker.askGreeks and ticker.lastGreeks)
        assert (ticker.modelGreeks.impliedVol, ticker.modelGreeks.delta, ticker.modelGreeks.undPrice) == (0.15, 0.5, 600.0)
        assert ticker.bidGreeks.impliedVol < 0.15 < ticker.askGreeks.impliedVol
        assert ticker.callOpenInterest == 1000
        running.market.quote_set(option.con_id, implied_vol=None, delta=None, gamma=None, vega=None, theta=None)
        await until(lambda: ticker.modelGreeks.impliedVol is None and ticker.modelGreeks.delta is None)

    session(tmp_path, steps)


def test_a_snapshot_ends_and_holds_no_line(tmp_path):
    async def steps(running, ib):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        (ticker,) = await ib.reqTickersAsync(spy)
        assert ticker.bid == 599.99
        assert running.gateway.data.counts()["lines"] == 0

    session(tmp_path, steps)


@pytest.mark.parametrize("mode", ["shift", "restate"])
def test_smart_depth_holds_the_markets_book_and_survives_a_reset(tmp_path, mode):
    async def steps(running, ib):
        errors = collect_errors(ib)
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = ib.reqMktDepth(spy, 4, isSmartDepth=True)
        await until(lambda: len(ticker.domBids) == 4 and len(ticker.domAsks) == 4)
        bids = [Row(600.0, 100, "IEX"), Row(599.99, 900, "ISLAND"), Row(599.99, 50, "BATS")]
        asks = [Row(600.02, 10 * n, v) for n, v in enumerate(("ISLAND", "ARCA", "BATS", "IEX", "EDGX"), 1)]
        running.market.book_set(SPY, bids, asks)
        want = [(r.price, r.size, r.venue) for r in bids], [(r.price, r.size, r.venue) for r in asks[:4]]

        def shown():
            return [(x.price, x.size, x.marketMaker) for x in ticker.domBids], [
                (x.price, x.size, x.marketMaker) for x in ticker.domAsks
            ]

        await until(lambda: shown() == want)
        running.gateway.inject("depth_reset")
        await until(lambda: 317 in [code for code, _ in errors] and shown() == want)
        ib.cancelMktDepth(spy, isSmartDepth=False)  # another kind than was asked for: refused, it goes on
        await until(lambda: 310 in [code for code, _ in errors])
        assert running.gateway.data.counts()["depth"] == 1

    session(tmp_path, steps, depth_mode=mode)


def test_futures_depth_comes_without_makers_and_direct_depth_from_one_venue(tmp_path):
    async def steps(running, ib):
        (es,) = await ib.qualifyContractsAsync(Future("ES", "20261218", "CME"))
        futures = ib.reqMktDepth(es, 5)
        await until(lambda: len(futures.domBids) == 5)
        assert futures.domBids[0].marketMaker == ""
        running.market.book_set(AAPL, [Row(250.0, 100, "ISLAND", "GSCO"), Row(249.99, 100, "ARCA")], [])
        nasdaq = Stock("AAPL", "ISLAND", "USD")
        await ib.qualifyContractsAsync(nasdaq)
        direct = ib.reqMktDepth(nasdaq, 5)
        await until(lambda: [(x.price, x.marketMaker) for x in direct.domBids] == [(250.0, "GSCO")])

    session(tmp_path, steps)


def test_tick_by_tick_tells_every_print_and_unreported_ones_only_in_all_last(tmp_path):
    async def steps(running, ib):
        spy, aapl = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"), Stock("AAPL", "SMART", "USD"))
        told = {"AllLast": [], "Last": [], "BidAsk": []}
        for kind, contract in (("AllLast", spy), ("Last", aapl), ("BidAsk", Stock(conId=SPY, exchange="SMART"))):
            ticker = ib.reqTickByTickData(contract, kind)
            ticker.updateEvent += lambda t, kind=kind: told[kind].extend(t.tickByTicks)
        await until(lambda: running.gateway.data.counts()["tick_by_tick"] == 3)
        for con_id in (SPY, AAPL):
            running.market.trade(con_id, 600.5, 100, conditions="F", past_limit=True)
            running.market.trade(con_id, 600.6, 5, exchange="FINRA", unreported=True)
        running.market.quote_set(SPY, bid=600.4, ask=600.6)
        await until(lambda: len(told["AllLast"]) == 2 and told["Last"] and told["BidAsk"])
        first, odd = told["AllLast"]
        assert (first.price, first.size, first.specialConditions, first.tickAttribLast.pastLimit) == (600.5, 100, "F", True)
        assert (odd.exchange, odd.tickAttribLast.unreported) == ("FINRA", True)
        assert [tick.price for tick in told["Last"]] == [600.5]
        assert (told["BidAsk"][-1].bidPrice, told["BidAsk"][-1].askPrice) == (600.4, 600.6)

    session(tmp_path, steps)


def test_five_second_bars(tmp_path):
    async def steps(running, ib):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        bars = ib.reqRealTimeBars(spy, 5, "TRADES", True)
        await until(lambda: running.gateway.data.counts()["realtime_bars"] == 1)
        running.market.bar(SPY, Bar(MONDAY_TEN, 600.0, 601.0, 599.0, 600.5, 1234, 600.2, 17))
        await until(lambda: bars)
        assert (bars[0].open_, bars[0].close, bars[0].volume, bars[0].wap, bars[0].count) == (600.0, 600.5, 1234, 600.2, 17)

    session(tmp_path, steps)


def test_historical_bars_today_the_previous_session_and_days(tmp_path):
    async def steps(running, ib):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))

        async def bars(end, duration, size, **extra):
            return await ib.reqHistoricalDataAsync(spy, end, duration, size, "TRADES", True, **extra)

        minutes = await bars("", "2 D", "1 min")
        assert len(minutes) == 390 + 30  # Friday, and today until 10:00
        assert str(minutes[0].date) == "2026-11-20 09:30:00-05:00"
        previous = await bars("20261120 23:59:59 US/Eastern", "1 D", "5 mins", formatDate=2)
        assert (len(previous), previous[-1].date.isoformat()) == (78, "2026-11-20T20:55:00+00:00")
        days = await bars("", "5 D", "1 day")
        assert [str(b.date) for b in days][-1] == "2026-11-20" and len(days) == 5
        tail = await bars("", "3600 S", "5 mins")
        assert (len(tail), str(tail[0].date)) == (12, "2026-11-20 15:30:00-05:00")
        assert (await ib.reqHeadTimeStampAsync(spy, "TRADES", True, 2)).year == 2024

    session(tmp_path, steps)


def test_bad_and_too_frequent_historical_requests_are_refused(tmp_path):
    async def steps(running, ib):
        errors = collect_errors(ib)
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        for end, duration, size, shown in (
            ("", "1 D", "7 secs", "TRADES"),
            ("", "1 fortnight", "1 min", "TRADES"),
            ("yesterday", "1 D", "1 min", "TRADES"),
            ("", "1 D", "1 min", "SCHEDULE_OF_DREAMS"),
        ):
            assert not await ib.reqHistoricalDataAsync(spy, end, duration, size, shown, True)
        assert [code for code, _ in errors] == [321, 321, 321, 162]
        assert await ib.reqHistoricalDataAsync(spy, "", "60 S", "5 secs", "TRADES", True)
        assert not await ib.reqHistoricalDataAsync(spy, "", "60 S", "5 secs", "TRADES", True)
        assert errors[-1][0] == 162 and "pacing violation" in errors[-1][1]

    session(tmp_path, steps)


def test_the_accounts_limits_are_real(tmp_path):
    async def steps(running, ib):
        errors = collect_errors(ib)
        option = Option("SPY", "20261218", 600, "C", "SMART")
        await ib.qualifyContractsAsync(option)

        def same(**extra):  # ib_insync keeps one ticker a contract object
            return Stock(conId=SPY, symbol="SPY", exchange="SMART", currency="USD", **extra)

        for _ in range(4):
            ib.reqMktDepth(same(), 5, isSmartDepth=True)
            ib.reqTickByTickData(same(), "AllLast")
        for _ in range(6):
            ib.reqMktData(same())
        ib.reqTickByTickData(option, "Last")
        wanted = {309: 1, 10190: 1, 101: 1, 10189: 1}
        await until(lambda: all([code for code, _ in errors].count(code) == n for code, n in wanted.items()))
        assert running.gateway.data.counts() == {"lines": 5, "depth": 3, "tick_by_tick": 3, "realtime_bars": 0}
        running.gateway.inject("drop")
        await until(lambda: not running.gateway.sessions)
        assert not any(running.gateway.data.counts().values())

    session(tmp_path, steps, limits=Limits(market_data_lines=5))


def test_combinations_and_indices_without_a_book_are_refused_clearly(tmp_path):
    async def steps(running, ib):
        errors = collect_errors(ib)
        ib.reqMktData(Contract(secType="BAG", symbol="SPY", exchange="SMART", currency="USD"))
        ib.reqMktDepth(Index("SPX", "CBOE"), 5)
        ib.reqMktData(Stock("NOPE", "SMART", "USD"))
        await until(lambda: len([e for e in errors if e[0] < 2100 or e[0] > 2200]) == 3)
        assert [code for code, _ in errors] == [321, 10092, 200]

    session(tmp_path, steps)
