"""The audit log: what a module took in and gave out, in `data/<mode>/audit/{name}-{date}-{part}.audit`.

`ibkr` writes every raw byte of its broker connection, both ways, and where its turns ended (streams/ibkr/recording.py); deciders
write what each of their turns took and gave (runtime/recording.py). The event loop appends rows, references to what is there
anyway, to a bounded queue and never waits; a thread makes bytes of many at once, gathers blocks of about a second or 64 KB and
writes each with one call. A row is no object that the garbage collector must look through, however many wait. What a SIGKILL
loses is what is not in a block yet: the last second and a quarter at most (BLOCK_NS, WAKE_SECONDS). What the queue or the disk
could not take is counted, and the log itself says where it is missing. Files are rotated by New York date of market time; the
oldest go when all of one name outgrow the bound. Each start begins a new part, so that nothing is ever appended to a torn end;
parts are numbered through, so that their order is that of their writing however a clock was set.
`audit_file.py` knows the format and reads it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from alphatrader.contract.messages.operations import AuditEntry
from alphatrader.runtime.audit_file import (
    CLOSED,
    DROPPED,
    LABEL_BYTES,
    OPENED,
    RECEIVED,
    SENT,
    SUFFIX,
    Label,
    Row,
    Step,
    block,
    packed,
    part_of,
    parts_of,
)
from alphatrader.runtime.clock import SECOND, Clock, exchange_datetime

BLOCK_BYTES: Final = 64 * 1024
BLOCK_NS: Final = SECOND
QUEUE_BYTES: Final = 16_000_000
"""More than this waiting for the disk is dropped and counted: memory is bounded, the loop is not held up."""
RECORD_COST: Final = 300
"""Memory of a waiting record beside its content: the row, its numbers, its place in the queue."""
ROWS_AT_ONCE: Final = 64
"""So many rows become bytes in one call, fewer where they are large: a block that outgrows 2 * BLOCK_BYTES is one row's."""
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


class Alone(Row, array_like=True, gc=False):
    """A row that is a block of its own."""


