"""Orders that belong together: brackets, their protection while the parent fills, and OCA groups."""

import pytest
from ib_insync import LimitOrder, StopOrder

from tests.support.gateway import client, turns
from tests.support.gateway_desk import desk, status
from tests.support.waiting import until


def test_a_bracket_fills_and_its_stop_then_ends_it(tmp_path):
    async def steps(desk):
        parent, target, stop = desk.bracket(5, 4.10, 6.00, 3.00)
        await until(status(parent, "Filled"))
        await until(status(target, "Submitted"))
        assert (stop.orderStatus.status, stop.orderStatus.whyHeld) == ("PreSubmitted", "trigger")
        desk.quote(2.90, 3.10)
        await until(status(stop, "Filled"))
        await until(status(target, "Cancelled"))
        assert stop.orderStatus.avgFillPrice == 2.90
        await until(lambda: desk.position() == 0)
        await until(lambda: stop.fills[0].commissionReport.realizedPNL)
        assert stop.fills[0].commissionReport.realizedPNL == pytest.approx(5 * (290 - 405) - 6.50)

    desk(tmp_path, steps)


def test_nothing_of_a_bracket_is_live_before_the_last_leg_is_transmitted(tmp_path):
    async def steps(desk):
        parent = LimitOrder("BUY", 5, 4.10, orderId=desk.ib.client.getReqId(), transmit=False)
        desk.place(parent)
        await turns(desk.running, desk.ib)  # in which a live order would have filled
        assert desk.running.gateway.ledger.working() == []
        desk.ib.disconnect()
        await until(lambda: not desk.running.gateway.sessions)
        async with client(desk.running, 1) as again:
            assert (again.openTrades(), again.positions()) == ([], [])

    desk(tmp_path, steps)


def test_children_protect_no_more_than_the_parent_has_filled(tmp_path):
    async def steps(desk):
        ledger = desk.running.gateway.ledger
        desk.running.gateway.inject("fill_cap", size=3)
        desk.quote(3.95, 4.05, ask_size=3)
        parent, target, stop = desk.bracket(10, 4.05, 6.00, 3.00)
        await until(lambda: parent.orderStatus.filled >= 3)
        desk.quote(3.95, 5.00)  # the rest does not fill
        await turns(desk.running, desk.ib)
        filled = int(parent.orderStatus.filled)
        by_id = {order.order_id: order for order in ledger.working()}
        assert (by_id[target.order.orderId].active, by_id[stop.order.orderId].active) == (filled, filled)

        desk.quote(2.90, 5.00)
        await until(lambda: stop.orderStatus.filled == filled)
        await until(lambda: desk.position() == 0)
        assert by_id[target.order.orderId].active == 0  # the sibling was reduced by what the stop has closed

        desk.ib.cancelOrder(parent.order)
        await until(lambda: not ledger.working())
        assert parent.orderStatus.status == "Cancelled"
        assert desk.position() == 0

    desk(tmp_path, steps)


def test_a_cancelled_parent_keeps_protection_for_what_it_filled(tmp_path):
    async def steps(desk):
        desk.quote(3.95, 4.05, ask_size=3)
        desk.running.gateway.inject("fill_cap", size=3)
        parent, target, stop = desk.bracket(10, 4.05, 6.00, 3.00)
        await until(lambda: parent.orderStatus.filled == 3)
        desk.quote(3.95, 5.00)
        desk.ib.cancelOrder(parent.order)
        await until(status(parent, "Cancelled"))
        await until(lambda: stop.orderStatus.remaining == parent.orderStatus.filled)
        assert (target.orderStatus.status, stop.order.totalQuantity) == ("Submitted", parent.orderStatus.filled)

    desk(tmp_path, steps)


def test_cancelling_an_unfilled_parent_cancels_the_children(tmp_path):
    async def steps(desk):
        trades = desk.bracket(5, 3.00, 6.00, 2.00)
        await until(status(trades[0], "Submitted"))
        desk.ib.cancelOrder(trades[0].order)
        await until(lambda: all(trade.orderStatus.status == "Cancelled" for trade in trades))
        assert desk.codes() == [202, 202, 202]

    desk(tmp_path, steps)


@pytest.mark.parametrize(("kind", "left"), [(1, None), (2, 6), (3, 6)])
def test_an_oca_group_cancels_or_reduces_the_others(tmp_path, kind, left):
    async def steps(desk):
        bought = desk.place(LimitOrder("BUY", 10, 4.05))
        await until(status(bought, "Filled"))
        first = desk.place(LimitOrder("SELL", 10, 5.00, ocaGroup="exit", ocaType=kind))
        second = desk.place(StopOrder("SELL", 10, 3.00, ocaGroup="exit", ocaType=kind))
        await until(status(second, "PreSubmitted"))
        desk.running.gateway.inject("fill_cap", size=4)
        desk.quote(5.00, 5.10, bid_size=4)
        await until(lambda: first.orderStatus.filled == 4)
        if left is None:
            await until(status(second, "Cancelled"))
        else:
            await until(lambda: second.order.totalQuantity <= left)
            await until(status(first, "Filled"))
            await until(status(second, "Cancelled"))

    desk(tmp_path, steps)
