"""The account outlives its process: reconnects, restarts, SIGKILL in the middle of writing, the next day."""

import asyncio
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from ib_insync import LimitOrder, Option, StopOrder

from alphatrader.sandbox.gateway.ledger import Ledger
from tests.support.gateway import Clock, client, new_york_ns, running_gateway
from tests.support.waiting import until

REPO = Path(__file__).parents[2]


def run(story):
    asyncio.run(asyncio.wait_for(story, 20))


def spy_call():
    return Option("SPY", "20261218", 600, "C", "SMART")


async def buy_with_bracket(ib, quantity=5):
    option = spy_call()
    await ib.qualifyContractsAsync(option)
    parent = LimitOrder("BUY", quantity, 4.10, tif="DAY", orderId=ib.client.getReqId(), transmit=False, orderRef="intent-7")
    stop = StopOrder("SELL", quantity, 3.00, tif="GTC", parentId=parent.orderId, transmit=True, orderRef="intent-7:stop")
    trades = [ib.placeOrder(option, order) for order in (parent, stop)]
    await until(lambda: trades[0].orderStatus.status == "Filled" and trades[1].orderStatus.whyHeld == "trigger")
    return trades


def test_a_reconnecting_client_finds_its_orders_positions_and_fills(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running:
            async with client(running, 3) as ib:
                await buy_with_bracket(ib)
                highest = ib.client._reqIdSeq
                running.gateway.inject("drop", client_id=3)
                await until(lambda: not ib.isConnected())
            async with client(running, 3) as ib:
                (stop,) = ib.openTrades()
                assert (stop.order.orderRef, stop.order.auxPrice, stop.orderStatus.status) == (
                    "intent-7:stop",
                    3.0,
                    "PreSubmitted",
                )
                assert [(p.position, p.avgCost) for p in ib.positions()] == [(5, 405.65)]
                assert [(f.execution.orderRef, f.commissionReport.commission) for f in ib.fills()] == [("intent-7", 3.25)]
                assert ib.client._reqIdSeq >= highest - 4  # never an id that was used

    run(story())


def test_a_second_gateway_on_the_same_directory_continues_the_account(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 3) as ib:
            trades = await buy_with_bracket(ib)
            perm_ids = [trade.order.permId for trade in trades]
        async with running_gateway(tmp_path) as running, client(running, 3) as ib:
            (stop,) = ib.openTrades()
            assert stop.order.permId == perm_ids[1]
            assert [f.execution.permId for f in ib.fills()] == perm_ids[:1]
            fresh = ib.placeOrder(spy_call(), LimitOrder("BUY", 1, 1.0, tif="DAY"))
            await until(lambda: fresh.order.permId)
            assert fresh.order.permId > max(perm_ids)
            running.market.quote_set(running.market.option().con_id, bid=2.90, ask=3.10)
            await until(lambda: stop.orderStatus.status == "Filled")
            assert len({f.execution.execId for f in ib.fills()}) == 2
            await until(lambda: not ib.positions())

    run(story())


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.support.gateway import running_gateway
async def main():
    async with running_gateway(Path(sys.argv[1])) as running:
        print(running.port, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_after_sigkill_everything_a_client_was_told_is_still_true(tmp_path):
    async def told(port):
        from ib_insync import IB

        ib = IB()
        await ib.connectAsync("127.0.0.1", port, clientId=3)
        trades = await buy_with_bracket(ib)
        os.kill(process.pid, signal.SIGKILL)
        fills = [fill.execution.execId for fill in ib.fills()]
        await until(lambda: not ib.isConnected())
        return trades, fills

    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        _, fills = asyncio.run(told(port))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    async def story():
        async with running_gateway(tmp_path) as running, client(running, 3) as ib:
            assert [fill.execution.execId for fill in ib.fills()] == fills and fills
            assert [p.position for p in ib.positions()] == [5]
            assert [t.order.orderRef for t in ib.openTrades()] == ["intent-7:stop"]

    run(story())


def test_a_line_cut_by_a_crash_is_dropped_and_a_corrupt_one_is_refused_with_its_number(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, "DUSIM0001", Decimal(5000))
    ledger.open_day("20261123", Decimal(5000))
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"fill","exec')
    assert Ledger(path, "DUSIM0001", Decimal(1)).cash == 5000
    assert path.read_bytes() == whole
    path.write_bytes(b"not json\n" + whole)
    with pytest.raises(ValueError, match=r"ledger.jsonl line 1: not a ledger event"):
        Ledger(path, "DUSIM0001", Decimal(1))
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="belongs to account DUSIM0001"):
        Ledger(path, "DUSIM0002", Decimal(1))


def test_the_next_day_reports_only_its_own_executions_and_keeps_good_till_cancelled_orders(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 3) as ib:
            await buy_with_bracket(ib)
        tuesday = Clock(new_york_ns("2026-11-24 09:00:00"))
        async with running_gateway(tmp_path, clock=tuesday) as running, client(running, 3) as ib:
            assert ib.fills() == []
            assert await ib.reqCompletedOrdersAsync(False) == []
            assert [p.position for p in ib.positions()] == [5]
            assert [t.order.orderType for t in ib.openTrades()] == ["STP"]

    run(story())
