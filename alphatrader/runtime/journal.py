"""The money journals: `data/<mode>/journal*.jsonl`, a JSON line for each thing booked, on the disk before Redis hears of it.

Redis may lose its last second, or all, and the broker returns only today's executions; these files have the whole of it. Each
has one writer: `execution` writes `journal.jsonl` (intents and ends of orders, fills, the approvals it acted on), `positions`
writes `journal-positions.jsonl` (closed trades, adjustments), `risk` writes `journal-risk.jsonl` (its books). Execution reads
the tail of its own at a start; `alphatrader restore` reads all of all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade
from alphatrader.contract.messages.risk import Approval, RiskState
from alphatrader.contract.modules import Module

FILES: Final = {
    Module.EXECUTION: "journal.jsonl",
    Module.POSITIONS: "journal-positions.jsonl",
    Module.RISK: "journal-risk.jsonl",
}
"""Writer -> its file."""
TAIL_BYTES: Final = 4_000_000
ANSWER_SECONDS: Final = 1.0
"""A disk that has not taken a line after this counts as one that refuses it: protection is due within two (invariants.md I13)."""

Kind = Literal["order", "fill", "approval", "trade", "adjustment", "risk"]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One booking. Of several lines about one thing the last counts; of a fill, the highest revision."""

    kind: Kind
    machine_ns: int
    order: OrderRecord | None = None
    fill: Fill | None = None
    """A fill, or an adjustment."""
    approval: Approval | None = None
    trade: ClosedTrade | None = None
    risk: RiskState | None = None
    dropped: str = ""
    """The trade or adjustment of this name is no longer booked."""


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Line)


class Journal:
    """The disk is written in a thread: while it takes its time, the event loop obeys halts and keeps its lock."""

    def __init__(self, folder: Path, writer: Module = Module.EXECUTION) -> None:
        self._path = folder / FILES[writer]
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._torn = not self._ends_whole()
        self._writing: asyncio.Future[None] | None = None
        self._late = False
        """The disk owes an answer for longer than we wait for one."""

    def _ends_whole(self) -> bool:
        size = self._path.stat().st_size
        if not size:
            return True
        with self._path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"

    async def append(self, lines: Iterable[Line]) -> None:
        """On the disk when this returns. Raises OSError: then nothing may be sent. What a disk that stands still was given it
        may still take later; until it has answered, nothing more is given to it."""
        content = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
        if not content:
            return
        if self._late:
            raise OSError(f"{self._path.name}: the disk has not answered since it was given a line")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._writing is not None and not self._writing.done():  # of a caller that was cancelled
                    await asyncio.wait({self._writing})
                await asyncio.shield(self._begin(content))
        except TimeoutError as error:
            self._late = True
            raise OSError(f"{self._path.name}: the disk has not taken a line for {ANSWER_SECONDS:g} s") from error

    def _begin(self, content: bytes) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self._writing = written = loop.create_future()

        def answer(error: OSError | None) -> None:
            self._late = False
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)
                written.exception()  # whoever waited may be gone

        def work() -> None:
            error: OSError | None = None
            try:
                self._write(content)
            except OSError as failure:
                error = failure
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(answer, error)

        # A thread of its own, which the process's end does not wait for: a disk may never answer.
        threading.Thread(target=work, name="journal", daemon=True).start()
        return written

    def _write(self, content: bytes) -> None:
        # A line cut off by a crash or a full disk must not swallow the next one.
        content = b"\n" + content if self._torn else content
        self._torn = True
        if os.write(self._file, content) != len(content):
            raise OSError(f"{self._path.name}: the disk took only a part of a line")
        os.fsync(self._file)
        self._torn = False

    def tail(self, since_machine_ns: int) -> Iterator[Line]:
        """Lines of the last megabytes that are not older; what is no line of ours (a torn write) is passed over."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            content = file.read()
        for raw in content.splitlines():
            line = _decoded(raw)
            if line is not None and line.machine_ns >= since_machine_ns:
                yield line

    def close(self) -> None:
        if not self._late:
            os.close(self._file)


def _decoded(raw: bytes) -> Line | None:
    try:
        return _DECODER.decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def whole(folder: Path, writer: Module) -> Iterator[Line | None]:
    """Every line of a journal from its first, None for one that cannot be read; nothing where there is no such file."""
    path = folder / FILES[writer]
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            if raw.strip():
                yield _decoded(raw)
