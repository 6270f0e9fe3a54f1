"""A recorded decider run again: the same module class over a store and a clock that answer from its recording.

`replay_run` makes the module anew with the recorded settings and lets it recover and run; each of its writes is compared with
what it wrote then. It needs no Redis, no network and no clock. Used by `alphatrader replay`; recording.py says what a recording
holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from alphatrader.contract.key import Server
from alphatrader.contract.keys import find
from alphatrader.contract.modules import Module, parse_instance
from alphatrader.contract.settings import Settings
from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.batch import Batch, Command
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.recording import Unpacker, kept
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import AsyncStore, StoreLost, decode

_AWAY: Final = StoreLost[0]


class _EndedError(Exception):
    """The recording ends here."""


class _AgainError(Exception):
    """The module was made to recover here."""


class _StoppedError(Exception):
    """The module was told to stop here."""


class _ApartError(Exception):
    """The module asks for what the recording does not hold: it cannot go on."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first write of a turn that is not what was written then."""

    module: str
    turn: int
    market_ns: int
    what: str
    fields: tuple[tuple[str, Any, Any], ...] = ()
    """(field, then, now) of each that differs."""


@dataclass
class Outcome:
    """What became of one run, or of all of a module."""

    module: str
    turns: int = 0
    equal: int = 0
    writes: int = 0
    different: int = 0
    unread: int = 0
    """Turns that could not be run: they stand behind a hole, or behind a difference in what was asked."""
    first: Difference | None = None
    holes: list[str] = field(default_factory=list)
    ends: str = "whole"
    """How the recording ends."""


@dataclass(frozen=True, slots=True)
class Begun:
    """With what a process began."""

    module: Module
    settings: Settings
    clock: Clock
    shard: int
    python: str


def begun(record: Record) -> Begun:
    """Raises ValueError: a recording of another version of the settings."""
    content = msgspec.json.decode(record.data)
    try:
        settings = msgspec.convert(content["settings"], Settings)
    except msgspec.ValidationError as error:
        raise ValueError(f"its settings are of another version: {error}") from error
    module, shard = parse_instance(content["instance"])
    return Begun(module, settings, Clock(*content["clock"]), shard, content["python"])


