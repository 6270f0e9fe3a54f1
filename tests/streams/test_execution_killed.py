"""Execution as its own process, killed with SIGKILL at the worst instants: nothing naked, twice or late."""

from __future__ import annotations

import signal
from decimal import Decimal
from pathlib import Path

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Lock
from alphatrader.contract.modules import Module
from tests.support.executor import START_SECONDS, executor, health, until_settled
from tests.support.proxy import chunks, proxy, tws_frames
from tests.support.servers import Servers
from tests.support.trading import Stage, play, refs_of
from tests.support.waiting import until

PLACE_ORDER = b"3\0"


def lock_of(on: Stage) -> Lock | None:
    found: Lock | None = on.store(Module.WATCHDOG).get(k.LOCK.at(module=Module.EXECUTION))
    return found


def is_order(frame: bytes) -> bool:
    return frame[4:].startswith(PLACE_ORDER)


def test_killed_between_intent_and_send_the_intent_expires(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given an executor whose last look at the quote, between the durable intent and the send, gets no answer
        quote = f"quotes:{on.contract.con_id}".encode()
        async with proxy(on.settings.servers.data.port, chunks) as to_data:
            async with executor(on, data_port=to_data.port) as first:
                await until_settled(on, first)
                second_look = to_data.hold(lambda content: quote in content, number=2)
                on.approve("i-1")
                await until(second_look.is_set, what="second look at the quote")
                first.signal(signal.SIGSTOP)  # it does not wait long for a quote
                assert on.state("i-1") == "INTENT"
                # when it is killed there
                first.kill()
            to_data.release()
        # then the next one asks the broker, the intent ends, and nothing was sent
        async with executor(on) as second:
            await until(lambda: second.at_work and on.state("i-1") == "EXPIRED", limit=START_SECONDS, what="expired intent")
            assert on.placed() == []

    play(servers, tmp_path, story)


def test_killed_between_the_legs_nothing_is_naked(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given an executor that dies when the parent has left and its stop and target have not
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            async with executor(on, gateway_port=to_gateway.port) as first:
                await until_settled(on, first)
                stop_leg = to_gateway.hold(is_order, number=2)
                on.approve("i-1")
                await until(stop_leg.is_set, what="stop on its way")
                await until(lambda: refs_of(on.placed()) == ["i-1"], what="the parent alone")
                first.kill()
            await to_gateway.close()
        async with executor(on) as second:
            family = ("i-1", "i-1/stop", "i-1/target")

            def ended() -> bool:
                return second.at_work and {on.state(ref) for ref in family} == {"EXPIRED"}

            await until(ended, limit=START_SECONDS, what="ended")
            assert on.broker_orders() == {} and on.held() == 0
            assert refs_of(on.placed()) == ["i-1"]

    play(servers, tmp_path, story)


def test_killed_after_the_send_the_order_is_found_and_not_sent_again(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given a bracket at the broker and an executor that dies before it hears the fill
        async with executor(on) as first:
            await until_settled(on, first)
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            first.kill()
        # when it fills while nobody is there
        on.quote(3.80, 3.90)
        await until(lambda: on.held() == 2, what="fill at the broker")
        # then the next executor books it once, and sends nothing
        sent = len(on.placed())
        async with executor(on) as second:
            await until(lambda: second.at_work and on.state("i-1") == "FILLED", limit=START_SECONDS, what="fill booked")
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            assert sum(fill.quantity for fill in on.fills().values()) == 2
            assert len(on.placed()) == sent

    play(servers, tmp_path, story)


def test_with_every_process_dead_the_stop_closes_and_is_booked_once_later(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with executor(on) as first:
            await until_settled(on, first)
            on.approve("i-1")
            await until(lambda: on.state("i-1/stop") == "WORKING", what="protected")
            first.kill()
        # given nobody here, when the market falls through the stop
        on.quote(2.90, 3.00)
        # then the broker sells, and its target goes with it
        await until(lambda: on.held() == 0 and on.broker_orders() == {}, what="closed at the broker")
        async with executor(on) as second:
            await until(lambda: second.at_work and on.state("i-1/stop") == "FILLED", limit=START_SECONDS, what="booked")
            await until(lambda: on.state("i-1/target") == "CANCELLED", what="target's end")
            assert sorted((fill.side, fill.quantity) for fill in on.fills().values()) == [("BUY", 2), ("SELL", 2)]
            assert len(on.placed()) == 3

    play(servers, tmp_path, story)


def test_a_second_executor_waits_and_takes_over_after_the_first_is_killed(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with executor(on) as first:
            await until_settled(on, first)
            async with executor(on) as second:
                # given two executors, then one holds the lock, the other says so and is not heard of
                await until(lambda: "another_instance_runs" in second.output(), limit=START_SECONDS, what="refused")
                on.approve("i-1")
                await until(lambda: on.state("i-1") == "FILLED", what="traded once")
                now = health(on)
                assert now is not None and now.pid == first.pid
                assert refs_of(on.placed()) == ["i-1", "i-1/stop", "i-1/target"]
                # when the first is killed, the second recovers from the same ledgers with a larger fence
                fence = on.orders()["i-1"].fence
                first.kill()
                await until_settled(on, second)
                on.approve("i-2")
                await until(lambda: on.state("i-2") == "FILLED", what="the second trades")
                assert on.orders()["i-2"].fence > fence
                assert refs_of(on.placed(opening=True)) == ["i-1", "i-2"]

    play(servers, tmp_path, story)


def test_killed_between_the_journal_and_redis_a_part_that_filled_is_counted_in_its_order(
    servers: Servers, tmp_path: Path
) -> None:
    async def story(on: Stage) -> None:
        # given an entry of which a part fills, and an executor that dies with it on the disk and not in Redis
        async with proxy(on.settings.servers.state.port, chunks) as to_state:
            async with executor(on, state_port=to_state.port) as first:
                await until_settled(on, first)
                on.approve("i-1", quantity=5, limit_price=Decimal("3.90"))
                await until(lambda: on.state("i-1") == "WORKING", what="working entry")
                telling = to_state.hold(lambda content: b"ledger:fills" in content)
                on.gateway.gateway.inject("fill_cap", size=1)
                on.quote(3.80, 3.90)
                await until(on.held, what="first fill")
                on.quote(4.20, 4.30)
                await until(telling.is_set, what="the fill on its way to Redis")
                first.kill()
            await to_state.close()
        assert on.fills() == {} and 0 < on.held() < 5
        # then the next one counts it in the order, once, and in the ledger
        async with executor(on) as second:
            await until_settled(on, second)
            await until(lambda: second.at_work and on.orders()["i-1"].filled == on.held(), what="counted")
            assert sum(fill.quantity for fill in on.fills().values()) == on.held()

    play(servers, tmp_path, story)


def test_one_that_stood_still_for_longer_than_its_lock_lives_goes_on_where_nobody_took_its_place(
    servers: Servers, tmp_path: Path
) -> None:
    async def story(on: Stage) -> None:
        # given an entry that fills while its executor has no turn, until its lock has lapsed
        async with executor(on) as first:
            await until_settled(on, first)
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            sent = len(on.placed())
            first.signal(signal.SIGSTOP)
            on.quote(3.80, 3.90)
            await until(lambda: on.held() == 2 and lock_of(on) is None, what="filled, and the lock lapsed")
            # when it goes on, then it books the fill once, sends nothing, and holds the lock as before
            first.signal(signal.SIGCONT)
            await until(lambda: first.at_work and on.state("i-1") == "FILLED", what="fill booked")
            await until(lambda: (lock := lock_of(on)) and lock.pid == first.pid, what="its lock")
            await until_settled(on, first)
            assert sum(fill.quantity for fill in on.fills().values()) == 2
            assert len(on.placed()) == sent

    play(servers, tmp_path, story)


def test_one_that_stood_still_ends_where_another_took_its_place_meanwhile(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with executor(on) as first:
            await until_settled(on, first)
            on.approve("i-1", limit_price=Decimal("3.90"))
            await until(lambda: on.state("i-1") == "WORKING", what="working entry")
            async with executor(on) as second:
                # given a second executor that gets the lock while the first has no turn, though not yet its place at the broker
                await until(lambda: "another_instance_runs" in second.output(), limit=START_SECONDS, what="the second waits")
                sent = len(on.placed())
                first.signal(signal.SIGSTOP)
                on.quote(3.80, 3.90)
                await until(lambda: (lock := lock_of(on)) and lock.pid == second.pid, what="the second's lock")
                assert on.held() == 2 and on.state("i-1") == "WORKING"
                # when the first goes on, then it ends, and the second books the fill once and sends nothing
                first.signal(signal.SIGCONT)
                await until(lambda: not first.running, what="the first ends")
                await until_settled(on, second)
                await until(lambda: second.at_work and on.state("i-1") == "FILLED", what="fill booked")
                assert sum(fill.quantity for fill in on.fills().values()) == 2
                assert len(on.placed()) == sent

    play(servers, tmp_path, story)


def test_killed_after_its_words_were_held_nothing_arrives_late(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given a network that holds the whole bracket, and an executor that dies while it is under way
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            async with executor(on, gateway_port=to_gateway.port) as first:
                await until_settled(on, first)
                parent = to_gateway.hold(is_order)
                on.approve("i-1")
                await until(parent.is_set, what="parent on its way")
                await until(lambda: on.state("i-1/target") == "SENT", what="sent as far as we know")
                first.kill()
            await to_gateway.close()
        # then the next one learns that the broker knows no such order
        async with executor(on) as second:
            await until_settled(on, second)
            await until(lambda: on.state("i-1") == "EXPIRED", what="gone")
            assert on.placed() == []
            # and nothing of it is in the way of the next
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "FILLED", what="opens again")

    play(servers, tmp_path, story)


def test_redis_emptied_under_it_the_ledgers_come_back_and_nothing_opens_before_a_person_says_so(
    servers: Servers, tmp_path: Path
) -> None:
    async def story(on: Stage) -> None:
        async with executor(on) as first:
            await until_settled(on, first)
            on.approve("i-1")
            await until(lambda: on.state("i-1/stop") == "WORKING" and on.state("i-1/target") == "WORKING", what="protected")
            await until(lambda: (fills := on.fills()) and all(fill.commission for fill in fills.values()), what="commission")
            fills, orders = on.fills(), set(on.orders())
            # given a state server that is emptied while it runs: its lock is gone, so it ends
            on.servers.flush()
            await until(lambda: not first.running, limit=START_SECONDS, what="the first ends without its lock")
        assert on.broker_orders().keys() == {"i-1/stop", "i-1/target"}
        # when its parent starts it anew
        async with executor(on) as second:
            await until_settled(on, second)
            # then the ledgers are back from the journal and the broker
            await until(lambda: on.fills() == fills and set(on.orders()) == orders, what="ledgers")
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            # and without global:halt nothing opens
            on.approve("i-2")
            await until(lambda: on.state("i-2") == "REJECTED", what="refused")
            assert refs_of(on.placed(opening=True)) == ["i-1"] and on.held() == 2

    play(servers, tmp_path, story)
