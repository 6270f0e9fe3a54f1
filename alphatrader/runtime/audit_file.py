"""The format of an audit log, and its reader. `audit.py` writes it.

A file is a label and blocks. The label says of which log and which part it is, which of those that its process wrote, and how
large the part before it was then: a copy, a part of another process and a cut end are told by it (runs.py). A block is a header
(number, sizes, instants of its first record), the CRC of the header, the CRC of the payload, and the payload: one lz4 frame that
needs no other. In it stand rows, each a msgpack array
  [kind, machine time, content]
  [STEP, machine time and monotonic seconds of a read, what was read, ns until its turn, monotonic seconds of that, what it wrote]
that whoever records makes as structs of references; the writing thread packs many in one call. The headers are the index: `index`
hops over them.

Reading never raises for what stands in a file: where a block is not whole (a crash while writing, a broken disk) the hole is a
record of its own that names it, and reading goes on at the next block that is.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import lz4.frame
import msgspec

SUFFIX: Final = ".audit"
MAGIC: Final = b"ATAUDIT5"
_LABEL: Final = struct.Struct("<8s24sIIQQ")
"""Magic number, and what `Label` holds; its CRC follows."""
_SUM: Final = struct.Struct("<I")
LABEL_BYTES: Final = _LABEL.size + _SUM.size
TORN: Final = b"not whole"
"""How a word on a hole begins."""
_HEADER: Final = struct.Struct("<4sIIIIQQd")
"""Mark, block number, payload bytes, raw bytes, records, machine and market time of the first, market clock's speed."""
_SUMS: Final = struct.Struct("<II")
_HEAD_BYTES: Final = _HEADER.size + _SUMS.size
_MARK, _MARK_OF_CHECKPOINT = b"ATB3", b"ATC3"
"""What a block begins with. A checkpoint is a block alone: where it is torn, nothing else is missing."""
_MARKS: Final = (_MARK, _MARK_OF_CHECKPOINT)
_ARRAY: Final = struct.Struct(">BI")
"""How msgpack begins an array of so many."""
_MOST_RAW: Final = 256_000_000
_packed: Final = msgspec.msgpack.Encoder().encode


def part_of(path: Path) -> int:
    """The number of a part of a log, `{name}-{date}-{part}`; 0 where its name has none. Each part has the next number of its log,
    whatever its date: order does not depend on a clock, which can be set back over midnight."""
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def place_of(path: Path) -> tuple[int, str]:
    """By which parts are sorted."""
    return part_of(path), path.name


def parts_of(folder: Path, name: str) -> list[Path]:
    """The parts of one log in the order in which they were written."""
    return sorted(folder.glob(f"{name}-*{SUFFIX}"), key=place_of)


class Label(NamedTuple):
    """Which part a file is."""

    name: str
    """Of its log; 24 bytes of it."""
    part: int
    nth: int
    """Which of those that its process wrote, from 0 on."""
    writer: int
    """A random number of that process."""
    bytes_before: int
    """Of the part with the number before its own, when this one was begun; 0: there was none."""

    def packed(self) -> bytes:
        """How a file begins."""
        label = _LABEL.pack(MAGIC, self.name.encode(), *self[1:])
        return label + _SUM.pack(crc32(label))


def label_of(content: Any) -> Label | None:
    """What a file's content begins with; None where that is no whole label."""
    label = bytes(content[:LABEL_BYTES])
    if (
        len(label) < LABEL_BYTES
        or label[: len(MAGIC)] != MAGIC
        or _SUM.unpack_from(label, _LABEL.size)[0] != crc32(label[: _LABEL.size])
    ):
        return None
    _, name, *numbers = _LABEL.unpack_from(label)
    return Label(name.rstrip(b"\0").decode(errors="replace"), *numbers)


class Kind(StrEnum):
    OPENED = "opened"
    """A connection was made; the data say with whom."""
    RECEIVED = "received"
    """What one read of the socket brought: whole messages or parts of them."""
    SENT = "sent"
    CLOSED = "closed"
    DROPPED = "dropped"
    """So many records are missing here."""
    BEGUN = "begun"
    """A process began to write: its settings and its clock. What follows needs nothing from before."""
    TOLD = "told"
    """What a module told one of its feeds, beside what the wire brought."""
    TURN = "turn"
    """One turn: what was taken and what was given. See runtime/recording.py and streams/ibkr/recording.py."""
    CHECKPOINT = "checkpoint"
    """How the module stood here: who wants only what follows need read nothing before. See streams/ibkr/checkpoints.py."""
    STEP = "step"
    """A read of the socket and the turn that ended it, in one row; given out as the three records that it is (`rows`)."""
    HOLE = "hole"
    """Never written: the reader says why something is missing here."""


