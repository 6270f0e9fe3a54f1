"""The audit log: everything comes back, and the disk and the memory it takes are bounded."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from alphatrader.runtime.audit import BLOCK_BYTES, CLOSE_SECONDS, RECORD_COST, AuditLog, Deferred
from alphatrader.runtime.audit_file import TURN, BlockPlace, Kind, Row, index, parts_of, read
from alphatrader.runtime.clock import Clock, exchange_instant
from alphatrader.runtime.runs import logs
from tests.support.audit import whole

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
    return parts_of(folder, "*")


def until(condition: Callable[[], object], limit: float = 60.0) -> None:
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
    assert not torn and {(record.machine_ns, record.market_ns) for record in found} == {(clock.now_ns, clock.now_ns)}
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
    places = [place for place in index(path) if isinstance(place, BlockPlace)]
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
        assert not torn and [record.data[:5] for record in found] == [b"quiet", b"xxxxx", b"later"]


WRITER = """
import sys
import time
from pathlib import Path
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.clock import Clock
log = AuditLog(Path(sys.argv[1]), "ibkr", Clock(), 100_000_000)
log.start()
number = 0
while True:
    for _ in range(200):
        log.received(number.to_bytes(8, "big") * (1 + number % 50))
        number += 1
    entry = log.entry
    print(entry.messages if entry else 0, flush=True)  # on disk, by the log's own word
    time.sleep(0.003)  # the thread is to keep up: a full queue is another story
"""


def test_a_writer_killed_at_any_instant_leaves_all_it_said_was_on_disk(tmp_path: Path) -> None:
    chance = random.Random(20261118)
    for kill in range(6):
        folder = tmp_path / f"kill-{kill}"
        with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = 0
            while said == 0:
                said = int(writer.stdout.readline())
            for _ in range(chance.randrange(400)):
                said = int(writer.stdout.readline())
            time.sleep(chance.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            said = max([said, *(int(line) for line in writer.stdout.read().splitlines() if line)])
        found, holes = whole(files(folder)[0])
        numbers = [int.from_bytes(record.data[:8], "big") for record in found]
        assert len(numbers) >= said > 0 and len(holes) <= 1
        assert numbers == list(range(len(numbers)))
        assert all(len(record.data) == 8 * (1 + number % 50) for number, record in zip(numbers, found, strict=True))


def test_a_deferred_record_becomes_bytes_in_the_thread(tmp_path: Path) -> None:
    clock = StillClock()
    log = AuditLog(tmp_path, "signals", clock, ROOMY, pack=lambda content: f"packed {content}".encode())
    log.start()
    log.add(Row(TURN, clock.machine_ns(), b"bytes"))
    log.add(Deferred(TURN, clock.machine_ns(), 1000, ["any", "thing"]))
    log.close()
    found, _ = whole(files(tmp_path)[0])
    assert [(record.kind, record.data) for record in found] == [(Kind.TURN, b"bytes"), (Kind.TURN, b"packed ['any', 'thing']")]
    assert log._put == log._taken > 1000


def test_a_start_after_a_crash_leaves_the_torn_end_alone(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        log.received(b"before the crash")
    (torn,) = files(tmp_path)
    os.truncate(torn, torn.stat().st_size - 3)
    with writing(tmp_path, clock) as log:
        log.received(b"after it")
    assert [path.name for path in files(tmp_path)] == ["ibkr-2026-11-18-0001.audit", "ibkr-2026-11-18-0002.audit"]
    assert whole(files(tmp_path)[1])[0][0].data == b"after it" and len(whole(torn)[1]) == 1


def over_midnight(log: AuditLog, clock: StillClock) -> None:
    """One record on Wednesday, written, and one a day later."""
    log.received(b"wednesday")
    clock.later(86_400)
    until(lambda: log.entry is not None)
    log.received(b"thursday")


def test_each_session_has_its_own_file(tmp_path: Path) -> None:
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        over_midnight(log, clock)
    assert [path.name[5:15] for path in files(tmp_path)] == ["2026-11-18", "2026-11-19"]
    assert [whole(path)[0][0].data for path in files(tmp_path)] == [b"wednesday", b"thursday"]


def test_a_clock_that_goes_back_holds_nothing_up_and_keeps_the_order_of_the_parts(tmp_path: Path) -> None:
    # given a log that has gone over midnight
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        over_midnight(log, clock)
        clock.later(1)
        until(lambda: log.entry is not None and log.entry.file[5:15] == "2026-11-19")
        # when the clock is set back by more than a day, after a record came and before it is on disk
        log.received(b"before")
        clock.later(-90_000)
        until(lambda: log.entry is not None and log.entry.messages == 2)
        log.received(b"after")
        clock.later(1)
        until(lambda: log.entry is not None and log.entry.file[5:15] == "2026-11-18" and log.entry.messages == 1)
    # then all of it is on disk, in the order in which it came
    assert [record.data for path in files(tmp_path) for record in read(path)] == [b"wednesday", b"thursday", b"before", b"after"]


def test_parts_after_a_restart_on_a_clock_set_back_over_midnight_come_after_those_before_it(tmp_path: Path) -> None:
    # given a process that ran into Thursday, and one that begins after the machine's clock was set back to Wednesday
    clock = StillClock()
    with writing(tmp_path, clock) as log:
        over_midnight(log, clock)
    clock.later(-86_400)
    with writing(tmp_path, clock) as log:
        log.received(b"wednesday again")
    # then its part is the next, for whoever reads the folder, and none is missing
    (found,) = logs(tmp_path)
    assert [path.name for path in found.paths] == [
        "ibkr-2026-11-18-0001.audit",
        "ibkr-2026-11-19-0002.audit",
        "ibkr-2026-11-18-0003.audit",
    ]
    assert [record.data for record in found.records()] == [b"wednesday", b"thursday", b"wednesday again"]
    # and a part that is not there is noticed, whatever the dates beside it
    found.paths[1].unlink()
    (rest,) = logs(tmp_path)
    assert [(record.kind, record.data) for record in rest.records()] == [
        (Kind.RECEIVED, b"wednesday"),
        (Kind.HOLE, b"no part between ibkr-2026-11-18-0001 and ibkr-2026-11-18-0003"),
        (Kind.RECEIVED, b"wednesday again"),
    ]


FILLS_THE_DISK = """
import os
import resource
import sys
import time
from pathlib import Path
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.clock import Clock
limit = 300_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # a write over it is cut, then refused
log = AuditLog(Path(sys.argv[1]), "ibkr", Clock(), 100_000_000)
log.start()
number = 0
while log.problem is None:
    log.received(number.to_bytes(4, "big") + os.urandom(20_000))
    number += 1
    time.sleep(0.01)
