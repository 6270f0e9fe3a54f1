"""Each thing the broker may say or leave unsaid on the data connection, and its answer: proven by data, or told as missing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ib_insync import IB

from alphatrader.clients.ibkr import codes
from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from tests.support.fixed_market import AAPL, SPY
from tests.support.ingestion import FULL_KEYS, Story, ingestion, occ
from tests.support.servers import Servers
from tests.support.waiting import until

THREE = {"equities": ("SPY", "AAPL"), "pinned": ("SPY",), "quote_only_futures": (), "indices": ()}
"""Settings of what the fixed market has, so that nothing is missing. ES is in the futures of the settings, with seven more."""


def small(servers: Servers, **changes: Any) -> dict[str, Any]:
    es = tuple(future for future in servers.settings.market.futures if future.root == "ES")
    return THREE | {"futures": es} | changes


async def all_live(s: Story) -> None:
    """SPY, AAPL and ES have depth, prints, bars and fresh keys."""
    await until(lambda: s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3})
    await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))


async def gone(s: Story, symbol: str) -> None:
    async def nothing() -> bool:
        return all(value is None for value in [await s.get(key, symbol=symbol) for key in FULL_KEYS])

    await s.seen(nothing)


def asked(s: Story) -> dict[tuple[Kind, str], int]:
    """Every subscription with its request id."""
    assert s.module._lines.subscriptions is not None
    return {(one.kind, one.name): one.req_id for one in s.module._lines.subscriptions}


def proven(s: Story, symbol: str) -> bool:
    one = s.module._lines.subscriptions.get(Kind.QUOTE, symbol) if s.module._lines.subscriptions else None
    return one is not None and one.heard_at is not None


# -- the link ------------------------------------------------------------------------------------------------------------------


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


# -- farms, other sessions, single subscriptions -------------------------------------------------------------------------------


def test_a_broken_farm_and_a_dead_line_tear_nothing_down(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            before = asked(s)
            # when farms flap, and live updates of SPY's quote fail
            for _ in range(20):
                s.running.gateway.inject("notice", code=2103, text="Market data farm connection is broken:usfarm")
                s.running.gateway.inject("notice", code=2104, text="Market data farm connection is OK:usfarm")
            for code in (2105, 2106, 2107, 2108, 2119, 2157, 2158, 2159):
                s.running.gateway.inject("notice", code=code, text=f"said:farm{code}")
            line = next(line for line in s.running.gateway.data._lines.values() if line.con_id == SPY)
            line.session.error(line.req_id, 10182, "Failed to request live updates (disconnected).")
            # then only that one is asked for anew
            await until(lambda: asked(s)[Kind.QUOTE, "SPY"] != before[Kind.QUOTE, "SPY"])
            await until(lambda: proven(s, "SPY"))
            assert {n for n, i in asked(s).items() if i != before[n]} == {(Kind.QUOTE, "SPY")}
            assert s.module._connection.connections == 1 and s.subscribed()["lines"] == 3

    asyncio.run(story())


def test_another_session_makes_all_stale_alarms_and_is_tried_with_pauses_until_data_come(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.core.market.link.COMPETING_FIRST_SECONDS", 0.5)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers), log_all_frames=True) as s:
            await all_live(s)
            s.running.gateway.inject("competing")
            await until(lambda: "10197" in str(s.module.health._reason))
            assert s.module.health._state == "waiting"
            await gone(s, "SPY")
            await until(lambda: str(s.module.health._facts["stale"]).startswith("everything: another session"))
            # when it stays so for a while, then the requests are few: the first, and two tries, of three lines

            def lines_asked() -> int:
                frames = [line["fields"] for line in s.running.wire() if line["kind"] == "raw" and line["dir"] == "in"]
                return sum(fields[0] == "1" for fields in frames)

            await until(lambda: lines_asked() == 3 * 3)
            assert s.module._link._retries in (3, 4)
            # and what was asked for before was cancelled: it would count against the account's limits
            assert s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3}
            s.running.gateway.inject("speak")
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            await until(lambda: s.module.health._state == "ready")
            assert s.module._connection.connections == 1

    asyncio.run(story())


@pytest.mark.parametrize("code", [354, 10168, 10186])
def test_a_refused_line_says_why_and_is_tried_again(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("alphatrader.core.market.slots.RETRY_SECONDS", 2.0)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            data = s.running.gateway.data
            (key,) = [key for key, line in data._lines.items() if line.con_id == AAPL]
            line = data._lines.pop(key)
            line.session.error(line.req_id, code, "Requested market data is not subscribed.")
            await until(lambda: f"AAPL: refused, {code}" in str(s.module.health._facts.get("stale")))
            await until(lambda: proven(s, "AAPL"))
            await until(lambda: s.module.health._facts.get("stale") is None)

    asyncio.run(story())


def test_too_many_messages_slow_us_down(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            client: Any = s.module._ib.client
            paces = []
            for _ in range(4):
                s.running.gateway.inject("notice", code=100, text="Max rate of messages per second has been exceeded:max=50")
                pace = client.MaxRequests
                await until(lambda pace=pace: client.MaxRequests < pace or pace == 10)  # type: ignore[misc]
                paces.append(client.MaxRequests)
            assert paces == [22, 11, 10, 10]
            assert s.module._connection.connections == 1

    asyncio.run(story())


def test_a_pacing_violation_pauses_all_requests_for_past_bars(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.streams.ibkr.history.RETRY_FIRST_SECONDS", 2.0)
    monkeypatch.setattr("alphatrader.streams.ibkr.history.CHECK_SECONDS", 0.2)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            # given a gateway that answers every request for past bars with a pacing violation
            handlers = s.running.gateway._handlers
            serves, asked_for = handlers["reqHistoricalData"], []

            def too_fast(session: Any, values: dict[str, Any]) -> None:
                if values["barSize"] == "1 min":
                    asked_for.append(values["symbol"])
                text = "Historical Market Data Service error message:API historical data query pacing violation"
                session.error(values["reqId"], 162, text)

            handlers["reqHistoricalData"] = too_fast
            s.module._history.due = True
            await until(lambda: s.module.health._counts["history_missing"] >= 1)
            # then the others of the three are not even asked for, for a while
            await asyncio.sleep(1.0)
            assert len(asked_for) <= 1
            handlers["reqHistoricalData"] = serves
            for symbol in ("SPY", "AAPL", "ES"):
                await s.seen(lambda symbol=symbol: s.get(k.MARKET_HISTORY, symbol=symbol))  # type: ignore[misc]
            assert s.module._connection.connections == 1

    asyncio.run(story())


def test_one_silent_symbol_is_stale_alone_and_said_so(servers: Servers, tmp_path: Path) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="simulated", speed=2.0) as s:
            for symbol in ("SPY", "QQQ"):
                await s.seen(lambda symbol=symbol: s.get(k.MARKET_BOOK, symbol=symbol))  # type: ignore[misc]
            s.running.gateway.inject("silence", symbol="SPY")
            await gone(s, "SPY")
            assert await s.get(k.MARKET_LAST, symbol="QQQ") is not None
            await until(lambda: str(s.module.health._facts.get("stale")).startswith("SPY: no data for"))
            s.running.gateway.inject("speak", symbol="SPY")
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            await until(lambda: "SPY" not in str(s.module.health._facts.get("stale")))

    asyncio.run(story())


def test_what_stays_without_data_is_told(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphatrader.core.market.proof.PROOF_SECONDS", 0.5)

    async def story() -> None:
        # given a broker that takes the request for AAPL and says nothing on it, ever
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers, quiet_seconds=0.5)) as s:
            s.running.gateway.inject("silence", symbol="AAPL")
            await until(lambda: "AAPL quote" in str(s.module.health._reason), limit=30.0)
            assert s.module.health._state == "degraded" and "no data though asked for again" in str(s.module.health._reason)
            tries = s.module.health._counts["asked_again"]
            assert await s.get(k.MARKET_LAST, symbol="SPY") is not None
            # then the requests grow rarer: not one in each half second
            await asyncio.sleep(1.0)
            assert s.module.health._counts["asked_again"] - tries <= 4
            s.running.gateway.inject("speak", symbol="AAPL")
            await until(lambda: proven(s, "AAPL"))
            await until(lambda: s.module.health._state == "ready", limit=30.0)

    asyncio.run(story())


# -- many times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.soak)])
def test_reconnects_leave_nothing_behind_and_ask_no_more_than_the_first(servers: Servers, tmp_path: Path, times: int) -> None:
    async def story() -> None:
        data, broker = small(servers), {"backoff_first_seconds": 0.01}
        async with ingestion(servers, tmp_path, market="ticking", data=data, broker=broker, log_all_frames=True) as s:
            await all_live(s)
            await until(lambda: s.module.health._state == "ready")
            names, tasks = set(asked(s)), len(asyncio.all_tasks())

            def clients() -> int:
                gc.collect()
                return sum(isinstance(found, IB) for found in gc.get_objects())

            before = clients()
            for number in range(times):
                s.running.gateway.inject("drop")
                await until(lambda number=number: s.module._connection.connections == number + 2)  # type: ignore[misc]
                await until(lambda: s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3})
            # then the same subscriptions stand, once each, and data come on them
            await until(lambda: proven(s, "SPY"))
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))
            await until(lambda: s.module.health._state == "ready")
            assert set(asked(s)) == names
            # and no task, no library object and no session of an old connection is left
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            assert clients() <= before + 3, "the newest, and one or two whose last requests are just ending"
            assert len(s.running.gateway.sessions) == 1
            # and each connection asked for each subscription once: nothing storms
            sent = Counter(line["fields"][0] for line in s.running.wire() if line["kind"] == "raw" and line["dir"] == "in")
            for message in ("1", "10", "97", "50"):  # quote, depth, tick-by-tick, bars
                assert sent[message] <= 3 * (times + 1) + 3, (message, sent)

    asyncio.run(story())


# -- the table -----------------------------------------------------------------------------------------------------------------


def test_every_code_stands_once_and_every_answer_says_what_it_does() -> None:
    assert len(codes.CODES) == len(codes.TABLE)
    assert set(codes.DOES) == set(codes.Answer) and {code.answer for code in codes.TABLE} == set(codes.Answer) - {
        codes.Answer.COUNT
    }
    for number in (1100, 1101, 1102, 2103, 2104, 2105, 2106, 2107, 2108, 2110, 10197, 326, 354, 162, 100, 502, 101, 309, 10190):
        assert codes.answer_to(number) is not codes.Answer.COUNT
    assert codes.answer_to(424_242) is codes.Answer.COUNT
    page = codes.as_markdown()
    assert all(f"| {code.number} | {code.meaning} |" in page for code in codes.TABLE)
