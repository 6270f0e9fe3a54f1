"""A desk at the stand-in's gateway: one client, one option to trade, and the errors that it was told."""

import asyncio

from ib_insync import LimitOrder, Option, StopOrder

from tests.support.gateway import client, running_gateway


def run(story):
    asyncio.run(asyncio.wait_for(story, 15))


class Desk:
    """One client's session with an option to trade and the errors it was told."""

    def __init__(self, running, ib):
        self.running, self.ib, self.market, self.errors = running, ib, running.market, []
        self.option = Option("SPY", "20261218", 600, "C", "SMART")
        self.con_id = running.market.option().con_id
        ib.errorEvent += lambda req_id, code, text, contract: self.errors.append((req_id, code, text))

    def place(self, order, contract=None):
        order.tif = order.tif or "DAY"
        return self.ib.placeOrder(contract or self.option, order)

    def bracket(self, quantity, limit, target, stop, **extra):
        """Parent, target and stop; the last one transmits them all."""
        parent = LimitOrder("BUY", quantity, limit, orderId=self.ib.client.getReqId(), transmit=False, **extra)
        take = LimitOrder("SELL", quantity, target, parentId=parent.orderId, transmit=False, tif="GTC")
        guard = StopOrder("SELL", quantity, stop, parentId=parent.orderId, transmit=True, tif="GTC")
        return [self.place(order) for order in (parent, take, guard)]

    def quote(self, bid, ask, **sizes):
        self.market.quote_set(self.con_id, bid=bid, ask=ask, **sizes)

    def codes(self):
        return [code for _, code, _ in self.errors if not 2100 <= code < 2200]

    def position(self):
        return {p.contract.conId: p.position for p in self.ib.positions()}.get(self.con_id, 0)


def desk(tmp_path, steps, **options):
    async def story():
        async with running_gateway(tmp_path, **options) as running, client(running) as ib:
            desk = Desk(running, ib)
            await ib.qualifyContractsAsync(desk.option)
            await steps(desk)

    run(story())


def status(trade, *wanted):
    return lambda: trade.orderStatus.status in wanted
