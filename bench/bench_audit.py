"""What the audit log costs `ibkr`: CPU a message with the log on and off, in turn, writer's thread and closing included.

A message's way is the module's own but for the sockets: ib_insync's framing, our handlers, the feed's fold, the bytes for Redis.
Of ten messages seven are depth, three are prints. One message a socket read is a quiet line, sixteen a busy one.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import hiredis
from ib_insync import IB
from interleaved import title, verdict

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

COUNT, ROUNDS = 40_000, 15
READS = (1, 16)
"""Messages in one read of the socket."""


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


def run(reads: list[bytes], audit: AuditLog | None) -> float:
    """CPU seconds of the process until everything is folded, and on disk where there is a log."""
    clock = Clock()
    ib: Any = IB()
    client = ib.client
    client._serverVersion = client.decoder.serverVersion = 176
    client._apiReady, client.connState = True, client.CONNECTED
    feed = SymbolFeed("SPY", full=True, depth_rows=20, quiet_seconds=5.0, market_ns=clock.market_ns, monotonic=clock.monotonic)
    feed.set_depth(True)
    feed.set_ticks(True)
    line = Line(feed)
    Handlers(dict.fromkeys((1, 2), line), print).install(client.decoder.handlers)
    publisher = Publisher(load().market, {"SPY": feed}, {})
    ttls = {"market.ttl_seconds": 1.0}
    gc.collect()
    started = process_time()
    if audit is not None:
        tap(ib, audit)
        audit.opened("the benchmark")
        audit.start()
    deliver: Callable[[bytes], None] = client.conn.data_received
    sent = 0
    for data in reads:
        deliver(data)
        feed.end_of_read()
        batch = Batch(Module.IBKR, ttls)
        publisher.add_to(batch, clock.monotonic())
        sent += len(b"".join(map(hiredis.pack_command, batch.commands)))
    if audit is not None:
        audit.close()
    return process_time() - started


def main() -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    title(
        "Audit log on and off: CPU of ibkr a message",
        f"{COUNT} messages a round, {ROUNDS} rounds; no system calls of sockets: the share in the running module is less",
    )
    every = frames(COUNT)
    for turn in READS:
        reads = [b"".join(every[at : at + turn]) for at in range(0, len(every), turn)]
        off, on, size = [], [], 0
        for number in range(ROUNDS + 1):
            with tempfile.TemporaryDirectory() as folder:
                log = AuditLog(Path(folder), "bench", Clock(), 1_000_000_000)
                one, other = (run(reads, None), run(reads, log)) if number & 1 else (run(reads, log), run(reads, None))
                without, with_log = (one, other) if number & 1 else (other, one)
                (path,) = Path(folder).glob(f"*{SUFFIX}")
                kept = sum(1 for _ in messages(read(path)))
                if log.dropped or kept != len(every):
                    raise SystemExit(f"the log holds {kept} of {len(every)} messages, {log.dropped} reads dropped")
                size = path.stat().st_size
            if number:  # the first round warms up
                off.append(without)
                on.append(with_log)
        each = 1e6 / len(every)
        share = median(with_log / without - 1 for with_log, without in zip(on, off, strict=True))
        raw = sum(map(len, reads))
        print(f"   {turn:2} a read: off {median(off) * each:6.2f} us, on {median(on) * each:6.2f} us a message; "
              f"{raw / len(every):.0f} bytes on the wire, {size / len(every):.1f} on disk")  # fmt: skip
        verdict(f"CPU the log adds, {turn} a read, %", share * 100, 10, at_most=True)


if __name__ == "__main__":
    main()
