"""Sequence numbers of market streams: a gap is seen where it opens, the symbol is held there, what lacks is put in its place.

Pure: entries in, entries out, in each symbol's order. `market_reader.py` reads, asks and waits. A gap is first looked for in the
stream itself, from the last entry that was taken on. What the stream no longer holds is asked of `ibkr`, for all symbols held
then in one request; while it comes a held symbol's own stream is not read, so that nothing has to be kept here. A gap that
cannot be filled is passed on as it is: whoever folds the events sees the jump.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from alphatrader.contract.messages.market import Missing, ResendNote, ResendRequest, Resent
from alphatrader.runtime.cursor import Entry

BAR_NS: Final = 5_000_000_000
"""A bar is told at its end."""


class Start(NamedTuple):
    """Where a reader stands in a symbol's stream when it starts."""

    id: str
    seq: int | None = None
    """The newest number that it folded; None where it knows of none, and then the first that comes is taken as it is."""
    ts_ns: int = 0
    """Market time of it."""


class Filled(NamedTuple):
    """How one gap ended."""

    symbol: str
    missing: int
    found: int
    reason: str | None
    """Why not all of it was found."""


@dataclass(slots=True)
class _Place:
    symbol: str
    stream: str
    id: str
    seq: int | None
    ts_ns: int
    event: Any = None
    """The newest that was taken."""
    reads_again: int = 0
    """The number before which the stream was read again: it does not hold what is missing."""
    until_ns: int = 0
    asked: bool = False


class GapFill:
    def __init__(self, starts: Mapping[str, tuple[str, Start]], span_ns: int) -> None:
        """`starts`: symbol -> (stream, where it is read from). `span_ns`: a longer gap is not filled; 0: none is."""
        self._places = {stream: _Place(symbol, stream, *start) for symbol, (stream, start) in starts.items()}
        self._by_symbol = {place.symbol: place for place in self._places.values()}
        self._span_ns = span_ns
        self.lacking: dict[str, Missing] = {}
        """Symbol -> what is missing, of those that are held."""
        self.moves: dict[str, str | None] = {}
        """Stream -> the id it must be read from after this, or None: it is not to be read. For the reader, who empties it."""
        self.ended: list[Filled] = []
        """Gaps that are over. For the reader, who empties it."""
        self.request: ResendRequest | None = None
        """What is being waited for."""
        self.heard = 0
        """Grows with every word of the answer."""
        self.taken = 0
        """Events of the answer that came."""
        self.begun = False
        """Whether the answer has begun."""

    def id_of(self, stream: str) -> str:
        """The newest entry that was taken of a stream."""
        return self._places[stream].id

    def take(self, entries: Iterable[Entry[Any]]) -> list[Entry[Any]]:
        """What may be folded now. Streams that are no market stream are passed on as they come."""
        passed, places, moves = [], self._places, self.moves
        for entry in entries:
            place = places.get(entry.stream)
            if place is None:
                if isinstance(entry.event, Resent | ResendNote):
                    passed += self._answered(entry.event)
                else:
                    passed.append(entry)
                continue
            if entry.stream in moves:  # the rest of a reply that showed a gap: it is read again
                continue
            seq = entry.event.seq
            if place.seq is not None:
                if seq > place.seq + 1 and self._opens(place, entry):
                    continue
                if seq <= place.seq and _time_of(entry.event) <= _time_of(place.event, place.ts_ns):
                    place.id = entry.id  # a copy, or late: no place to stand at
                    passed.append(entry)
                    continue
            place.seq, place.id, place.event = seq, entry.id, entry.event
            passed.append(entry)
        return passed

    def _opens(self, place: _Place, entry: Entry[Any]) -> bool:
        """Whether the symbol is held before this entry."""
        seq, after = entry.event.seq, place.seq or 0
        if place.reads_again != seq:
            place.reads_again = seq
            self.moves[place.stream] = place.id
            return True
        since_ns, until_ns = _time_of(place.event, place.ts_ns), _time_of(entry.event)
        if not self._span_ns or until_ns - since_ns > self._span_ns:
            why = "recovery is off" if not self._span_ns else f"it is {(until_ns - since_ns) / 1e9:.0f} s long"
            self.ended.append(Filled(place.symbol, seq - after - 1, 0, why))
            return False
        self.lacking[place.symbol] = Missing(after, seq)
        place.ts_ns, place.until_ns, place.asked = since_ns, max(since_ns, until_ns), False
        self.moves[place.stream] = None
        return True

    # -- asking

    def ask(self, number: int) -> ResendRequest:
        """A request for everything that is missing now."""
        places = [self._by_symbol[symbol] for symbol in self.lacking]
        for place in places:
            place.asked = True
        since_ns, until_ns = min(place.ts_ns for place in places), max(place.until_ns for place in places)
        self.request, self.begun, self.taken = ResendRequest(number, since_ns, until_ns, dict(self.lacking)), False, 0
        return self.request

    def _answered(self, told: Resent | ResendNote) -> list[Entry[Any]]:
        request = self.request
        if request is None or told.number != request.number:
            return []  # to a request that was given up
        self.heard, self.begun = self.heard + 1, True
        if isinstance(told, ResendNote):
            if told.ended:
                self.end(told.reason)
            return []
        self.taken += 1
        place, missing = self._by_symbol.get(told.symbol), self.lacking.get(told.symbol)
        if place is None or not place.asked or missing is None or place.seq is None:
            return []
        if told.event.seq != place.seq + 1 or told.event.seq >= missing.until:
            return []  # what does not follow is not put there: the gap stands from here
        place.seq, place.event = told.event.seq, told.event
        return [Entry(place.stream, place.id, told.event)]

    def end(self, reason: str | None) -> None:
        """Nothing more comes: the symbols that were asked for go on in their streams."""
        self.request = None
        for symbol, missing in tuple(self.lacking.items()):
            place = self._by_symbol[symbol]
            if not place.asked:
                continue
            del self.lacking[symbol]
            after, until, seq = missing.after, missing.until, place.seq or 0
            whole = seq == until - 1
            why = None if whole else reason or f"the answer ended at {seq}"
            self.ended.append(Filled(place.symbol, until - after - 1, seq - after, why))
            place.seq, place.ts_ns, place.event = until - 1, place.until_ns, None
            self.moves[place.stream] = place.id


def _time_of(event: Any, otherwise: int = 0) -> int:
    """Market time at which an event came to us; that of its making where it does not say."""
    if event is None:
        return otherwise
    received: int | None = getattr(event, "received_ns", None)
    if received is not None:
        return received
    ts_ns: int | None = getattr(event, "ts_ns", None)
    return ts_ns if ts_ns is not None else int(event.bar.ts_ns) + BAR_NS
