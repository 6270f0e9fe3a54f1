"""Missed market events made again from `ibkr`'s audit log: what the last minute costs after a short session and after a long one.

A log of 48 minutes, and of 2, 4 and 8 times that, of SPY's book and prints as the module's own recorder writes them: five reads a
second, a checkpoint as often as the settings say. What a reader missed in the last minute is made again from the newest
checkpoint before it, so it must cost the same however long the log is. Beside it the same from the start of the process, as it
would be without checkpoints. CPU time with the search in the log; the process that does it takes half a second more to start.
"""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

from bench_audit import Line
from ib_insync import IB
from interleaved import in_turn, ratio, show, title, verdict

from alphatrader.clients.ibkr.framing import frame
from alphatrader.clients.ibkr.handlers import Handlers
from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.clients.ibkr.wiretap import tap
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import MarketEvent, Missing, ResendRequest
from alphatrader.contract.modules import Module
from alphatrader.core.market.contracts import instruments
from alphatrader.core.market.status import Hours, MarketWide
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import SECOND, Clock, exchange_instant
from alphatrader.runtime.runs import logs
from alphatrader.runtime.settings import load
from alphatrader.runtime.store import decode
from alphatrader.streams.ibkr.publishing import Publisher
from alphatrader.streams.ibkr.recording import FeedRecorder, ToldFeed, feed_of
from alphatrader.streams.ibkr.resent import missing_events

SHORT_MINUTES, LENGTHS, READS_A_SECOND, MISSED_SECONDS, ROUNDS = 48, (1, 2, 4, 8), 5, 60, 5
QUEUE_BYTES = 4_000_000_000
OPEN_NS = exchange_instant(date(2026, 11, 18), "09:30")
REQUESTS = {Kind.DEPTH: 1, Kind.TICKS: 2}


class Stepped(Clock):
    """A clock that stands where it is put: a session passes in seconds."""

    __slots__ = ("now_ns",)

    def machine_ns(self) -> int:
        return int(self.now_ns)

    def monotonic(self) -> float:
        return (self.now_ns - OPEN_NS) / SECOND

    def put(self, now_ns: int) -> None:
        object.__setattr__(self, "now_ns", now_ns)


def read(number: int, now_ns: int) -> bytes:
    """Of ten reads seven change the book, three are prints; the first twenty lay the book."""
    rest = number - 20
    if number < 20:
        row, side = number // 2, number & 1
        text = f"13\0001\0{REQUESTS[Kind.DEPTH]}\0{row}\0ARCA\0000\0{side}\0{price(row, side):.2f}\0{300 + row}\0001\0"
    elif rest % 10 < 7:
        row, side = rest % 8, rest & 1
        text = (
            f"13\0001\0{REQUESTS[Kind.DEPTH]}\0{row}\0ARCA\0001\0{side}\0{price(row, side):.2f}\0{100 + rest * 7919 % 400}\0001\0"
        )
    else:
        size, venue = 100 + rest * 31 % 700, ("ARCA", "NASDAQ", "BATS")[rest % 3]
        text = f"99\0{REQUESTS[Kind.TICKS]}\0001\0{now_ns // SECOND}\0{price(0, rest & 1):.2f}\0{size}\0000\0{venue}\0\0"
    return len(text).to_bytes(4, "big") + text.encode()


def price(row: int, side: int) -> float:
    return 600 - row * 0.01 if side else 600.02 + row * 0.01


def hours(ts_ns: int) -> Hours | None:
    session = nyse().known(ts_ns)
    return Hours(session.name, session.open_ns, session.close_ns) if session else None


class Subscribed(list[Any]):
    """The requests of a connection, as a checkpoint takes them down."""

    handlers: Handlers


