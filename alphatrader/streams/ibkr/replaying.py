"""`ibkr` run again from its audit log: the raw messages through the same handlers, feeds and publisher, turn by turn.

Prints, folded books and every state key of an instrument must come out as they were written, byte for byte: each turn's writes
are compared by their digests. Used by `alphatrader replay`; recording.py says what the log holds.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Any, Final

import msgspec

from alphatrader.clients.ibkr.framing import cut, fields_of
from alphatrader.clients.ibkr.handlers import Feed, Handlers
from alphatrader.clients.ibkr.subscriptions import Kind as SubscriptionKind
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import MarketEvent
from alphatrader.core.market.contracts import instruments
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.status import Hours, MarketWide
from alphatrader.runtime.audit_file import TORN, Kind, Record
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.replay_tape import AT_A_HOLE, NO_LAST_WORD, Begun, Difference, Outcome
from alphatrader.streams.ibkr.checkpoints import Checkpoint
from alphatrader.streams.ibkr.publishing import Publisher
from alphatrader.streams.ibkr.recording import Instants, digests, feed_of, parts

_TTL_SETTING: Final = "market.ttl_seconds"
_REQUEST_AT: Final = dict.fromkeys((b"1", b"2", b"12", b"13", b"45", b"46", b"50", b"58"), 2) | {b"21": 1, b"81": 1, b"99": 1}
"""Where the request id stands in each message that the handlers take (EDecoder of the TWS API)."""


class _Line:
    """One request id, as the handlers see it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.fresh = False


class Ingestion:
    """Everything of `IBKRIngestion` between its socket and its writes."""

    def __init__(self, start: Begun, symbols: Collection[str] | None = None) -> None:
        """`symbols`: the feeds to run; all of them where nothing is said."""
        self._start, self._calendar = start, nyse()
        self.instants = Instants(start.clock)
        market, wide, spoken = start.settings.market, MarketWide(), list[SymbolFeed]()
        self._feeds: dict[str, SymbolFeed] = {
            instrument.symbol: feed_of(SymbolFeed, instrument, market, self.instants, self._hours, wide, spoken)
            for instrument in instruments(market)
            if symbols is None or instrument.symbol in symbols
        }
        self._publisher = Publisher(market, self._feeds, spoken, {}, [])
        self._lines: dict[int, _Line] = {}
        self._table: dict[int, Callable[[list[str]], None]] = {}
        self._handlers: Handlers | None = None
        self._rest = b""
        self._read_at = (0, 0.0)
        self._some, self._requests = symbols is not None, set[bytes]()
        self.shut = False
        """Whether the process said its last word."""
        self._waiting: deque[tuple[int, float] | bytes] = deque()
        """What was received and is not handled yet: the instant of each read, and the frames that ended in it."""

    def _hours(self, ts_ns: int) -> Hours | None:
        session = self._calendar.known(ts_ns)
        return Hours(session.name, session.open_ns, session.close_ns) if session else None

    def take(self, record: Record) -> None:
        """One record that is no end of a turn."""
        if record.kind is Kind.OPENED:
            self.connected()
        elif record.kind is Kind.RECEIVED:
            self.receive(self._read_at, record.data)
        elif record.kind is Kind.TOLD:
            content = msgspec.msgpack.decode(record.data)
            if len(content) == 1:
                self._read_at = record.machine_ns, content[0]
            else:
                self.told(record.machine_ns, *content)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        for symbol, feed in self._feeds.items():
            feed.stand_as(checkpoint.feeds[symbol])
        self._publisher.go_on()
        self._begin()
        for req_id, name, kind in checkpoint.lines:
            self._line(req_id, name, kind)
        if self._handlers is not None:
            self._handlers.handled = checkpoint.handled

    # -- what the wire brings

    def connected(self) -> None:
        self._rest = b""
        self._waiting.clear()
        self._table.clear()
        self._handlers = None

    def receive(self, instant: tuple[int, float], data: bytes) -> None:
        self._waiting.append(instant)
        frames, self._rest = cut(self._rest + data)
        self._waiting.extend(frames)

    def handle(self, until: int | None = None) -> None:
        """What waits, up to so many frames of ours handled on this connection; all of it where nothing is said."""
        while self._waiting:
            handlers = self._handlers
            if until is not None and (0 if handlers is None else handlers.handled) >= until and type(self._waiting[0]) is bytes:
                return
            item = self._waiting.popleft()
            if isinstance(item, tuple):
                self.instants.at(*item)
                continue
            head = item.split(b"\0", 3)
            if handlers is None or (place := _REQUEST_AT.get(head[0])) is None:
                continue
            if self._some and len(head) > 3 and head[place] not in self._requests:
                handlers.handled += 1  # of another symbol: it would be looked up, and passed over
                continue
            with contextlib.suppress(Exception):  # the broker's library passes over whatever a handler raises
                self._table[int(head[0])](fields_of(item))

    # -- what the module told

    def told(self, machine_ns: int, monotonic: float, handled: int, to: str, what: str, *arguments: Any) -> None:
        self.handle(handled)
        self.instants.at(machine_ns, monotonic)
        if to:
            feed = self._feeds.get(to)
            if feed is None:
                return
            if what == "gap":
                feed.gap(arguments[0], depth_only=arguments[1])
            else:
                getattr(feed, what)(*arguments)
        elif what == "begin":
            self._begin()
        elif what == "line":
            self._line(*arguments)
        elif what == "shut":
            self.shut = True
        elif what == "unline":
            self._lines.pop(arguments[0], None)
            self._requests.discard(b"%d" % arguments[0])

    def _begin(self) -> None:
        self._lines = {}
        self._requests.clear()
        self._handlers = Handlers(self._lines, lambda _: None)
        self._handlers.install(self._table)

    def _line(self, req_id: int, name: str, kind: str) -> None:
        if name in self._feeds:
            own = self._feeds[name]
            self._requests.add(b"%d" % req_id)
            self._lines[req_id] = _Line(own.makers if kind == SubscriptionKind.MAKERS else own)

    def turn(self, machine_ns: int, monotonic: float, after_read: bool) -> list[Any]:
        self._end_turn(machine_ns, monotonic, after_read)
        batch = Batch(self._start.module, {_TTL_SETTING: self._start.settings.market.ttl_seconds})
        self._publisher.add_to(batch, monotonic, after_read=after_read)
        return batch.commands

    def events(self, machine_ns: int, monotonic: float, after_read: bool) -> Iterator[tuple[str, list[MarketEvent]]]:
        """The same without state keys: what each symbol's turn told."""
        self._end_turn(machine_ns, monotonic, after_read)
        for feed, events in self._publisher.events(monotonic, after_read=after_read):
            if events:
                yield feed.symbol, events

    def events_turn(self, machine_ns: int, monotonic: float, after_read: bool) -> list[Any]:
        """The writes of events alone, by the names of their streams."""
        batch = Batch(self._start.module, {})
        for symbol, events in sorted(self.events(machine_ns, monotonic, after_read)):
            for event in events:
                batch.append(k.EVENTS_MARKET.at(symbol=symbol), event)
        return batch.commands

    @property
    def streams(self) -> list[str]:
        """Of the feeds that are run, in order."""
        return [k.EVENTS_MARKET.at(symbol=symbol).name for symbol in sorted(self._feeds)]

    def _end_turn(self, machine_ns: int, monotonic: float, after_read: bool) -> None:
        self.handle()
        if after_read:
            self._publisher.end_read()
        self.instants.at(machine_ns, monotonic)


