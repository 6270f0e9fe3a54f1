"""The tape of a recorded decider: its notes in order, and how what it does now compares with them.

`replaying.py` runs the module over it; recording.py says what a recording holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import msgspec

from alphatrader.contract.modules import Module, parse_instance
from alphatrader.contract.settings import Settings
from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.batch import Command
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.recording import Unpacker, kept
from alphatrader.runtime.replay_difference import difference, shown
from alphatrader.runtime.store import StoreLost

_AWAY: Final = StoreLost[0]
AT_A_HOLE: Final = "at a hole"
"""How a recording ends whose rest cannot be run."""
NO_LAST_WORD: Final = "without a last word"
"""How one ends whose process was killed, or whose end was cut off."""


class EndedError(Exception):
    """The recording ends here."""


class AgainError(Exception):
    """The module was made to recover here."""


class StoppedError(Exception):
    """The module was told to stop here."""


class ApartError(Exception):
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
    begins: str = "at its start"
    """Where the recording was begun to be run, and what is compared there where that is not everything."""
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


class _Begun(msgspec.Struct):
    """What recording.begun_data writes."""

    instance: str
    settings: dict[str, Any]
    clock: tuple[int, int, float]
    python: str


def begun(record: Record) -> Begun:
    """Raises ValueError: a recording of another version of the settings, or none of ours."""
    try:
        content = msgspec.json.decode(record.data, type=_Begun)
        settings = msgspec.convert(content.settings, Settings)
    except msgspec.ValidationError as error:
        raise ValueError(f"its settings are of another version: {error}") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"how it began cannot be read: {error}") from error
    module, shard = parse_instance(content.instance)
    return Begun(module, settings, Clock(*content.clock), shard, content.python)


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
        self._over = False
        """Whether a hole was met: what stands behind it does not follow from what was, and is not run."""
        self.pace: Callable[[int], Awaitable[None]] | None = None
        """Waited for before each turn; given the machine time at which it was recorded."""
        self.on_write: Callable[[int, list[list[Any]]], None] | None = None
        """Told the market time and what was written."""

    def peek(self) -> Any:
        """The next note. Raises EndedError."""
        while self._at >= len(self._notes):
            self._load()
        return self._notes[self._at]

    def take(self) -> Any:
        note = self.peek()
        self._at += 1
        return note

    def _load(self) -> None:
        for record in () if self._over else self._records:
            if record.kind is Kind.TURN:
                self._notes, self._at = self._unpack(record.data), 0
                self.market_ns, self.machine_ns = record.market_ns, record.machine_ns
                return
            if record.kind in (Kind.HOLE, Kind.DROPPED):
                text = record.data.decode()
                self.outcome.holes.append(text if record.kind is Kind.HOLE else f"{text} records were dropped")
                self.outcome.ends = AT_A_HOLE
                self._over = True
                break
        raise EndedError

    # -- turns

    def turn(self) -> None:
        """The module waits for events: the turn before is over."""
        match self.peek():
            case ["turn"]:
                self.take()
            case ["recover", _]:
                raise AgainError
            case ["shut"]:
                raise StoppedError
            case other:
                raise ApartError(f"it waits for events where it did {_told(other)}")
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
            self.differs(f"it asks {shown(wanted)} where it did {_told(note)}")
            note = self._next_in_turn(lambda other: _asks(other, wanted), f"asks {shown(wanted)}, which it did not then")
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
            self.differs(f"it writes {shown(now[0]) if now else 'nothing'} where it did {_told(note)}")
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
        except EndedError:
            return
        if _is(note, "lost"):
            self.take()
            raise _AWAY(f"recorded: {note[1]}")

    def _leave(self, note: Any) -> None:
        """The module is a step farther than it came then: it was ended there, by a lost server or the operator."""
        if _is(note, "recover"):
            raise AgainError
        if note == ["shut"]:
            raise StoppedError
        raise ApartError("it does more in this turn than it did then")

    def _next_in_turn(self, wanted: Callable[[Any], bool], why: str) -> Any:
        """A later note of this turn, those before it passed over. Raises ApartError where there is none."""
        for at in range(self._at, len(self._notes)):
            note = self._notes[at]
            if note == ["turn"]:
                break
            if wanted(note):
                self._at = at + 1
                return note
        raise ApartError(f"it {why}")

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
        self.differs(f"it writes {len(now)} times where it wrote {len(then)} times: {shown(more[0])}")


def _is(note: Any, name: str) -> bool:
    return type(note) is list and note[0] == name


def _asks(note: Any, command: list[Any]) -> bool:
    return type(note) is list and note[0] == "asked" and note[1] == command


def _told(note: Any) -> str:
    """A note in words."""
    match note:
        case int() | float():
            return "read a clock"
        case ["asked", command, _]:
            return f"ask {shown(command)}"
        case ["gave", commands]:
            return f"write {shown(commands[0]) if commands else 'nothing'}"
        case ["turn"]:
            return "wait for events"
        case [name, *_]:
            return str(name)
    return "something unknown"
