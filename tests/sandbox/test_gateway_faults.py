"""Injected faults do what they say, and the wire log tells what happened."""

import asyncio
import json

import pytest
from ib_insync import LimitOrder, Option, Stock

from tests.support.fixed_market import SPY, FixedMarket
from tests.support.gateway import MONDAY_TEN, client, running_gateway, turns
from tests.support.waiting import until


def run(story):
    asyncio.run(asyncio.wait_for(story, 15))


def session(tmp_path, steps, **options):
    async def story():
        tolerate = options.pop("tolerate", False)
        async with running_gateway(tmp_path, **options) as running, client(running, tolerate=tolerate) as ib:
            errors = []
            ib.errorEvent += lambda req_id, code, *_: errors.append(code)
            option = Option("SPY", "20261218", 600, "C", "SMART")
            await ib.qualifyContractsAsync(option)
            await steps(running, ib, option, errors)

    run(story())


def buy(ib, option, quantity=2):
    return ib.placeOrder(option, LimitOrder("BUY", quantity, 4.10, tif="DAY", orderRef="r"))


def test_while_connectivity_is_lost_fills_happen_unheard_and_reqexecutions_finds_them(tmp_path):
    async def steps(running, ib, option, errors):
        resting = ib.placeOrder(option, LimitOrder("BUY", 2, 3.50, tif="DAY"))
        await until(lambda: resting.orderStatus.status == "Submitted")
        running.gateway.inject("lost")
        await until(lambda: 1100 in errors)
        running.market.quote_set(option.conId, bid=3.30, ask=3.40)
        await until(lambda: running.gateway.ledger.positions)
        await turns(running, ib)
        assert resting.orderStatus.status == "Submitted"
        running.gateway.inject("restored")
        await until(lambda: 1102 in errors)
        assert [f.execution.shares for f in await ib.reqExecutionsAsync()] == [2]

    session(tmp_path, steps)


def test_restored_with_data_lost_needs_new_subscriptions(tmp_path):
    async def steps(running, ib, option, errors):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker = ib.reqMktData(spy)
        await until(lambda: ticker.bid == 599.99)
        running.gateway.inject("lost")
        running.gateway.inject("restored", data_lost=True)
        await until(lambda: 1101 in errors)
        running.market.quote_set(SPY, bid=601.0)
        await turns(running, ib)
        assert ticker.bid == 599.99
        ib.cancelMktData(spy)
        again = ib.reqMktData(spy)
        await until(lambda: again.bid == 601.0)

    session(tmp_path, steps)


