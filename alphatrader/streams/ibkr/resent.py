"""Events that a reader missed, made again from the audit log: a process of its own, so that the feed does not wait for it.

Started by `resending.py`, which gives it its task on standard input and is told on standard output what came of it. It runs
`ibkr` again from the wire as `alphatrader replay` does, but only the symbols that are asked for, and ends with the last event
that is missing. What it makes must be what was written then, by the digests in the log. Writes `resent:{module}`, never farther
ahead of its reader than AHEAD.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import MarketEvent, Missing, ResendRequest, Resent
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.audit_file import Kind, Record
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.child import watch_parent
from alphatrader.runtime.replay_tape import begun
from alphatrader.runtime.runs import Log, logs
from alphatrader.runtime.store import Store
from alphatrader.streams.ibkr.checkpoints import RefusedError, Start, starts
from alphatrader.streams.ibkr.recording import digests
from alphatrader.streams.ibkr.replaying import Ingestion

AHEAD: Final = 5_000
AT_ONCE: Final = 200
"""Events in one write."""
WAIT_SECONDS: Final = 0.02
NICENESS: Final = 10


class Task(msgspec.Struct):
    settings: Settings
    password: str
    folder: str
    """Of the audit logs."""
    instance: str
    """Who asks."""
    number: int


class Outcome(msgspec.Struct):
    events: int
    reason: str | None = None
    """Why it is not all."""
    refused: list[str] = []
    """Checkpoints that could not be gone on from."""


class NotThereError(Exception):
    """The log does not give what is asked for."""


class NobodyWaitsError(Exception):
    """The request is not there any more."""


class _Wanted:
    """What is missing of one symbol, and how far it has come."""

    def __init__(self, symbol: str, missing: Missing) -> None:
        self.symbol, self.until, self.last = symbol, missing.until, missing.after
        self._after = missing.after
        self.stream = k.EVENTS_MARKET.at(symbol=symbol)

    @property
    def whole(self) -> bool:
        return self.last >= self.until - 1

    def concerns(self, events: list[MarketEvent]) -> bool:
        return events[-1].seq > self._after and events[0].seq < self.until

    def take(self, event: MarketEvent, hole: str | None) -> bool:
        """Whether this is the next that is missing. Raises NotThereError."""
        if not self._after < event.seq < self.until:
            return False
        if event.seq <= self.last:
            raise NotThereError(f"{self.symbol}: {event.seq} was given to two events, before and after a start of ibkr")
        if event.seq != self.last + 1:
            raise NotThereError(f"{self.symbol}: {self.last + 1} is missing in the log" + (f" ({hole})" if hole else ""))
        self.last = event.seq
        return True


def missing_events(log: Log, request: ResendRequest, refused: list[str] | None = None) -> Iterator[tuple[str, MarketEvent]]:
    """(symbol, event) of all that is missing, each symbol's in order, from the newest checkpoint before it that can be gone on
    from. `refused` takes a word on each that cannot. Raises NotThereError where an event is not there, OSError."""
    refused = [] if refused is None else refused
    why = "how that run of ibkr began is not kept any more"
    for start in starts(log, request.since_ns, {symbol: one.after for symbol, one in request.missing.items()}, refused):
        given = 0
        try:
            for symbol, event in _run(start, request):
                given += 1
                yield symbol, event
            return
        except RefusedError as error:
            if given or start.checkpoint is None:
                raise NotThereError(str(error)) from error
            refused.append(str(error))
            why = str(error)
    one, missing = next(iter(request.missing.items()))
    raise NotThereError(f"{one}: {missing.after + 1} is not in the log ({why})")


def _run(start: Start, request: ResendRequest) -> Iterator[tuple[str, MarketEvent]]:
    """Raises NotThereError; RefusedError where what is made is not what was written."""
    wanted = {symbol: _Wanted(symbol, missing) for symbol, missing in request.missing.items()}
    ingestion: Ingestion | None = Ingestion(start.begun, wanted)
    every = start.checkpoint is not None
    if start.checkpoint is not None and ingestion is not None:
        ingestion.go_on_from(start.checkpoint)
    hole: str | None = None
    for record in start.records:
        if record.kind is Kind.BEGUN:
            ingestion, every = Ingestion(begun(record), wanted), False
        elif record.kind in (Kind.HOLE, Kind.DROPPED):
            hole, ingestion = f"a hole: {record.data.decode()}", None
        elif ingestion is None:
            continue  # behind a hole nothing follows from what was
        elif record.kind is not Kind.TURN:
            ingestion.take(record)
        else:
            yield from _turn(ingestion, wanted, record, hole, every=every)
            if all(one.whole for one in wanted.values()):
                return
    one = next(one for one in wanted.values() if not one.whole)
    raise NotThereError(f"{one.symbol}: {one.last + 1} is not in the log" + (f" ({hole})" if hole else ""))


def _turn(
    ingestion: Ingestion, wanted: dict[str, _Wanted], record: Record, hole: str | None, *, every: bool
) -> Iterator[tuple[str, MarketEvent]]:
    """`every`: what is made is compared before the first that is missing, too, so that a wrong checkpoint shows at once."""
    monotonic, after_read, then = msgspec.msgpack.decode(record.data)
    made = dict(ingestion.events(record.machine_ns, monotonic, after_read))
    for symbol, one in wanted.items():
        events, name = made.get(symbol, []), one.stream.name
        if not every and not (events and one.concerns(events)):
            continue
        batch = Batch(Module.IBKR, {})
        for event in events:
            batch.append(one.stream, event)
        if list(digests(batch.commands)) != [
            told for at in range(0, len(then), 2) if then[at] == name for told in then[at : at + 2]
        ]:
            raise RefusedError(f"{symbol}: what the log gives after {one.last} is not what was written then")
        yield from ((symbol, event) for event in events if one.take(event, hole))


class _Sink:
    """Writes what is made, as far ahead of the reader as it may."""

    def __init__(self, store: Store, task: Task) -> None:
        self.events = 0
        self._store, self._number = store, task.number
        self._request, self._stream = k.RESEND.at(module=task.instance), k.RESENT.at(module=task.instance)
        self._gathered: list[Resent] = []

    def request(self) -> ResendRequest:
        """Raises NobodyWaitsError."""
        request = self._store.get(self._request)
        if request is None or request.number != self._number:
            raise NobodyWaitsError
        return request

    def put(self, symbol: str, event: MarketEvent) -> None:
        self._gathered.append(Resent(self._number, symbol, event))
        if len(self._gathered) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        while self.events + len(self._gathered) - self.request().taken > AHEAD:
            time.sleep(WAIT_SECONDS)
        batch = self._store.batch()
        for resent in self._gathered:
            batch.append(self._stream, resent)
        self._store.commit(batch)
        self.events += len(self._gathered)
        self._gathered = []


def resend(task: Task) -> Outcome:
    store = Store(Module.IBKR, task.settings, task.password)
    sink = _Sink(store, task)
    refused: list[str] = []
    try:
        log = next((log for log in logs(Path(task.folder)) if log.name == Module.IBKR), None)
        if log is None:
            raise NotThereError("there is no log")
        for symbol, event in missing_events(log, sink.request(), refused):
            sink.put(symbol, event)
        sink.flush()
    except (NotThereError, OSError, ValueError) as error:
        sink.flush()
        return Outcome(sink.events, str(error), refused)
    except NobodyWaitsError:
        return Outcome(sink.events, "nobody waits for it any more")
    finally:
        store.close()
    return Outcome(sink.events, refused=refused)


def main() -> None:
    os.nice(NICENESS)
    watch_parent()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    sys.stdout.buffer.write(msgspec.json.encode(resend(task)))
