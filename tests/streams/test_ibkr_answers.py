"""Each thing the broker may say or leave unsaid on the data connection, and its answer: proven by data, or told as missing."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ib_insync import IB

from alphatrader.clients.ibkr import codes
from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.contract import keys as k
from tests.support.fixed_market import AAPL, SPY
from tests.support.ingestion import Story, all_live, asked, gone, ingestion, proven, small
from tests.support.servers import Servers
from tests.support.waiting import until

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


@pytest.mark.parametrize("code", [2152, 10089, 10090])
def test_what_only_tells_of_a_part_that_is_not_subscribed_changes_nothing(servers: Servers, tmp_path: Path, code: int) -> None:
    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            before = asked(s)
            (line,) = [line for line in s.running.gateway.data._lines.values() if line.con_id == AAPL]
            line.session.error(line.req_id, code, "Part of requested market data is not subscribed.")
            # what comes after it on the same socket has been taken, so it has, too
            line.session.error(-1, 424_242, "what is in no table")
            await until(lambda: s.module.health._counts["broker_error_424242"] == 1)
            assert asked(s) == before and s.module.health._facts.get("stale") is None
            assert s.module.health._counts[f"broker_error_{code}"] == 0
            await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="AAPL"))

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


@contextmanager
def no_past_bars(s: Story, code: int, text: str) -> Iterator[list[str]]:
    """Meanwhile every request for past bars is answered with this error; the symbols whose minutes were asked for."""
    handlers, asked_for = s.running.gateway._handlers, list[str]()
    serves = handlers["reqHistoricalData"]

    def refuse(session: Any, values: dict[str, Any]) -> None:
        if values["barSize"] == "1 min":
            asked_for.append(values["symbol"])
        session.error(values["reqId"], code, text)

    handlers["reqHistoricalData"] = refuse
    s.module._history.due = True
    yield asked_for
    handlers["reqHistoricalData"] = serves


def test_a_pacing_violation_pauses_all_requests_for_past_bars(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.streams.ibkr.history.RETRY_FIRST_SECONDS", 2.0)
    monkeypatch.setattr("alphatrader.streams.ibkr.history.CHECK_SECONDS", 0.2)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            text = "Historical Market Data Service error message:API historical data query pacing violation"
            with no_past_bars(s, 162, text) as asked_for:
                await until(lambda: s.module.health._counts["history_missing"] >= 1)
                # then the others of the three are not even asked for, for a while
                await asyncio.sleep(1.0)
                assert len(asked_for) <= 1
            for symbol in ("SPY", "AAPL", "ES"):
                await s.seen(lambda symbol=symbol: s.get(k.MARKET_HISTORY, symbol=symbol))  # type: ignore[misc]
            assert s.module._connection.connections == 1

    asyncio.run(story())


def test_a_broker_that_knows_no_such_request_for_past_bars_is_asked_again(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphatrader.streams.ibkr.history.RETRY_FIRST_SECONDS", 0.5)
    monkeypatch.setattr("alphatrader.streams.ibkr.history.CHECK_SECONDS", 0.2)

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            with no_past_bars(s, 366, "No historical data query found for this ticker id") as asked_for:
                # then each goes without, which is told; no other waits for it, as it would after a pacing violation
                await until(lambda: set(asked_for) == {"SPY", "AAPL", "ES"})
                await until(lambda: s.module.health._counts["history_missing"] >= 3)
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


def test_what_was_not_answered_yet_is_not_called_unlisted(servers: Servers, tmp_path: Path) -> None:
    """At each start all contracts are asked for: an alarm that names every instrument would be the first thing that is seen."""

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking", data=small(servers)) as s:
            await all_live(s)
            contracts, lines = s.module._contracts, s.module._lines
            # given a broker that has not answered
            kept, contracts.listed, contracts.answered = contracts.listed, {}, set()
            await until(lambda: s.module.health._state == "waiting")
            assert s.module.health._reason == "the broker has not said yet which contracts it lists"
            assert lines._why_stale("AAPL", 0.0) == "its contract is asked for"
            # when it answers without AAPL
            contracts.listed, contracts.answered = {name: one for name, one in kept.items() if name != "AAPL"}, set(kept)
            await until(lambda: s.module.health._state == "degraded")
            assert "no contract for AAPL" in str(s.module.health._reason)
            assert lines._why_stale("AAPL", 0.0) == "the broker lists no contract"

    asyncio.run(story())


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
