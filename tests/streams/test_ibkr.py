"""`IBKRIngestion` against the stand-in gateway and real servers: every instrument, lost links, limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alphatrader.clients.ibkr.wiretap import messages
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import BarEvent, GapEvent, StatusEvent, Trade
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.runtime.audit_file import Kind, read
from alphatrader.sandbox.gateway.limits import Limits
from tests.support.fixed_market import AAPL, SPY
from tests.support.gateway import new_york_ns
from tests.support.ingestion import FULL_KEYS, QUOTE_KEYS, Story, ingestion, occ
from tests.support.servers import Servers
from tests.support.waiting import until


def test_every_instrument_has_its_keys_and_its_numbered_events(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="simulated", speed=5.0) as s:
            market = s.module.settings.market
            full = [*market.equities, *(future.root for future in market.futures)]
            quotes = [*(future.root for future in market.quote_only_futures), *(index.name for index in market.indices)]
            assert len(full) == 20 and len(quotes) == 5

            async def all_there() -> bool:
                full_there = [await s.reader.get_many([key.at(symbol=symbol) for key in FULL_KEYS]) for symbol in full]
                quotes_there = [await s.reader.get_many([key.at(symbol=symbol) for key in QUOTE_KEYS]) for symbol in quotes]
                return all(value is not None for values in full_there + quotes_there for value in values)

            await s.seen(all_there, limit=60.0)
            dashboard = servers.store(Module.DASHBOARD)
            for key in FULL_KEYS:
                left = dashboard.ttl_ms(key.at(symbol="SPY"))
                assert left is not None and 0 < left <= 1000
            dashboard.close()
            # depth and tick-by-tick stand within the account's limits, with the symbols that are traded 0DTE
            await until(lambda: s.subscribed() == {"lines": 25, "depth": 3, "tick_by_tick": 3, "realtime_bars": 20})

            async def deep() -> bool:
                book = await s.get(k.MARKET_BOOK, symbol="SPY")
                return book is not None and book.source == "depth" and book.ready and len(book.bids) > 2

            await s.seen(deep)
            assert (await s.get(k.MARKET_BOOK, symbol="MSFT")).source == "quote"
            # prints come for symbols without a tick-by-tick slot too, and 5-second bars for all
            for symbol in ("SPY", "AAPL", "ES"):

                async def printed_and_barred(symbol: str = symbol) -> bool:
                    events = await s.events(symbol)
                    return {Trade, BarEvent} <= {type(event) for event in events}

                await s.seen(printed_and_barred)
            for symbol in full:
                numbers = [event.seq for event in await s.events(symbol)]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

            async def with_history() -> Any:
                history = await s.get(k.MARKET_HISTORY, symbol="ZB")  # the last of them; our own minutes may stand there first
                return history if history is not None and len(history.bars) > 390 else None

            history = await s.seen(with_history)
            assert history.bar_seconds == 60
            daily = await s.get(k.MARKET_DAILY, symbol="SPY")
            assert daily.bar_seconds == 86_400 and len(daily.bars) == 60
            assert s.module.health._state in ("starting", "ready")

    asyncio.run(story())


def test_fewer_slots_than_the_settings_say_are_lived_with(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(depth=1, tick_by_tick=1)
        async with ingestion(servers, tmp_path, market="simulated", limits=limits) as s:
            await until(lambda: s.subscribed() == {"lines": 25, "depth": 1, "tick_by_tick": 1, "realtime_bars": 20}, limit=60.0)

            async def falls_back() -> bool:
                book = await s.get(k.MARKET_BOOK, symbol="QQQ")
                prints = [event for event in await s.events("QQQ") if isinstance(event, Trade)]
                return book is not None and book.ready and book.source == "quote" and bool(prints)

            await s.seen(falls_back)
            # then what the account really has is known, and told
            known = {"quote": 100, "bars": 20, "depth": 1, "makers": 0, "ticks": 1}
            await until(lambda: s.module.health._facts.get("limits") == known)

    asyncio.run(story())


def test_a_dropped_connection_is_a_gap_and_data_come_from_the_other_gateway(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:
            await s.want(Module.POSITIONS, occ(600.0))
            book = await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            gaps = [event for event in await s.events("SPY") if isinstance(event, GapEvent)]
            s.running.gateway.close_listener(0)

            async def fresh() -> bool:
                now = await s.get(k.MARKET_BOOK, symbol="SPY")
                events = [event for event in await s.events("SPY") if isinstance(event, GapEvent)]
                return now is not None and now.ready and now.seq > book.seq and len(events) > len(gaps)

            await s.seen(fresh, limit=60.0)
            assert s.module._connection.gateway == Address("127.0.0.1", s.running.second_port)
            numbers = [event.seq for event in await s.events("SPY")]
            assert numbers == sorted(set(numbers))

            async def quoted_again() -> bool:
                named = await s.reader.field(k.CONTRACTS.at(), occ(600.0).occ)
                return named is not None and await s.get(k.QUOTES, con_id=named.con_id) is not None

            await s.seen(quoted_again)

    asyncio.run(story())


def test_keys_expire_when_the_feed_goes_silent_and_come_back_with_it(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:
            await s.seen(lambda: s.get(k.MARKET_LAST, symbol="SPY"))
            s.running.gateway.inject("silence")

            async def gone() -> bool:
                return all(value is None for value in [await s.get(key, symbol="SPY") for key in FULL_KEYS])

            await s.seen(gone, limit=60.0)
            s.running.gateway.inject("speak")
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))

    asyncio.run(story())


def test_data_lost_by_the_broker_are_subscribed_anew(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:
            before = await s.seen(lambda: s.get(k.MARKET_TIMESTAMP, symbol="SPY"))
            await until(lambda: s.subscribed()["depth"] == 3)
            s.running.gateway.inject("lost")
            await s.seen(lambda: absent(s), limit=60.0)
            s.running.gateway.inject("restored", data_lost=True)
            await until(lambda: s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3}, limit=60.0)

            async def back() -> bool:
                book = await s.get(k.MARKET_BOOK, symbol="SPY")
                return book is not None and book.ready and book.source == "depth"

            await s.seen(back)
            assert (await s.get(k.MARKET_TIMESTAMP, symbol="SPY")).gaps > before.gaps

    async def absent(s: Story) -> bool:
        return await s.get(k.MARKET_LAST, symbol="SPY") is None

    asyncio.run(story())


def test_a_depth_reset_is_a_gap_and_the_book_is_whole_after_it(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:

            async def whole() -> bool:
                book = await s.get(k.MARKET_BOOK, symbol="SPY")
                # 8 rows a side, one of each price
                return book is not None and book.ready and book.source == "depth" and len(book.bids) == len(book.asks) == 8

            s.running.market.quote_set(SPY, volume=1)  # something to keep the feed alive
            await s.seen(whole)
            s.running.gateway.inject("depth_reset")

            async def told() -> bool:
                reasons = [event.reason for event in await s.events("SPY") if isinstance(event, GapEvent)]
                return any("317" in reason for reason in reasons)

            await s.seen(told)
            s.running.market.book_ladder(SPY)
            s.running.market.quote_set(SPY, volume=2)
            await s.seen(whole)

    asyncio.run(story())


def test_a_line_that_went_silent_in_a_session_is_asked_for_anew(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.core.market.proof.PROOF_SECONDS", 0.5)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:
            await until(lambda: s.subscribed()["depth"] == 3)
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            # when the broker has lost everything and says nothing of it
            s.running.gateway.data.forget_all()
            await until(lambda: s.subscribed()["depth"] > 0, limit=60.0)
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            reasons = {event.reason for event in await s.events("SPY") if isinstance(event, GapEvent)}
            assert "silent: resubscribed" in reasons

    asyncio.run(story())


def test_depth_that_a_halt_ended_is_asked_for_again(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            await until(lambda: s.subscribed()["depth"] == 3)
            line = next(line for line in s.running.gateway.data._depth.values() if line.con_id == SPY)
            halted = {"what": "depth", "symbol": "SPY", "code": 316}
            s.running.gateway.inject("end", **halted, text="Market depth data has been HALTED. Please re-subscribe.")

            def anew() -> bool:
                return [now.req_id for now in s.running.gateway.data._depth.values() if now.con_id == SPY] not in (
                    [],
                    [line.req_id],
                )

            await until(anew)

    asyncio.run(story())


def test_a_farm_that_flaps_is_no_alarm_and_one_that_stays_down_is(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.core.market.link.FARM_SECONDS", 1.0)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="simulated") as s:
            health = s.module.health
            await until(lambda: health._state == "ready", limit=60.0)
            s.running.gateway.inject("notice", code=2103, text="Market data farm connection is broken:usfarm")
            await until(lambda: health._state == "degraded", limit=60.0)
            assert health._reason == "farms down: usfarm"
            s.running.gateway.inject("notice", code=2104, text="Market data farm connection is OK:usfarm")
            await until(lambda: health._state == "ready", limit=60.0)
            assert s.subscribed()["lines"] == 25 and s.module._connection.connections == 1

    asyncio.run(story())


def test_a_halt_is_told_at_once(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            await s.seen(lambda: s.get(k.MARKET_STATUS, symbol="AAPL"))
            s.running.gateway.inject("halt", symbol="AAPL", value=2)

            async def halted() -> bool:
                status = await s.get(k.MARKET_STATUS, symbol="AAPL")
                return status is not None and status.halted is True and status.halt_code == 2

            await s.seen(halted)
            codes = [event.halt_code for event in await s.events("AAPL") if isinstance(event, StatusEvent)]
            assert codes[-1] == 2

    asyncio.run(story())


def test_prints_and_their_sides_arrive_as_they_were_made(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            await until(lambda: s.subscribed()["tick_by_tick"] == 3)
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            market = s.running.market
            market.trade(SPY, 600.01, 70, conditions="I", exchange="ISLAND")
            market.trade(SPY, 599.99, 100)
            market.trade(AAPL, 250.01, 40)

            async def printed() -> bool:
                spy, aapl = await s.events("SPY"), await s.events("AAPL")
                return sum(isinstance(e, Trade) for e in spy) == 2 and sum(isinstance(e, Trade) for e in aapl) == 1

            await s.seen(printed)
            first, second = (event for event in await s.events("SPY") if isinstance(event, Trade))
            assert (first.price, first.size, first.venue, first.side) == (600.01, 70, "NASDAQ", "buy")
            assert first.counts_for_vpin and not first.counts_for_last
            assert (second.side, second.venue) == ("sell", "ARCA")

    asyncio.run(story())


def test_a_burst_of_prints_is_told_whole_and_in_order(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path) as s:
            await until(lambda: s.subscribed()["tick_by_tick"] == 3)
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            for size in range(1, 4001):
                s.running.market.trade(SPY, 600.01, size)

            async def prints() -> list[Trade]:
                return [event for event in await s.events("SPY") if isinstance(event, Trade)]

            async def all_told() -> bool:
                return len(await prints()) == 4000

            await s.seen(all_told)
            assert [event.size for event in await prints()] == list(range(1, 4001))
            assert s.module.health._counts["frames_refused"] == 0

    asyncio.run(story())


def test_garbage_is_counted_and_stops_nothing(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:
            await s.seen(lambda: s.get(k.MARKET_LAST, symbol="SPY"))
            s.running.gateway.inject("garbage", what="text")
            await until(lambda: s.module.health._counts["frames_refused"] == 1)
            seq = (await s.get(k.MARKET_LAST, symbol="SPY")).seq

            async def goes_on() -> bool:
                last = await s.get(k.MARKET_LAST, symbol="SPY")
                return last is not None and last.seq > seq

            await s.seen(goes_on)

    asyncio.run(story())


def test_numbering_goes_on_after_a_restart(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        for starts in (1, 2):
            async with ingestion(servers, tmp_path) as s:

                async def told(s: Story = s, starts: int = starts) -> bool:
                    gaps = [event for event in await s.events("SPY") if isinstance(event, GapEvent)]
                    return sum(gap.reason == "started" for gap in gaps) == starts

                await s.seen(told)
                numbers = [event.seq for event in await s.events("SPY")]
        assert numbers == list(range(1, len(numbers) + 1))

    asyncio.run(story())


def test_every_message_of_the_connection_is_in_the_audit_log_both_ways(servers: Servers, tmp_path: Path) -> None:
    async def story() -> list[dict[str, Any]]:
        async with ingestion(servers, tmp_path, market="ticking", log_all_frames=True) as s:
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))

            async def indexed() -> Any:
                entry = await s.get(k.AUDIT_INDEX)
                return entry if entry is not None and entry.messages > 20 else None

            entry = await s.seen(indexed)
            dashboard = servers.store(Module.DASHBOARD)
            left = dashboard.ttl_ms(k.AUDIT_INDEX.at())
            dashboard.close()
            assert left is not None and 290_000 < left <= 300_000
            assert entry.file == "ibkr-2026-11-18-0001.audit" and entry.dropped == 0
            assert entry.ts_ns > new_york_ns("2026-11-18 10:00:00")
            # given what the gateway has said and heard until now, and a later block on disk
            wire = s.running.wire()

            async def later() -> bool:
                newest = await s.get(k.AUDIT_INDEX)
                return newest is not None and newest.offset > entry.offset

            await s.seen(later)
            s.running.gateway.inject("drop")
            await until(lambda: s.module._connection.connections == 2, limit=60.0)
            return wire

    wire = asyncio.run(story())
    # then the log has the same messages, and the reconnect
    records = list(read(tmp_path / "audit" / "ibkr-2026-11-18-0001.audit"))
    assert [record.kind for record in records].count(Kind.OPENED) == 2
    assert next(record for record in records if record.kind is Kind.OPENED).data.endswith(b"client 11")
    not_in_the_gateways_log = ("v157..176", "71", "4")  # of the handshake; errors stand there as frames
    passed = [message for message in messages(records) if message.fields[0] not in not_in_the_gateways_log]
    for direction, theirs in (("sent", "in"), ("received", "out")):
        said = [line["fields"] for line in wire if line["kind"] == "raw" and line["dir"] == theirs]
        logged = [list(message.fields) for message in passed if message.direction == direction]
        assert len(said) > 20 and said == logged[: len(said)]
