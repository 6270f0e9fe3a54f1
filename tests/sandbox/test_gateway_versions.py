"""One session told in every version from 157 to 176, by a client that claims no more: the content must be the same in each.

ib_insync reads each version by its own branches, so what an older layout says otherwise is found by comparing with the newest.
"""

import asyncio
import dataclasses
from typing import Any

import pytest
from ib_insync import IB, ExecutionFilter, Future, LimitOrder, Option, Stock, StopOrder

from alphatrader.sandbox.market.types import Auction, Bar
from tests.support.fixed_market import SPY
from tests.support.gateway import MONDAY_TEN, running_gateway
from tests.support.waiting import until

NS = 10**9
NEWEST = 176
ONLY_SINCE = {"minSize": 164, "sizeIncrement": 164, "suggestedSizeIncrement": 163}
"""Fields of contract details that older versions do not carry: there they hold the client's own default."""
ONLY_UNTIL = {"mdSizeMultiplier": 163}


def plain(found: Any) -> Any:
    """Everything in it, as values that compare."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {field.name: plain(getattr(found, field.name)) for field in dataclasses.fields(found)}
    if isinstance(found, tuple) and hasattr(found, "_asdict"):
        return {name: plain(value) for name, value in found._asdict().items()}
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [plain(one) for one in found]
    return found


async def session(folder: Any, version: int) -> dict[str, Any]:
    """What one client is told, by name. Market and clock stand still but for what is moved here."""
    told: dict[str, Any] = {}
    async with running_gateway(folder) as running:
        ib, errors = IB(), []
        ib.errorEvent += lambda req_id, code, text, contract: errors.append((code, text))
        ib.client.MaxClientVersion = version
        await ib.connectAsync("127.0.0.1", running.port, clientId=3, timeout=4)
        try:
            assert ib.client.serverVersion() == version
            stock, future = Stock("SPY", "SMART", "USD"), Future("ES", "202612", "CME")
            option = Option("SPY", "20261218", 600, "C", "SMART")
            told["details"] = [plain(d) for c in (stock, future, option) for d in await ib.reqContractDetailsAsync(c)]
            await ib.qualifyContractsAsync(stock, future, option)
            told["symbols"] = plain([d.contract for d in await ib.reqMatchingSymbolsAsync("SPY")])
            told["parameters"] = plain(await ib.reqSecDefOptParamsAsync("SPY", "", "STK", SPY))
            told["exchanges"] = plain(await ib.reqMktDepthExchangesAsync())
            told["head"] = str(await ib.reqHeadTimeStampAsync(stock, "TRADES", True, 1))
            told["history"] = plain(await ib.reqHistoricalDataAsync(stock, "", "1800 S", "5 mins", "TRADES", True))

            line, prints = ib.reqMktData(stock, "233,225,101,106"), []
            line.updateEvent += lambda t: prints.extend(plain(one) | {"time": None} for one in t.tickByTicks)
            ib.reqTickByTickData(stock, "AllLast")
            depth = ib.reqMktDepth(future, numRows=5)
            bars = ib.reqRealTimeBars(stock, 5, "TRADES", True)
            model = ib.reqMktData(option, "101,106")
            await until(lambda: line.bid == 599.99 and model.modelGreeks and len(depth.domBids) == 5)
            running.market.trade(SPY, 600.01, 30, conditions="F I", exchange="ARCA")
            running.market.auction(Auction(SPY, MONDAY_TEN, 5_000, 600.1, -1_200, 300))
            running.market.bar(SPY, Bar(MONDAY_TEN - 5 * NS, 600, 600.5, 599.5, 600.25, 12_345, 600.1, 321))
            running.gateway.inject("halt", symbol="SPY", value=2)
            await until(lambda: line.halted == 2 and line.auctionImbalance == -1200 and len(bars) == 1 and prints)
            told["line"] = [line.bid, line.ask, line.bidSize, line.askSize, line.last, line.volume, line.close, line.halted,
                            line.auctionVolume, line.auctionPrice, line.auctionImbalance, line.bidExchange]  # fmt: skip
            told["prints"] = prints
            assert [(one["price"], one["size"], one["specialConditions"]) for one in prints] == [(600.01, 30, "F I")]
            told["depth"] = [(d.price, d.size, d.marketMaker) for side in (depth.domBids, depth.domAsks) for d in side]
            told["bar"], told["greeks"] = plain(bars[0]), plain(model.modelGreeks)
            running.gateway.inject("halt", symbol="SPY", value=0)

            running.market.quote_set(option.conId, bid=1.45, ask=1.5)
            await until(lambda: model.ask == 1.5)
            resting = ib.placeOrder(option, LimitOrder("BUY", 3, 1.0, tif="DAY", orderRef="r"))
            stop = ib.placeOrder(stock, StopOrder("SELL", 10, 500.0, tif="GTC", orderRef="s"))
            await until(lambda: (resting.orderStatus.status, stop.orderStatus.status) == ("Submitted", "PreSubmitted"))
            told["open"] = [(t.order.orderRef, t.order.orderType, t.order.lmtPrice, t.order.auxPrice, t.order.tif,
                             t.order.totalQuantity, t.order.account, t.orderStatus.status) for t in (resting, stop)]  # fmt: skip
            every = await ib.reqAllOpenOrdersAsync()
            told["all open"] = sorted((t.order.orderRef, t.order.lmtPrice, t.order.auxPrice, t.orderStatus.status) for t in every)
            taken = ib.placeOrder(option, LimitOrder("BUY", 2, 1.55, tif="DAY", orderRef="a"))
            await until(lambda: taken.isDone() and taken.fills and taken.fills[0].commissionReport.execId)
            told["fills"] = [plain(f.execution) | {"time": None, "permId": None} for f in taken.fills]
            told["commission"] = [plain(f.commissionReport) for f in taken.fills]
            told["again"] = [plain(f.execution) | {"time": None, "permId": None}
                             for f in await ib.reqExecutionsAsync(ExecutionFilter(clientId=3))]  # fmt: skip
            for trade in (stop, resting):
                ib.cancelOrder(trade.order)
                await until(lambda trade=trade: trade.orderStatus.status == "Cancelled")
            told["positions"] = plain(ib.positions())
            told["completed"] = sorted((t.order.orderRef, t.orderStatus.status) for t in await ib.reqCompletedOrdersAsync(False))
            ib.placeOrder(option, LimitOrder("BUY", 1, 1.5123, tif="DAY"))
            await until(lambda: 110 in [code for code, _ in errors])
            told["errors"] = [error for error in errors if error[0] not in (2104, 2106, 2158)]
            told["summary"] = sorted((v.tag, v.value) for v in await ib.accountSummaryAsync())
        finally:
            ib.disconnect()
    return told


def same_but_for_the_version(told: dict[str, Any], version: int) -> dict[str, Any]:
    """Without the fields that one of the two versions does not carry."""
    absent = {name for name, since in ONLY_SINCE.items() if version < since}
    absent |= {name for name, until_ in ONLY_UNTIL.items() if until_ < NEWEST}
    details = [{name: value for name, value in one.items() if name not in absent} for one in told["details"]]
    symbols = [one | {"description": None} for one in told["symbols"]]  # since 176
    return told | {"details": details, "symbols": symbols}


@pytest.fixture(scope="module")
def newest(tmp_path_factory):
    return asyncio.run(asyncio.wait_for(session(tmp_path_factory.mktemp("newest"), NEWEST), 60))


@pytest.mark.parametrize("version", range(157, NEWEST))
def test_a_client_of_an_older_version_is_told_the_same(tmp_path, newest, version):
    told = asyncio.run(asyncio.wait_for(session(tmp_path, version), 60))
    older, newer = same_but_for_the_version(told, version), same_but_for_the_version(newest, version)
    for name in newer:
        assert older[name] == newer[name], name
    assert older.keys() == newer.keys()
