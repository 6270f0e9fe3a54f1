"""A recorded data connection played again: the broker's market-data messages of an audit log, to whoever subscribes now.

What the product asked for (requests that were sent) says which line each received message belongs to. A client that asks for
the same contract's quotes, depth, prints or bars gets those messages, field by field as recorded but for its own request id;
contracts, orders and the account are the gateway's own. One that subscribes later first gets how things stand. The log's format
is `runtime/audit_file.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphatrader.runtime.audit_file import SUFFIX, Kind, parts_of
from alphatrader.runtime.runs import Log
from alphatrader.sandbox.gateway import requests
from alphatrader.sandbox.gateway.replay.pace import Pace
from alphatrader.sandbox.gateway.wire import FrameBuffer, FrameError, decode_fields

LINE, DEPTH, OWN_DEPTH, TICKS, BARS = "lines", "depth", "own depth", "ticks", "bars"
ASKED = {"reqMktData": LINE, "reqMktDepth": DEPTH, "reqTickByTick": TICKS, "reqRealTimeBars": BARS}
GIVEN_UP = frozenset({"cancelMktData", "cancelMktDepth", "cancelTickByTick", "cancelRealTimeBars"})
# Where the request id stands in each message of market data; 4 is an error, of which only the depth reset (317) is data.
REQUEST_ID = {1: 2, 2: 2, 45: 2, 46: 2, 12: 2, 13: 2, 50: 2, 58: 2, 21: 1, 81: 1, 99: 1, 4: 2}
RESET = "317"
LOST = frozenset({Kind.CLOSED, Kind.DROPPED, Kind.HOLE})
"""After these nothing is certain until a connection opens."""
_GREETING = b"API\0"
_INSERT, _UPDATE, _DELETE = "0", "1", "2"

Key = tuple[str, int]
"""Kind of line and con_id."""


@dataclass(frozen=True, slots=True)
class Told:
    """One recorded message and the line it was on."""

    instant_ns: int
    key: Key
    fields: tuple[str, ...]

    def to(self, req_id: int) -> tuple[str, ...]:
        at = REQUEST_ID[int(self.fields[0])]
        return (*self.fields[:at], str(req_id), *self.fields[at + 1 :])


def log_files(path: Path) -> list[Path]:
    """The file, or the parts of the data connection's log in a folder, in order."""
    files = parts_of(path, "ibkr") if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no ibkr-*{SUFFIX} file in it")
    return files


class _Connection:
    """One recorded connection: cuts both directions into messages and remembers what was asked."""

    def __init__(self) -> None:
        self._sent, self._received = FrameBuffer(), FrameBuffer()
        self._hailed = self._greeted = False
        self._version = 0
        self._asked: dict[int, Key] = {}
        self.lines: set[Key] = set()
        """Everything that was ever asked for."""

    def sent(self, data: bytes) -> None:
        if not self._hailed:
            self._hailed, data = True, data.removeprefix(_GREETING)
        for payload in self._sent.feed(data):
            if not self._greeted:  # the range of versions
                self._greeted = True
                continue
            try:
                request = requests.decode(decode_fields(payload), self._version)
            except requests.BadRequest:
                continue  # nothing this gateway serves, so nothing it can play again
            req_id = request.values.get("reqId", -1)
            if request.name in ASKED and request.values["conId"]:
                kind = ASKED[request.name]
                if kind == DEPTH and request.values["secType"] == "STK" and not request.values["isSmartDepth"]:
                    kind = OWN_DEPTH  # of one exchange alone, beside that of all
                self._asked[req_id] = key = kind, request.values["conId"]
                self.lines.add(key)
            elif request.name in GIVEN_UP:
                self._asked.pop(req_id, None)

    def received(self, data: bytes) -> Iterator[tuple[Key, tuple[str, ...]]]:
        for payload in self._received.feed(data):
            fields = tuple(decode_fields(payload))
            if not self._version:
                self._version = int(fields[0])
                continue
            message = int(fields[0]) if fields[0].isdigit() else 0
            at = REQUEST_ID.get(message)
            if at is None or len(fields) <= at or (message == 4 and fields[3] != RESET):
                continue
            try:
                key = self._asked.get(int(fields[at]))
            except ValueError:
                continue
            if key is not None:
                yield key, fields


