"""IBKR's own old client, ibapi 9.81 (versions 100..157), as an oracle that shares no code with ib_insync: a whole session.

It parses sizes as whole numbers, wants exact field counts, and loses a burst whose length is a multiple of its 4096-byte read
when nothing follows: the session keeps asking the time, so that something always follows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from decimal import Decimal
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

from alphatrader.sandbox.market.types import Auction, Bar
from tests.support.fixed_market import ES_DEC, SPY
from tests.support.gateway import MONDAY_TEN, running_gateway
from tests.support.waiting import until

NS = 10**9


class Oracle(EWrapper, EClient):  # type: ignore[misc]
    """Everything it is called back with, by name; `said[name]` is a list of argument tuples."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.said: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        self.threads: list[threading.Thread] = []
        self._end = threading.Event()

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, name)
        if name in _CALLBACKS:
            said = object.__getattribute__(self, "said")

            def told(*args: Any, **named: Any) -> None:
                said[name].append((*args, *named.values()))

            return told
        return own

    def begin(self, port: int, client_id: int) -> None:
        self.connect("127.0.0.1", port, client_id)
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.run, self._keep_asking)]
        for thread in self.threads:
            thread.start()

    def _keep_asking(self) -> None:
        while not self._end.wait(0.2) and self.isConnected():
            self.reqCurrentTime()

    def end(self) -> None:
        self._end.set()
        self.disconnect()
        for thread in self.threads:
            thread.join(5)


_CALLBACKS = frozenset(name for name in vars(EWrapper) if not name.startswith("_") and name not in ("logAnswer",))


def contract(**fields: Any) -> Contract:
    made = Contract()
    for name, value in {"currency": "USD", "exchange": "SMART", **fields}.items():
        setattr(made, name, value)
    return made


def order(action: str, quantity: int, price: float, **fields: Any) -> Order:
    made = Order()
    made.action, made.totalQuantity, made.orderType, made.lmtPrice, made.tif = action, quantity, "LMT", price, "DAY"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def session(tmp_path, steps, **options):
    failures: list[str] = []

    class Watch(logging.Handler):
        def emit(self, record):
            failures.append(record.getMessage())

    async def story():
        watch = Watch(logging.ERROR)
        logging.getLogger("ibapi").addHandler(watch)
        async with running_gateway(tmp_path, **options) as running:
            oracle = Oracle()
            try:
                await asyncio.to_thread(oracle.begin, running.port, 7)
                await until(lambda: oracle.said["nextValidId"] and oracle.said["managedAccounts"])
                assert oracle.serverVersion() == 157
                await steps(running, oracle, oracle.said)
            finally:
                await asyncio.to_thread(oracle.end)
                logging.getLogger("ibapi").removeHandler(watch)

    asyncio.run(asyncio.wait_for(story(), 90))
    assert [text for text in failures if "Traceback" in text or "unhandled" in text] == []


def test_the_reference_data_of_a_session(tmp_path):
    async def steps(running, oracle, said):
        oracle.reqContractDetails(1, contract(symbol="SPY", secType="STK"))
        oracle.reqContractDetails(2, contract(symbol="ES", secType="FUT", exchange="CME"))
        oracle.reqSecDefOptParams(3, "SPY", "", "STK", SPY)
        oracle.reqMktDepthExchanges()
        oracle.reqContractDetails(4, contract(symbol="NOPE", secType="STK"))
        spy = contract(symbol="SPY", secType="STK")
        oracle.reqHistoricalData(5, spy, "20261120 16:00:00", "1 D", "1 hour", "TRADES", 1, 1, False, [])
        await until(lambda: len(said["contractDetailsEnd"]) == 2 and said["securityDefinitionOptionParameterEnd"])
        await until(lambda: said["mktDepthExchanges"] and said["historicalDataEnd"])
        details = [
            (asked, found.contract.conId, found.contract.localSymbol, found.minTick) for asked, found in said["contractDetails"]
        ]
        assert details[0] == (1, SPY, "SPY", 0.01) and [d[2] for d in details[1:]] == ["ESZ6", "ESH7"]
        assert len(said["historicalData"]) == 6  # the fixed market gives whole hours
        chain = said["securityDefinitionOptionParameter"][0]
        assert chain[:2] == (3, "SMART") and len(chain[6]) == 5
        assert [(asked, code) for asked, code, _ in said["error"] if asked == 4] == [(4, 200)]
        assert {code for asked, code, _ in said["error"] if asked == -1} == {2104, 2106, 2158}

    session(tmp_path, steps)