Record = Row | Step | Deferred


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
        self._queue: list[Record] = []
        self._put = self._taken = 0
        """Bytes ever queued and taken: each has one writer, so no lock is needed. A record is queued before it is counted: what
        was counted before the queue is emptied is taken with it."""
        self._pack = pack
        self._refused = self._unsaid = 0
        self._failed = self._unsaid_failed = 0
        self._rows: list[Row | Step] = []
        self._packed: list[bytes] = []
        self._packed_bytes = 0
        """Of the block that is being gathered: its rows, and the bytes of them."""
        self._writer, self._nth = secrets.randbits(64), 0
        """Who writes, and which of its parts comes next."""
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

    def add(self, record: Record) -> None:
        """A row (`audit_file.Row`, `Step`), or what will be one."""
        weight = record.weight if type(record) is Deferred else len(record.content)
        put = self._put + weight + RECORD_COST
        if self._unsaid or put - self._taken > self._queue_bytes:
            self._add_or_drop(record, put)
            return
        self._queue.append(record)
        self._put = put

    def _add_or_drop(self, record: Record, put: int) -> None:
        if put - self._taken > self._queue_bytes:
            self._refused += 1
            self._unsaid += 1
            return
        missing = Row(DROPPED, record.machine_ns, b"%d" % self._unsaid)
        self._unsaid = 0
        self._queue += missing, record
        self._put = put + RECORD_COST

    def add_alone(self, record: Row) -> None:
        """What is a block of its own, so that it can be torn without anything else."""
        self.add(Alone(record.kind, record.machine_ns, record.content))

    def opened(self, peer: str) -> None:
        self.add(Row(OPENED, self._now(), peer.encode()))

    def received(self, data: bytes) -> None:
        self.add(Row(RECEIVED, self._now(), data))

    def sent(self, data: bytes) -> None:
        self.add(Row(SENT, self._now(), data))

    def closed(self, reason: str) -> None:
        self.add(Row(CLOSED, self._now(), reason.encode()))

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
        put = self._put
        taken = self._queue[:]
        del self._queue[: len(taken)]  # what the loop appended meanwhile stays
        self._taken = put
        at = 0
        while at < len(taken):
            records = taken[at : at + ROWS_AT_ONCE]
            at += len(records)
            rows: list[Row | Step] = [self._row(one) for one in records] if self._pack is not None else records  # type: ignore[assignment]
            if Alone in map(type, rows):
                for one in rows:
                    self._gather_alone(one) if type(one) is Alone else self._gather([one])
            else:
                self._gather(rows)
        # A clock that was set back makes the oldest younger than now: it does not wait until the clock has come so far again.
        if self._rows and (whole or not 0 <= self._now() - self._rows[0].machine_ns < BLOCK_NS):
            self._write()

    def _gather(self, rows: list[Row | Step]) -> None:
        """Adds rows to the block, which is written when it is full."""
        raw = packed(rows)
        if len(raw) > BLOCK_BYTES and len(rows) > 1:
            half = len(rows) // 2
            self._gather(rows[:half])
            self._gather(rows[half:])
            return
        self._rows += rows
        self._packed.append(raw)
        self._packed_bytes += len(raw)
        if self._packed_bytes >= BLOCK_BYTES:
            self._write()

    def _gather_alone(self, row_: Row) -> None:
        if self._rows:
            self._write()
        self._gather([row_])
        if self._rows:
            self._write()

    def _row(self, record: Record) -> Row | Step:
        if type(record) is Deferred:
            return Row(record.kind, record.machine_ns, self._pack(record.content))  # type: ignore[misc]
        return record  # type: ignore[return-value]

    def _write(self) -> None:
        """Writes the block that was gathered."""
        rows, raw = self._rows, b"".join(self._packed)
        self._rows, self._packed, self._packed_bytes = [], [], 0
        if self._unsaid_failed:
            missing = Row(DROPPED, rows[0].machine_ns, b"%d" % self._unsaid_failed)
            rows, raw = [missing, *rows], packed([missing]) + raw
        first_ns, last_ns = self._clock.market_at(rows[0].machine_ns), self._clock.market_at(rows[-1].machine_ns)
        try:
            self._rotate(first_ns)
            content = block(self._number, rows, first_ns, self._clock.speed, raw)
            self._put_on_disk(content)
        except OSError as error:
            self.problem = str(error)
            self.failures += 1
            self._failed += sum(one.kind != DROPPED for one in rows)
            self._unsaid_failed = sum(int(one.content) if one.kind == DROPPED else 1 for one in rows)
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
        if self._file is None or date != self._date or self._offset >= self._most_bytes // PARTS:
            self._end_file()
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._begin_part(date)
            self._others_bytes = sum(size for _, size in self._others())
        if self._others_bytes + self._offset > self._most_bytes:
            self._forget_oldest()

    def _begin_part(self, date: str) -> None:
        self._file = None
        while self._file is None:
            before = parts_of(self._folder, self._name)[-1:]
            part = 1 + max(map(part_of, before), default=0)
            label = Label(self._name, part, self._nth, self._writer, sum(path.stat().st_size for path in before))
            self._path = self._folder / f"{self._name}-{date}-{part:04d}{SUFFIX}"
            with contextlib.suppress(FileExistsError):  # another process took the number in this moment: the next one, then
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._date, self._offset, self._number, self._records = date, 0, 0, 0
        try:
            self._put_on_disk(label.packed())
        except OSError:
            self._end_file()
            self._path.unlink(missing_ok=True)
            raise
        self._offset = LABEL_BYTES
        self._nth += 1

    def _others(self) -> list[tuple[Path, int]]:
        """(path, bytes) of this log's other parts, oldest first."""
        return [(path, path.stat().st_size) for path in parts_of(self._folder, self._name) if path != self._path]

    def _forget_oldest(self) -> None:
        others = self._others()
        left = sum(size for _, size in others)
        for path, size in others:
            if left + self._offset <= self._most_bytes:
                break
            path.unlink(missing_ok=True)
            left -= size
        self._others_bytes = left

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
