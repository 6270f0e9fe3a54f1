"""`ibkr` run again from its audit log: the same messages through the same code write the same bytes, turn by turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.runtime.audit_file import Kind, Record, read
from alphatrader.runtime.replay_tape import Outcome, begun
from alphatrader.streams.ibkr.replaying import replay
from tests.support.ingestion import ingestion
from tests.support.servers import Servers
from tests.support.waiting import until

UP_TO_SIZE = re.compile(rb"99\0\d+\0[12]\0\d+\0[\d.]+\0")
"""A tick-by-tick print up to its size."""


@pytest.fixture
def log(servers: Servers, tmp_path: Path) -> list[Record]:
    """A market that moves in every turn, with a dropped connection and an outage that lost data."""

    async def story() -> None:
        async with ingestion(servers, tmp_path, market="ticking") as s:

            async def booked(seq: int) -> bool:
                book = await s.get(k.MARKET_BOOK, symbol="SPY")
                return book is not None and book.ready and book.source == "depth" and book.seq > seq

            await s.seen(lambda: booked(50))
            for fault in ({"what": "drop"}, {"what": "lost"}, {"what": "restored", "data_lost": True}):
                gaps = s.module._feeds["SPY"].gaps
                s.running.gateway.inject(fault.pop("what"), **fault)
                if "data_lost" in fault:
                    await s.seen(lambda: booked(0))
                else:
                    await until(lambda gaps=gaps: s.module._feeds["SPY"].gaps > gaps or not s.module._link.up)
            after = s.module._feeds["SPY"].seq
            await s.seen(lambda: booked(after + 50))

    asyncio.run(story())
    return [record for path in sorted((tmp_path / "audit").glob("ibkr-*")) for record in read(path)]


def again(records: list[Record]) -> Outcome:
    rest: Iterator[Record] = iter(records)
    first = next(rest)
    assert first.kind is Kind.BEGUN
    outcome = Outcome("ibkr")
    asyncio.run(replay(begun(first), rest, outcome))
    return outcome


def test_every_turn_is_equal_byte_for_byte_and_a_changed_message_is_noticed(log: list[Record]) -> None:
    outcome = again(log)
    assert outcome.first is None, outcome.first
    assert outcome.turns > 10 and outcome.writes > 200 and outcome.equal == outcome.turns
    assert outcome.ends == "whole" and not outcome.holes and outcome.unread == 0
    # one print is one share larger than it was
    at, size = next((n, m.end()) for n, r in enumerate(log) if r.kind is Kind.RECEIVED and (m := UP_TO_SIZE.search(r.data)))
    record = log[at]
    other = b"%d" % (int(record.data[size : size + 1]) % 9 + 1)
    changed = record.data[:size] + other + record.data[size + 1 :]
    differs = again([*log[:at], record._replace(data=changed), *log[at + 1 :]])
    assert differs.first is not None and differs.different > 0
    assert differs.first.turn < differs.turns and "market:" in differs.first.what


def test_a_log_whose_end_is_not_there_is_not_called_whole(log: list[Record]) -> None:
    # neither where its process was killed nor where it was cut off, exactly between two records
    for missing in (1, len(log) // 2):
        outcome = again(log[:-missing])
        assert outcome.first is None and not outcome.holes and outcome.ends == "without a last word"


def test_a_torn_checkpoint_is_said_and_everything_is_run(log: list[Record]) -> None:
    half = len(log) // 2
    torn = Record(Kind.CHECKPOINT, 0, 0, b"not whole from byte 8 to 99: cut")
    outcome = again([*log[:half], torn, *log[half:]])
    assert outcome.first is None and outcome.equal == outcome.turns and outcome.unread == 0 and outcome.ends == "whole"
    assert outcome.holes == ["a checkpoint, not whole from byte 8 to 99: cut; nothing of the wire is missing"]


def test_behind_a_hole_nothing_is_run(log: list[Record]) -> None:
    half = len(log) // 2
    outcome = again([*log[:half], Record(Kind.HOLE, 0, 0, b"not whole"), *log[half:]])
    assert outcome.first is None and outcome.holes == ["not whole"] and outcome.ends == "at a hole"
    assert outcome.unread == sum(record.kind is Kind.TURN for record in log[half:]) > 0
