"""Orders as the broker works them: fills, changes, cancels, refusals, and what they leave in the account."""

import pytest
from ib_insync import ExecutionFilter, LimitOrder, MarketOrder, Option, Order, Stock, StopLimitOrder, StopOrder

from tests.support.fixed_market import SPY
from tests.support.gateway import client, new_york_ns, turns
from tests.support.gateway_desk import desk, status
from tests.support.waiting import until


def test_a_marketable_limit_takes_the_offer_and_pays_commission(tmp_path):
    async def steps(desk):
        trade = desk.place(LimitOrder("BUY", 4, 4.20, orderRef="intent-1"))
        await until(status(trade, "Filled"))
        await until(lambda: trade.fills and trade.fills[0].commissionReport.commission)
        fill = trade.fills[0]
        assert (fill.execution.price, fill.execution.shares, fill.execution.side) == (4.05, 4, "BOT")
        assert (fill.execution.orderRef, fill.execution.permId) == ("intent-1", trade.order.permId)
        assert fill.execution.time.isoformat() == "2026-11-23T15:00:00+00:00"
        assert fill.commissionReport.commission == 2.60
        await until(lambda: desk.position() == 4)
        await until(lambda: desk.ib.portfolio())
        assert desk.ib.portfolio()[0].averageCost == pytest.approx(405.65)

    desk(tmp_path, steps)


def test_a_small_order_pays_the_least_commission_once_over_its_fills(tmp_path):
    async def steps(desk):
        desk.quote(3.95, 4.05, ask_size=1)
        trade = desk.place(LimitOrder("BUY", 2, 4.05))
        await until(status(trade, "Filled"))
        await until(lambda: len(trade.fills) == 2)
        assert [fill.commissionReport.commission for fill in trade.fills] == [1.0, pytest.approx(0.30)]

    desk(tmp_path, steps)


def test_a_resting_limit_fills_at_its_own_price_when_the_market_crosses_it(tmp_path):
    async def steps(desk):
        trade = desk.place(LimitOrder("BUY", 3, 3.50))
        await until(status(trade, "Submitted"))
        await turns(desk.running, desk.ib)  # it stays away from a market it does not cross
        assert trade.orderStatus.filled == 0
        desk.quote(3.30, 3.40)
        await until(status(trade, "Filled"))
        assert trade.orderStatus.avgFillPrice == 3.50
        assert trade.fills[0].execution.lastLiquidity == 1

    desk(tmp_path, steps)


def test_a_large_order_fills_by_the_displayed_size(tmp_path):
    async def steps(desk):
        trade = desk.place(LimitOrder("BUY", 25, 4.05))
        await until(status(trade, "Filled"))
        assert [fill.execution.shares for fill in trade.fills] == [10, 10, 5]
        assert [fill.execution.cumQty for fill in trade.fills] == [10, 20, 25]

    desk(tmp_path, steps)


def test_stops_trigger_on_the_side_they_would_trade_against(tmp_path):
    async def steps(desk):
        bought = desk.place(LimitOrder("BUY", 10, 4.05))
        await until(status(bought, "Filled"))
        stop = desk.place(StopOrder("SELL", 3, 3.90))
        limited = desk.place(StopLimitOrder("SELL", 3, 3.80, 3.90))
        trailing = desk.place(Order(action="SELL", totalQuantity=3, orderType="TRAIL", auxPrice=0.50))
        await until(status(trailing, "PreSubmitted"))
        desk.quote(4.95, 5.05)
        await turns(desk.running, desk.ib)  # the trailing stop follows to 4.45
        assert stop.orderStatus.status == "PreSubmitted"
        desk.quote(4.40, 4.60)
        await until(status(trailing, "Filled"))
        assert trailing.orderStatus.avgFillPrice == 4.40
        desk.quote(3.70, 3.90)  # triggers both; the limit is above the bid
        await until(status(stop, "Filled"))
        await until(status(limited, "Submitted"))
        desk.quote(3.85, 3.95)
        await until(status(limited, "Filled"))
        assert limited.orderStatus.avgFillPrice in (3.80, 3.85)

    desk(tmp_path, steps)


