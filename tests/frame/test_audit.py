"""The audit log: everything comes back, a torn end is noticed and said, the disk and the memory it takes are bounded."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphatrader.runtime.audit import BLOCK_BYTES, CLOSE_SECONDS, AuditLog
from alphatrader.runtime.audit_file import MAGIC, SUFFIX, Kind, Record, TornLogError, block, index, read
from alphatrader.runtime.clock import Clock, exchange_instant

DAY = date(2026, 11, 18)
ROOMY = 100_000_000


class StillClock(Clock):
    """Machine and market time as a test sets them."""

    now_ns = exchange_instant(DAY, "10:00")

    def later(self, seconds: float) -> None:
        object.__setattr__(self, "now_ns", self.now_ns + int(seconds * 10**9))

    def machine_ns(self) -> int:
        return self.now_ns

    def market_ns(self) -> int:
        return self.now_ns


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def whole(path: Path) -> tuple[list[Record], TornLogError | None]:
    """What can be read, and what the reader said of the rest."""
    found: list[Record] = []
    try:
        for record in read(path):
            found.append(record)
    except TornLogError as error:
        return found, error
    return found, None


def until(condition: Callable[[], object], limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s"
        time.sleep(0.01)


@contextlib.contextmanager
def writing(folder: Path, clock: Clock | None = None, most_bytes: int = ROOMY, **options: int) -> Iterator[AuditLog]:
    log = AuditLog(folder, "ibkr", clock or Clock(), most_bytes, **options)
    log.start()
    try:
        yield log
    finally:
        log.close()


def test_what_passed_over_the_wire_comes_back_in_order_with_its_instants(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        log.opened("127.0.0.1:4502 client 11")
        log.sent(b"API\0hello")
        log.received(b"\0\0\0\x05176\0x")
        log.received(b"x" * (3 * BLOCK_BYTES))
        log.received(b"")
        log.closed("")
    (path,) = files(tmp_path)
    assert path.name == "ibkr-2026-11-18-0001.audit" and path.stat().st_mode & 0o777 == 0o600
    found, torn = whole(path)
    assert torn is None and {(record.machine_ns, record.market_ns) for record in found} == {(clock.now_ns, clock.now_ns)}
    assert [(record.kind, record.data[:9]) for record in found] == [
        (Kind.OPENED, b"127.0.0.1"),
        (Kind.SENT, b"API\0hello"),
        (Kind.RECEIVED, b"\0\0\0\x05176\0x"),
        (Kind.RECEIVED, b"x" * 9),
        (Kind.RECEIVED, b""),
        (Kind.CLOSED, b""),
    ]
    assert len(found[3].data) == 3 * BLOCK_BYTES
    # and the index in Redis would say where the newest of them stand, which the headers say too
    places = list(index(path))
    assert log.entry is not None and (log.entry.file, log.entry.offset) == (path.name, places[-1].offset)
    assert log.entry.messages == sum(place.records for place in places) == len(found) and log.dropped == 0
    assert places[0].end == places[1].offset and places[-1].end == path.stat().st_size


def test_a_block_is_on_disk_after_about_a_second_and_at_64_kb_at_once(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        log.received(b"quiet")
        log.received(b"x" * BLOCK_BYTES)
        until(lambda: log.entry is not None)
        log.received(b"later")
        clock.later(1)
        until(lambda: log.entry is not None and log.entry.messages == 3)
        found, torn = whole(files(tmp_path)[0])  # while it is being written
        assert torn is None and [record.data[:5] for record in found] == [b"quiet", b"xxxxx", b"later"]


PIECES = st.lists(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=60)), min_size=1, max_size=5), min_size=1, max_size=6
)


def written(folder: Path, pieces: list[list[tuple[Kind, bytes]]]) -> tuple[Path, list[tuple[int, list[Record]]]]:
    """A log of these blocks: (where each ends, its records)."""
    path, blocks = folder / "sample.audit", []
    content = MAGIC
    for number, piece in enumerate(pieces):
        raw = [(list(Kind).index(kind), 10**18 + at, data) for at, (kind, data) in enumerate(piece)]
        content += block(number, raw, 9 * 10**17, 2.0)
        records = [Record(kind, 10**18 + at, 9 * 10**17 + 2 * at, data) for at, (kind, data) in enumerate(piece)]
        blocks.append((len(content), records))
    path.write_bytes(content)
    return path, blocks


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, share=st.floats(0, 1))
def test_a_log_cut_anywhere_reads_up_to_the_cut_and_says_so(
    tmp_path: Path, pieces: list[list[tuple[Kind, bytes]]], share: float
) -> None:
    path, blocks = written(tmp_path, pieces)
    cut = int(share * path.stat().st_size)
    os.truncate(path, cut)
    found, torn = whole(path)
    ends = [8, *(end for end, _ in blocks)]
    assert found == [record for end, records in blocks if end <= cut for record in records]
    assert (torn is None) == (cut in ends)
    if torn is not None:
        assert torn.offset == max((end for end in ends if end <= cut), default=0)
        with pytest.raises(TornLogError):
            list(index(path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_one_wrong_byte_anywhere_is_noticed_and_nothing_after_it_is_believed(
    tmp_path: Path, pieces: list[list[tuple[Kind, bytes]]], share: float, change: int
) -> None:
    path, blocks = written(tmp_path, pieces)
    content = bytearray(path.read_bytes())
    at = int(share * len(content))
    content[at] ^= change
    path.write_bytes(content)
    found, torn = whole(path)
    assert torn is not None
    assert found == ([] if at < 8 else [record for end, records in blocks if end <= at for record in records])


def test_a_missing_block_is_noticed(tmp_path: Path) -> None:
    path, blocks = written(tmp_path, [[(Kind.SENT, b"a")], [(Kind.SENT, b"b")], [(Kind.SENT, b"c")]])
    content = path.read_bytes()
    path.write_bytes(content[: blocks[0][0]] + content[blocks[1][0] :])
    found, torn = whole(path)
    assert [record.data for record in found] == [b"a"] and "block 2 stands where block 1 should" in str(torn)


def test_a_start_after_a_crash_leaves_the_torn_end_alone(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        log.received(b"before the crash")
    (torn,) = files(tmp_path)
    os.truncate(torn, torn.stat().st_size - 3)
    with writing(tmp_path, clock) as log:
        log.received(b"after it")
    assert [path.name for path in files(tmp_path)] == ["ibkr-2026-11-18-0001.audit", "ibkr-2026-11-18-0002.audit"]
    assert whole(files(tmp_path)[1])[0][0].data == b"after it" and whole(torn)[1] is not None


def test_each_session_has_its_own_file(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        log.received(b"wednesday")
        clock.later(86_400)
        until(lambda: log.entry is not None)
        log.received(b"thursday")
    assert [path.name[5:15] for path in files(tmp_path)] == ["2026-11-18", "2026-11-19"]
    assert [whole(path)[0][0].data for path in files(tmp_path)] == [b"wednesday", b"thursday"]


def test_the_disk_it_takes_is_bounded_and_the_oldest_go_first(tmp_path: Path) -> None:
    most = 2_000_000
    with writing(tmp_path, StillClock(), most) as log:
        for number in range(120):
            log.received(number.to_bytes(4, "big") + os.urandom(50_000))
            until(lambda number=number: log._taken >= (number - 20) * 50_000)  # type: ignore[misc]
    assert log.dropped == 0
    left = files(tmp_path)
    assert sum(path.stat().st_size for path in left) <= most + 2 * BLOCK_BYTES
    numbers = [int.from_bytes(record.data[:4], "big") for path in left for record in read(path)]
    assert numbers == list(range(numbers[0], 120)) and 20 < len(numbers) < 42


def test_a_full_queue_drops_counts_and_says_where(tmp_path: Path) -> None:
    # given a thread that does not get to write
    clock = StillClock()
    log = AuditLog(tmp_path, "ibkr", clock, ROOMY, queue_bytes=1_000)
    for number in range(10):
        log.received(b"%d" % number)
    assert log.dropped == 6  # four of 201 bytes fit
    # when it does
    clock.later(1)
    log.start()
    until(lambda: log._taken == log._put)
    log.received(b"after")
    log.close()
    found, torn = whole(files(tmp_path)[0])
    assert torn is None and [record.data for record in found] == [b"0", b"1", b"2", b"3", b"6", b"after"]
    assert found[4].kind == Kind.DROPPED and log.entry is not None and log.entry.dropped == 6


def test_a_disk_that_refuses_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.write_text("a file stands where the folder should be")
    clock = StillClock()
    with writing(folder, clock) as log:
        start = time.monotonic()
        log.received(b"lost")
        assert time.monotonic() - start < CLOSE_SECONDS
        clock.later(2)
        until(lambda: log.problem is not None)
        assert log.dropped == 1 and log.entry is None
        # when the disk takes it again, then the log says what it lacks
        folder.unlink()
        log.received(b"kept")
        clock.later(2)
        until(lambda: log.entry is not None)
        assert log.problem is None
    found, _ = whole(files(folder)[0])
    assert [(record.kind, record.data) for record in found] == [(Kind.DROPPED, b"1"), (Kind.RECEIVED, b"kept")]
