"""The audit log: what a module took in and gave out, in `data/<mode>/audit/{name}-{date}-{part}.audit`.

`ibkr` writes every raw byte of its broker connection, both ways, and where its turns ended (streams/ibkr/recording.py); deciders
write what each of their turns took and gave (runtime/recording.py). The event loop appends rows of bytes to a bounded queue and
never waits; a thread joins what came to blocks of about a second or 64 KB, packs them while the loop goes on, and writes each
with one call. A row is no object that the garbage collector must look through, however many wait. What the queue or the disk
could not take is counted, and the log itself says where it is missing. Files are rotated by New York date of market time; the
oldest go when all of one name outgrow the bound. Each start begins a new part, so that nothing is ever appended to a torn end.
`audit_file.py` knows the format and reads it.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from alphatrader.contract.messages.operations import AuditEntry
from alphatrader.runtime.audit_file import (
    CLOSED,
    DROPPED,
    MAGIC,
    OPENED,
    RECEIVED,
    SENT,
    SUFFIX,
    block,
    content_of,
    instant_of,
    kind_of,
    row,
)
from alphatrader.runtime.clock import SECOND, Clock, exchange_datetime

BLOCK_BYTES: Final = 64 * 1024
BLOCK_NS: Final = SECOND
QUEUE_BYTES: Final = 16_000_000
"""More than this waiting for the disk is dropped and counted: memory is bounded, the loop is not held up."""
RECORD_COST: Final = 60
"""Memory of a waiting record beside its row."""
WAKE_SECONDS: Final = 0.25
CLOSE_SECONDS: Final = 1.5
PARTS: Final = 8
"""A file ends at this share of the bound, so that dropping the oldest drops little."""


class Deferred:
    """A record that becomes a row in the writing thread. Nobody may change the content any more."""

    __slots__ = ("content", "kind", "machine_ns", "weight")

    def __init__(self, kind: int, machine_ns: int, weight: int, content: Any) -> None:
        """`weight`: about the memory it holds."""
        self.kind, self.machine_ns, self.weight, self.content = kind, machine_ns, weight, content

    def __len__(self) -> int:
        return self.weight


class Alone(bytes):
    """A row that is a block of its own."""


class AuditLog:
    """`add` and what calls it belong to the event loop's thread; all else is the writing thread's."""

    def __init__(
        self,
        folder: Path,
        name: str,
        clock: Clock,
        most_bytes: int,
        *,
        queue_bytes: int = QUEUE_BYTES,
        pack: Callable[[Any], bytes] | None = None,
    ) -> None:
        """`pack` makes the bytes of a deferred record's content; it runs in the thread."""
        self.entry: AuditEntry | None = None
        """Where the newest block stands; None before the first."""
        self.problem: str | None = None
        """Why the disk does not take it; None while it does."""
        self.failures = 0
        """Blocks that the disk did not take. What a packer leaves out because it stood before may then stand nowhere."""
        self._folder, self._name, self._clock = folder, name, clock
        self._now = clock.machine_ns
        self._most_bytes, self._queue_bytes = most_bytes, queue_bytes
        self._queue: list[bytes | Deferred] = []
        self._put = self._taken = 0
        """Bytes ever queued and taken: each has one writer, so no lock is needed."""
        self._pack = pack
        self._refused = self._unsaid = 0
        self._alone = self._alone_written = 0
        self._failed = self._unsaid_failed = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: int | None = None
        self._path = folder
        self._date = ""
        self._offset = self._number = self._records = self._others_bytes = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Records the queue or the disk did not take."""
        return self._refused + self._failed

    # -- the event loop's side -------------------------------------------------------------------------------------------

    def add(self, record: bytes | Deferred) -> None:
        """A row (`audit_file.row`, `step`), or what will be one."""
        put = self._put + len(record) + RECORD_COST
        if self._unsaid or put - self._taken > self._queue_bytes:
            self._add_or_drop(record, put)
            return
        self._queue.append(record)
        self._put = put

    def _add_or_drop(self, record: bytes | Deferred, put: int) -> None:
        if put - self._taken > self._queue_bytes:
            self._refused += 1
            self._unsaid += 1
            return
        at = record.machine_ns if isinstance(record, Deferred) else instant_of(record)
        missing = row(DROPPED, at, b"%d" % self._unsaid)
        self._unsaid = 0
        self._queue += missing, record
        self._put = put + len(missing) + RECORD_COST

    def add_alone(self, record: bytes) -> None:
        """What is a block of its own, so that it can be torn without anything else."""
        self._alone += 1
        self.add(Alone(record))

    def opened(self, peer: str) -> None:
        self.add(row(OPENED, self._now(), peer.encode()))

    def received(self, data: bytes) -> None:
        self.add(row(RECEIVED, self._now(), data))

    def sent(self, data: bytes) -> None:
        self.add(row(SENT, self._now(), data))

    def closed(self, reason: str) -> None:
        self.add(row(CLOSED, self._now(), reason.encode()))

    def start(self) -> None:
        """Begins writing, if it has not."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Everything queued is written when this returns, unless the disk takes longer than a moment."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(CLOSE_SECONDS)

    # -- the thread's side -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(WAKE_SECONDS)
            self._drain(whole=stopping)
        self._end_file()

    def _drain(self, *, whole: bool) -> None:
        """Writes the blocks that are full or old enough; the rest too when `whole`."""
        queue, pending = self._queue, self._pending
        taken = queue[:]
        del queue[: len(taken)]  # what the loop appended meanwhile stays
        self._taken += sum(map(len, taken)) + RECORD_COST * len(taken)
        pending += map(self._row, taken) if self._pack is not None else taken  # type: ignore[arg-type]
        while self._alone != self._alone_written and (at := _first_alone(pending)) is not None:
            for rows in (pending[:at], pending[at : at + 1]):
                if rows:
                    self._write(rows)
            del pending[: at + 1]
            self._alone_written += 1
        ends = list(accumulate(map(len, pending)))
        begins = start = 0
        while ends and ends[-1] - begins >= BLOCK_BYTES:
            end = bisect_left(ends, begins + BLOCK_BYTES, start) + 1
            self._write(pending[start:end])
            begins, start = ends[end - 1], end
        del pending[:start]
        # A clock that was set back makes the oldest younger than now: it does not wait until the clock has come so far again.
        if pending and (whole or not 0 <= self._now() - instant_of(pending[0]) < BLOCK_NS):
            self._write(pending[:])
            pending.clear()

    def _row(self, record: bytes | Deferred) -> bytes:
        if isinstance(record, bytes):
            return record
        return row(record.kind, record.machine_ns, self._pack(record.content))  # type: ignore[misc]

    def _write(self, rows: list[bytes]) -> None:
        if self._unsaid_failed:
            rows.insert(0, row(DROPPED, instant_of(rows[0]), b"%d" % self._unsaid_failed))
        first_ns, last_ns = self._clock.market_at(instant_of(rows[0])), self._clock.market_at(instant_of(rows[-1]))
        try:
            self._rotate(first_ns)
            content = block(self._number, rows, first_ns, self._clock.speed)
            self._put_on_disk(content)
        except OSError as error:
            self.problem = str(error)
            self.failures += 1
            self._failed += sum(kind_of(one) != DROPPED for one in rows)
            self._unsaid_failed = sum(int(content_of(one)) if kind_of(one) == DROPPED else 1 for one in rows)
            return
        self.problem, self._unsaid_failed = None, 0
        self._records += len(rows)
        self.entry = AuditEntry(self._path.name, self._offset, self._records, last_ns, self.dropped)
        self._offset += len(content)
        self._number += 1

    def _put_on_disk(self, content: bytes) -> None:
        """Raises OSError, with the file cut back to its last whole block, or ended where that fails too."""
        if self._file is None:
            raise OSError(f"{self._path.name} is not open")
        try:
            if os.write(self._file, content) != len(content):
                raise OSError(f"{self._path.name}: the disk took only a part of a block")
        except OSError:
            try:
                os.ftruncate(self._file, self._offset)
                os.lseek(self._file, self._offset, os.SEEK_SET)
            except OSError:
                self._end_file()
            raise

    def _rotate(self, market_ns: int) -> None:
        """The file that a block of this instant belongs to, open; the folder within its bound."""
        date = f"{exchange_datetime(market_ns):%Y-%m-%d}"
        date = max(date, self._date)  # parts are read in the order of their names: a clock set back does not go to an older one
        if self._file is None or date != self._date or self._offset >= self._most_bytes // PARTS:
            self._end_file()
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = 1 + max((part_of(path) for path in self._folder.glob(f"{self._name}-{date}-*{SUFFIX}")), default=0)
            self._path = self._folder / f"{self._name}-{date}-{part:04d}{SUFFIX}"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._date, self._offset, self._number, self._records = date, 0, 0, 0
            try:
                self._put_on_disk(MAGIC)
            except OSError:
                self._end_file()
                self._path.unlink(missing_ok=True)
                raise
            self._offset = len(MAGIC)
            self._others_bytes = sum(size for _, size, _ in self._others())
        if self._others_bytes + self._offset > self._most_bytes:
            self._forget_oldest()

    def _others(self) -> list[tuple[int, int, Path]]:
        """(changed, bytes, path) of this log's other files, oldest first."""
        paths = [path for path in self._folder.glob(f"{self._name}-*{SUFFIX}") if path != self._path]
        return sorted((stat.st_mtime_ns, stat.st_size, path) for path in paths for stat in (path.stat(),))

    def _forget_oldest(self) -> None:
        others = self._others()
        left = sum(size for _, size, _ in others)
        for _, size, path in others:
            if left + self._offset <= self._most_bytes:
                break
            path.unlink(missing_ok=True)
            left -= size
        self._others_bytes = left

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _first_alone(rows: list[bytes]) -> int | None:
    return next((number for number, one in enumerate(rows) if type(one) is Alone), None)


def part_of(path: Path) -> int:
    """The part number in a log's name; 0 where there is none."""
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0
