"""Framing of the TWS API: a 4-byte length, then fields of text each ended by NUL.

Used by `session.py` for both directions. Numbers leave in the shortest form that reads back exactly, because the
oldest clients parse sizes as whole numbers and stop at "100.0".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

MAX_FRAME_BYTES = 1 << 20  # a client's longest honest request is a few KiB; a larger length is garbage

UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = "2147483647"

Field = str | int | float | bool | None
Fields = tuple[Field, ...]


class FrameError(ValueError):
    """The stream can no longer be cut into frames; the connection has to be closed."""


def number(value: float) -> str:
    """Shortest text of a finite number, never with an exponent."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if not math.isfinite(value):
        raise ValueError(f"number field: {value} has no wire form")
    text = repr(value)
    return text if "e" not in text else format(value, ".12f").rstrip("0")


def encode_field(value: Field) -> str:
    if value is None:
        return ""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[return-value]
    if kind is float:
        return number(value)  # type: ignore[arg-type]
    if kind is bool:
        return "1" if value else "0"
    return str(value)


def encode_frame(fields: Iterable[Field]) -> bytes:
    payload = ("\0".join(map(encode_field, fields)) + "\0").encode()
    return struct.pack(">I", len(payload)) + payload


def decode_fields(payload: bytes) -> list[str]:
    """Fields of one frame. A frame that does not end in NUL is refused: its last field was cut."""
    if not payload.endswith(b"\0"):
        raise FrameError("frame does not end in NUL")
    return payload[:-1].decode("utf-8", "backslashreplace").split("\0")


class FrameBuffer:
    """Cuts a byte stream into payloads; memory is bounded by one frame."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        self._data += data

    def feed(self, data: bytes) -> list[bytes]:
        self._data += data
        payloads, start, size = [], 0, len(self._data)
        while size - start >= 4:
            (length,) = struct.unpack_from(">I", self._data, start)
            if not 0 < length <= MAX_FRAME_BYTES:
                raise FrameError(f"frame length {length} is outside 1..{MAX_FRAME_BYTES}")
            if size - start - 4 < length:
                break
            payloads.append(bytes(self._data[start + 4 : start + 4 + length]))
            start += 4 + length
        del self._data[:start]
        return payloads

    def take_prefix(self, prefix: bytes) -> bool:
        """Remove `prefix` from the front. False while too little has arrived; FrameError when something else has."""
        head = bytes(self._data[: len(prefix)])
        if head != prefix[: len(head)]:
            raise FrameError(f"expected {prefix!r}, got {head!r}")
        if len(head) < len(prefix):
            return False
        del self._data[: len(prefix)]
        return True
