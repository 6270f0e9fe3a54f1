"""The truth the simulation generated, one JSON object a line, so that detectors can be graded against it.

Kinds and fields: `docs/truth.md`. Written by `simulation.py`; read by graders only, never by the product. A file that grows past
`max_bytes` becomes `<name>.1`.
"""

from __future__ import annotations

from io import BufferedWriter
from pathlib import Path
from typing import Any

import msgspec


class TruthLog:
    def __init__(self, path: Path | str | None, *, max_bytes: int = 256_000_000) -> None:
        """No path: nothing is written."""
        self._path = None if path is None else Path(path)
        self._max_bytes = max_bytes
        self._encode = msgspec.json.Encoder().encode
        self._file: BufferedWriter | None = None
        self._written = 0
        self.enabled = self._path is not None
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()

    def _open(self) -> None:
        if self._path is not None:
            self._file = self._path.open("ab")
            self._written = self._file.tell()

    def write(self, kind: str, ts_ns: int, con_id: int, fields: dict[str, Any]) -> None:
        if self._file is None:
            return
        line = self._encode({"kind": kind, "ts_ns": ts_ns, "con_id": con_id, **fields}) + b"\n"
        self._written += self._file.write(line)
        if self._written > self._max_bytes and self._path is not None:
            self.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._open()

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
