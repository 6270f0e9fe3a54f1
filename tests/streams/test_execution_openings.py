"""Execution opening: only in time, at the ask of the moment, and never with an order whose end nobody knows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import Clock
from tests.support.gateway import new_york_ns
from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until


def at(on: Stage, moment: str) -> Clock:
    """The stage's machine time, at another hour of the market."""
    return Clock(new_york_ns(f"2026-11-23 {moment}"), on.clock.machine_ns(), 1.0)


@pytest.mark.parametrize(
    ("strategy", "moment", "says"),
    [
        ("0DTE", "15:00:01", "0DTE is outside its window"),
        ("MOC", "10:00:00", "MOC is outside its window"),
        ("14DTE", "15:59:00", "nothing opens in its last 120 s"),
        ("14DTE", "16:30:00", "the session is closed"),
    ],
)
def test_nothing_opens_out_of_time_whatever_was_approved(
    servers: Servers, tmp_path: Path, strategy: str, moment: str, says: str
) -> None:
    async def story(on: Stage) -> None:
        on.clock = at(on, moment)
        async with on.execution():
            on.approve("i-1", strategy=strategy)
            await until(lambda: on.state("i-1") == "REJECTED", what="refusal")
            assert says in (on.orders()["i-1"].reason or "")
            assert on.placed() == []

    play(servers, tmp_path, story)


def test_nothing_opens_within_a_minute_of_the_gateways_own_restart(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        on.settings = replace(on.settings, broker=replace(on.settings.broker, restarts_at="11:00"))
        for number, (moment, refused) in enumerate({"10:58:50": False, "10:59:01": True, "11:00:59": True}.items()):
            on.clock = at(on, moment)
            async with on.execution():
                on.approve(f"i-{number}")
                await until(lambda number=number: on.state(f"i-{number}") in ("REJECTED", "WORKING", "FILLED"), what="an answer")
                assert (on.state(f"i-{number}") == "REJECTED") == refused, moment
                assert not refused or "restarts itself" in (on.orders()[f"i-{number}"].reason or "")

    play(servers, tmp_path, story)


def test_an_option_that_moves_by_nickels_is_bought_protected_and_sold_on_nickels(servers: Servers, tmp_path: Path) -> None:
    """The broker names the finest step, a cent; from $3 on it refuses what is not on five of them (110)."""

    async def story(on: Stage) -> None:
        made = on.gateway.market.option_of("AAPL")
        on.contract = OptionRef("AAPL", made.expiry, made.strike, "C", made.con_id)
        on.renew()
        async with on.execution():
            # given terms that stand between the nickels
            terms = {"limit_price": "4.07", "stop_price": "3.02", "target_price": "6.03"}
            on.approve("i-1", symbol="AAPL", contract=on.contract, **{name: Decimal(price) for name, price in terms.items()})
            await until(lambda: on.state("i-1") == "FILLED", what="bought")
            # when its stop is moved to such a price, and then all of it is sold
            on.want("i-1", 2, "3.33")
            await until(lambda: on.broker_orders()["i-1/stop"].aux == 3.35, what="moved")
            on.want("i-1", 0, "3.33", version=2)
            await until(lambda: on.held() == 0, what="sold")
        # then every price was taken
        asked = {(f["fields"]["orderRef"], f["fields"]["lmtPrice"] or f["fields"]["auxPrice"]) for f in on.placed()}
        assert {("i-1", 4.05), ("i-1/stop", 3.0), ("i-1/target", 6.05), ("i-1/stop", 3.35), ("i-1/exit-1", 3.9)} <= asked
        errors = [line["fields"]["code"] for line in on.gateway.wire() if line.get("message") == "error" and line["dir"] == "out"]
        assert 110 not in errors

    play(servers, tmp_path, story)


def test_a_late_write_of_an_older_halt_opens_nothing(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            stood = on.store(Module.OPERATOR).get(k.HALT.at())
            on.halt(True)
            await until(lambda: execution.desk.permission.halt.halted, what="halted")  # type: ignore[union-attr]
            # when what stood before comes once more, with a lease and an approval of its epoch
            batch = on.store(Module.EMERGENCY).batch()
            batch.put(k.HALT.at(), stood)
            on.store(Module.EMERGENCY).commit(batch)
            on.epoch, on.halted = stood.epoch, False
            on.renew()
            on.approve("i-1")
            await until(lambda: on.state("i-1") == "REJECTED", what="refusal")
            assert (on.orders()["i-1"].reason or "").startswith("halted: ")
            assert on.placed() == []

    play(servers, tmp_path, story)


def test_an_entry_ends_with_its_strategys_window(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            assert execution.desk is not None
            execution.desk.clock = at(on, "15:00:00")
            await until(lambda: on.state("i-1") == "CANCELLED", what="end of the window")

    play(servers, tmp_path, story)


def test_an_entry_follows_the_ask_and_buys_less_for_it(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            # given an ask two ticks over what risk approved
            on.approve("i-1", quantity=5, limit_price=Decimal("4.03"))
            await until(lambda: on.state("i-1") == "FILLED", what="fill")
            # then four are bought at the ask: five would cost more than was approved
            entry = on.placed(opening=True)[0]["fields"]
            assert (entry["lmtPrice"], entry["totalQuantity"], on.held()) == (4.05, 4, 4)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            assert on.broker_orders()["i-1/stop"].quantity == 4

    play(servers, tmp_path, story)


def test_a_refused_entry_ends_by_the_brokers_lists_and_the_next_one_opens(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            # given a broker that refuses the entry with 201 and calls it Inactive
            on.gateway.gateway.inject("refuse_next", code=201, order_type="LMT")
            on.approve("i-1")
            await until(lambda: on.state("i-1") == "REJECTED", what="settled by asking")
            assert "201" in (on.orders()["i-1"].reason or "")
            await until(lambda: all(on.state(f"i-1/{child}") == "REJECTED" for child in ("stop", "target")), what="children")
            await until(lambda: execution.health._state == "ready", what="no alarm")
            await filled(on, "i-2")

    play(servers, tmp_path, story)


def test_an_entry_that_the_broker_holds_inactive_is_cancelled(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        on.settings = replace(on.settings, orders=replace(on.settings.orders, inactive_seconds=0.5))
        async with on.execution():
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            # given an order that the broker lists as Inactive: unknown, and nothing opens beside it
            on.gateway.gateway.inject("inactive", order_ref="i-1")
            await until(lambda: on.state("i-1") == "UNKNOWN", what="unknown")
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="blocked")
            # then it is cancelled in its time, by the broker's word
            await until(lambda: on.state("i-1") == "CANCELLED", limit=60.0, what="cancelled")
            await filled(on, "i-3")

    play(servers, tmp_path, story)


def test_an_order_that_never_ends_alarms_by_name(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        orders = replace(on.settings.orders, inactive_seconds=0.5, unconfirmed_alarm_seconds=1.0)
        on.settings = replace(on.settings, orders=orders)
        async with on.execution() as execution:
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            # given a broker that holds it Inactive and refuses its cancel
            on.gateway.gateway.inject("inactive", order_ref="i-1", stubborn=True)
            await until(lambda: "i-1 (" in (execution.health._reason or ""), limit=60.0, what="alarm")
            assert execution.health._state == "degraded"
            await until(
                lambda: any(line.get("message") == "cancelOrder" for line in on.gateway.wire()), limit=60.0, what="cancel"
            )
            assert on.state("i-1") == "UNKNOWN"
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="blocked")
            assert refs_of(on.placed(opening=True)) == ["i-1"]

    play(servers, tmp_path, story)
