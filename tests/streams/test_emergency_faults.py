"""Emergency when something is wrong besides: a contract the broker does not list, a disk that takes nothing, a late write."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from msgspec.structs import replace

from alphatrader.clients.ibkr.flatten import REPRICE_SECONDS, Flattening, flatten_directly
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.runtime import halt_file
from tests.streams.test_emergency import ask, emergency, halt, play
from tests.support.executor import executor, health, until_settled
from tests.support.proxy import proxy, tws_frames
from tests.support.servers import Servers
from tests.support.trading import Stage, filled
from tests.support.waiting import until


def sold(on: Stage, con_id: int | None) -> int:
    fills = (line for line in on.gateway.wire() if line.get("what") == "fill" and line["con_id"] == con_id)
    return sum(fill["shares"] for fill in fills if fill["side"] == "SLD")


def test_a_contract_the_broker_does_not_list_holds_up_nobody_and_nothing_is_sold_twice(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with emergency(on) as module:
            # given two positions, one of a contract that the broker does not list any more
            gateway, other = on.gateway.gateway, on.gateway.market.option(strike=605.0)
            for con_id in (other.con_id, on.contract.con_id):
                gateway.inject("hand_trade", con_id=con_id, quantity=3, price=4.0)
            gateway.inject("unlist", con_id=other.con_id)
            connection, log = module.connection, on.context(Module.EMERGENCY).log
            flattening = Flattening(
                connection.ib,
                connection.account,
                1,
                decode_errors=lambda: connection.decode_errors,
                monotonic=on.clock.monotonic,
                log=log,
            )
            # when all is flattened, round after round
            for _ in range(5):
                report = await flattening.run(0.5)
            # then the other is closed, once, and what could not be closed is named
            assert not report.flat
            assert list(report.left) == [other.local_symbol]
            assert (on.held(), sold(on, on.contract.con_id)) == (0, 3)
            # and is closed, once, when the broker lists it again
            gateway.inject("list", con_id=other.con_id)
            report = await flattening.run(15.0)
            assert report.flat
            assert (sold(on, other.con_id), sold(on, on.contract.con_id)) == (3, 3)

    play(servers, tmp_path, story)


@pytest.mark.parametrize("by_hand", [3, 5])
def test_what_somebody_else_closes_meanwhile_is_not_closed_again(servers: Servers, tmp_path: Path, by_hand: int) -> None:
    """An operator who flattens may also close by hand: the closing order must never sell what is not held any more."""

    async def story(on: Stage) -> None:
        async with emergency(on):
            # given a position whose closing order waits for a buyer, and another that does, too
            con_id, other = on.contract.con_id, on.gateway.market.option(strike=605.0).con_id
            for each in (con_id, other):
                on.gateway.gateway.inject("hand_trade", con_id=each, quantity=5, price=4.0)
                on.gateway.market.quote_set(each, bid=4.0, ask=4.1, bid_size=0)
            on.request("flatten")
            await until(lambda: len({frame["fields"]["conId"] for frame in on.placed()}) == 2, what="closing orders")
            # when a part, or all, of the first is sold by hand
            on.gateway.gateway.inject("hand_trade", con_id=con_id, quantity=-by_hand, price=4.0)
            left = 5 - by_hand

            def for_sale() -> int:
                working = (order for order in on.gateway.gateway.ledger.working() if order.con_id == con_id)
                return sum(order.quantity - order.filled for order in working)

            # then no more than the rest is for sale, and no more is sold when a buyer comes
            await until(lambda: for_sale() == left, what="shrunk")
            for each in (con_id, other):
                on.gateway.market.quote_set(each, bid=4.0, ask=4.1, bid_size=50)
            await until(lambda: (h := halt(on)) and not h.flatten and h.reason == "flattened", limit=30.0, what="flat")
            assert on.held() == 0
            assert (sold(on, con_id), sold(on, other)) == (left + by_hand, 5)
            assert [f for f in on.placed() if f["fields"]["action"] == "BUY"] == []

    play(servers, tmp_path, story)


def test_positions_told_too_late_are_not_sold_again(servers: Servers, tmp_path: Path) -> None:
    """The library gives a list to whoever asked for it last: a connection that owes one is asked nothing more."""

    async def story(on: Stage) -> None:
        con_id, client = on.contract.con_id, on.settings.broker.emergency_client_id
        on.gateway.gateway.inject("hand_trade", con_id=con_id, quantity=3, price=4.0)
        async with proxy(on.gateway.port, tws_frames) as to_gateway:
            broker = replace(on.settings.broker, gateways=(Address("127.0.0.1", to_gateway.port),))
            on.settings = replace(on.settings, broker=broker)
            async with emergency(on):
                # given an answer about positions that does not come in its time, while all else does
                late: list[bytes] = []

                def withhold(frame: bytes) -> bytes:
                    if frame[4:].startswith((b"61\0", b"62\0")):
                        late.append(frame)
                        return b""
                    return frame

                def deliver(frame: bytes) -> bytes:
                    came, late[:] = b"".join(late), []
                    return came + frame

                def connects() -> int:
                    return sum(1 for line in on.gateway.wire() if line["kind"] == "connect" and line["client"] == client)

                to_gateway.change = withhold
                on.request("flatten")
                # when it is given up, and comes at last
                await until(lambda: late and connects() == 2, limit=20.0, what="connected anew")
                to_gateway.change = deliver
                # then what is held is sold, once
                await until(lambda: (h := halt(on)) and not h.flatten and h.reason == "flattened", limit=30.0, what="flat")
                assert (on.held(), sold(on, con_id)) == (0, 3)

    play(servers, tmp_path, story)


def test_what_moves_by_nickels_is_flattened_on_nickels(servers: Servers, tmp_path: Path) -> None:
    """The broker refuses what stands between them (110): the closing order would never reach the market."""

    async def story(on: Stage) -> None:
        # given an option worth more than $3 of a class that moves by cents only under it
        apple = on.gateway.market.option_of("AAPL")
        on.gateway.gateway.inject("hand_trade", con_id=apple.con_id, quantity=3, price=4.0)
        log = on.context(Module.CLI).log
        report = await flatten_directly(on.settings, 5, monotonic=on.clock.monotonic, log=log, limit_seconds=10.0)
        assert report.flat and sold(on, apple.con_id) == 3
        assert [frame["fields"]["lmtPrice"] for frame in on.placed()] == [3.9]

    play(servers, tmp_path, story)


def test_a_closing_order_that_nobody_takes_reaches_halfway_through_the_bid_and_no_further(
    servers: Servers, tmp_path: Path
) -> None:
    async def story(on: Stage) -> None:
        async with emergency(on):
            # given a bid of 6 cents behind which nobody stands
            con_id = on.contract.con_id
            on.gateway.gateway.inject("hand_trade", con_id=con_id, quantity=3, price=0.06)
            on.gateway.market.quote_set(con_id, bid=0.06, ask=0.08, bid_size=0)
            on.request("flatten")
            # when the closing order is priced again and again
            await until(lambda: len(on.placed()) == 3, limit=20.0, what="down to half")
            lowest = on.clock.monotonic()
            await until(lambda: on.clock.monotonic() - lowest > 2 * REPRICE_SECONDS + 0.5, what="two more looks")
            # then it stops at half, follows the bid when that moves, and is taken
            assert [frame["fields"]["lmtPrice"] for frame in on.placed()] == [0.05, 0.04, 0.03]
            on.gateway.market.quote_set(con_id, bid=0.04, ask=0.06, bid_size=10)
            await until(lambda: on.held() == 0, what="sold")

    play(servers, tmp_path, story)


def test_a_late_write_of_an_older_halt_does_not_stand(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with emergency(on):
            # given a halt after a time without one
            free = await until(lambda: (found := halt(on)) and not found.halted and found, what="not halted")
            on.request("halt")
            newest = await until(lambda: (found := halt(on)) and found.halted and found, what="halted")
            # when the network delivers what emergency wrote before, late
            store = on.store(Module.EMERGENCY)
            batch = store.batch()
            batch.put(k.HALT.at(), free)
            store.commit(batch)
            # then the newest stands again, as on the disk
            await until(lambda: halt(on) == newest, limit=5.0, what="the newest halt")
            assert halt_file.read(on.folder) == newest

    play(servers, tmp_path, story)


def test_with_a_full_disk_halt_and_flatten_work_and_resume_does_not(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
        async with executor(on, module=Module.EMERGENCY) as process:
            await until_settled(on, process, Module.EMERGENCY)
            token = on.servers.vault.environment_for(Module.EMERGENCY)["ALPHATRADER_EMERGENCY_TOKEN"]
            free = await until(lambda: (found := halt(on)) and not found.halted and found, what="not halted")
            # when the disk takes nothing more, neither halt nor log, and somebody halts
            process.limit(resource.RLIMIT_FSIZE, 0)
            on.request("halt")
            await until(lambda: (found := halt(on)) and found.halted, what="halted")
            assert halt_file.read(on.folder) == free
            # then it alarms, and resuming is refused by name, since a restart would not know of it
            await until(
                lambda: "cannot be written" in (((now := health(on, Module.EMERGENCY)) and now.reason) or ""), what="alarm"
            )
            refused = await ask(on, "resume", token)
            assert not refused.ok
            assert "cannot be written" in refused.detail
            # and what is held can be closed
            assert (await ask(on, "flatten", token)).ok
            await until(lambda: on.held() == 0, limit=60.0, what="flat")
            await until(lambda: (found := halt(on)) and not found.flatten and found.reason == "flattened", what="told")
            # and what stands comes to the disk when the disk takes it
            process.limit(resource.RLIMIT_FSIZE, None)
            await until(lambda: halt_file.read(on.folder) == halt(on), what="on the disk")
            assert process.running

    play(servers, tmp_path, story)