def test_silence_stops_data_but_not_the_socket(tmp_path):
    async def steps(running, ib, option, errors):
        (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
        ticker, book = ib.reqMktData(spy), ib.reqMktDepth(spy, 5)
        await until(lambda: ticker.bid == 599.99 and len(book.domBids) == 5)
        running.gateway.inject("silence")
        running.market.quote_set(SPY, bid=601.0)
        await turns(running, ib)
        assert ticker.bid == 599.99
        assert await ib.reqCurrentTimeAsync()
        running.gateway.inject("speak")
        await until(lambda: ticker.bid == 601.0)

    session(tmp_path, steps)


def test_the_next_order_is_refused_and_the_one_after_is_not(tmp_path):
    async def steps(running, ib, option, errors):
        running.gateway.inject("refuse_next", code=201)
        first = buy(ib, option)
        await until(lambda: first.orderStatus.status == "Inactive" or 201 in errors)
        second = buy(ib, option)
        await until(lambda: second.orderStatus.status == "Filled")
        assert running.gateway.ledger.orders[second.order.permId - 1].status == "Inactive"

    session(tmp_path, steps)


def test_repeated_corrected_and_withheld_news_of_a_fill(tmp_path):
    async def steps(running, ib, option, errors):
        running.gateway.inject("withhold_status", count=10)
        trade = buy(ib, option)
        await until(lambda: trade.fills)
        running.gateway.inject("withhold_status", count=-10)
        running.gateway.inject("repeat_fill", count=3)
        await turns(running, ib)
        assert len(trade.fills) == 1  # ib_insync drops the same execId
        running.gateway.inject("correct_fill", price=4.00)
        await until(lambda: len(trade.fills) == 2)
        ids = [fill.execution.execId for fill in trade.fills]
        assert ids[1] == ids[0][:-2] + "02"
        position = running.gateway.ledger.positions[option.conId]
        assert (position.quantity, float(position.average_cost)) == (2, pytest.approx(400.65))
        assert [f.execution.price for f in await ib.reqExecutionsAsync()] == [4.0]

    session(tmp_path, steps)


def test_a_trade_by_hand_shows_as_a_position_without_an_order(tmp_path):
    async def steps(running, ib, option, errors):
        running.gateway.inject("hand_trade", con_id=option.conId, quantity=-3, price=4.0)
        await until(lambda: [p.position for p in ib.positions()] == [-3])
        assert ib.openTrades() == []

    session(tmp_path, steps)


@pytest.mark.parametrize("what", ["text", "cut", "length"])
def test_garbage_reaches_the_client(tmp_path, what):
    async def steps(running, ib, option, errors):
        received = ib.client.connectionStats().numBytesRecv
        running.gateway.inject("garbage", what=what)
        await until(lambda: ib.client.connectionStats().numBytesRecv > received)

    session(tmp_path, steps, tolerate=True)


def test_a_scenario_runs_on_market_time_and_a_bad_one_is_refused_by_line(tmp_path):
    scenario = tmp_path / "scenario.jsonl"
    scenario.write_text(
        json.dumps({"after_seconds": 60, "do": "notice", "code": 2103, "text": "farm"})
        + "\n"
        + json.dumps({"at": "2026-11-23 10:02:00", "do": "drop"})
        + "\n"
    )

    async def steps(running, ib, option, errors):
        running.clock.advance(61)
        await until(lambda: 2103 in errors)
        assert ib.isConnected()
        running.clock.advance(60)
        await until(lambda: not ib.isConnected())

    session(tmp_path / "a", steps, scenario=scenario)
    scenario.write_text('{"after_seconds": 1, "do": "dance"}\n')
    with pytest.raises(ValueError, match="line 1: fault 'dance' is unknown"):
        session(tmp_path / "b", steps, scenario=scenario)


def test_the_wire_log_tells_orders_in_both_directions_and_the_truth_of_each_fill(tmp_path):
    async def steps(running, ib, option, errors):
        trade = buy(ib, option)
        await until(lambda: trade.fills and trade.fills[0].commissionReport.commission)
        lines = running.wire()
        assert all(line["machine_ns"] > 0 and line["market_ns"] > 0 for line in lines)
        frames = [line for line in lines if line["kind"] == "frame" and line["message"] != "error"]
        assert [(f["dir"], f["message"]) for f in frames][:3] == [
            ("in", "placeOrder"),
            ("out", "openOrder"),
            ("out", "orderStatus"),
        ]
        placed = frames[0]
        assert (placed["client"], placed["fields"]["orderRef"], placed["fields"]["lmtPrice"]) == (1, "r", 4.1)
        assert {f["message"] for f in frames} == {"placeOrder", "openOrder", "orderStatus", "execDetails", "commissionReport"}
        (fill,) = [line for line in lines if line["kind"] == "truth" and line["what"] == "fill"]
        assert (fill["position"], fill["shares"], fill["order_ref"], fill["owner"]) == (2, 2, "r", 1)
        assert [line["kind"] for line in lines if line["kind"] in ("start", "connect")] == ["start", "connect"]

    session(tmp_path, steps)


def test_the_log_can_keep_every_frame(tmp_path):
    async def steps(running, ib, option, errors):
        raw = [line for line in running.wire() if line["kind"] == "raw"]
        assert {"in", "out"} == {line["dir"] for line in raw}
        assert any(line["fields"][0] == "61" for line in raw if line["dir"] == "in")

    session(tmp_path, steps, log_all_frames=True)


class StumblingMarket(FixedMarket):
    """Fails once, some turns from its beginning."""

    turns = 0

    def step(self, now_ns):
        self.turns += 1
        if self.turns == 3:
            raise ArithmeticError("a book without a middle")
        return super().step(now_ns)


def test_a_turn_that_fails_is_told_and_the_next_one_comes(tmp_path):
    async def story():
        async with running_gateway(tmp_path, market=StumblingMarket(MONDAY_TEN)) as running:
            await until(lambda: running.gateway.failed_turns)
            turns = running.market.turns
            await until(lambda: running.market.turns > turns + 2)
            assert [line["error"] for line in running.wire() if line["kind"] == "turn failed"] == [
                "ArithmeticError('a book without a middle')"
            ]
            assert running.gateway.failed_turns == 1
            running.gateway.failed_turns = 0  # as meant: nothing else may have failed

    run(story())