_KINDS: Final = tuple(Kind)
OPENED, RECEIVED, SENT, CLOSED, DROPPED, BEGUN, TOLD, TURN, CHECKPOINT, STEP, HOLE = range(len(_KINDS))
"""How a kind stands in the file, and on its way there."""


class Record(NamedTuple):
    kind: Kind
    machine_ns: int
    market_ns: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """One block as its header tells it."""

    offset: int
    end: int
    number: int
    records: int
    machine_ns: int
    market_ns: int
    speed: float
    raw_bytes: int
    payload_sum: int
    checkpoint: bool = False
    """Whether it is one, and nothing else."""

    def market_at(self, machine_ns: int) -> int:
        """Market time of a record in it."""
        return self.market_ns + int((machine_ns - self.machine_ns) * self.speed)


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes of a file that are no whole block."""

    offset: int
    end: int
    why: str

    def __str__(self) -> str:
        return f"{TORN.decode()} from byte {self.offset} to {self.end}: {self.why}"


class Row(msgspec.Struct, array_like=True, gc=False):
    """One record on its way to the disk. It holds nothing that could lead back to it: the garbage collector passes over it,
    however many wait."""

    kind: int
    machine_ns: int
    content: bytes


class Step(msgspec.Struct, array_like=True, gc=False):
    """A read and its turn, likewise."""

    kind: int
    machine_ns: int
    """Of the read."""
    read: float
    """Monotonic seconds."""
    content: bytes
    """What was read."""
    after_ns: int
    """From the read to the end of its turn."""
    turn: float
    """Monotonic seconds at the end of the turn."""
    wrote: tuple[Any, ...]


def packed(rows: Sequence[Row | Step]) -> bytes:
    """Rows as a block holds them, one behind the other. At most 65,535."""
    return _packed(rows)[1 if len(rows) < 16 else 3 :]  # without the head of the array that they are


def block(number: int, rows: Sequence[Row | Step], market_ns: int, speed: float, raw: bytes | None = None) -> bytes:
    """One block of these rows as it stands in the file. `market_ns` is of the first; `raw`: what `packed` made of them."""
    raw = packed(rows) if raw is None else raw
    payload: bytes = lz4.frame.compress(raw)
    mark = _MARK_OF_CHECKPOINT if len(rows) == 1 and rows[0].kind == CHECKPOINT else _MARK
    header = _HEADER.pack(mark, number, len(payload), len(raw), len(rows), rows[0].machine_ns, market_ns, speed)
    return header + _SUMS.pack(crc32(header), crc32(payload)) + payload


# -- reading -----------------------------------------------------------------------------------------------------------------


def index(path: Path) -> Iterator[BlockPlace | Hole]:
    """Where each block stands and what is missing between them, by the headers alone. Raises OSError: there is no such file."""
    with Mapped(path) as content:
        yield from places_in(content)


def read(path: Path, begin: int = 0) -> Iterator[Record]:
    """Every record in order, each block checked; what is missing is a record, too (`HOLE`). Of blocks before the offset `begin`
    nothing is given. Raises OSError: no such file.

    A file cut exactly between two blocks reads as whole: nothing in it tells that more was to come, but the label of the next
    part does (runs.Log)."""
    with Mapped(path) as content:
        machine_ns = market_ns = 0
        for place in places_in(content):
            if place.offset < begin:
                continue
            if isinstance(place, Hole):
                yield Record(Kind.HOLE, machine_ns, market_ns, str(place).encode())
                continue
            records = records_of(content, place)
            if isinstance(records, Hole):
                yield Record(Kind.HOLE, place.machine_ns, place.market_ns, str(records).encode())
                continue
            yield from records
            machine_ns, market_ns = records[-1].machine_ns, records[-1].market_ns


def records_of(content: Any, place: BlockPlace) -> list[Record] | Hole:
    """The records of one block of a file's content; a hole where they are not what was written, but for a checkpoint: such a
    one holds why instead of what it held."""
    records = _whole_records(content, place)
    if isinstance(records, Hole) and place.checkpoint:
        return [Record(Kind.CHECKPOINT, place.machine_ns, place.market_ns, str(records).encode())]
    return records


def _whole_records(content: Any, place: BlockPlace) -> list[Record] | Hole:
    payload = bytes(content[place.offset + _HEAD_BYTES : place.end])
    if crc32(payload) != place.payload_sum:
        return Hole(place.offset, place.end, f"the checksum of block {place.number} ({place.records} records) is wrong")
    try:
        raw = bytes(lz4.frame.decompress(payload))
    except RuntimeError as error:
        return Hole(place.offset, place.end, str(error))
    if len(raw) != place.raw_bytes:
        return Hole(place.offset, place.end, f"{len(raw)} bytes unpacked where {place.raw_bytes} should be")
    try:
        return list(_records(msgspec.msgpack.decode(_ARRAY.pack(0xDD, place.records) + raw), place))
    except (msgspec.DecodeError, ValueError, IndexError):
        return Hole(place.offset, place.end, "its records do not fill it")


def _records(rows: list[Any], place: BlockPlace) -> Iterator[Record]:
    """Raises ValueError, IndexError: they are not what was written."""
    market_at = place.market_at
    for kind, machine_ns, *content in rows:
        market_ns = market_at(machine_ns)
        if kind == STEP:
            read, data, after_ns, turn, wrote = content
            yield Record(Kind.TOLD, machine_ns, market_ns, _packed([read]))
            yield Record(Kind.RECEIVED, machine_ns, market_ns, data)
            yield Record(Kind.TURN, machine_ns + after_ns, market_at(machine_ns + after_ns), _packed([turn, True, wrote]))
        else:
            (data,) = content
            yield Record(_KINDS[:STEP][kind], machine_ns, market_ns, data)


class Mapped:
    """A file's content as it is now, without reading it all."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        size = self._file.seek(0, 2)
        self._content: Any = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) if size else b""

    def __enter__(self) -> Any:
        return self._content

    def __exit__(self, *_: object) -> None:
        if not isinstance(self._content, bytes):
            self._content.close()
        self._file.close()