def read(paths: Iterable[Path]) -> Iterator[Told]:
    """Every message of market data, in order, over the parts of a log that a connection took. Nothing is made up after a hole, or
    a part that is missing: it is told again from the next connection on."""
    connection: _Connection | None = None
    for record in Log("", tuple(paths)).records():
        try:
            if record.kind is Kind.OPENED:
                connection = _Connection()
            elif record.kind in LOST:
                connection = None
            elif connection is not None and record.kind is Kind.SENT:
                connection.sent(record.data)
            elif connection is not None and record.kind is Kind.RECEIVED:
                for key, fields in connection.received(record.data):
                    yield Told(record.market_ns, key, fields)
        except FrameError:
            connection = None


def lines(paths: Iterable[Path]) -> frozenset[Key]:
    """What the logs' client asked for, with or without an answer."""
    found: set[Key] = set()
    connection = _Connection()
    for record in Log("", tuple(paths)).records():
        try:
            if record.kind is Kind.OPENED or record.kind in LOST:
                connection = _Connection()
            elif record.kind is Kind.SENT:
                connection.sent(record.data)
                found |= connection.lines
        except FrameError:
            connection = _Connection()
    return frozenset(found)


class Recording:
    """The messages of a log at their pace, and how each line stands."""

    def __init__(self, paths: Sequence[Path], *, start_ns: int, speed: float) -> None:
        self.keys = lines(paths)
        if not self.keys:
            holes = (record.data.decode() for record in Log("", tuple(paths)).records() if record.kind is Kind.HOLE)
            nothing = f"{', '.join(path.name for path in paths)}: no market data that were asked for by conId"
            raise ValueError(next(holes, nothing))
        self.pace = Pace(start_ns, speed)
        self._messages = read(paths)
        self._next = next(self._messages, None)
        self._ticks: dict[Key, dict[tuple[str, str], Told]] = {}
        self._rows: dict[Key, dict[str, list[Told]]] = {}

    def due(self, now_ns: int) -> Iterator[Told]:
        """What is due by `now_ns`; the standing of its line already holds it."""
        while self._next is not None and self.pace.take(self._next.instant_ns, now_ns) is not None:
            told = self._next
            self._next = next(self._messages, None)
            self._stand(told)
            yield told

    def standing(self, key: Key) -> Iterator[Told]:
        """What a client that subscribes now must hear to stand where the line stands."""
        yield from self._ticks.get(key, {}).values()
        for rows in self._rows.get(key, {}).values():
            for position, told in enumerate(rows):
                yield _inserted(told, position)

    def _stand(self, told: Told) -> None:
        kind, fields = told.key[0], told.fields
        if kind == LINE:
            # Prints of the line itself (RTVolume) are news, not a standing.
            if not (fields[0] == "46" and fields[3] in ("48", "77")):
                self._ticks.setdefault(told.key, {})[fields[0], fields[3] if len(fields) > 3 else ""] = told
        elif kind in (DEPTH, OWN_DEPTH):
            sides = self._rows.setdefault(told.key, {})
            if fields[0] == "4":
                sides.clear()
                return
            extra = fields[0] == "13"  # its marketMaker stands before the operation
            position, operation, side = int(fields[3]), fields[4 + extra], fields[5 + extra]
            rows = sides.setdefault(side, [])
            if operation == _INSERT:
                rows.insert(position, told)
            elif position < len(rows):
                if operation == _UPDATE:
                    rows[position] = told
                elif operation == _DELETE:
                    del rows[position]


def _inserted(told: Told, position: int) -> Told:
    """The row of an insert or update as an insert at `position`."""
    fields = list(told.fields)
    fields[3] = str(position)
    fields[4 + (fields[0] == "13")] = _INSERT
    return Told(told.instant_ns, told.key, tuple(fields))