class Tape:
    """The notes of one run, in order; where a hole is, they end."""

    def __init__(self, records: Iterable[Record], outcome: Outcome) -> None:
        self.outcome = outcome
        self.market_ns = 0
        self.machine_ns = 0
        self._records = iter(records)
        self._unpack = Unpacker()
        self._notes: list[Any] = []
        self._at = 0
        self._clean = True
        """Whether everything of the turn was equal so far."""
        self._in_turn = False
        self.pace: Callable[[int], Awaitable[None]] | None = None
        """Waited for before each turn; given the machine time at which it was recorded."""
        self.on_write: Callable[[int, list[list[Any]]], None] | None = None
        """Told the market time and what was written."""

    def peek(self) -> Any:
        """The next note. Raises _EndedError."""
        while self._at >= len(self._notes):
            self._load()
        return self._notes[self._at]

    def take(self) -> Any:
        note = self.peek()
        self._at += 1
        return note

    def _load(self) -> None:
        for record in self._records:
            if record.kind is Kind.TURN:
                self._notes, self._at = self._unpack(record.data), 0
                self.market_ns, self.machine_ns = record.market_ns, record.machine_ns
                return
            if record.kind in (Kind.HOLE, Kind.DROPPED):
                text = record.data.decode()
                self.outcome.holes.append(text if record.kind is Kind.HOLE else f"{text} records were dropped")
                self.outcome.ends = "at a hole"
                break
        raise _EndedError

    # -- turns

    def turn(self) -> None:
        """The module waits for events: the turn before is over."""
        match self.peek():
            case ["turn"]:
                self.take()
            case ["recover", _]:
                raise _AgainError
            case ["shut"]:
                raise _StoppedError
            case other:
                raise _ApartError(f"it waits for events where it did {_told(other)}")
        self.begin()

    def begin(self) -> None:
        self.end()
        self._in_turn = self._clean = True
        self.outcome.turns += 1

    def end(self) -> None:
        """The turn is over, if there is one; where the recording ends inside it, what there is of it was compared."""
        if self._in_turn:
            self.outcome.equal += self._clean
            self.outcome.different += not self._clean
        self._in_turn = False

    def count_unread(self) -> None:
        """What is left of the run cannot be run."""
        self.outcome.unread += self._notes[self._at :].count(["turn"])
        for record in self._records:
            if record.kind is Kind.TURN:
                self.outcome.unread += msgspec.msgpack.decode(record.data).count(["turn"])

    # -- what the module asks and gives

    def reading(self, kind: type[int] | type[float]) -> Any:
        note = self.peek()
        if type(note) is kind:
            return self.take()
        self.differs(f"it reads a clock where it did {_told(note)}")
        return self._next_in_turn(lambda other: type(other) is kind, "reads a clock more often than then")

    def reply(self, command: Sequence[Any]) -> Any:
        wanted = list(command)
        note = self.peek()
        if not _asks(note, wanted):
            if note == ["turn"] or _is(note, "recover") or note == ["shut"]:
                self._leave(note)
            self.differs(f"it asks {_shown(wanted)} where it did {_told(note)}")
            note = self._next_in_turn(lambda other: _asks(other, wanted), f"asks {_shown(wanted)}, which it did not then")
        else:
            self.take()
        self.lost_here()
        return note[2]

    def wrote(self, commands: Sequence[Command]) -> None:
        now = cast(list[list[Any]], msgspec.to_builtins(kept(commands), builtin_types=(bytes,)))
        note = self.peek()
        if not _is(note, "gave"):
            if note == ["turn"] or _is(note, "recover") or note == ["shut"]:
                self._leave(note)
            self.differs(f"it writes {_shown(now[0]) if now else 'nothing'} where it did {_told(note)}")
            note = self._next_in_turn(lambda other: _is(other, "gave"), "writes what it did not write then")
        else:
            self.take()
        self.outcome.writes += len(now)
        if note[1] != now:
            self._compare(note[1], now)
        if self.on_write is not None:
            self.on_write(self.market_ns, now)
        self.lost_here()

    def lost_here(self) -> None:
        """Whether the command before did not come to its end."""
        try:
            note = self.peek()
        except _EndedError:
            return
        if _is(note, "lost"):
            self.take()
            raise _AWAY(f"recorded: {note[1]}")

    def _leave(self, note: Any) -> None:
        """The module is a step farther than it came then: it was ended there, by a lost server or the operator."""
        if _is(note, "recover"):
            raise _AgainError
        if note == ["shut"]:
            raise _StoppedError
        raise _ApartError("it does more in this turn than it did then")

    def _next_in_turn(self, wanted: Callable[[Any], bool], why: str) -> Any:
        """A later note of this turn, those before it passed over. Raises _ApartError where there is none."""
        for at in range(self._at, len(self._notes)):
            note = self._notes[at]
            if note == ["turn"]:
                break
            if wanted(note):
                self._at = at + 1
                return note
        raise _ApartError(f"it {why}")

    def differs(self, what: str, fields: tuple[tuple[str, Any, Any], ...] = ()) -> None:
        self._clean = False
        if self.outcome.first is None:
            self.outcome.first = Difference(self.outcome.module, self.outcome.turns, self.market_ns, what, fields)

    def _compare(self, then: list[list[Any]], now: list[list[Any]]) -> None:
        self._clean = False
        if self.outcome.first is not None:
            return
        for old, new in zip(then, now, strict=False):
            if old != new:
                self.differs(*difference(old, new))
                return
        more = then[len(now) :] or now[len(then) :]
        self.differs(f"it writes {len(now)} times where it wrote {len(then)} times: {_shown(more[0])}")


def difference(then: list[Any], now: list[Any]) -> tuple[str, tuple[tuple[str, Any, Any], ...]]:
    """What differs in one write: where, and field by field."""
    if then[:2] != now[:2]:
        return f"it writes {_shown(now)} where it wrote {_shown(then)}", ()
    key = find(str(now[1]))
    if key is None or len(then) != len(now):
        return f"{now[0]} {now[1]}", (("", then[2:], now[2:]),)
    fields: list[tuple[str, Any, Any]] = []
    for old, new in zip(then[2:], now[2:], strict=True):
        if old == new:
            continue
        if isinstance(old, list) or isinstance(new, list):
            fields.append(("digest", _hex(old), _hex(new)))
            continue
        try:
            fields += leaves_apart(*(msgspec.to_builtins(decode(key, part)) for part in (old, new)))
        except (msgspec.ValidationError, msgspec.DecodeError, TypeError):
            fields.append(("", old, new))
    return f"{now[0]} {now[1]}", tuple(fields)


def _hex(part: Any) -> str:
    return f"{part[0].hex()} of {part[1]} bytes" if isinstance(part, list) else f"{len(part)} bytes"


