"""The Key type: one declared Redis key, typed, with one writer.

A Key holds a pattern such as `market:{symbol}:book`; `KEY.at(symbol="SPY")` gives the BoundKey that the store takes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, Final, Generic, TypeVar

from alphatrader.contract.modules import Module, instance_globs, parse_instance

T = TypeVar("T")

PART: Final = re.compile(r"[A-Za-z0-9._@/+-]{1,80}\Z")
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class Server(StrEnum):
    DATA = "data"
    """Volatile market data and what is computed from them: 4 GB, volatile-lru."""
    STATE = "state"
    """What must not be lost, and Celery's broker: noeviction, AOF every second."""


class Kind(StrEnum):
    VALUE = "value"
    """A string holding one JSON message."""
    HASH = "hash"
    """Field -> JSON message: ledgers and maps that are written field by field."""
    STREAM = "stream"
    """A Redis Stream; each entry carries one msgpack message."""
    QUEUE = "queue"
    """A sorted set of JSON messages, scored by the market time they are due, in milliseconds."""
    LOG = "log"
    """A sorted set of plain tokens scored by machine time: a sliding window."""


class Self:
    """Writer of a key whose `{module}` names the module that writes it."""

    def __repr__(self) -> str:
        return "itself"


SELF: Final = Self()


class BadKeyPartError(ValueError):
    """A name that would change the meaning of a key was given for one of its parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Key(Generic[T]):
    """One declaration. Two are never equal, so that a key is cheap to look up by: the hot path does so for each event."""

    pattern: str
    server: Server
    kind: Kind
    schema: type[T] | Any
    """The message in it: what JSON or msgpack content is checked against."""
    writer: Module | Self
    readers: tuple[Module, ...]
    about: str
    ttl_seconds: float | None = None
    """Written with every value; None where the key must stay."""
    ttl_setting: str | None = None
    """The setting that replaces `ttl_seconds`, where the operator may choose."""
    takers: tuple[Module, ...] = ()
    """Who pops or acknowledges entries that another module wrote."""
    maxlen: int | None = None
    """Streams only: about how many entries are kept. None: trimmed by age by the writer, never unread."""
    plan: bool = False
    """True where the user's plan names this key."""
    parts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(_PLACEHOLDER.findall(self.pattern)))

    def at(self, **values: str | int) -> BoundKey[T]:
        """The key for these parts. Raises BadKeyPartError for a missing, foreign or unsafe part."""
        return _bound(self, tuple(values.items()))

    def glob(self) -> str:
        """The pattern as Redis matches it."""
        return _PLACEHOLDER.sub("*", self.pattern)

    def globs_of(self, module: Module) -> tuple[str, ...]:
        """The names that `module` writes, as Redis matches them: `{module}` stands for it and for its shards."""
        if isinstance(self.writer, Module):
            return (self.glob(),)
        return tuple(_PLACEHOLDER.sub("*", self.pattern.replace("{module}", name)) for name in instance_globs(module))

    def parse(self, name: str) -> dict[str, str] | None:
        """The parts of a Redis name of this key, or None where the name is not of this key."""
        match = _regex(self.pattern).fullmatch(name)
        return match.groupdict() if match else None

    def may_write(self, module: Module, name: str) -> bool:
        """Whether `module` is the writer of the key called `name`."""
        if isinstance(self.writer, Module):
            return self.writer == module
        parts = self.parse(name)
        try:
            return parts is not None and parse_instance(parts["module"])[0] == module
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class BoundKey(Generic[T]):
    key: Key[T]
    name: str


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{\w+\})", pattern)
    return re.compile("".join(f"(?P<{p[1:-1]}>[^:]+)" if p.startswith("{") else re.escape(p) for p in pieces))


@lru_cache(maxsize=4096)
def _bound(key: Key[T], parts: tuple[tuple[str, str | int], ...]) -> BoundKey[T]:
    values = dict(parts)
    if set(values) != set(key.parts):
        raise BadKeyPartError(f"{key.pattern}: needs {list(key.parts)}, got {sorted(values)}")
    for name, value in parts:
        if not PART.match(str(value)):
            raise BadKeyPartError(f"{key.pattern}: {name}={value!r} may hold only letters, digits and . _ @ / + -")
    return BoundKey(key, key.pattern.format(**values))
