"""Checkpoints in `ibkr`'s own audit log: how its feeds stood between two turns, so that events which a reader missed are made
again from the newest checkpoint before them and not from the start of the process.

State and position are one: a checkpoint is a record of the log and stands where it was true. It holds with what the process began
and which request id was which instrument's, so that nothing of the log before it is needed. Written by `IBKRIngestion`, read by
`resent.py`; each class of a feed says how it stands (`core/market/standing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from alphatrader.clients.ibkr.subscriptions import Subscriptions
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.standing import FeedStands
from alphatrader.runtime.audit_file import CHECKPOINT, TORN, Kind, Record, Row
from alphatrader.runtime.replay_tape import Begun, begun
from alphatrader.runtime.runs import Log

VERSION: Final = 3
"""Of what a checkpoint holds: another one is not read."""


class OfVersion(msgspec.Struct):
    version: int


class Checkpoint(OfVersion, forbid_unknown_fields=True):
    begun: bytes
    """With what the process began: the content of that record."""
    handled: int
    """Frames that our handlers had taken on this connection."""
    lines: list[tuple[int, str, str]]
    """Request id, symbol and kind of each subscription of an instrument."""
    feeds: dict[str, FeedStands]


class RefusedError(Exception):
    """A checkpoint that cannot be gone on from."""


class Start(NamedTuple):
    """Where the log can be run from."""

    first: Record
    """How that process began, at the market time of where it is begun here."""
    begun: Begun
    checkpoint: Checkpoint | None
    """None: from the start of a process."""
    records: Iterator[Record]
    """What was written after it, of that process and those that followed."""


def row_of(begun_: bytes, machine_ns: int, feeds: Mapping[str, SymbolFeed], subscriptions: Subscriptions) -> Row | None:
    """The row of a checkpoint of all that make events; None where one of them is amid a turn."""
    told = {symbol: feed for symbol, feed in feeds.items() if feed.full}
    if not all(feed.settled for feed in told.values()):
        return None
    kept = Checkpoint(
        version=VERSION,
        begun=begun_,
        handled=subscriptions.handlers.handled,
        lines=[(one.req_id, one.name, str(one.kind)) for one in subscriptions if one.name in told],
        feeds={symbol: feed.standing() for symbol, feed in told.items()},
    )
    return Row(CHECKPOINT, machine_ns, msgspec.msgpack.encode(kept))


def opened(record: Record, after: Mapping[str, int]) -> Checkpoint:
    """`after`: the number behind which each symbol's events are wanted. Raises RefusedError."""
    if record.data.startswith(TORN):
        raise RefusedError(record.data.decode())
    try:
        version = msgspec.msgpack.decode(record.data, type=OfVersion).version
        if version != VERSION:
            raise RefusedError(f"it is of version {version}, this program reads {VERSION}")
        found = msgspec.msgpack.decode(record.data, type=Checkpoint)
    except msgspec.DecodeError as error:
        raise RefusedError(f"it is not what this program writes: {error}") from error
    if lacking := after.keys() - found.feeds.keys():
        raise RefusedError(f"it does not hold {', '.join(sorted(lacking))}")
    if late := [symbol for symbol, seq in after.items() if found.feeds[symbol].seq > seq]:
        raise RefusedError(f"{late[0]} stood at {found.feeds[late[0]].seq} already, its events after {after[late[0]]} are wanted")
    return found


def starts(log: Log, market_ns: int, after: Mapping[str, int], refused: list[str]) -> Iterator[Start]:
    """From where what came after an instant can be run: the newest checkpoint before it first, then older ones, at last the start
    of the process. `refused` takes a word on each checkpoint that is passed over. Raises OSError."""
    for record, rest in log.back_from(market_ns, {Kind.CHECKPOINT, Kind.BEGUN}):
        try:
            if record.kind is Kind.BEGUN:
                yield Start(record, begun(record), None, rest)
                return
            found = opened(record, after)
            first = record._replace(kind=Kind.BEGUN, data=found.begun)
            yield Start(first, begun(first), found, rest)
        except (RefusedError, ValueError) as error:
            refused.append(f"the checkpoint of {record.market_ns}: {error}")
