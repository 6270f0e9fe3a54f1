"""Writes, gathered and checked before they go: a Batch holds commands of one module for one server.

The store sends a batch in one go; every command in it has passed the contract: the key is declared, the module is its writer (or,
for taking from queues, its taker), the message has the key's type, the TTL goes with the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Any

import msgspec

from alphatrader.contract.key import BoundKey, Key, Kind, Server
from alphatrader.contract.modules import Module

Command = tuple[Any, ...]
_packed, _written = msgspec.msgpack.Encoder().encode, msgspec.json.Encoder().encode


class ForbiddenWriteError(PermissionError):
    """A module tried to write a key it does not own."""


class WrongMessageError(TypeError):
    """A value of another type than the key's was given."""


@cache
def _instance_check(key: Key[Any]) -> tuple[type, ...] | None:
    """The classes an instance may have, where that can be told without walking through it."""
    schema = key.schema
    kinds: tuple[Any, ...] = getattr(schema, "__args__", ()) if not isinstance(schema, type) else (schema,)
    return kinds if kinds and all(isinstance(kind, type) and issubclass(kind, msgspec.Struct) for kind in kinds) else None


def encode(key: Key[Any], value: Any) -> bytes:
    """The bytes of a message: JSON for state, msgpack for streams. Raises WrongMessageError."""
    allowed = _instance_check(key)
    if allowed is not None and not isinstance(value, allowed):
        raise WrongMessageError(f"{key.pattern} holds {getattr(key.schema, '__name__', key.schema)}, not {type(value).__name__}")
    return _packed(value) if key.kind is Kind.STREAM else _written(value)


class Batch:
    """Commands in order. `ttl_seconds` of the contract applies unless the store was given the operator's choice."""

    def __init__(self, module: Module, ttl_by_setting: dict[str, float]) -> None:
        self._module = module
        self._ttl_by_setting = ttl_by_setting
        self.commands: list[Command] = []
        self.server: Server | None = None

    def __len__(self) -> int:
        return len(self.commands)

    def put(self, bound: BoundKey[Any], value: Any) -> None:
        """Sets a state key to `value`, with its TTL, in one command."""
        key = self._own(bound, Kind.VALUE)
        ttl = self._ttl_by_setting.get(key.ttl_setting, key.ttl_seconds) if key.ttl_setting else key.ttl_seconds
        payload = encode(key, value)
        self.commands.append(("SET", bound.name, payload) if ttl is None else ("SET", bound.name, payload, "PX", int(ttl * 1000)))

    def drop(self, bound: BoundKey[Any]) -> None:
        self._own(bound, None)
        self.commands.append(("DEL", bound.name))

    def put_field(self, bound: BoundKey[Any], field: str, value: Any) -> None:
        self.put_fields(bound, {field: value})

    def put_fields(self, bound: BoundKey[Any], values: Mapping[str, Any]) -> None:
        """Sets fields of a hash, and gives the whole hash its TTL anew where the contract has one."""
        key = self._own(bound, Kind.HASH)
        self.commands.append(("HSET", bound.name, *chain.from_iterable((n, encode(key, value)) for n, value in values.items())))
        if key.ttl_seconds is not None:
            self.commands.append(("PEXPIRE", bound.name, int(key.ttl_seconds * 1000)))

    def drop_field(self, bound: BoundKey[Any], field: str) -> None:
        self._own(bound, Kind.HASH)
        self.commands.append(("HDEL", bound.name, field))

    def append(self, bound: BoundKey[Any], event: Any) -> None:
        """Adds an event to a stream, which is trimmed to about its `maxlen`."""
        key = self._own(bound, Kind.STREAM)
        payload = encode(key, event)
        if key.maxlen:
            self.commands.append(("XADD", bound.name, "MAXLEN", "~", key.maxlen, "*", "e", payload))
        else:
            self.commands.append(("XADD", bound.name, "*", "e", payload))

    def enqueue(self, bound: BoundKey[Any], due_ns: int, value: Any) -> None:
        """Puts a message into a queue, due at a market instant. The same message twice is one entry."""
        key = self._own(bound, Kind.QUEUE)
        self.commands.append(("ZADD", bound.name, due_ns // 1_000_000, encode(key, value)))

    def take(self, bound: BoundKey[Any], value: Any) -> None:
        """Removes a message from a queue: for its writer and its takers."""
        if self._module not in bound.key.takers:
            self._own(bound, Kind.QUEUE)
        self._at(bound.key)
        self.commands.append(("ZREM", bound.name, encode(bound.key, value)))

    def _own(self, bound: BoundKey[Any], kind: Kind | None) -> Key[Any]:
        key = bound.key
        if key.writer is not self._module and not key.may_write(self._module, bound.name):
            raise ForbiddenWriteError(f"{self._module} may not write {bound.name}: its writer is {key.writer}")
        if kind is not None and key.kind is not kind:
            raise WrongMessageError(f"{bound.name} is a {key.kind}, not a {kind}")
        if self.server is not key.server:
            self._at(key)
        return key

    def _at(self, key: Key[Any]) -> None:
        if self.server is None:
            self.server = key.server
        elif self.server != key.server:
            raise WrongMessageError(f"{key.pattern} is on the {key.server} server, this batch goes to the {self.server} server")