class Ibkr:
    """The module between its socket and its writes, with its recorder and SPY alone."""

    def __init__(self, log: AuditLog, clock: Stepped) -> None:
        settings, spoken = load(), list[Any]()
        self.recorder = recorder = FeedRecorder(clock, settings, str(Module.IBKR), log)
        spy = next(one for one in instruments(settings.market) if one.symbol == "SPY")
        self.feed = feed_of(ToldFeed, spy, settings.market, recorder.instants, hours, MarketWide(), spoken)
        self.feed.tell = recorder.told
        self.publisher = Publisher(settings.market, {"SPY": self.feed}, spoken, {}, [])
        ib: Any = IB()
        self._client = client = ib.client
        client._serverVersion = client.decoder.serverVersion = 176
        client._apiReady, client.connState = True, client.CONNECTED
        handlers = Handlers({number: Line(self.feed) for number in REQUESTS.values()}, print)
        handlers.install(client.decoder.handlers)
        frame(ib)
        tap(ib, recorder)
        recorder.handled = lambda: handlers.handled
        self._requests: Any = Subscribed(SimpleNamespace(req_id=n, name="SPY", kind=kind) for kind, n in REQUESTS.items())
        self._requests.handlers = handlers
        recorder.opened("the benchmark")
        recorder.told("", "begin")
        for kind, number in REQUESTS.items():
            recorder.told("", "line", number, "SPY", str(kind))
        self.feed.set_depth(True)
        self.feed.set_ticks(True)

    def turn(self, data: bytes) -> list[MarketEvent]:
        """The events of one read."""
        self._client.conn.data_received(data)
        self.publisher.end_read()
        batch = Batch(Module.IBKR, {"market.ttl_seconds": 1.0})
        machine_ns, now = self.recorder.tick()
        self.publisher.add_to(batch, now, after_read=True)
        self.recorder.wrote(batch.commands, machine_ns, now, after_read=True)
        return [decode(k.EVENTS_MARKET, command[-1]) for command in batch.commands if command[0] == "XADD"]

    def keep(self) -> bool:
        return self.recorder.keep({"SPY": self.feed}, self._requests)


class Session:
    """A recorded one, and what a reader missed of its last minute."""

    def __init__(self, folder: Path, minutes: int, *, checkpoints: bool) -> None:
        clock = Stepped()
        clock.put(OPEN_NS)
        log = AuditLog(folder, str(Module.IBKR), clock, QUEUE_BYTES, queue_bytes=QUEUE_BYTES)
        log.start()
        ibkr, every_ns, told = Ibkr(log, clock), int(load().log.checkpoint_seconds * SECOND), list[MarketEvent]()
        due, reads = OPEN_NS, minutes * 60 * READS_A_SECOND
        for number in range(reads):
            clock.put(OPEN_NS + (number + 1) * SECOND // READS_A_SECOND)
            events = ibkr.turn(read(number, clock.now_ns))
            if number >= reads - MISSED_SECONDS * READS_A_SECOND:
                told += events
            if checkpoints and clock.now_ns >= due and ibkr.keep():
                due = clock.now_ns + every_ns
        while log.entry is None or log.entry.ts_ns < clock.now_ns - 2 * SECOND:
            sleep(0.02)
        log.close()
        if log.dropped:
            raise SystemExit(f"{log.dropped} records were dropped: no reading")
        self._log, self._told = next(iter(logs(folder))), told[1:-1]
        self._request = ResendRequest(
            1, clock.now_ns - MISSED_SECONDS * SECOND, clock.now_ns, {"SPY": Missing(told[0].seq, told[-1].seq)}
        )

    def make_again(self) -> None:
        found = [event for _, event in missing_events(self._log, self._request)]
        if found != self._told:
            raise SystemExit(f"{len(found)} events were made again, not the {len(self._told)} that were told: no reading")


def main() -> None:
    title(
        "the last minute that a reader missed, made again from the audit log of a session",
        f"SPY alone, {READS_A_SECOND} reads a second, a checkpoint every {load().log.checkpoint_seconds:.0f} s",
    )
    with tempfile.TemporaryDirectory() as folder:
        sessions = {}
        for times in LENGTHS:
            base = Path(folder) / str(times)
            base.mkdir()
            sessions[f"{times * SHORT_MINUTES / 60:.1f} h"] = Session(base, times * SHORT_MINUTES, checkpoints=True).make_again
        base = Path(folder) / "without"
        base.mkdir()
        sessions["0.8 h, no checkpoints"] = Session(base, SHORT_MINUTES, checkpoints=False).make_again
        times_ = in_turn(sessions, ROUNDS)
    short, *_, long, _ = sessions
    show(times_, short)
    verdict(f"a session of {long} costs, over one of {short}", 1 / ratio(times_, short, long), 1.5, at_most=True)


if __name__ == "__main__":
    main()