print(log.problem, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while log.problem is not None or log.entry.dropped != log.dropped:
    log.received(number.to_bytes(4, "big") + os.urandom(20_000))
    number += 1
    time.sleep(0.01)
log.close()
print(number, log.dropped, flush=True)
"""


def test_a_disk_that_is_full_amid_a_block_costs_what_did_not_fit_and_says_how_much(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLS_THE_DISK, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    problem, last = answer.stdout.splitlines()
    given, dropped = map(int, last.split())
    assert "File too large" in problem or "only a part of a block" in problem
    found, holes = [], []
    for path in files(tmp_path):
        records, torn = whole(path)
        found += records
        holes += torn
    assert holes == []  # no half of a block is left
    missing = [int(record.data) for record in found if record.kind is Kind.DROPPED]
    numbers = [int.from_bytes(record.data[:4], "big") for record in found if record.kind is Kind.RECEIVED]
    assert sum(missing) == dropped == given - len(numbers) > 0
    gaps = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
    assert len(gaps) == len(missing) == 1 and gaps[0][1] - gaps[0][0] - 1 == dropped


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
    log = AuditLog(tmp_path, "ibkr", clock, ROOMY, queue_bytes=4 * (RECORD_COST + 1))
    for number in range(10):
        log.received(b"%d" % number)
    assert log.dropped == 6  # four of a byte fit, with what each costs
    # when it does
    clock.later(1)
    log.start()
    until(lambda: log._put == log._taken)
    log.received(b"after")
    log.close()
    found, torn = whole(files(tmp_path)[0])
    assert not torn and [record.data for record in found] == [b"0", b"1", b"2", b"3", b"6", b"after"]
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
