"""What a decider took and gave, in the order it did: the recording that `alphatrader replay` runs again.

A module whose class says `recorded = True` gets a store and a clock that note each answer of Redis, each reading of a clock and
each write, as they pass. Nothing else may decide what it does, so the same code over the same recording must give the same
writes, byte for byte (runtime/replaying.py). Notes are references to what is there anyway; a thread makes bytes of them
(runtime/audit.py), in `data/<mode>/audit/{instance}-{date}-{part}.audit`.

A `begun` record says with which settings and clock the process began. `turn` records hold notes, msgpack arrays:
  int                         a reading of the machine's clock (market time follows from it)
  float                       a reading of the monotonic clock
  ["turn"]                    the module waits for events: the turn before has ended
  ["recover", fence]          recovery begins: after a start, and after a lost server
  ["shut"]                    last words begin
  ["asked", command, reply]   a read; a value that is what it was at the last read of that key is `true`
  ["gave", commands]          writes that went out together; content over 64 KB is [its digest, its bytes]
  ["lost", why]               the read or write before this note did not come to its end
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.audit import AuditLog, Deferred
from alphatrader.runtime.audit_file import BEGUN, TURN, Row
from alphatrader.runtime.batch import Batch, Command
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.store import AsyncStore

QUEUE_BYTES: Final = 64_000_000
"""Recovery reads every chain at once."""
FLUSH_BYTES: Final = 4_000_000
MOST_KEPT: Final = 64 * 1024
"""Larger content that was written is kept as its digest: checkpoints."""
_VALUES: Final = frozenset({"GET", "MGET", "HGET", "HGETALL"})
_ENTRY_BYTES: Final = 300


class Recorder:
    """The notes of one module. All but `pack` belongs to the event loop."""

    def __init__(self, folder: Path, instance: str, settings: Settings, clock: Clock, most_bytes: int) -> None:
        self.notes: list[Any] = []
        self.log = AuditLog(folder, instance, clock, most_bytes, queue_bytes=QUEUE_BYTES, pack=Packer())
        self._clock = clock
        self._weight = 0
        self.log.add(Row(BEGUN, clock.machine_ns(), begun_data(instance, settings, clock)))

    def asked(self, command: Sequence[Any], reply: Any, weight: int) -> None:
        self.notes.append(["asked", command, reply])
        self._weight += weight
        if self._weight > FLUSH_BYTES:
            self.flush()

    def gave(self, commands: list[Command]) -> None:
        self.notes.append(["gave", commands])
        self._weight += sum(len(command[2]) for command in commands if len(command) > 2)

    def turn(self) -> None:
        self.flush()
        self.notes.append(["turn"])

    def recovering(self, fence: int) -> None:
        self.flush()
        self.notes.append(["recover", fence])

    def shutting(self) -> None:
        self.flush()
        self.notes.append(["shut"])

    def lost(self, why: BaseException) -> None:
        self.notes.append(["lost", type(why).__name__])

    def flush(self) -> None:
        """Hands the notes over to the thread."""
        notes, self.notes = self.notes, []
        if notes:
            self.log.add(Deferred(TURN, self._clock.machine_ns(), self._weight + 60 * len(notes), notes))
        self._weight = 0

    def standing(self) -> dict[str, Any]:
        """What the operator may want to see of it."""
        entry = self.log.entry
        return {"file": entry.file if entry else None, "dropped": self.log.dropped, "problem": self.log.problem}

    def close(self) -> None:
        self.flush()
        self.log.close()


def begun_data(instance: str, settings: Settings, clock: Clock) -> bytes:
    """What a `begun` record holds: with what the process began."""
    begun = {
        "instance": instance,
        "python": platform.python_version(),
        "settings": msgspec.to_builtins(settings),
        "clock": [clock.market_start_ns, clock.machine_start_ns, clock.speed],
    }
    return msgspec.json.encode(begun)


class Packer:
    """Bytes of notes, in the writing thread. Knows what each key held when it was last read: most reads find nothing new."""

    def __init__(self) -> None:
        self._held: dict[Any, Any] = {}

    def __call__(self, notes: list[Any]) -> bytes:
        packed = [self._packed(note) if type(note) is list else note for note in notes]
        return msgspec.msgpack.encode(packed)

    def _packed(self, note: list[Any]) -> list[Any]:
        if note[0] == "asked" and note[1][0] in _VALUES:
            return ["asked", note[1], self._thinned(note[1], note[2])]
        if note[0] == "gave":
            return ["gave", kept(note[1])]
        return note

    def _thinned(self, command: Sequence[Any], reply: Any) -> Any:
        if command[0] == "MGET":
            return [self._new(name, value) for name, value in zip(command[1:], reply, strict=True)]
        return self._new(tuple(command[1:]) if command[0] == "HGET" else command[1], reply)

    def _new(self, name: Any, value: Any) -> Any:
        if value is not None and self._held.get(name) == value:
            return True
        self._held[name] = value
        return value


class Unpacker:
    """Notes as they were taken: the other end of `Packer`."""

    def __init__(self) -> None:
        self._held: dict[Any, Any] = {}

    def __call__(self, data: bytes) -> list[Any]:
        notes: list[Any] = msgspec.msgpack.decode(data)
        for note in notes:
            if type(note) is list and note[0] == "asked" and note[1][0] in _VALUES:
                note[2] = self._filled(note[1], note[2])
        return notes

    def _filled(self, command: Sequence[Any], reply: Any) -> Any:
        if command[0] == "MGET":
            return [self._whole(name, value) for name, value in zip(command[1:], reply, strict=True)]
        return self._whole(tuple(command[1:]) if command[0] == "HGET" else command[1], reply)

    def _whole(self, name: Any, value: Any) -> Any:
        if value is True:
            return self._held[name]
        self._held[name] = value
        return value


def kept(commands: Sequence[Command]) -> list[list[Any]]:
    """Writes as a recording keeps them."""
    return [[digest(part) if type(part) is bytes and len(part) > MOST_KEPT else part for part in command] for command in commands]


def digest(content: bytes) -> list[Any]:
    """What is kept of large content: [BLAKE2b of 16 bytes, length]."""
    return [blake2b(content, digest_size=16).digest(), len(content)]


class RecordedClock(Clock):
    """The process's clock, each reading noted."""

    __slots__ = ("_recorder",)

    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        super().__init__(clock.market_start_ns, clock.machine_start_ns, clock.speed)
        object.__setattr__(self, "_recorder", recorder)

    def machine_ns(self) -> int:
        now_ns = Clock.machine_ns(self)
        self._recorder.notes.append(now_ns)  # type: ignore[attr-defined]
        return now_ns

    def monotonic(self) -> float:
        now = Clock.monotonic(self)
        self._recorder.notes.append(now)  # type: ignore[attr-defined]
        return now


