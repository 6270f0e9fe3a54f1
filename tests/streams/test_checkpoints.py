"""Checkpoints in ibkr's log: what is made again from any of them is what is made from the start; one that is torn or foreign is
passed over with a word, and an older one taken."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Missing, ResendRequest
from alphatrader.runtime.audit_file import BlockPlace, Kind, Record, Row, block, index, part_of, read
from alphatrader.runtime.clock import Clock, exchange_datetime, exchange_instant
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.runs import Log, logs
from alphatrader.runtime.settings import ROOT
from alphatrader.streams.ibkr.checkpoints import VERSION, Start, starts
from alphatrader.streams.ibkr.replaying import Ingestion
from alphatrader.streams.ibkr.resent import NotThereError, missing_events
from tests.streams.scripted import DAY
from tests.support.audit import label
from tests.support.ingestion import ingestion
from tests.support.servers import Servers
from tests.support.waiting import until

UP_TO_SIZE = re.compile(rb"99\0\d+\0[12]\0\d+\0[\d.]+\0")
"""A tick-by-tick print up to its size."""
STREAM = k.EVENTS_MARKET.at(symbol="SPY")


@pytest.fixture(scope="module")
def recorded(server_pair: Servers, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Log]:
    """Everything SPY told while a market moved, a connection dropped, and checkpoints were kept; and the log of it."""
    server_pair.flush()
    folder = tmp_path_factory.mktemp("recorded")
    told: list[Any] = []
    clock = Clock(exchange_instant(DAY, "10:00"), time.time_ns(), 1.0)

    async def story() -> None:
        async with ingestion(server_pair, folder, market="ticking", clock=clock, log={"checkpoint_seconds": 0.5}) as s:
            cursor = Cursor.at_start([STREAM])

            async def so_many(count: int) -> bool:
                while entries := await s.reader.read(cursor, block_seconds=None, count=10_000):
                    told.extend(entry.event for entry in entries)
                return len(told) >= count

            await s.seen(lambda: so_many(150))
            gaps = s.module._feeds["SPY"].gaps
            s.running.gateway.inject("drop")
            await until(lambda: s.module._feeds["SPY"].gaps > gaps)
            after = len(told)
            await s.seen(lambda: so_many(after + 150))

    asyncio.run(story())
    (log,) = logs(folder / "audit")
    return told, log


def all_starts(log: Log, refused: list[str] | None = None) -> list[Start]:
    return list(starts(log, 2**62, {}, [] if refused is None else refused))


def events_from(start: Start) -> list[tuple[str, Any]]:
    """Of every symbol that makes events."""
    ingestion_ = Ingestion(start.begun)
    if start.checkpoint is not None:
        ingestion_ = Ingestion(start.begun, start.checkpoint.feeds)
        ingestion_.go_on_from(start.checkpoint)
    made: list[tuple[str, Any]] = []
    for record in start.records:
        if record.kind is Kind.TURN:
            monotonic, after_read, _ = msgspec.msgpack.decode(record.data)
            for symbol, events in ingestion_.events(record.machine_ns, monotonic, after_read):
                made += ((symbol, event) for event in events)
        else:
            ingestion_.take(record)
    return made


def test_from_every_checkpoint_the_same_events_follow_as_from_the_start(recorded: tuple[list[Any], Log]) -> None:
    told, log = recorded
    refused: list[str] = []
    *kept, first = all_starts(log, refused)
    assert not refused
    assert first.checkpoint is None and len(kept) >= 4
    whole = events_from(first)
    assert [event for symbol, event in whole if symbol == "SPY"][: len(told)] == told
    lengths = []
    for start in kept:
        made = events_from(start)
        assert start.checkpoint is not None and made == whole[len(whole) - len(made) :]
        assert start.checkpoint.feeds["SPY"].seq == next((e.seq - 1 for symbol, e in made if symbol == "SPY"), told[-1].seq)
        lengths.append(len(made))
    assert lengths == sorted(lengths) and 100 < lengths[-1] < len(whole)


def request(told: list[Any], first: int, last: int) -> ResendRequest:
    times = [
        getattr(told[at], "received_ns", None) or getattr(told[at], "ts_ns", None) or told[at].bar.ts_ns for at in (first, last)
    ]
    return ResendRequest(1, times[0], max(times), {"SPY": Missing(told[first].seq, told[last].seq)})


def file_of(path: Path, records: Iterable[Record]) -> Path:
    """A part of a log with these records, each a block."""
    kinds = list(Kind)
    rows = [(Row(kinds.index(record.kind), record.machine_ns, record.data), record.market_ns) for record in records]
    path.write_bytes(label(part_of(path)) + b"".join(block(number, [one], at, 1.0) for number, (one, at) in enumerate(rows)))
    return path


def records_of(log: Log) -> list[Record]:
    return [record for path in log.paths for record in read(path)]


def test_what_is_missing_is_made_from_the_newest_checkpoint_before_it_and_needs_nothing_older(
    recorded: tuple[list[Any], Log], tmp_path: Path
) -> None:
    told, log = recorded
    asked = request(told, len(told) - 40, len(told) - 10)
    expected = [("SPY", event) for event in told[len(told) - 39 : len(told) - 10]]
    assert list(missing_events(log, asked)) == expected
    # given a log of which nothing before that checkpoint is kept any more
    start = next(starts(log, asked.since_ns, {"SPY": asked.missing["SPY"].after}, []))
    rest = list(start.records)
    kept = records_of(log)[-len(rest) - 1 :]
    assert start.checkpoint is not None and kept[0].kind is Kind.CHECKPOINT and kept[1:] == rest
    alone = Log("ibkr", (file_of(tmp_path / log.paths[-1].name, kept),))
    assert list(missing_events(alone, asked)) == expected
    # and one whose checkpoints are gone with it: it is said
    file_of(alone.paths[0], [record for record in kept if record.kind is not Kind.CHECKPOINT])
    with pytest.raises(NotThereError, match="how that run of ibkr began is not kept any more"):
        list(missing_events(alone, asked))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda kept: kept | {"version": VERSION + 1}, f"it is of version {VERSION + 1}, this program reads {VERSION}"),
        (lambda kept: kept | {"more": 1}, "it is not what this program writes"),
        (lambda kept: kept | {"feeds": {}}, "it does not hold SPY"),
        (lambda kept: kept | {"begun": b"{}"}, "the checkpoint of"),
        (lambda kept: kept | {"lines": []}, "is not what was written then"),
        (
            lambda kept: kept | {"feeds": {s: f | {"quote": {"bid": 1.0}} for s, f in kept["feeds"].items()}},
            "it is not what this program writes",
        ),
    ],
)
def test_a_foreign_checkpoint_is_passed_over_with_a_word_and_an_older_one_taken(
    recorded: tuple[list[Any], Log], tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], word: str
) -> None:
    told, log = recorded
    asked = request(told, len(told) - 40, len(told) - 10)
    usable = [s for s in starts(log, asked.since_ns, {"SPY": asked.missing["SPY"].after}, []) if s.checkpoint is not None]
    foreign = len(usable) - 1  # the newest of them, counted from the start

    number = itertools.count()
    changed = [
        record._replace(data=msgspec.msgpack.encode(change(msgspec.msgpack.decode(record.data))))
        if record.kind is Kind.CHECKPOINT and next(number) == foreign
        else record
        for record in records_of(log)
    ]
    other = Log("ibkr", (file_of(tmp_path / log.paths[0].name, changed),))
    refused: list[str] = []
    given = list(missing_events(other, asked, refused))
    assert given == [("SPY", event) for event in told[len(told) - 39 : len(told) - 10]]
    assert len(refused) == 1 and word in refused[0], refused


def test_a_torn_checkpoint_is_passed_over_with_a_word_and_nothing_else_is_lost(
    recorded: tuple[list[Any], Log], tmp_path: Path
) -> None:
    # given the newest checkpoint before the gap broken: it is a block of its own
    told, log = recorded
    asked = request(told, len(told) - 40, len(told) - 10)
    expected = [("SPY", event) for event in told[len(told) - 39 : len(told) - 10]]
    places = [(path, place) for path in log.paths for place in index(path) if isinstance(place, BlockPlace) and place.checkpoint]
    path, place = [one for one in places if one[1].market_ns <= asked.since_ns][-1]
    torn = tmp_path / path.name
    content = bytearray(path.read_bytes())
    content[place.end - 1] ^= 0x10
    torn.write_bytes(content)
    # then an older one is taken, and said why
    refused: list[str] = []
    broken = replace(log, paths=tuple(torn if one == path else one for one in log.paths))
    assert list(missing_events(broken, asked, refused)) == expected
    assert len(refused) == 1 and f"the checksum of block {place.number}" in refused[0]
    # and the whole day is run from its start as if it were there
    assert events_from(all_starts(broken)[-1]) == events_from(all_starts(log)[-1])


def replayed(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """`alphatrader replay`, as the operator types it: its exit code, and what it says of ibkr."""
    command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "replay", str(folder), "--json", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(done.stdout) if done.stdout else {"modules": [{"said": done.stderr}]}
    return done.returncode, told["modules"][0]


def test_replay_begins_at_the_newest_checkpoint_before_an_instant_and_says_so(
    recorded: tuple[list[Any], Log], tmp_path: Path
) -> None:
    _, log = recorded
    records = records_of(log)
    turns = [record for record in records if record.kind is Kind.TURN]
    when = f"{exchange_datetime(turns[-1].market_ns - 10**9):%Y-%m-%d %H:%M:%S}"
    from_ns = exchange_instant(DAY, when[11:16]) + int(when[17:]) * 10**9
    kept = [record for record in records if record.kind is Kind.CHECKPOINT and record.market_ns <= from_ns][-1]
    after = [record for record in records[records.index(kept) :] if record.kind is Kind.TURN]
    # when it is run from an instant, every turn since the checkpoint before it is run, and equal
    code, part = replayed(log.paths[0].parent, "--from", when)
    assert code == 0 and part["equal"] == part["turns"] == len(after) < len(turns) and part["writes"] > 20
    at = f"{exchange_datetime(kept.market_ns):%Y-%m-%d %H:%M:%S}"
    assert part["begins"] == f"at the checkpoint of {at} ET: events alone are compared"
    # and a span ends where it is said to
    code, span = replayed(log.paths[0].parent, "--from", when, "--until", when)
    assert code == 0 and span["turns"] == sum(record.market_ns <= from_ns for record in after)
    # while all of it is run where nothing is said
    code, whole = replayed(log.paths[0].parent)
    assert code == 0 and whole["equal"] == whole["turns"] == len(turns) and whole["begins"] == "at its start"
    # and a print that is one share another is noticed from the checkpoint on, too
    changes = [(n, m.end()) for n, r in enumerate(records) if r.kind is Kind.RECEIVED and (m := UP_TO_SIZE.search(r.data))]
    number, size = changes[-1]
    data = records[number].data
    assert number > records.index(kept)
    records[number] = records[number]._replace(data=data[:size] + b"%d" % (int(data[size : size + 1]) % 9 + 1) + data[size + 1 :])
    file_of(tmp_path / log.paths[-1].name, records)
    code, other = replayed(tmp_path, "--from", when)
    assert code == 1 and other["first"]["what"].startswith("it writes events:market:"), other


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--from", "half past ten"), "argument --from: invalid when value: 'half past ten'"),
        (("--from", "2026-11-18 10:30", "--until", "2026-11-18 10:29"), "--until is before --from"),
    ],
)
def test_a_span_that_is_none_is_refused(recorded: tuple[list[Any], Log], arguments: tuple[str, ...], word: str) -> None:
    code, said = replayed(recorded[1].paths[0].parent, *arguments)
    assert code == 2 and word in said["said"], said
