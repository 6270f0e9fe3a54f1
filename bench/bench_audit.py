"""What the audit log costs `ibkr`: CPU a message with the log on and off, in turn, writer's thread and closing included.

A message's way is the module's own but for reading the gateway's socket: our framing and handlers, the feed's fold, each turn in
one write to a server of its own. Of ten messages seven are depth, three are prints. One message a socket read is a quiet line,
sixteen a busy one. `bytes`: every raw message and no more; `replayable`: the module's own recorder, which also notes the
instant of each read and digests what each turn wrote, so that `alphatrader replay` can compare.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import uvloop
from ib_insync import IB
from interleaved import title, verdict

from alphatrader.clients.ibkr.framing import frame
from alphatrader.clients.ibkr.handlers import Feed, Handlers
from alphatrader.clients.ibkr.wiretap import messages, tap
from alphatrader.contract.modules import Module
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.audit_file import SUFFIX, read
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import load
from alphatrader.streams.ibkr.publishing import Publisher
from alphatrader.streams.ibkr.recording import FeedRecorder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.servers import Servers, running_servers

COUNT, ROUNDS = 4_000, 25
"""Many short rounds: what else the machine does in one of them is then in few."""
READS = (1, 16)
"""Messages in one read of the socket."""
KINDS = ("off", "bytes", "replayable")


def frames(count: int) -> list[bytes]:
    """A book of ten rows a side, then changes of it and prints, as the gateway frames them."""
    texts = [
        f"13\0001\0001\0{row}\0ARCA\0000\0{side}\0{price:.2f}\0{300 + row}\0001\0"
        for row in range(10)
        for side, price in ((1, 600 - row * 0.01), (0, 600.02 + row * 0.01))
    ]
    for n in range(count):
        if n % 10 < 7:
            row, side = n % 8, n & 1
            price = 600 - row * 0.01 if side else 600.02 + row * 0.01
            texts.append(f"13\0001\0001\0{row}\0ARCA\0001\0{side}\0{price:.2f}\0{100 + n * 7919 % 400}\0001\0")
        else:
            venue = ("ARCA", "NASDAQ", "BATS")[n % 3]
            price = 600.0 if n & 1 else 600.02
            texts.append(f"99\0002\0001\0{1_795_014_000 + n // 2000}\0{price}\0{100 + n * 31 % 700}\0000\0{venue}\0\0")
    return [len(text).to_bytes(4, "big") + text.encode() for text in texts]


class Line:
    def __init__(self, feed: SymbolFeed) -> None:
        self.feed: Feed = feed
        self.fresh = False


class Bytes(FeedRecorder):
    """Notes what passes over the wire, and nothing else."""

    def __init__(self, clock: Clock, settings: Any, name: str, log: AuditLog) -> None:
        super().__init__(clock, settings, name, None)
        self._wire = log

    def opened(self, peer: str) -> None:
        self._wire.opened(peer)

    def received(self, data: bytes) -> None:
        self.tick()
        self._wire.received(data)


async def run(reads: list[bytes], kind: str, log: AuditLog, servers: Servers) -> float:
    """CPU seconds of the process until everything is folded and written, and on disk where there is a log."""
    asyncio.set_event_loop(asyncio.get_running_loop())
    clock, settings, store = Clock(), load(), servers.async_store(Module.IBKR)
    ib: Any = IB()
    client = ib.client
    client._serverVersion = client.decoder.serverVersion = 176
    client._apiReady, client.connState = True, client.CONNECTED
    recorder = Bytes(clock, settings, "bench", log) if kind == "bytes" else FeedRecorder(
        clock, settings, "bench", log if kind == "replayable" else None
    )  # fmt: skip
    instants = recorder.instants
    spoken: list[SymbolFeed] = []
    feed = SymbolFeed(
        "SPY", full=True, depth_rows=20, quiet_seconds=5.0, market_ns=instants.market_ns, monotonic=instants.monotonic,
        spoken=spoken,
    )  # fmt: skip
    recorder.tick()
    feed.set_depth(True)
    feed.set_ticks(True)
    line = Line(feed)
    Handlers(dict.fromkeys((1, 2), line), print).install(client.decoder.handlers)
    publisher = Publisher(settings.market, {"SPY": feed}, spoken, {}, [])
    ttls = {"market.ttl_seconds": 1.0}
    frame(ib)
    tap(ib, recorder)
    await store.post(Batch(Module.IBKR, ttls))
    gc.collect()
    started = process_time()
    if kind != "off":
        recorder.opened("the benchmark")
        log.start()
    for data in reads:
        client.conn.data_received(data)
        publisher.end_read()
        batch = Batch(Module.IBKR, ttls)
        machine_ns, now = recorder.tick()
        publisher.add_to(batch, now, after_read=True)
        recorder.wrote(batch.commands, machine_ns, now, after_read=True)
        await store.post(batch)
        await asyncio.sleep(0)
    if kind != "off":
        log.close()
    spent = process_time() - started
    await store.close()
    return spent


def measured(reads: list[bytes], kind: str, servers: Servers) -> tuple[float, int]:
    """(CPU seconds, bytes on disk)."""
    with tempfile.TemporaryDirectory() as folder:
        log = AuditLog(Path(folder), "bench", Clock(), 1_000_000_000)
        spent = uvloop.run(run(reads, kind, log, servers))
        if kind == "off":
            return spent, 0
        (path,) = Path(folder).glob(f"*{SUFFIX}")
        kept, sent = sum(1 for _ in messages(read(path))), sum(read_.count(b"\0\0\0") for read_ in reads)
        if log.dropped or kept != sent:
            raise SystemExit(f"the log holds {kept} of {sent} messages, {log.dropped} records dropped")
        return spent, path.stat().st_size


def main() -> None:
    title(
        "Audit log on and off: CPU of ibkr a message",
        f"{COUNT} messages a round, {ROUNDS} rounds; each turn is written to a server; reading the gateway's socket is not in it",
    )
    every = frames(COUNT)
    with tempfile.TemporaryDirectory() as folder, running_servers(Path(folder)) as servers:
        for turn in READS:
            reads = [b"".join(every[at : at + turn]) for at in range(0, len(every), turn)]
            spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
            size = dict.fromkeys(KINDS, 0)
            for number in range(ROUNDS + 1):
                for kind in KINDS[number % 3 :] + KINDS[: number % 3]:
                    seconds, size[kind] = measured(reads, kind, servers)
                    if number:  # the first round warms up
                        spent[kind].append(seconds)
            each = 1e6 / len(every)
            wire = sum(map(len, reads)) / len(every)
            print(
                f"   {turn:2} a read, {wire:.0f} bytes a message on the wire: off {median(spent['off']) * each:.2f} us a message"
            )
            for kind in KINDS[1:]:
                share = median(on / off - 1 for on, off in zip(spent[kind], spent["off"], strict=True))
                print(f"      {kind}: {median(spent[kind]) * each:.2f} us; {size[kind] / len(every):.1f} bytes on disk")
                verdict(f"CPU the log adds, {turn} a read, {kind}, %", share * 100, 10, at_most=True)


if __name__ == "__main__":
    main()
