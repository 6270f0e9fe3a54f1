"""How a key is declared: `declare` gives the operator and the dashboard what everybody reads, and short names for the rest."""

from __future__ import annotations

from typing import Final, TypeVar

from alphatrader.contract.key import Key, Kind, Self, Server
from alphatrader.contract.modules import Module

T = TypeVar("T")

SHOWN: Final = (Module.DASHBOARD, Module.OPERATOR)
"""They show every key, so they read every key."""
DAY: Final = 86_400.0
DATA, STATE = Server.DATA, Server.STATE
VALUE, HASH, STREAM, QUEUE, LOG = Kind.VALUE, Kind.HASH, Kind.STREAM, Kind.QUEUE, Kind.LOG


def declare(
    pattern: str,
    kind: Kind,
    schema: type[T],
    writer: Module | Self,
    readers: tuple[Module, ...],
    about: str,
    *,
    server: Server,
    ttl: float | None = None,
    ttl_setting: str | None = None,
    takers: tuple[Module, ...] = (),
    maxlen: int | None = None,
    plan: bool = False,
) -> Key[T]:
    """A key as contract.key.Key describes its fields. `schema` is the message in it; SHOWN are added to its readers."""
    return Key(pattern, server, kind, schema, writer, (*readers, *SHOWN), about, ttl, ttl_setting, takers, maxlen, plan)
