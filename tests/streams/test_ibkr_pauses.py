"""What the product makes of a volatility pause, of data that are no longer subscribed, and of the farm of past bars."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alphatrader.clients.ibkr import codes
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import StatusEvent, Trade
from tests.support.ingestion import all_live, gone, ingestion, small
from tests.support.servers import Servers
from tests.support.waiting import until


def test_a_pause_is_published_its_prints_stop_and_the_reopening_print_counts(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        few = {
            "equities": ("SPY", "AAPL"),
            "etfs": ("SPY",),
            "pinned": ("AAPL",),
            "futures": (),
            "quote_only_futures": (),
            "indices": (),
        }
        async with ingestion(servers, tmp_path, market="simulated", data=few | {"quiet_seconds": 60.0}) as s:

            async def status(wanted: str) -> Any:
                found = await s.get(k.MARKET_STATUS, symbol="AAPL")
                return found if found is not None and found.state == wanted else None

            async def printed() -> Any:
                return await s.get(k.MARKET_TRADES, symbol="AAPL")

            await s.seen(lambda: status("open"))
            await s.seen(printed)
            # given a pause of ten seconds of the market
            s.running.gateway.inject("pause", symbol="AAPL", seconds=10)
            # then it is said whose word it is, and how long such a pause is at least
            paused = await s.seen(lambda: status("paused"))
            assert paused.halted and (paused.halt_code, paused.halted_by) == (2, "broker")
            assert "volatility pause" in paused.halt_reason and paused.pause_ends_ns > paused.ts_ns
            book = await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="AAPL"))
            assert not book.ready or not book.bids
            # and after it the print that reopens is a print like others: it counts for volume, and sets the last price
            reopened = await s.seen(lambda: status("reopened"))
            assert reopened.halted is False and reopened.halts_today == 1

            async def after() -> list[Any]:
                events = await s.events("AAPL")
                ends = [n for n, event in enumerate(events) if isinstance(event, StatusEvent) and event.state == "reopened"]
                return [event for event in events[ends[0] :] if isinstance(event, Trade)] if ends else []

            await s.seen(after)
            events = await s.events("AAPL")
            told = [(event.halted, event.state) for event in events if isinstance(event, StatusEvent)]
            assert told[-2:] == [(True, "paused"), (False, "reopened")]
            prints = [event for event in events if isinstance(event, Trade)]
            cross = [event for event in prints if event.conditions == "5"]
            assert len(cross) == 1 and cross[0].counts_for_volume and cross[0].counts_for_last
            assert not [event for event in prints if paused.halted_since_ns <= event.ts_ns < cross[0].ts_ns - 1_000_000_000]

    asyncio.run(story())


def test_a_symbol_that_is_not_subscribed_any_more_is_stale_says_why_and_takes_nothing_from_the_others(
    servers: Servers, tmp_path: Path
) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            await until(lambda: s.module.health._facts.get("limits"))
            limits = s.module.health._facts["limits"]
            s.running.gateway.inject("not_subscribed", symbol="AAPL")
            # then its lines are dead, each by its own code, its keys expire, and the reason is the broker's
            await gone(s, "AAPL")
            await until(lambda: "AAPL: refused, 354" in str(s.module.health._facts.get("stale")))
            # and the others go on, with no limit learnt from it
            book = await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            assert book.ready and s.module.health._facts["limits"] == limits
            assert s.module._connection.connections == 1

    asyncio.run(story())


def test_420_is_a_limit_unless_it_tells_of_permissions() -> None:
    assert codes.answer_to(420, "Invalid Real-time Query:Max number of real-time bar requests") is codes.Answer.LIMIT
    assert codes.answer_to(420, "Invalid Real-time Query:No market data permissions for ARCA STK") is codes.Answer.REFUSED


def test_a_broken_farm_of_past_bars_is_told_and_past_bars_come_when_it_is_back(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.streams.ibkr.history.RETRY_FIRST_SECONDS", 1.0)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            # asleep is no trouble: it wakes when it is asked
            s.running.gateway.inject("hmds", state="asleep")
            before = await s.seen(lambda: s.get(k.MARKET_DAILY, symbol="SPY"))
            s.module._history.due = True

            async def fetched_again() -> Any:
                found = await s.get(k.MARKET_DAILY, symbol="SPY")
                return found if found is not None and found.ts_ns > before.ts_ns else None

            await s.seen(fetched_again)
            assert s.running.gateway.history.farm == "there" and s.module.health._state == "ready"
            # broken it is told, its refusals are counted, and data that do not come from it go on
            s.running.gateway.inject("hmds", state="broken")
            await until(lambda: "farms down: ushmds" in str(s.module.health._reason), limit=30)
            s.module._history.due = True
            await until(lambda: s.module.health._counts["history_missing"] > 0, limit=30)
            assert s.module.health._state == "degraded" and (await s.get(k.MARKET_BOOK, symbol="SPY")).ready
            # and past bars come again when it is back
            before = await s.get(k.MARKET_DAILY, symbol="SPY")
            s.running.gateway.inject("hmds", state="there")
            await until(lambda: s.module.health._state == "ready", limit=30)
            await asyncio.sleep(1.0)  # the pause after a refusal
            s.module._history.due = True
            await s.seen(fetched_again)
            assert s.module._connection.connections == 1

    asyncio.run(story())