def leaves_apart(then: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, then, now) of every leaf that differs."""
    if then == now and type(then) is type(now):
        return
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            yield from leaves_apart(then.get(name), now.get(name), f"{path}.{name}" if path else str(name))
        if list(then) != list(now) and all(then.get(name) == now.get(name) for name in [*then, *now]):
            yield f"{path} (order)", list(then), list(now)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for at, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from leaves_apart(old, new, f"{path}[{at}]")
    else:
        yield path, then, now


def _is(note: Any, name: str) -> bool:
    return type(note) is list and note[0] == name


def _asks(note: Any, command: list[Any]) -> bool:
    return type(note) is list and note[0] == "asked" and note[1] == command


def _shown(command: Sequence[Any]) -> str:
    return " ".join(str(part) for part in command[:4] if not isinstance(part, bytes | list))[:120]


def _told(note: Any) -> str:
    """A note in words."""
    match note:
        case int() | float():
            return "read a clock"
        case ["asked", command, _]:
            return f"ask {_shown(command)}"
        case ["gave", commands]:
            return f"write {_shown(commands[0]) if commands else 'nothing'}"
        case ["turn"]:
            return "wait for events"
        case [name, *_]:
            return str(name)
    return "something unknown"


# -- what the module stands on -------------------------------------------------------------------------------------------------


class ReplayedClock(Clock):
    __slots__ = ("_tape",)

    def __init__(self, clock: Clock, tape: Tape) -> None:
        super().__init__(clock.market_start_ns, clock.machine_start_ns, clock.speed)
        object.__setattr__(self, "_tape", tape)

    def machine_ns(self) -> int:
        return int(self._tape.reading(int))  # type: ignore[attr-defined]

    def monotonic(self) -> float:
        return float(self._tape.reading(float))  # type: ignore[attr-defined]


class _StandingClock(Clock):
    """For heartbeats, which are no part of a recording."""

    def machine_ns(self) -> int:
        return self.machine_start_ns

    def monotonic(self) -> float:
        return 0.0


class ReplayedStore(AsyncStore):
    """Never connects: each of its methods that would is one of these."""

    def __init__(self, module: Module, settings: Settings, tape: Tape) -> None:
        super().__init__(module, settings, "")
        self._tape = tape

    async def _call(self, server: Server, *command: Any) -> Any:
        return self._tape.reply(command)

    async def _wait(self, server: Server, command: list[Any], block_seconds: float | None) -> Any:
        if block_seconds:
            self._tape.turn()
            if self._tape.pace is not None:
                await self._tape.pace(self._tape.machine_ns)
        return self._tape.reply(command)

    async def commit(self, batch: Batch, *, atomic: bool = True) -> None:
        self._tape.wrote(batch.commands)

    async def post(self, batch: Batch) -> None:
        self._tape.wrote(batch.commands)

    async def close(self) -> None: ...


class _Silent:
    """A logger: what a module says while it is run again was said then."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


@dataclass(frozen=True, kw_only=True)
class _ReplayContext(Context):
    tape: Tape

    def async_store(self) -> AsyncStore:
        return ReplayedStore(self.module, self.settings, self.tape)

    def recorder(self) -> None:
        return None


async def replay_run(kind: type[StreamModule], start: Begun, tape: Tape, settings: Settings | None = None) -> None:
    """Runs one recorded process again, to the end of its recording. `settings`: other ones than it had."""
    standing = _StandingClock(start.clock.market_start_ns, start.clock.machine_start_ns, start.clock.speed)
    with tempfile.TemporaryDirectory() as folder:
        given = settings or start.settings
        secrets, where = Secrets(start.module), Path(folder)
        module = kind(_ReplayContext(start.module, given, secrets, standing, nyse(), _Silent(), where, start.shard, tape=tape))
        module.clock = ReplayedClock(start.clock, tape)
        setattr(module, "pause", _no_pause)  # noqa: B010 one module's method is replaced, not its class's
        await _live(module, tape)
    tape.end()


async def _no_pause(_seconds: float) -> None: ...


async def _live(module: StreamModule, tape: Tape) -> None:
    """As `runtime/module.py` lets it live, where the recording says that it recovered, ran and stopped."""
    outcome = tape.outcome
    try:
        while True:
            match tape.take():
                case ["recover", fence]:
                    module.fence = fence
                    tape.begin()
                case ["shut"]:
                    tape.begin()
                    await module.shut()
                    return
                case _:
                    tape.differs("more was recorded than it does")
                    continue
            try:
                await module.recover()
                await module.run()
            except (*StoreLost, _AgainError):
                continue
            except _StoppedError:
                continue
    except _EndedError:
        if outcome.ends == "whole":
            outcome.ends = "without a last word"
        tape.end()
        tape.count_unread()
    except _ApartError as apart:
        tape.differs(str(apart))
        tape.end()
        outcome.ends = f"apart in turn {outcome.turns}: {apart}"
        tape.count_unread()
    except Exception as error:  # noqa: BLE001 whatever it fails with is what is to be told
        tape.differs(f"it fails: {type(error).__name__}: {error}")
        outcome.ends = "it fails"
        tape.count_unread()
