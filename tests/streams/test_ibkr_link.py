"""The broker's link lost, back with or without what was subscribed, and through the nightly reset: proven by data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from tests.support.fixed_market import AAPL
from tests.support.ingestion import all_live, asked, gone, ingestion, occ, proven, small
from tests.support.servers import Servers
from tests.support.waiting import until


def test_a_socket_that_is_gone_before_the_connection_says_so_is_asked_for_nothing(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            lines, now = s.module._lines, s.module.clock.monotonic()
            # given the client's socket ended in this very turn, and nobody has been told yet
            s.module._ib.client.disconnect()
            # then the loops that go on asking until they are told ask nobody, and the module lives
            assert s.module._link.up
            lines.renew("resubscribed", now, lost=False)
            lines.renew("resubscribed", now, lost=True)
            lines.roll("ES", "another month")
            lines.assign(now)
            lines.mend(now + 60.0)
            # and all is live again on the next connection
            assert lines.subscriptions is None
            await until(lambda: lines.subscriptions is not None)
            await all_live(s)

    asyncio.run(story())


def test_1102_keeps_what_proves_itself_and_asks_again_for_what_does_not(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.core.market.proof.PROOF_SECONDS", 1.5)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers, quiet_seconds=1.5)) as s:
            await all_live(s)
            before = asked(s)
            s.running.gateway.inject("lost")
            await gone(s, "SPY")
            assert s.module.health._state == "waiting"
            # given a broker that says it kept everything, and in truth has lost AAPL's lines
            for table in (s.running.gateway.data._lines, s.running.gateway.data._depth, s.running.gateway.data._bars):
                for key in [key for key, line in table.items() if line.con_id == AAPL]:
                    del table[key]
            s.running.gateway.inject("restored", data_lost=False)
            # then SPY goes on under its old ids, and AAPL is asked for anew
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            await until(lambda: s.subscribed()["lines"] == 3 and s.subscribed()["depth"] == 3)
            await until(lambda: proven(s, "AAPL"))
            after = asked(s)
            assert after[Kind.QUOTE, "SPY"] == before[Kind.QUOTE, "SPY"]
            assert after[Kind.QUOTE, "AAPL"] > before[Kind.QUOTE, "AAPL"]
            assert s.module._connection.connections == 1

    asyncio.run(story())


def test_a_quote_that_1102_kept_has_both_sides_though_only_one_changed(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await s.want(Module.POSITIONS, occ(600.0))
            con_id = s.running.market.option(600.0, "C").con_id
            before = await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))
            s.running.gateway.inject("lost")

            async def expired() -> bool:
                return await s.get(k.QUOTES, con_id=con_id) is None

            await s.seen(expired)
            s.running.gateway.inject("restored", data_lost=False)
            s.running.market.quote_set(con_id, ask=before.ask + 0.05)

            async def again() -> Any:
                quote = await s.get(k.QUOTES, con_id=con_id)
                return quote if quote is not None and quote.ask == before.ask + 0.05 else None

            assert (await s.seen(again)).bid == before.bid

    asyncio.run(story())


def test_data_prove_a_link_of_which_no_word_came_back(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            s.running.gateway.inject("silence")
            s.running.gateway.inject("notice", code=2110, text="Connectivity between Trader Workstation and server is broken")
            await gone(s, "SPY")
            await until(lambda: s.module.health._reason == "the gateway has lost its link to the broker")
            await asyncio.sleep(1.1)  # what was under way when it broke proves nothing: market data of the first second
            s.running.gateway.inject("speak")
            await until(lambda: s.module._link.up)
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))

    asyncio.run(story())


@pytest.mark.parametrize("resetting", [False, True])
def test_a_gateway_whose_link_stays_lost_is_left_except_in_the_nightly_reset(
    servers: Servers, tmp_path: Path, resetting: bool
) -> None:
    # given a window of the nightly reset that is open all day, or none
    window = {"reset_from": "00:00", "reset_until": "23:59" if resetting else "00:00"}

    async def story() -> None:
        broker = {"link_lost_seconds": 1.0, **window}
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers), broker=broker) as s:
            await all_live(s)
            s.running.gateway.inject("lost")
            if resetting:
                await until(lambda: s.module._link.hopeless(s.module.clock.monotonic()))
                await until(lambda: "nightly reset" in str(s.module.health._reason))
                assert s.module._connection.connections == 1
            else:
                await until(lambda: s.module._connection.connections == 2)
                assert s.module._connection.gateway == Address("127.0.0.1", s.running.second_port)

    asyncio.run(story())


def test_a_nightly_reset_is_lived_through(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            s.running.gateway.inject("reset", seconds=2)
            await until(lambda: not s.module._connection.connected)
            await gone(s, "SPY")
            await until(lambda: s.module._connection.connections == 2)
            await all_live(s)
            await until(lambda: proven(s, "SPY"))

    asyncio.run(story())
