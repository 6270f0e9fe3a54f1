"""The money journal: `data/<mode>/journal.jsonl`, a JSON line for each intent and fill, on the disk before anything follows.

Redis may lose its last second and the broker returns only today's executions; this file has both. `execution` appends (its only
writer) and reads the tail at its start; `alphatrader restore` rebuilds the ledgers from all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from alphatrader.contract.messages.orders import Fill, OrderRecord

FILE: Final = "journal.jsonl"
TAIL_BYTES: Final = 4_000_000


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: Literal["order", "fill"]
    machine_ns: int
    order: OrderRecord | None = None
    fill: Fill | None = None


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Line)


class Journal:
    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._torn = not self._ends_whole()

    def _ends_whole(self) -> bool:
        size = self._path.stat().st_size
        if not size:
            return True
        with self._path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    def append(self, lines: Iterable[Line]) -> None:
        """On the disk when this returns. Raises OSError: then nothing may be sent."""
        content = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
        if not content:
            return
        # A line cut off by a crash or a full disk must not swallow the next one.
        content = b"\n" + content if self._torn else content
        self._torn = True
        if os.write(self._file, content) != len(content):
            raise OSError(f"{FILE}: the disk took only a part of a line")
        os.fsync(self._file)
        self._torn = False

    def tail(self, since_machine_ns: int) -> Iterator[Line]:
        """Lines of the last megabytes that are not older; what is no line of ours (a torn write) is passed over."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            content = file.read()
        for raw in content.splitlines():
            try:
                line = _DECODER.decode(raw)
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue
            if line.machine_ns >= since_machine_ns:
                yield line

    def close(self) -> None:
        os.close(self._file)
