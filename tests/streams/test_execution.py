"""Execution against the stand-in gateway and real servers: from an approval to the fill, and what must not happen."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.orders import Fill
from alphatrader.contract.modules import Module
from alphatrader.runtime.store import StoreLost
from tests.support.servers import Servers, running_servers
from tests.support.trading import Stage, filled, play
from tests.support.waiting import until


def test_an_approval_becomes_a_bracket_and_its_fill_is_booked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            # given permission and a quote, when risk approves a buy at the ask
            await filled(on)

            # then parent, stop and target left in this order, only the last transmitting, each with its tif
            frames = [frame["fields"] for frame in on.placed()]
            assert [f["orderRef"] for f in frames] == ["i-1", "i-1/stop", "i-1/target"]
            assert [f["transmit"] for f in frames] == [False, False, True]
            assert [f["tif"] for f in frames] == ["DAY", "GTC", "GTC"]
            assert frames[1]["ocaGroup"] == frames[2]["ocaGroup"] != ""
            # and the fill is in the ledger once, with its commission, and the protection works at the broker
            await until(lambda: [f.commission for f in on.fills().values()] == [Decimal("1.30")], what="commission")
            (fill,) = on.fills().values()
            assert (fill.order_ref, fill.quantity, fill.side, str(fill.price)) == ("i-1", 2, "BUY", "4.05")
            assert fill.reference_price is not None
            await until(lambda: on.state("i-1/stop") == "WORKING" and on.state("i-1/target") == "WORKING", what="protection")
            assert on.broker_orders()["i-1/stop"].active == 2
            # and the views and the account say so
            store = on.store(Module.OPERATOR)
            assert store.get(k.ORDERS_WORKING.at(id="i-1/stop")) is not None
            assert store.get(k.ORDERS_WORKING.at(id="i-1")) is None
            events: list[Fill] = store.latest(k.EVENTS_FILLS.at(), 10)
            assert {fill.key for fill in events} == {fill.key}
            account = await until(
                lambda: next((a for a in store.latest(k.EVENTS_ACCOUNT.at()) if a.positions), None), what="account"
            )
            assert (
                account.confirmed
                and account.positions[0].quantity == 2
                and account.positions[0].contract.con_id == on.contract.con_id
            )
            assert store.get(k.BUYING_POWER.at()).value > 0

    play(servers, tmp_path, story)


@pytest.mark.parametrize(
    ("wrong", "changes"),
    [
        ("s old, 1 s are allowed", {"machine_ns": -2_000_000_000}),
        ("halt epoch", {"halt_epoch": 99}),
        ("fence", {"fence": 2}),
        ("quantity", {"quantity": 500}),
        ("collar", {"limit_price": "9.00"}),
        ("not in order", {"target_price": "4.00"}),
        ("would sell at once", {"stop_price": "3.97"}),
    ],
)
def test_what_risk_should_not_have_approved_is_refused(
    servers: Servers, tmp_path: Path, wrong: str, changes: dict[str, Any]
) -> None:
    async def story(on: Stage) -> None:
        given = {n: Decimal(v) if isinstance(v, str) else v for n, v in changes.items()}
        if "machine_ns" in given:
            given["machine_ns"] += on.clock.machine_ns()
        async with on.execution():
            on.approve("i-1", **given)
            await until(lambda: on.state("i-1") == "REJECTED", what="refusal")
            assert wrong in (on.orders()["i-1"].reason or "")
            assert on.placed() == []

    play(servers, tmp_path, story)


@pytest.mark.parametrize("missing", ["lease", "halt", "quote", "halted"])
def test_without_lease_halt_or_quote_nothing_opens(servers: Servers, tmp_path: Path, missing: str) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            if missing == "lease":
                on.leased = False
                batch = on.store(Module.RISK).batch()
                batch.drop(k.LEASE.at())
                on.store(Module.RISK).commit(batch)
            elif missing == "quote":
                on.quoting = False
                batch = on.store(Module.IBKR).batch()
                batch.drop(k.QUOTES.at(con_id=on.contract.con_id or 0))
                on.store(Module.IBKR).commit(batch)
            elif missing == "halt":
                batch = on.store(Module.EMERGENCY).batch()
                batch.drop(k.HALT.at())
                on.store(Module.EMERGENCY).commit(batch)
            else:
                on.halt(True)
            on.approve("i-1")
            await until(lambda: on.state("i-1") == "REJECTED", what="refusal")
            assert on.placed() == []

    play(servers, tmp_path, story)


@pytest.mark.parametrize("how", ["request", "record", "lease"])
def test_a_halt_cancels_the_working_entry_and_nothing_opens_after_it(servers: Servers, tmp_path: Path, how: str) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            # given an entry that works below the market
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            # when a halt is asked for, recorded, or the lease lapses
            if how == "request":
                on.request("halt")
            elif how == "record":
                on.halt(True)
            else:
                on.leased = False
            # then the entry and its children end, confirmed by the broker
            await until(lambda: on.state("i-1") == "CANCELLED", limit=60.0, what="entry cancelled")
            await until(lambda: on.broker_orders() == {}, what="nothing works")
            # and an approval that comes now is refused
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="refusal")
            assert len(on.placed(opening=True)) == 1

    play(servers, tmp_path, story)


def test_the_stop_triggers_and_the_target_goes_with_it(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            on.quote(2.90, 3.00)
            await until(lambda: on.state("i-1/stop") == "FILLED", what="stop filled")
            await until(lambda: on.state("i-1/target") == "CANCELLED", what="target ended")
            assert on.held() == 0
            assert on.broker_orders() == {}

    play(servers, tmp_path, story)


def test_views_that_lapsed_while_execution_was_away_are_back_with_it(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
        # given a stop that works on at the broker while its view has lapsed
        view, store = k.ORDERS_WORKING.at(id="i-1/stop"), on.store(Module.EXECUTION)
        batch = store.batch()
        batch.drop(view)
        store.commit(batch)
        async with on.execution():
            await until(lambda: store.get(view) is not None, what="the view of a working order")

    play(servers, tmp_path, story)


def test_a_wanted_stop_is_moved_in_place(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            order_id = on.orders()["i-1/stop"].order_id
            on.want("i-1", 2, "3.50")
            await until(lambda: str(on.orders()["i-1/stop"].stop_price) == "3.5", what="moved stop")
            stop = on.broker_orders()["i-1/stop"]
            assert (stop.order_id, stop.aux, stop.active) == (order_id, 3.5, 2)
            assert not [line for line in on.gateway.wire() if line.get("message") == "cancelOrder"]

    play(servers, tmp_path, story)


def test_a_refused_stop_move_keeps_the_old_stop(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            on.gateway.gateway.inject("refuse_next", code=201, order_type="STP")
            on.want("i-1", 2, "3.50")
            await until(lambda: execution.health._counts["modify_failed"] == 1, what="alarm")
            await until(lambda: on.state("i-1/stop") == "WORKING", what="old stop stands")
            assert on.broker_orders()["i-1/stop"].aux == 3.0
            assert on.orders()["i-1/stop"].stop_price == 3

    play(servers, tmp_path, story)


def test_a_wanted_close_sells_exactly_what_is_held(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            on.want("i-1", 0, None)
            await until(lambda: on.state("i-1/exit-1") == "FILLED", what="exit filled")
            await until(lambda: on.broker_orders() == {}, what="no orphan")
            assert on.held() == 0
            assert sum(fill.quantity if fill.side == "BUY" else -fill.quantity for fill in on.fills().values()) == 0

    play(servers, tmp_path, story)


def test_a_part_is_sold_after_the_protection_shrank(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on, quantity=3)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            on.want("i-1", 1, "3.20")
            await until(lambda: on.held() == 1, what="two sold")
            await until(
                lambda: on.broker_orders().get("i-1/stop") and on.broker_orders()["i-1/stop"].aux == 3.2, what="stop moved"
            )
            assert on.broker_orders()["i-1/stop"].remaining == 1
            assert on.broker_orders()["i-1/target"].remaining == 1

    play(servers, tmp_path, story)


def test_a_refused_stop_child_is_replaced_within_two_seconds(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            # given a broker that refuses the stop of the bracket
            on.gateway.gateway.inject("refuse_next", code=201, order_type="STP")
            on.approve("i-1")
            # then either nothing is held any more, or another stop protects it, within 2 s of the fill
            await until(lambda: on.held() == 2 or on.state("i-1") == "CANCELLED", what="fill or cancel")
            await until(lambda: on.held() == 0 or "i-1/stop-2" in on.broker_orders(), limit=2.0, what="protection")
            assert on.state("i-1/stop") in ("REJECTED", "UNKNOWN")

    play(servers, tmp_path, story)


def test_reports_that_come_twice_and_corrections_are_booked_once(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            on.gateway.gateway.inject("repeat_fill", count=100)
            on.gateway.gateway.inject("correct_fill", price=4.00)
            await until(lambda: [str(fill.price) for fill in on.fills().values()] == ["4"], what="correction")
            assert sum(fill.quantity for fill in on.fills().values()) == 2

    play(servers, tmp_path, story)


def test_fills_of_a_disconnect_and_trades_by_hand_are_booked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            # given a link that is lost while the entry fills
            on.gateway.gateway.inject("lost")
            await until(lambda: on.state("i-1") == "UNKNOWN", what="unknown")
            on.quote(3.80, 3.90)
            await until(lambda: on.held() == 2, what="fill at the broker")
            assert on.fills() == {}
            on.gateway.gateway.inject("restored")
            await until(lambda: on.state("i-1") == "FILLED", what="fill found")
            # and when somebody sells by hand, the orphaned protection goes
            on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=-2, price=3.85)
            await until(lambda: any(fill.order_ref == "" for fill in on.fills().values()), what="hand trade booked")
            await until(lambda: on.broker_orders() == {}, what="orphans gone")

    play(servers, tmp_path, story)


def test_an_entry_that_does_not_fill_is_cancelled_in_its_time(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        on.settings = replace(on.settings, orders=replace(on.settings.orders, entry_life_seconds=0.5))
        async with on.execution():
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "CANCELLED", what="old entry")
            assert on.broker_orders() == {}

    play(servers, tmp_path, story)


def test_a_partial_entry_leaves_protection_of_just_what_is_held(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        on.settings = replace(on.settings, orders=replace(on.settings.orders, entry_life_seconds=0.5))
        async with on.execution():
            # given one contract of three filled, and the market gone before the rest
            on.gateway.gateway.inject("fill_cap", size=1)
            on.approve("i-1", quantity=3)
            await until(lambda: on.held() == 1, what="first fill")
            on.quote(4.20, 4.30)
            # when the entry's life is over
            await until(lambda: on.state("i-1") == "CANCELLED" or on.held() == 3, what="entry's end")
            held = on.held()
            # then stop and target cover what is held, and no more
            await until(lambda: on.broker_orders()["i-1/stop"].remaining == held, what="stop fits")
            await until(lambda: on.broker_orders()["i-1/target"].remaining == held, what="target fits")
            await until(lambda: sum(fill.quantity for fill in on.fills().values()) == held, what="booked")

    play(servers, tmp_path, story)


def test_what_cannot_be_stopped_is_closed(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            # given a broker that takes the stop away and refuses every other
            on.gateway.gateway.inject("refuse_next", code=201, order_type="STP", count=50)
            stop = on.broker_orders()["i-1/stop"]
            on.gateway.gateway.engine.end(stop, "Cancelled", "by the broker", on.gateway.clock())
            # then the position is closed instead, once
            await until(lambda: on.held() == 0, limit=60.0, what="closed")
            await until(lambda: on.broker_orders() == {}, what="nothing works")
            await until(
                lambda: sum(fill.quantity for fill in on.fills().values() if fill.side == "SELL") == 2, what="booked once"
            )

    play(servers, tmp_path, story)


def test_a_position_of_somebody_elses_is_booked_and_left_alone_until_asked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            on.gateway.gateway.inject("hand_trade", con_id=on.contract.con_id, quantity=3, price=4.0)
            external = f"ext-{on.contract.con_id}"
            await until(lambda: execution.exits.holdings().get(external), what="adopted")
            on.want(external, 3, "3.00")
            await until(lambda: f"{external}/stop" in on.broker_orders(), what="stop as asked")
            on.want(external, 0, None, version=2)
            await until(lambda: on.held() == 0 and on.broker_orders() == {}, what="closed as asked")

    play(servers, tmp_path, story)


def test_a_lost_redis_ends_working_entries_and_leaves_the_stops(tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        with pytest.raises(StoreLost):  # noqa: PT012 the module's whole life
            async with on.execution():
                await filled(on)
                on.approve("i-2", limit_price=Decimal("3.50"), stop_price=Decimal("2.00"))
                await until(lambda: on.state("i-2") == "WORKING", what="working entry")
                admin = on.servers.store(Module.STATE)
                with contextlib.suppress(*StoreLost):
                    admin.raw(Server.STATE, "SHUTDOWN", "NOSAVE")
                await until(lambda: "i-2" not in on.broker_orders(), what="entry cancelled")
                assert on.broker_orders()["i-1/stop"].active == 2

    with running_servers(tmp_path / "own") as own:
        play(own, tmp_path, story)


def test_redis_emptied_the_ledgers_come_back_from_the_journal_and_the_broker(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: [fill.commission for fill in on.fills().values()] == [Decimal("1.30")], what="commission")
            before, orders = on.fills(), set(on.orders())
        batch = on.store(Module.EXECUTION).batch()
        batch.drop(k.LEDGER_FILLS.at())
        batch.drop(k.LEDGER_ORDERS.at())
        on.store(Module.EXECUTION).commit(batch)
        sent = len(on.placed())
        async with on.execution():
            await until(lambda: on.fills() == before and set(on.orders()) == orders, what="ledgers")
            await until(lambda: (on.state("i-1"), on.state("i-1/stop")) == ("FILLED", "WORKING"), what="states")
            assert len(on.placed()) == sent

    play(servers, tmp_path, story)