def places_in(content: Any) -> Iterator[BlockPlace | Hole]:
    size = len(content)
    if (begins := bytes(content[: len(MAGIC)])) != MAGIC:
        if begins[:-1] == MAGIC[:-1]:
            yield Hole(0, size, f"it is of another version ({begins!r} where this one reads {MAGIC!r})")
        else:
            yield Hole(0, size, f"it does not begin as an audit log does ({MAGIC.decode()})" if size else "it is empty")
        return
    if label_of(content) is None:
        yield Hole(0, min(size, LABEL_BYTES), "cut in its label" if size < LABEL_BYTES else "the checksum of its label is wrong")
    expected, offset = 0, LABEL_BYTES
    while offset < size:
        place = _place(content, offset, size)
        if isinstance(place, str):
            after = _next_place(content, offset + 1, size, expected)
            yield Hole(offset, size if after is None else after.offset, place)
            if after is None:
                return
            place = after
        elif place.number != expected:
            yield Hole(offset, offset, f"block {place.number} stands where block {expected} should")
        yield place
        expected, offset = place.number + 1, place.end


def _place(content: Any, offset: int, size: int) -> BlockPlace | str:
    """The block whose header stands here, or why there is none."""
    if size - offset < _HEAD_BYTES:
        return "cut in a header"
    header_sum, payload_sum = _SUMS.unpack_from(content, offset + _HEADER.size)
    mark, number, payload_bytes, raw_bytes, records, machine_ns, market_ns, speed = _HEADER.unpack_from(content, offset)
    if mark not in _MARKS or crc32(content[offset : offset + _HEADER.size]) != header_sum:
        return "the checksum of its header is wrong"
    end = offset + _HEAD_BYTES + payload_bytes
    if end > size or raw_bytes > _MOST_RAW or not records:
        return "cut in its content"
    return BlockPlace(offset, end, number, records, machine_ns, market_ns, speed, raw_bytes, payload_sum, mark != _MARK)


def _next_place(content: Any, offset: int, size: int, expected: int) -> BlockPlace | None:
    """The next whole block at or after here; content may hold the mark by chance, a header's checksum it does not hold."""
    while (offset := min((at for mark in _MARKS if (at := content.find(mark, offset)) >= 0), default=-1)) >= 0:
        place = _place(content, offset, size)
        if not isinstance(place, str) and place.number >= expected:
            return place
        offset += 1
    return None