def test_modify_in_place_keeps_the_order_and_a_refused_change_keeps_the_old_stop(tmp_path):
    async def steps(desk):
        parent, _, stop = desk.bracket(5, 4.10, 6.00, 3.00)
        await until(status(parent, "Filled"))
        perm_id = stop.order.permId
        stop.order.auxPrice = 3.40
        desk.place(stop.order)
        order = desk.running.gateway.ledger.orders[perm_id]
        await until(lambda: order.aux == 3.40)
        stop.order.auxPrice = 3.333
        desk.place(stop.order)
        await until(lambda: 110 in desk.codes())
        assert (order.aux, order.status) == (3.40, "PreSubmitted")
        parent.order.lmtPrice = 5.0
        desk.ib.client.placeOrder(parent.order.orderId, desk.option, parent.order)
        await until(lambda: 104 in desk.codes())

    desk(tmp_path, steps)


def test_cancels_that_find_nothing_are_told_so(tmp_path):
    async def steps(desk):
        filled = desk.place(LimitOrder("BUY", 1, 4.10))
        await until(status(filled, "Filled"))
        resting = desk.place(LimitOrder("BUY", 1, 1.00))
        await until(status(resting, "Submitted"))
        desk.ib.client.cancelOrder(filled.order.orderId)
        desk.ib.client.cancelOrder(999)
        desk.ib.cancelOrder(resting.order)
        await until(status(resting, "Cancelled"))
        desk.ib.client.cancelOrder(resting.order.orderId)
        await until(lambda: 10148 in desk.codes())
        assert desk.codes() == [161, 10147, 202, 10148]

    desk(tmp_path, steps)


def test_global_cancel_reaches_every_clients_orders(tmp_path):
    async def steps(desk):
        trade = desk.place(LimitOrder("BUY", 1, 1.00))
        desk.bracket(2, 1.10, 6.00, 0.50)
        await until(lambda: len(desk.running.gateway.ledger.working()) == 4)
        async with client(desk.running, 9) as other:
            await other.reqOpenOrdersAsync()
            assert other.openTrades() == []
            seen = await other.reqAllOpenOrdersAsync()
            assert {t.order.clientId for t in seen} == {1} and len(seen) == 4
            other.reqGlobalCancel()
            await until(status(trade, "Cancelled"))
            await until(lambda: not desk.running.gateway.ledger.working())

    desk(tmp_path, steps)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (LimitOrder("BUY", 1, 4.123), 110),
        (LimitOrder("BUY", 0, 4.10), 434),
        (LimitOrder("BUY", 1.5, 4.10), 10243),
        (LimitOrder("BUY", 1, -1.0), 321),
        (LimitOrder("BUY", 1000, 4.10), 201),
        (LimitOrder("BUY", 1, 4.10, account="DU999"), 321),
        (LimitOrder("BUY", 1, 4.10, tif="OPG"), 201),
        (LimitOrder("BUY", 1, 4.10, goodAfterTime="20261123 12:00:00"), 201),
        (LimitOrder("HOLD", 1, 4.10), 321),
        (StopOrder("SELL", 1, 3.0, parentId=4711), 135),
        (Order(action="BUY", totalQuantity=1, orderType="MIDPRICE"), 387),
    ],
)
def test_an_order_the_broker_would_refuse_is_refused_with_its_code(tmp_path, order, code):
    async def steps(desk):
        order.orderId = 0
        desk.place(order)
        await until(lambda: desk.codes())
        assert desk.codes() == [code]
        assert desk.running.gateway.ledger.working() == []
        await turns(desk.running, desk.ib)
        assert desk.position() == 0

    desk(tmp_path, steps)


def test_unknown_contracts_duplicate_ids_and_missing_tif(tmp_path):
    async def steps(desk):
        desk.place(LimitOrder("BUY", 1, 4.0), Stock("NOPE", "SMART", "USD"))
        first = desk.place(LimitOrder("BUY", 1, 1.0))
        await until(status(first, "Submitted"))
        desk.ib.client.placeOrder(1, desk.option, LimitOrder("BUY", 1, 1.0, tif="DAY"))
        silent = LimitOrder("BUY", 1, 1.0)
        desk.ib.placeOrder(desk.option, silent)  # tif left empty: lives as DAY, and the broker says 10349
        await until(lambda: len(desk.codes()) == 3)
        assert desk.codes() == [200, 103, 10349]
        assert [o.tif for o in desk.running.gateway.ledger.working()] == ["DAY", "DAY"]

    desk(tmp_path, steps)


