"""The audit log of the data connection as discovery reads it: prints that count for VPIN and level-2 books, symbol by symbol.

The bytes go through the handlers and the feeds that took them when they came, at the recorded times. The broker's answers carry
request ids; what they belong to is told by the requests in the same log. One pass, and of the books only a tally is kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from alphatrader.clients.ibkr.handlers import Feed, Handlers
from alphatrader.clients.ibkr.wiretap import Message, messages
from alphatrader.contract.messages.market import BookEvent, GapEvent, MakersEvent, MarketEvent, Trade
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.contract.settings.market import Market
from alphatrader.core.discovery.makers import MakerTally, together
from alphatrader.core.market.checksum import intact
from alphatrader.core.market.contracts import instruments
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.status import Hours
from alphatrader.runtime.audit_file import Kind, Record, parts_of, read
from alphatrader.runtime.runs import Log

QUOTES, DEPTH, MAKERS, TICKS = "quotes", "depth", "makers", "ticks"


class _Ids(NamedTuple):
    """Where a request's fields stand."""

    what: str
    req_id: int
    contract: int = 0
    """The conId's place; symbol and security type follow it. 0: a cancel."""


REQUESTS: Final = {
    "1": _Ids(QUOTES, 2, 3),
    "10": _Ids(DEPTH, 2, 3),
    "97": _Ids(TICKS, 1, 2),
    "2": _Ids(QUOTES, 2),
    "11": _Ids(DEPTH, 2),
    "98": _Ids(TICKS, 1),
}
"""Requests for market data and their cancels, by the number of the message (EClient of the TWS API)."""
ANSWERS: Final = dict.fromkeys(("1", "2", "12", "13", "45", "46"), 2) | {"99": 1}
"""Where the request id stands in each message that tells of quotes, books, prints and halts (EDecoder)."""
SECURITY_TYPE, SMART_DEPTH = 2, 13
"""Places in a depth request after the conId's: a stock's depth that is not smart is one exchange's own, which names makers."""
ERROR, DEPTH_RESET = "4", "317"
NEW_LIFE: Final = frozenset({Kind.OPENED, Kind.CLOSED, Kind.DROPPED, Kind.BEGUN, Kind.HOLE})
"""What was subscribed before holds no more, or is not known to."""
PROGRESS_BYTES: Final = 8_000_000


@dataclass
class Recorded:
    """What is known of one symbol's prints and books."""

    sizes: array[int] = field(default_factory=lambda: array("q"))
    """Of the prints that count for VPIN, in whole shares as its buckets take them."""
    makers: MakerTally = field(default_factory=MakerTally)
    """From the depth over all venues; likewise `own`, from one exchange's own book, which names market makers."""
    own: MakerTally = field(default_factory=MakerTally)
    from_ns: int | None = None
    to_ns: int | None = None
    failed: str | None = None
    books_refused: int = 0
    """Their checksum was wrong."""

    def profiles(self) -> Parameter:
        return together(self.makers.profiles(), self.own.profiles())

    def take(self, events: Sequence[MarketEvent]) -> None:
        for event in events:
            if isinstance(event, Trade):
                if event.counts_for_vpin:
                    self.sizes.append(round(event.size))
                    self.from_ns = event.received_ns if self.from_ns is None else self.from_ns
                    self.to_ns = event.received_ns
            elif isinstance(event, BookEvent):
                if intact(event):
                    self.makers.add(event)
                else:
                    self.books_refused += 1
            elif isinstance(event, MakersEvent):
                if intact(event):
                    self.own.add(event)
                else:
                    self.books_refused += 1
            elif isinstance(event, GapEvent):
                self.makers.broken()
                if not event.depth_only:
                    self.own.broken()


@dataclass(slots=True)
class _Line:
    feed: Feed
    symbol: str
    what: str
    fresh: bool = False
    """The handlers set it; here nobody asks."""


def log_files(folder: Path, name: str) -> list[Path]:
    """A connection's logs, oldest first."""
    return parts_of(folder, name)


def read_recorded(
    files: Sequence[Path],
    market: Market,
    *,
    since_ns: int,
    hours: Callable[[int], Hours | None],
    told: Callable[[float], None],
    log: Any,
) -> dict[str, Recorded]:
    """Of every fully subscribed instrument. `told` hears the share that is read. Events before `since_ns` are passed over, but
    what was subscribed then counts. After a hole nothing is certain until the next connection opens. One symbol's failure ends
    only that symbol's."""
    reader = _Reader(market, since_ns=since_ns, hours=hours, log=log)
    pieces = reader.times(_pieces(files, told, log))
    for message in messages(pieces):
        reader.take(message)
    reader.end_of_read()
    return reader.found


def _pieces(files: Sequence[Path], told: Callable[[float], None], log: Any) -> Iterator[Record]:
    sizes = {file: file.stat().st_size if file.exists() else 0 for file in files}
    whole = sum(sizes.values()) or 1
    before = 0
    for file, why, sound in Log("", tuple(files)).joints():
        seen = 0
        if why is not None:
            yield _hole(log, file, why)
        try:
            for record in read(file) if sound else ():
                yield _hole(log, file, record.data.decode()) if record.kind is Kind.HOLE else record
                seen += len(record.data)
                if seen >= PROGRESS_BYTES:
                    seen = 0
                    told(before / whole)
        except OSError as error:  # the oldest goes when all outgrow their bound
            yield _hole(log, file, str(error))
        before += sizes[file]
        told(before / whole)


