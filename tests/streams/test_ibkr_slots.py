"""Depth and tick-by-tick follow the signals: pinned symbols keep theirs, the nearest get the rest, the others fall back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Book, GapEvent, MakersEvent, Status, Trade
from alphatrader.contract.modules import Module
from alphatrader.core.market.checksum import intact
from alphatrader.sandbox.gateway.limits import Limits
from alphatrader.sandbox.market.types import Row
from tests.support.fixed_market import AAPL, ES_DEC, SPY
from tests.support.ingestion import Story, ingestion, occ
from tests.support.servers import Servers
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphatrader.core.market.slots.BRIEF_SECONDS", 0.3)
    monkeypatch.setattr("alphatrader.core.market.slots.DWELL_SECONDS", 600.0)


def two_slots(servers: Servers, **changes: Any) -> dict[str, Any]:
    es = tuple(future for future in servers.settings.market.futures if future.root == "ES")
    return {
        "equities": ("SPY", "AAPL"), "futures": es, "quote_only_futures": (), "indices": (),
        "pinned": ("SPY",), "depth_slots": 2, "tick_slots": 2, "maker_slots": 0,
    } | changes  # fmt: skip


def holders(s: Story) -> tuple[set[int], set[int]]:
    data = s.running.gateway.data
    return {line.con_id for line in data._depth.values()}, {line.con_id for line in data._ticks.values()}


async def told(s: Story, symbol: str, *, depth: bool) -> None:
    """Book, status and prints say whether depth and tick-by-tick are there."""

    async def said() -> bool:
        book: Book | None = await s.get(k.MARKET_BOOK, symbol=symbol)
        status: Status | None = await s.get(k.MARKET_STATUS, symbol=symbol)
        return (
            book is not None
            and status is not None
            and (book.source, book.ready) == ("depth" if depth else "quote", True)
            and (status.depth, status.prints) == (("ready", "tick_by_tick") if depth else ("none", "quote_line"))
        )

    await s.seen(said)


def test_a_symbol_near_a_signal_takes_the_slot_and_the_other_falls_back(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(depth=2, tick_by_tick=2)
        async with ingestion(servers, tmp_path, market="ticking", data=two_slots(servers), limits=limits) as s:
            await until(lambda: holders(s) == ({SPY, AAPL}, {SPY, AAPL}))
            await told(s, "AAPL", depth=True)
            await told(s, "ES", depth=False)
            # when signals says that ES is at a signal
            await s.want(Module.SIGNALS, nearness={"ES": 1.0, "AAPL": 0.4, "SPY": 0.0})
            await until(lambda: holders(s) == ({SPY, ES_DEC}, {SPY, ES_DEC}))
            await told(s, "ES", depth=True)
            await told(s, "AAPL", depth=False)
            # then AAPL goes on with the prints of its quote line, and its readers know of the change
            s.running.market.trade(AAPL, 250.01, 40)

            async def printed() -> bool:
                return any(isinstance(e, Trade) and not e.tick_by_tick for e in await s.events("AAPL"))

            await s.seen(printed)
            gaps = [e for e in await s.events("AAPL") if isinstance(e, GapEvent)]
            assert gaps[-1].reason == "depth given up" and gaps[-1].depth_only

    asyncio.run(story())


def test_what_is_held_is_as_near_as_a_signal(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        # given one slot that nobody is pinned to, which is AAPL's
        data = two_slots(servers, equities=("AAPL", "SPY"), pinned=(), depth_slots=1, tick_slots=1)
        async with ingestion(servers, tmp_path, market="ticking", data=data) as s:
            await until(lambda: holders(s) == ({AAPL}, {AAPL}))
            # when an option on SPY is held
            held = occ(600.0)
            await s.want(Module.POSITIONS, held)
            await until(lambda: holders(s) == ({SPY}, {SPY}))
            con_id = s.running.market.option(600.0, "C").con_id
            await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))

    asyncio.run(story())


def test_an_account_that_grants_less_keeps_the_pinned_symbol(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(depth=1, tick_by_tick=1)
        async with ingestion(servers, tmp_path, market="ticking", data=two_slots(servers), limits=limits) as s:
            await until(lambda: holders(s) == ({SPY}, {SPY}))
            await until(lambda: s.module.health._facts.get("limits", {}).get("depth") == 1)
            await told(s, "SPY", depth=True)
            await told(s, "AAPL", depth=False)

    asyncio.run(story())


def test_another_client_that_takes_lines_costs_the_least_urgent_first(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        # given lines for the three symbols and one option; the account gives one less than the settings say
        data = two_slots(servers, market_data_lines=5)
        async with ingestion(servers, tmp_path, market="ticking", data=data, limits=Limits(market_data_lines=4)) as s:
            await s.want(Module.SIGNALS, occ(590.0), occ(595.0))
            await until(lambda: s.subscribed()["lines"] == 4 and s.module.health._facts.get("limits", {}).get("quote") == 4)
            # when something is held, then it has its line, and the account's limit stands
            await s.want(Module.POSITIONS, occ(610.0, "P"))
            con_id = s.running.market.option(610.0, "P").con_id
            await s.seen(lambda: s.get(k.QUOTES, con_id=con_id))
            assert s.subscribed()["lines"] == 4
            await s.seen(lambda: s.get(k.MARKET_LAST, symbol="SPY"))

    asyncio.run(story())


def test_one_depth_slot_shows_nasdaqs_own_book_beside_the_consolidated_one(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        data = two_slots(servers, maker_slots=1)
        async with ingestion(servers, tmp_path, market="ticking", data=data, limits=Limits(depth=2, tick_by_tick=2)) as s:
            asks = [Row(600.01, 200, "ARCA"), Row(600.02, 300, "ISLAND", "JNST")]
            s.running.market.book_set(SPY, [Row(599.99, 100, "ISLAND", "CDRG"), Row(599.98, 50, "ARCA")], asks)

            async def named() -> MakersEvent | None:
                told = [e for e in await s.events("SPY") if isinstance(e, MakersEvent) and e.ready]
                return next((e for e in told if e.bids[0].market_maker == "CDRG"), None)

            event = await s.seen(named)
            # NASDAQ's rows with their makers, and of the others none
            assert intact(event) and [(r.price, r.market_maker) for r in event.bids] == [(599.99, "CDRG")]
            assert [(r.price, r.size, r.market_maker) for r in event.asks] == [(600.02, 300, "JNST")]
            # while the consolidated book has all venues and no names
            book = await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            assert book.source == "depth" and {level.venue for level in book.bids} == {"NASDAQ", "ARCA"}
            assert not any(level.market_maker for level in (*book.bids, *book.asks))
            lines = s.running.gateway.data._depth.values()
            assert sorted((line.con_id, line.smart, line.venue) for line in lines) == [(SPY, False, "ISLAND"), (SPY, True, "")]
            # when the gateway resets the books, both come again
            before = event.seq
            s.running.gateway.data.reset_depth()

            async def again() -> MakersEvent | None:
                return next((e for e in await s.events("SPY") if isinstance(e, MakersEvent) and e.ready and e.seq > before), None)

            # and no row stands twice
            assert [row.market_maker for row in (await s.seen(again)).bids] == ["CDRG"]

    asyncio.run(story())