def test_the_live_data_of_a_session(tmp_path):
    async def steps(running, oracle, said):
        spy, es = contract(symbol="SPY", secType="STK"), contract(conId=ES_DEC, symbol="ES", secType="FUT", exchange="CME")
        oracle.reqMktData(1, spy, "225,233", False, False, [])
        oracle.reqMktDepth(2, spy, 5, True, [])
        oracle.reqMktDepth(3, es, 5, False, [])
        oracle.reqTickByTickData(4, spy, "AllLast", 0, True)
        oracle.reqTickByTickData(5, spy, "BidAsk", 0, True)
        oracle.reqRealTimeBars(6, spy, 5, "TRADES", True, [])
        option = contract(symbol="SPY", secType="OPT", lastTradeDateOrContractMonth="20261218", strike=600.0, right="C")
        oracle.reqMktData(7, option, "", False, False, [])
        await until(lambda: len(said["updateMktDepthL2"]) == 10 and len(said["updateMktDepth"]) == 10)
        await until(lambda: running.gateway.data.counts()["realtime_bars"] == 1)
        running.market.trade(SPY, 600.02, 250, conditions="F")
        running.market.quote_set(SPY, bid=599.98, halted=2)
        running.market.bar(SPY, Bar(MONDAY_TEN, 600.0, 601.0, 599.0, 600.5, 900, 600.2, 7))
        running.market.auction(Auction(SPY, MONDAY_TEN, 5_000, 600.1, -1_200, 300))
        await until(lambda: said["tickByTickAllLast"] and said["tickByTickBidAsk"] and said["realtimeBar"])
        assert said["tickByTickAllLast"][0][:5] == (4, 2, MONDAY_TEN // NS, 600.02, 250)
        assert said["tickByTickAllLast"][0][6:] == ("ARCA", "F")
        assert said["tickByTickBidAsk"][-1][2:4] == (599.98, 600.01)
        assert said["realtimeBar"] == [(6, MONDAY_TEN // NS, 600.0, 601.0, 599.0, 600.5, 900, 600.2, 7)]
        await until(lambda: (1, 49, 2.0) in said["tickGeneric"])
        sizes = {(tick, size) for asked, tick, size in said["tickSize"] if asked == 1}
        assert {(34, 5_000), (36, -1_200), (61, 300), (0, 500), (3, 500)} <= sizes
        strings = {tick: text for asked, tick, text in said["tickString"] if asked == 1}
        assert strings[48].startswith("600.02;250;") and {32, 33, 45} <= set(strings)
        assert {tick for asked, tick, *_ in said["tickOptionComputation"] if asked == 7} == {10, 11, 12, 13}
        oracle.reqMktDepth(8, spy, 5, True, [])
        oracle.reqTickByTickData(9, spy, "Last", 0, True)
        oracle.reqTickByTickData(10, spy, "MidPoint", 0, True)
        oracle.reqMktDepth(11, es, 5, False, [])
        oracle.reqMktDepth(2, spy, 5, True, [])
        await until(lambda: {(11, 309), (10, 10190), (2, 322)} <= {(a, c) for a, c, _ in said["error"]})

    session(tmp_path, steps)


def test_the_orders_of_a_session(tmp_path):
    async def steps(running, oracle, said):
        option = contract(symbol="SPY", secType="OPT", lastTradeDateOrContractMonth="20261218", strike=600.0, right="C")
        first = said["nextValidId"][0][0]
        oracle.placeOrder(first, option, order("BUY", 2, 4.10, orderRef="filled"))
        await until(lambda: said["execDetails"] and said["commissionReport"])
        _, traded, execution = said["execDetails"][0]
        assert (traded.symbol, traded.strike, execution.shares, execution.price, execution.side) == ("SPY", 600.0, 2, 4.05, "BOT")
        assert execution.orderRef == "filled" and said["commissionReport"][0][0].commission > 0
        oracle.placeOrder(first + 1, option, order("BUY", 1, 3.00, orderRef="resting"))
        await until(lambda: any(status[:2] == (first + 1, "Submitted") for status in said["orderStatus"]))
        oracle.cancelOrder(first + 1)
        await until(lambda: any(status[:2] == (first + 1, "Cancelled") for status in said["orderStatus"]))
        assert (first + 1, 202) in {(asked, code) for asked, code, _ in said["error"]}
        opened = {told[2].orderRef: told[2] for told in said["openOrder"]}
        assert (opened["resting"].lmtPrice, opened["resting"].tif, opened["resting"].account) == (3.0, "DAY", "DUSIM0001")
        oracle.placeOrder(first + 2, contract(symbol="SPY", secType="BAG"), order("BUY", 1, 1.0))
        await until(lambda: (first + 2, 201) in {(asked, code) for asked, code, _ in said["error"]})
        oracle.reqPositions()
        oracle.reqExecutions(21, ExecutionFilter())
        oracle.reqAccountSummary(22, "All", "NetLiquidation,BuyingPower")
        oracle.reqOpenOrders()
        await until(lambda: said["positionEnd"] and said["execDetailsEnd"] and said["accountSummaryEnd"] and said["openOrderEnd"])
        assert [(held.conId, quantity) for _, held, quantity, _ in said["position"]] == [(traded.conId, 2)]
        assert {tag for _, _, tag, *_ in said["accountSummary"]} == {"NetLiquidation", "BuyingPower"}
        assert running.gateway.ledger.positions[traded.conId].average_cost > Decimal(400)

    session(tmp_path, steps)