def _hole(log: Any, file: Path, why: str) -> Record:
    log.warning("audit_hole", file=file.name, reason=why)
    return Record(Kind.HOLE, 0, 0, why.encode())


class _Reader:
    def __init__(self, market: Market, *, since_ns: int, hours: Callable[[int], Hours | None], log: Any) -> None:
        full = [one for one in instruments(market) if one.full]
        self.found = {one.symbol: Recorded() for one in full}
        self._names = {(one.spec["secType"], one.spec["symbol"]): one.symbol for one in full}
        self._since_ns, self._log = since_ns, log
        self._market_ns = self._machine_ns = 0
        self._feeds = {
            one.symbol: SymbolFeed(
                one.symbol,
                full=True,
                depth_rows=market.depth_rows,
                quiet_seconds=market.quiet_seconds_by_symbol.get(one.symbol, market.quiet_seconds),
                market_ns=lambda: self._market_ns,
                monotonic=lambda: self._machine_ns / 1e9,
                equity=one.kind == "equity",
                session=hours,
            )
            for one in full
        }
        self._lines: dict[int, _Line] = {}
        self._touched: set[str] = set()
        self._handlers: dict[int, Callable[[Sequence[str]], None]] = {}
        Handlers(self._lines, lambda why: None).install(self._handlers)

    def times(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records, with the clock of what is read set to each; one network read ends where the next begins."""
        for record in records:
            self.end_of_read()
            if record.kind in NEW_LIFE:
                self._lose()
            if record.market_ns:
                self._market_ns, self._machine_ns = record.market_ns, record.machine_ns
            yield record

    def take(self, message: Message) -> None:
        f = message.fields
        if message.direction == "sent":
            if (ids := REQUESTS.get(f[0])) is not None:
                self._asked(ids, f)
            return
        if f[0] == ERROR and len(f) > 3 and f[3] == DEPTH_RESET:
            line = self._lines.get(int(f[2])) if f[2].lstrip("-").isdigit() else None
            if line is not None and line.what == MAKERS:
                self._feeds[line.symbol].makers.lose(DEPTH_RESET)
            elif line is not None:
                self._feeds[line.symbol].gap(DEPTH_RESET, depth_only=True)
            return
        line = self._of(f) if f[0] in ANSWERS else None
        if line is None:
            return
        symbol = line.symbol
        self._touched.add(symbol)
        try:
            self._handlers[int(f[0])](f)
        except Exception as error:  # noqa: BLE001 one symbol's recording must not lose the others'
            self._fail(symbol, error)

    def end_of_read(self) -> None:
        """What was folded since the last read becomes events."""
        for symbol in self._touched:
            feed, found = self._feeds[symbol], self.found[symbol]
            if found.failed is not None:
                continue
            try:
                feed.end_of_read()
                events = feed.take_events(self._machine_ns / 1e9)
                if self._market_ns >= self._since_ns:
                    found.take(events)
            except Exception as error:  # noqa: BLE001 as above
                self._fail(symbol, error)
        self._touched.clear()

    def _of(self, fields: Sequence[str]) -> _Line | None:
        """The line a message is of."""
        place = ANSWERS[fields[0]]
        return self._lines.get(int(fields[place])) if len(fields) > place and fields[place].isdigit() else None

    def _asked(self, ids: _Ids, f: Sequence[str]) -> None:
        if len(f) <= max(ids.req_id, ids.contract + 2) or not f[ids.req_id].isdigit():
            return
        req_id = int(f[ids.req_id])
        if not ids.contract:
            line = self._lines.pop(req_id, None)
            if line is not None:
                self._switch(line, on=False)
            return
        symbol = self._names.get((f[ids.contract + 2], f[ids.contract + 1]))
        if symbol is not None and self.found[symbol].failed is None:
            feed, what = self._feeds[symbol], ids.what
            if what == DEPTH and _is_own(f, ids.contract):
                what = MAKERS
            line = self._lines[req_id] = _Line(feed.makers if what == MAKERS else feed, symbol, what)
            self._switch(line, on=True)

    def _switch(self, line: _Line, *, on: bool) -> None:
        feed = self._feeds[line.symbol]
        if line.what == DEPTH:
            feed.set_depth(on)
        elif line.what == MAKERS:
            feed.set_makers(on)
        elif line.what == TICKS:
            feed.set_ticks(on)

    def _lose(self) -> None:
        """The connection is gone, and every subscription with it."""
        for line in self._lines.values():
            self._switch(line, on=False)
        self._lines.clear()
        for symbol, found in self.found.items():
            found.makers.broken()
            found.own.broken()
            self._feeds[symbol].gap("another connection")
            self._feeds[symbol].take_events(self._machine_ns / 1e9)

    def _fail(self, symbol: str, error: Exception) -> None:
        self.found[symbol].failed = f"{error!r}"[:200]
        self._log.exception("recorded_refused", symbol=symbol)
        for req_id in [req_id for req_id, line in self._lines.items() if line.symbol == symbol]:
            del self._lines[req_id]


def _is_own(f: Sequence[str], contract: int) -> bool:
    return len(f) > contract + SMART_DEPTH and f[contract + SECURITY_TYPE] == "STK" and f[contract + SMART_DEPTH] == "0"
