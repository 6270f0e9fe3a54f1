"""A session that the product's own audit log recorded, played again by the gateway to a new client."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from ib_insync import IB, Stock

from alphatrader.clients.ibkr.subscriptions import Kind, Subscriptions
from alphatrader.clients.ibkr.wiretap import tap
from alphatrader.contract.settings.system import Sandbox
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.audit_file import Kind as RecordKind
from alphatrader.runtime.audit_file import Row as RecordRow
from alphatrader.runtime.audit_file import block
from alphatrader.runtime.audit_file import read as read_log
from alphatrader.sandbox.gateway.replay.audit import BARS, DEPTH, LINE, TICKS, Recording, lines, log_files, read
from alphatrader.sandbox.main import replay
from alphatrader.sandbox.market.types import Bar, Row
from tests.support.audit import label
from tests.support.fixed_market import AAPL, SPY, FixedMarket
from tests.support.gateway import Clock, client, running_gateway
from tests.support.waiting import until

KINDS = (Kind.QUOTE, Kind.DEPTH, Kind.TICKS, Kind.BARS)
NS = 10**9


class Heard:
    """A feed that writes down what it is told, but for what is told of a price that did not change."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: self.told.append((name, *args, *named.values()))

    def named(self, *names: str) -> list[tuple[Any, ...]]:
        return [told for told in self.told if told[0] in names]


class StoppedClock:
    """A clock of the audit log: market time is the test's."""

    speed = 1.0

    def __init__(self, market: Clock) -> None:
        self._market = market

    def machine_ns(self) -> int:
        return self._market()

    def market_ns(self) -> int:
        return self._market()

    def market_at(self, machine_ns: int) -> int:
        return machine_ns


async def subscribed(ib: IB, heard: Heard) -> Subscriptions:
    subscriptions = Subscriptions(ib, 20, lambda why: pytest.fail(why))
    (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
    for kind in KINDS:
        subscriptions.open(kind, "SPY", spy, heard, "233" if kind == Kind.QUOTE else "")  # type: ignore[arg-type]
    return subscriptions


async def recorded(folder: Path) -> Heard:
    """A minute of a market that moves, and what a client heard of it."""
    clock, heard = Clock(), Heard()
    async with running_gateway(folder / "first", clock=clock) as running:
        audit = AuditLog(folder / "audit", "ibkr", StoppedClock(clock), 10_000_000)  # type: ignore[arg-type]
        audit.start()
        ib = IB()
        tap(ib, audit)
        await ib.connectAsync("127.0.0.1", running.port, clientId=1, timeout=4)
        await subscribed(ib, heard)
        await until(lambda: len(heard.named("depth")) == 16 and heard.named("tick_price"))
        for number in range(1, 7):
            clock.advance(10)
            running.gateway.turn()
            bids = [Row(599.9 - level / 100, 100 * number, "ARCA") for level in range(number)]
            running.market.book_set(SPY, bids, [Row(600.1, 10 * number, "ISLAND")])
            running.market.trade(SPY, 600.0 + number / 100, 100 * number, conditions="F", exchange="BATS")
            running.market.bar(SPY, Bar(clock() - 5 * NS, 600.0, 601.0, 599.0, 600.0 + number, 900, 600.2, 7))
            await until(lambda number=number: len(heard.named("trade")) == len(heard.named("bar")) == number)
            # The line is sampled; its last price is the last thing a turn says.
            await until(lambda number=number: ("tick_price", 4, 600.0 + number / 100, 100.0 * number) in heard.told)
        ib.disconnect()
        audit.close()
    return heard


def test_a_recorded_session_is_heard_again_as_it_was(tmp_path):
    async def story():
        first = await recorded(tmp_path)
        clock, again = Clock(), Heard()
        recording = Recording(log_files(tmp_path / "audit"), start_ns=clock() + NS, speed=1)
        assert recording.keys == {(kind, SPY) for kind in (LINE, DEPTH, TICKS, BARS)}
        async with running_gateway(tmp_path / "second", clock=clock, recording=recording) as running, client(running) as ib:
            await subscribed(ib, again)
            await until(lambda: running.gateway.data.counts()["realtime_bars"] == 1)
            running.market.quote_set(SPY, bid=1.0)  # what the market itself does with SPY is not told
            running.market.trade(SPY, 1.0, 1)
            clock.advance(31)
            await until(lambda: len(again.named("bar")) == 3)
            assert again.named("trade") == first.named("trade")[:3]
            clock.advance(60)
            await until(lambda: again.told == first.told)
            quiet = Heard()
            other = Subscriptions(ib, 20, lambda why: pytest.fail(why))
            (apple,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            other.open(Kind.QUOTE, "AAPL", apple, quiet)  # type: ignore[arg-type]
            await until(lambda: ("tick_price", 1, 249.99, 300.0) in quiet.told)  # not recorded: the market's own

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_connection_goes_on_over_the_parts_of_its_log_and_not_over_one_that_is_missing(tmp_path):
    async def story():
        await recorded(tmp_path)
        (path,) = log_files(tmp_path / "audit")
        records, whole = list(read_log(path)), list(read([path]))
        parts, cuts = [], [0, len(records) - 8, len(records) - 4, len(records)]
        for number in range(3):
            rows = records[cuts[number] : cuts[number + 1]]
            kinds = [RecordRow(list(RecordKind).index(record.kind), record.machine_ns, record.data) for record in rows]
            parts.append(tmp_path / f"ibkr-2026-11-18-{number + 1:04d}.audit")
            before = parts[-2].stat().st_size if number else 0
            parts[-1].write_bytes(label(number + 1, number, before) + block(0, kinds, rows[0].market_ns, 1.0))
        assert list(read(parts)) == whole and len(whole) > 50
        assert lines(parts) == lines([path])
        # without the second, what the first told is told, and nothing after it until a connection opens
        told = list(read([parts[0], parts[2]]))
        assert told == list(read(parts[:1])) == whole[: len(told)] and 0 < len(told) < len(whole)

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("nowhere", None, "nowhere: there is no such file or folder"),
        ("ibkr-2026-11-18-0001.audit", b"rubbish", "it does not begin as an audit log does"),
        ("ibkr-2026-11-18-0001.audit", b"", "it is empty"),
        ("ibkr-2026-11-18-0001.audit", label(), "no market data that were asked for by conId"),
        ("README.md", b"text", "a LOBSTER message file has _message_ in its name"),
        ("A_message_1.csv", b"34200.1,1,7,18,5853300,1", "A_orderbook_1.csv"),
    ],
)
def test_what_cannot_be_played_ends_the_stand_in_with_a_word(tmp_path, name, content, word):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit, match=re.escape(word)) as said:
        replay(Sandbox(start="2026-11-18 10:00", replay=str(path)), FixedMarket(Clock()()), 0)
    assert str(said.value).startswith("sandbox.replay: ")


