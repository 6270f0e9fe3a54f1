"""`ibkr` run again from its audit log: the raw messages through the same handlers, feeds and publisher, turn by turn.

Prints, folded books and every state key of an instrument must come out as they were written, byte for byte: each turn's writes
are compared by their digests. Used by `alphatrader replay`; recording.py says what the log holds.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import msgspec

from alphatrader.clients.ibkr.handlers import Feed, Handlers
from alphatrader.clients.ibkr.subscriptions import Kind as SubscriptionKind
from alphatrader.core.market.contracts import instruments
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.status import Hours, MarketWide
from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.replay_tape import AT_A_HOLE, Begun, Difference, Outcome
from alphatrader.streams.ibkr.publishing import Publisher
from alphatrader.streams.ibkr.recording import Instants, digests, feed_of

_TTL_SETTING: Final = "market.ttl_seconds"


class _Line:
    """One request id, as the handlers see it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.fresh = False


class Ingestion:
    """Everything of `IBKRIngestion` between its socket and its writes."""

    def __init__(self, start: Begun) -> None:
        self._start, self._calendar = start, nyse()
        self.instants = Instants(start.clock)
        market, wide = start.settings.market, MarketWide()
        self._feeds: dict[str, SymbolFeed] = {
            instrument.symbol: feed_of(SymbolFeed, instrument, market, self.instants, self._hours, wide)
            for instrument in instruments(market)
        }
        self._publisher = Publisher(market, self._feeds, {})
        self._lines: dict[int, _Line] = {}
        self._table: dict[int, Callable[[list[str]], None]] = {}
        self._handlers: Handlers | None = None
        self._rest = b""
        self._waiting: deque[tuple[int, float] | list[str]] = deque()
        """What was received and is not handled yet: the instant of each read, and the frames that ended in it."""

    def _hours(self, ts_ns: int) -> Hours | None:
        session = self._calendar.known(ts_ns)
        return Hours(session.name, session.open_ns, session.close_ns) if session else None

    # -- what the wire brings

    def connected(self) -> None:
        self._rest = b""
        self._waiting.clear()
        self._table.clear()
        self._handlers = None

    def receive(self, instant: tuple[int, float], data: bytes) -> None:
        self._waiting.append(instant)
        content, at = self._rest + data, 0
        while len(content) - at > 4 and len(content) - at >= 4 + (size := int.from_bytes(content[at : at + 4], "big")):
            fields = content[at + 4 : at + 4 + size].decode(errors="backslashreplace").split("\0")
            fields.pop()
            self._waiting.append(fields)
            at += 4 + size
        self._rest = content[at:]

    def handle(self, until: int | None = None) -> None:
        """What waits, up to so many frames of ours handled on this connection; all of it where nothing is said."""
        while self._waiting:
            if until is not None and self._handled >= until and isinstance(self._waiting[0], list):
                return
            item = self._waiting.popleft()
            if isinstance(item, tuple):
                self.instants.at(*item)
            elif item and item[0].isdecimal() and (handler := self._table.get(int(item[0]))) is not None:
                with contextlib.suppress(Exception):  # the broker's library passes over whatever a handler raises
                    handler(item)

    @property
    def _handled(self) -> int:
        return 0 if self._handlers is None else self._handlers.handled

    # -- what the module told

    def told(self, machine_ns: int, monotonic: float, handled: int, to: str, what: str, *arguments: Any) -> None:
        self.handle(handled)
        self.instants.at(machine_ns, monotonic)
        if to:
            feed = self._feeds[to]
            if what == "gap":
                feed.gap(arguments[0], depth_only=arguments[1])
            else:
                getattr(feed, what)(*arguments)
        elif what == "begin":
            self._lines = {}
            self._handlers = Handlers(self._lines, lambda _: None)
            self._handlers.install(self._table)
        elif what == "line":
            req_id, name, kind = arguments
            if name in self._feeds:
                own = self._feeds[name]
                self._lines[req_id] = _Line(own.makers if kind == SubscriptionKind.MAKERS else own)
        elif what == "unline":
            self._lines.pop(arguments[0], None)

    def turn(self, machine_ns: int, monotonic: float, after_read: bool) -> list[Any]:
        self.handle()
        if after_read:
            for feed in self._feeds.values():
                feed.end_of_read()
        self.instants.at(machine_ns, monotonic)
        batch = Batch(self._start.module, {_TTL_SETTING: self._start.settings.market.ttl_seconds})
        self._publisher.add_to(batch, monotonic)
        return batch.commands


async def replay(
    start: Begun, records: Iterable[Record], outcome: Outcome, pace: Callable[[int], Awaitable[None]] | None = None
) -> None:
    """One run of a process, from its beginning to where its log ends or has a hole."""
    ingestion, read_at = Ingestion(start), (0, 0.0)
    outcome.ends = "whole"
    records = iter(records)
    for record in records:
        match record.kind:
            case Kind.OPENED:
                ingestion.connected()
            case Kind.TOLD:
                content = msgspec.msgpack.decode(record.data)
                if len(content) == 1:
                    read_at = record.machine_ns, content[0]
                else:
                    ingestion.told(record.machine_ns, *content)
            case Kind.RECEIVED:
                ingestion.receive(read_at, record.data)
            case Kind.TURN:
                if pace is not None:
                    await pace(record.machine_ns)
                monotonic, after_read, then = msgspec.msgpack.decode(record.data)
                now = ingestion.turn(record.machine_ns, monotonic, after_read)
                _compare(outcome, record.market_ns, then, now)
            case Kind.HOLE | Kind.DROPPED:
                text = record.data.decode()
                outcome.holes.append(text if record.kind is Kind.HOLE else f"{text} records were dropped")
                outcome.ends = AT_A_HOLE
                break
    outcome.unread += sum(record.kind is Kind.TURN for record in records)


def _compare(outcome: Outcome, market_ns: int, then: list[list[Any]], commands: list[Any]) -> None:
    outcome.turns += 1
    now = digests(commands)
    outcome.writes += len(now)
    if now == then:
        outcome.equal += 1
        return
    outcome.different += 1
    if outcome.first is not None:
        return
    names = [[name for name, _ in of] for of in (then, now)]
    if names[0] != names[1]:
        keys = (("keys", names[0], names[1]),)
        outcome.first = Difference(outcome.module, outcome.turns, market_ns, "it writes other keys", keys)
        return
    at = next(n for n, (old, new) in enumerate(zip(then, now, strict=True)) if old != new)
    fields = (("digest", then[at][1].hex(), now[at][1].hex()),)
    outcome.first = Difference(outcome.module, outcome.turns, market_ns, f"it writes {names[0][at]} with another content", fields)