class RecordedStore(AsyncStore):
    """The module's store, each answer and each write noted. For one task: notes stand in the order of its steps."""

    def __init__(self, module: Module, settings: Settings, password: str, recorder: Recorder) -> None:
        super().__init__(module, settings, password)
        self._recorder = recorder

    async def _call(self, server: Server, *command: Any) -> Any:
        try:
            reply = await super()._call(server, *command)
        except BaseException as error:
            self._recorder.asked(command, None, 0)
            self._recorder.lost(error)
            raise
        self._recorder.asked(command, reply, _weight(reply))
        return reply

    async def _wait(self, server: Server, command: list[Any], block_seconds: float | None) -> Any:
        if block_seconds:
            self._recorder.turn()
        try:
            reply = await super()._wait(server, command, block_seconds)
        except BaseException as error:
            self._recorder.asked(command, None, 0)
            self._recorder.lost(error)
            raise
        weight = sum(_ENTRY_BYTES * len(entries) for _, entries in reply) if isinstance(reply, list) else 0
        self._recorder.asked(command, reply, weight)
        return reply

    async def commit(self, batch: Batch, *, atomic: bool = True) -> None:
        self._recorder.gave(batch.commands)
        try:
            await super().commit(batch, atomic=atomic)
        except BaseException as error:
            self._recorder.lost(error)
            raise

    async def post(self, batch: Batch) -> None:
        try:
            await super().post(batch)
        except BaseException as error:
            self._recorder.gave(batch.commands)
            self._recorder.lost(error)
            raise
        self._recorder.gave(batch.commands)  # after it left: readers wait for it

    def post_now(self, batch: Batch) -> bool:
        raise TypeError("whether a write can go at once is no decider's business: it cannot be run again")

    def scan(self, key: Any) -> Any:
        raise TypeError("the order of a scan is the server's: a decider reads keys it can name")


def _weight(reply: Any) -> int:
    if isinstance(reply, bytes):
        return len(reply)
    if isinstance(reply, dict):
        return sum(len(value) for value in reply.values() if isinstance(value, bytes))
    if isinstance(reply, list):
        return sum(len(value) if isinstance(value, bytes) else _ENTRY_BYTES for value in reply if value is not None)
    return 0