def test_who_subscribes_late_first_hears_how_the_line_stands(tmp_path):
    async def story():
        first = await recorded(tmp_path)
        clock, late = Clock(), Heard()
        recording = Recording(log_files(tmp_path / "audit"), start_ns=clock(), speed=100)
        async with running_gateway(tmp_path / "second", clock=clock, recording=recording) as running, client(running) as ib:
            clock.advance(1)
            running.gateway.turn()
            await subscribed(ib, late)
            await until(lambda: len(late.named("depth")) == 7)
            assert late.named("trade") == late.named("bar") == []
            bids = [told for told in late.named("depth") if told[3] == 1]
            assert [(told[1], told[2], told[4], told[5]) for told in bids] == [
                (0, level, 599.9 - level / 100, 600.0) for level in range(6)
            ]
            await until(lambda: ("tick_price", 4, 600.06, 600.0) in late.told)
            assert len(late.told) < len(first.told)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_step_by_step_each_message_waits_to_be_asked_for(tmp_path):
    async def story():
        await recorded(tmp_path)
        clock, heard = Clock(), Heard()
        recording = Recording(log_files(tmp_path / "audit"), start_ns=clock(), speed=0)
        options = {"clock": clock, "recording": recording}
        async with running_gateway(tmp_path / "second", **options) as running, client(running) as ib:
            await subscribed(ib, heard)
            await until(lambda: running.gateway.data.counts()["realtime_bars"] == 1)
            for number in range(1, 30):
                running.gateway.inject("replay", events=1)
                assert recording.pace.played == number
            await until(lambda: heard.told)
        assert len(heard.told) <= 29

    asyncio.run(asyncio.wait_for(story(), 60))


def test_what_is_no_recording_is_refused_with_a_reason(tmp_path):
    with pytest.raises(ValueError, match=r"no ibkr-\*\.audit file"):
        log_files(tmp_path)
    torn = tmp_path / "ibkr-2026-11-23-0001.audit"
    torn.write_bytes(b"ATAUDIT1" + b"x" * 30)
    with pytest.raises(ValueError, match="it is of another version"):
        Recording(log_files(tmp_path), start_ns=0, speed=1)

    async def story():
        async with running_gateway(tmp_path / "gateway") as running:
            assert running.market.contract(AAPL) is not None
            with pytest.raises(ValueError, match="plays no recording"):
                running.gateway.inject("replay")

    asyncio.run(story())