async def replay(
    start: Begun,
    records: Iterable[Record],
    outcome: Outcome,
    pace: Callable[[int], Awaitable[None]] | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """One run of a process, from its beginning to where its log ends or has a hole. From a checkpoint on, events alone are
    compared: it does not hold what state keys are made of."""
    ingestion = Ingestion(start, None if checkpoint is None else checkpoint.feeds)
    if checkpoint is not None:
        ingestion.go_on_from(checkpoint)
    records = iter(records)
    for record in records:
        match record.kind:
            case Kind.TURN:
                if pace is not None:
                    await pace(record.machine_ns)
                monotonic, after_read, then = msgspec.msgpack.decode(record.data)
                if checkpoint is None:
                    commands = ingestion.turn(record.machine_ns, monotonic, after_read)
                else:
                    commands = ingestion.events_turn(record.machine_ns, monotonic, after_read)
                    then = _of(ingestion.streams, then)
                _compare(outcome, record.market_ns, tuple(then), commands)
            case Kind.CHECKPOINT if record.data.startswith(TORN):
                outcome.holes.append(f"a checkpoint, {record.data.decode()}; nothing of the wire is missing")
            case Kind.HOLE | Kind.DROPPED:
                text = record.data.decode()
                outcome.holes.append(text if record.kind is Kind.HOLE else f"{text} records were dropped")
                outcome.ends = AT_A_HOLE
                break
            case _:
                ingestion.take(record)
    if not ingestion.shut and outcome.ends == Outcome.ends:
        outcome.ends = NO_LAST_WORD
    outcome.unread += sum(record.kind is Kind.TURN for record in records)


def _of(streams: list[str], then: list[Any]) -> list[Any]:
    """The digests of these keys, in this order."""
    told = dict(zip(then[::2], then[1::2], strict=True))  # a turn tells of each stream once
    return [part for name in streams if name in told for part in (name, told[name])]


def _compare(outcome: Outcome, market_ns: int, then: tuple[Any, ...], commands: list[Any]) -> None:
    outcome.turns += 1
    now = digests(commands)
    names_now = set(now[::2])
    outcome.writes += sum(command[1] in names_now for command in commands)
    if now == then:
        outcome.equal += 1
        return
    outcome.different += 1
    if outcome.first is not None:
        return
    names = [of[::2] for of in (then, now)]
    if names[0] != names[1]:
        keys = (("keys", names[0], names[1]),)
        outcome.first = Difference(outcome.module, outcome.turns, market_ns, "it writes other keys", keys)
        return
    at = next(n for n in range(1, len(now), 2) if then[n] != now[n])
    fields = tuple(zip(("bytes", "CRC-32"), parts(then[at]), parts(now[at]), strict=True))
    outcome.first = Difference(outcome.module, outcome.turns, market_ns, f"it writes {now[at - 1]} with another content", fields)
