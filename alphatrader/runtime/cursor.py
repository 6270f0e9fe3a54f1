"""Reading streams: where a reader stands, and what it was given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.contract.modules import Module
from alphatrader.runtime.batch import Batch

T = TypeVar("T")


class Entry(NamedTuple, Generic[T]):
    """One event read from a stream."""

    stream: str
    id: str
    event: T


@dataclass(slots=True)
class Cursor:
    """Where a reader stands in each of its streams. `read` moves it; `Batch.put_field` of `positions()` keeps it."""

    keys: dict[str, BoundKey[Any]]
    positions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at_end(cls, streams: Iterable[BoundKey[Any]]) -> Cursor:
        """Only what comes from now on. Resolved to a real id at the first read, so that nothing between reads is lost."""
        keys = {bound.name: bound for bound in streams}
        return cls(keys, dict.fromkeys(keys, "$"))

    @classmethod
    def at_start(cls, streams: Iterable[BoundKey[Any]]) -> Cursor:
        keys = {bound.name: bound for bound in streams}
        return cls(keys, dict.fromkeys(keys, "0"))

    def keep(self, batch: Batch, module: Module) -> None:
        """Adds the positions to the module's cursor key, in the batch with what was booked from them."""
        bound = k.CURSOR.at(module=module)
        for name, position in self.positions.items():
            if position != "$":
                batch.put_field(bound, name, position)
