"""Wanted options against the stand-in gateway and real servers: named, quoted, given up, and held ones first."""

from __future__ import annotations

import asyncio
from pathlib import Path

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.modules import Module
from alphatrader.sandbox.gateway.limits import Limits
from tests.support.ingestion import ingestion, occ
from tests.support.servers import Servers
from tests.support.waiting import until


def test_wanted_options_are_named_quoted_and_given_up(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            wanted = occ(600.0)
            con_id = s.running.market.option(600.0, "C").con_id
            await s.want(Module.SIGNALS, wanted)
            quote = await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))
            assert (quote.symbol, quote.expiry, quote.strike, quote.right) == ("SPY", "20261218", 600.0, "C")
            assert quote.bid < quote.ask and quote.delta == 0.5 and quote.min_tick == 0.01
            assert quote.local_symbol == "SPY   261218C00600000" and quote.machine_ns > 0
            named = await s.reader.field(k.CONTRACTS.at(), wanted.occ)
            assert named is not None and named.con_id == con_id
            # when its price moves, then so does the quote
            s.running.market.quote_set(con_id, bid=5.0, ask=5.1)

            async def moved() -> bool:
                quote = await s.get(k.QUOTES, con_id=con_id)
                return quote is not None and quote.bid == 5.0

            await s.seen(moved)

    asyncio.run(story())


def test_an_option_that_does_not_exist_harms_nothing(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            await s.want(Module.RISK, occ(123.45), occ(605.0, "P"))
            con_id = s.running.market.option(605.0, "P").con_id
            await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))
            assert s.module.health._counts["options_not_found"] == 1

    asyncio.run(story())


def test_a_con_id_the_broker_no_longer_knows_is_looked_up_anew(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        stale = OptionRef("SPY", "20261218", 600.0, "C", con_id=123_456)
        store = servers.async_store(Module.IBKR)
        batch = store.batch()
        batch.put_field(k.CONTRACTS.at(), stale.occ, stale)
        await store.commit(batch)
        await store.close()
        async with ingestion(servers, tmp_path) as s:
            await s.want(Module.SIGNALS, occ(600.0))
            con_id = s.running.market.option(600.0, "C").con_id
            await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))

    asyncio.run(story())


def test_held_contracts_come_first_when_lines_are_short(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        # SPY, AAPL and ES can be had in this market: two options are left of five lines
        async with ingestion(servers, tmp_path, limits=Limits(market_data_lines=5)) as s:
            asked = [occ(strike) for strike in (590.0, 595.0, 600.0)]
            await s.want(Module.SIGNALS, *asked)
            await until(lambda: s.subscribed()["lines"] == 5)
            held = occ(610.0, "P")
            await s.want(Module.POSITIONS, held)
            con_id = s.running.market.option(610.0, "P").con_id
            await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))
            assert s.subscribed()["lines"] == 5
            await s.seen(lambda: s.get(k.MARKET_LAST, symbol="SPY"))

    asyncio.run(story())