def test_outside_the_session_orders_are_held_and_day_orders_expire(tmp_path):
    async def steps(desk):
        clock = desk.running.clock
        clock.set(new_york_ns("2026-11-23 17:00:00"))
        day = desk.place(LimitOrder("BUY", 1, 4.10))
        await until(lambda: 399 in desk.codes())
        assert "2026-11-24 09:30:00 US/Eastern" in desk.errors[-1][2]
        assert day.orderStatus.status == "PreSubmitted"
        clock.set(new_york_ns("2026-11-24 09:30:00"))
        await until(status(day, "Filled"))
        resting, kept = desk.place(LimitOrder("BUY", 1, 1.0)), desk.place(LimitOrder("BUY", 1, 1.0, tif="GTC"))
        await until(status(kept, "Submitted"))
        clock.set(new_york_ns("2026-11-24 16:00:00"))
        await until(status(resting, "Cancelled"))
        assert kept.orderStatus.status == "Submitted"

    desk(tmp_path, steps)


def test_a_halted_symbol_does_not_trade_nor_do_its_options(tmp_path):
    async def steps(desk):
        desk.running.gateway.inject("halt", symbol="SPY", value=1)
        trade = desk.place(LimitOrder("BUY", 1, 4.10))
        await until(status(trade, "Submitted"))
        await turns(desk.running, desk.ib)
        assert trade.orderStatus.filled == 0
        desk.running.gateway.inject("halt", symbol="SPY", value=0)
        await until(status(trade, "Filled"))

    desk(tmp_path, steps)


def test_what_if_tells_margin_and_places_nothing(tmp_path):
    async def steps(desk):
        state = await desk.ib.whatIfOrderAsync(desk.option, LimitOrder("BUY", 5, 4.10, tif="DAY"))
        assert float(state.initMarginChange) == pytest.approx(5 * 410 + 3.25)
        assert state.commission == 3.25
        assert desk.running.gateway.ledger.orders == {}

    desk(tmp_path, steps)


def test_stock_orders_account_values_profit_and_executions_filter(tmp_path):
    async def steps(desk):
        ib = desk.ib
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        pnl = ib.reqPnL("DUSIM0001")
        single = ib.reqPnLSingle("DUSIM0001", "", SPY)
        bought = desk.place(MarketOrder("BUY", 50), spy)
        await until(status(bought, "Filled"))
        desk.market.quote_set(SPY, bid=609.99, ask=610.01)
        await until(lambda: single.position == 50 and single.unrealizedPnL > 490)
        await until(lambda: pnl.dailyPnL > 490)
        sold = desk.place(MarketOrder("SELL", 20), spy)
        await until(status(sold, "Filled"))
        await until(lambda: {v.tag: v.value for v in ib.accountValues()}["StockMarketValue"] == "18300.00")
        values = {v.tag: float(v.value) for v in ib.accountValues() if v.currency == "USD"}
        assert values["TotalCashValue"] == pytest.approx(100_000 - 50 * 600.01 - 1 + 20 * 609.99 - 1)
        assert values["NetLiquidation"] == pytest.approx(values["TotalCashValue"] + 30 * 610)
        assert values["BuyingPower"] == pytest.approx(4 * values["AvailableFunds"], abs=0.05)
        assert [f.execution.side for f in await ib.reqExecutionsAsync(ExecutionFilter(side="SELL"))] == ["SLD"]
        assert await ib.reqExecutionsAsync(ExecutionFilter(symbol="QQQ")) == []
        summary = {v.tag: v.value for v in await ib.accountSummaryAsync()}
        assert float(summary["NetLiquidation"]) == pytest.approx(values["NetLiquidation"], abs=1)

    desk(tmp_path, steps)


def test_an_expired_option_is_settled_in_cash(tmp_path):
    async def steps(desk):
        today = Option("SPY", "20261123", 590, "C", "SMART")
        await desk.ib.qualifyContractsAsync(today)
        bought = desk.place(MarketOrder("BUY", 2), today)
        await until(status(bought, "Filled"))
        cash = desk.running.gateway.ledger.cash
        desk.running.clock.set(new_york_ns("2026-11-23 16:00:00"))
        await until(lambda: desk.running.gateway.ledger.cash == cash + 2 * 1000)
        await until(lambda: not desk.ib.positions())

    desk(tmp_path, steps)
