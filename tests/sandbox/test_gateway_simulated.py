"""The gateway in front of the seeded market: the product's instruments are all there, live, and can be traded."""

import asyncio

from ib_insync import Future, LimitOrder, Option, Stock, StopOrder

from tests.support.gateway import Clock, client, running_gateway
from tests.support.waiting import until

EQUITIES = ["SPY", "QQQ", "IWM", "AAPL", "TSLA", "NVDA", "AMD", "GOOGL", "META", "AMZN", "MSFT", "VXX"]
FUTURES = {"ES": "CME", "NQ": "CME", "RTY": "CME", "VIX": "CFE", "DX": "NYBOT", "GC": "COMEX", "CL": "NYMEX", "ZB": "CBOT"}


def test_a_day_trader_finds_quotes_depth_history_a_chain_and_a_fill(tmp_path):
    async def story():
        clock = Clock(running=True)
        async with running_gateway(tmp_path, market="simulated", clock=clock) as running, client(running) as ib:
            stocks = await ib.qualifyContractsAsync(*(Stock(symbol, "SMART", "USD") for symbol in EQUITIES))
            assert [stock.symbol for stock in stocks] == EQUITIES
            for symbol, exchange in FUTURES.items():
                assert await ib.reqContractDetailsAsync(Future(symbol, exchange=exchange)), symbol

            spy = stocks[0]
            live, book = ib.reqMktData(spy, "233"), ib.reqMktDepth(spy, 10, isSmartDepth=True)
            ib.reqTickByTickData(spy, "AllLast")
            bars = ib.reqRealTimeBars(stocks[3], 5, "TRADES", True)
            await until(lambda: live.bid > 0 and live.ask >= live.bid and len(book.domBids) == 10)
            assert len(await ib.reqHistoricalDataAsync(spy, "", "2 D", "1 min", "TRADES", True)) == 390 + 30

            (chain, *_) = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", spy.conId)
            strike = min(chain.strikes, key=lambda k: abs(k - live.last))
            option = Option("SPY", chain.expirations[1], strike, "C", "SMART")
            await ib.qualifyContractsAsync(option)
            quote = ib.reqMktData(option, "101")
            await until(lambda: quote.ask > 0 and quote.modelGreeks and 0 < quote.modelGreeks.delta < 1)

            limit = round(quote.ask + 0.50, 2)
            parent = LimitOrder("BUY", 1, limit, tif="DAY", orderId=ib.client.getReqId(), transmit=False)
            stop = StopOrder("SELL", 1, 0.05, tif="GTC", parentId=parent.orderId, transmit=True)
            bought, guard = (ib.placeOrder(option, order) for order in (parent, stop))
            await until(lambda: bought.orderStatus.status == "Filled" and guard.orderStatus.whyHeld == "trigger")
            assert bought.orderStatus.avgFillPrice <= limit
            clock.advance(5)
            await until(lambda: bars)

    asyncio.run(asyncio.wait_for(story(), 20))
