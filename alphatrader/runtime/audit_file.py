"""The format of an audit log, and its reader. `audit.py` writes it.

A file is a magic number and blocks. A block is a header (number, sizes, instants of its first record), the CRC of the header, the
CRC of the payload, and the payload: one lz4 frame that needs no other. The headers are the index: `index` hops over them. `read`
gives every record up to the first block that is not whole, and then says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

import lz4.frame

SUFFIX: Final = ".audit"
MAGIC: Final = b"ATAUDIT1"
_HEADER: Final = struct.Struct("<4sIIIIQQd")
"""Mark, block number, payload bytes, raw bytes, records, machine and market time of the first, market clock's speed."""
_SUMS: Final = struct.Struct("<II")
RECORD: Final = struct.Struct("<BQI")
"""Kind, machine time, bytes that follow."""
_MARK: Final = b"ATB1"
_MOST_RAW: Final = 64_000_000


class Kind(StrEnum):
    OPENED = "opened"
    """A connection was made; the data say with whom."""
    RECEIVED = "received"
    """What one read of the socket brought: whole messages or parts of them."""
    SENT = "sent"
    CLOSED = "closed"
    DROPPED = "dropped"
    """So many records are missing here."""


_KINDS: Final = tuple(Kind)
OPENED, RECEIVED, SENT, CLOSED, DROPPED = range(len(_KINDS))
"""How a kind stands in the file, and on its way there."""

Raw = tuple[int, int, bytes]
"""One record on its way to the disk: number of its kind, machine time, data."""


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

    def market_at(self, machine_ns: int) -> int:
        """Market time of a record in it."""
        return self.market_ns + int((machine_ns - self.machine_ns) * self.speed)


class TornLogError(ValueError):
    """The log is whole up to `offset` and not beyond."""

    def __init__(self, path: Path, offset: int, why: str) -> None:
        super().__init__(f"{path.name}: not whole from byte {offset} on: {why}")
        self.offset = offset


def block(number: int, records: Sequence[Raw], market_ns: int, speed: float) -> bytes:
    """One block as it stands in the file. `market_ns` is of its first record."""
    pack = RECORD.pack
    raw = b"".join([part for kind, machine_ns, data in records for part in (pack(kind, machine_ns, len(data)), data)])
    payload: bytes = lz4.frame.compress(raw)
    header = _HEADER.pack(_MARK, number, len(payload), len(raw), len(records), records[0][1], market_ns, speed)
    return header + _SUMS.pack(crc32(header), crc32(payload)) + payload


# -- reading -----------------------------------------------------------------------------------------------------------------


def index(path: Path) -> Iterator[BlockPlace]:
    """Where each block stands, by the headers alone. Raises TornLogError where a block is not whole."""
    with path.open("rb") as file:
        for place, _, _ in _places(path, file):
            file.seek(place.end)
            yield place


def read(path: Path) -> Iterator[Record]:
    """Every record in order, block by block checked. Raises TornLogError where a block is not whole: a crash, or a broken disk.

    A file cut exactly between two blocks reads as whole: nothing in it tells that more was to come.
    """
    with path.open("rb") as file:
        for place, payload_sum, raw_bytes in _places(path, file):
            payload = file.read(place.end - file.tell())
            if crc32(payload) != payload_sum:
                raise TornLogError(path, place.offset, "the checksum of its content is wrong")
            yield from _records(path, place, _unpacked(path, place, payload, raw_bytes))


def _places(path: Path, file: BinaryIO) -> Iterator[tuple[BlockPlace, int, int]]:
    """(place, checksum of the payload, its raw size); the file stands at the payload, and must stand at its end when asked on."""
    size = path.stat().st_size
    if file.read(len(MAGIC)) != MAGIC:
        raise TornLogError(path, 0, "it does not begin as an audit log")
    number, offset = 0, len(MAGIC)
    while offset < size:
        head = file.read(_HEADER.size + _SUMS.size)
        if len(head) < _HEADER.size + _SUMS.size:
            raise TornLogError(path, offset, "cut in a header")
        header_sum, payload_sum = _SUMS.unpack_from(head, _HEADER.size)
        mark, found, payload_bytes, raw_bytes, records, machine_ns, market_ns, speed = _HEADER.unpack_from(head)
        if mark != _MARK or crc32(head[: _HEADER.size]) != header_sum:
            raise TornLogError(path, offset, "the checksum of its header is wrong")
        if found != number:
            raise TornLogError(path, offset, f"block {found} stands where block {number} should")
        end = offset + len(head) + payload_bytes
        if end > size or raw_bytes > _MOST_RAW:
            raise TornLogError(path, offset, "cut in its content")
        yield BlockPlace(offset, end, number, records, machine_ns, market_ns, speed), payload_sum, raw_bytes
        number, offset = number + 1, end


def _unpacked(path: Path, place: BlockPlace, payload: bytes, raw_bytes: int) -> bytes:
    try:
        raw: Any = lz4.frame.decompress(payload)
    except RuntimeError as error:
        raise TornLogError(path, place.offset, str(error)) from error
    if len(raw) != raw_bytes:
        raise TornLogError(path, place.offset, f"{len(raw)} bytes unpacked where {raw_bytes} should be")
    return bytes(raw)


def _records(path: Path, place: BlockPlace, raw: bytes) -> Iterator[Record]:
    at = 0
    for _ in range(place.records):
        kind, machine_ns, size = RECORD.unpack_from(raw, at)
        at += RECORD.size
        yield Record(_KINDS[kind], machine_ns, place.market_at(machine_ns), raw[at : at + size])
        at += size
    if at != len(raw):
        raise TornLogError(path, place.offset, "its records do not fill it")
