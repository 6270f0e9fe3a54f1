"""Broker messages in, market messages out: messages a second and CPU a message of a bare parse, of the usual code, of `ibkr`.

All begin with the bytes of a read of the gateway's socket. `parse` cuts them into frames and fields and makes its numbers, no
more. The usual code is ib_insync's own framing, decoder, wrapper and ticker events, and `json.dumps` of every print and of the
book of every callback, of which there is one a read. The module is its own framing and handlers, feed and publisher, with all
that a turn writes: every print, books twenty a second, the state keys. `written`: to a server of its own, too, as each does it:
one write a turn, one await a command.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench_event_path import MESSAGES, READS, ROUNDS, Instant, Usual, cpu, frames, reads_of, shapes_of, usual, wired
from bench_event_path import usual_written as written_by_usual
from interleaved import title, verdict

from alphatrader.contract.modules import Module
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.settings import load
from alphatrader.streams.ibkr.publishing import Publisher

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.servers import Servers, running_servers

SUSTAINED = 20_000
"""Messages a second that one core must take."""


def parse(reads: list[bytes]) -> float:
    """The sum of all numbers, so that each is made."""
    total, rest = 0.0, b""
    for read in reads:
        data = rest + read
        at = 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            fields = data[at + 4 : end].decode().split("\0")
            total += float(fields[4]) + float(fields[5]) if fields[0] == "99" else float(fields[7]) + float(fields[8])
            at = end
        rest = data[at:]
    return total


class Callbacks(Usual):
    """The usual code without metrics."""

    def vpin(self) -> None: ...

    def metric(self, name: str, value: float | None) -> None: ...


class Turns:
    """The module between its socket and its writes."""

    def __init__(self, rate: int) -> None:
        clock, spoken = Instant(), list[SymbolFeed]()
        feed = SymbolFeed(
            "SPY",
            full=True,
            depth_rows=20,
            quiet_seconds=5.0,
            market_ns=clock.market_ns,
            monotonic=clock.monotonic,
            spoken=spoken,
        )
        self._publisher = Publisher(load().market, {"SPY": feed}, spoken, {}, [])
        self._read, self._clock, self._rate = wired(feed), clock, rate

    def turn(self, read: bytes, messages: int) -> Batch:
        self._clock.ns += messages * 1_000_000_000 // self._rate
        self._read(read)
        self._publisher.end_read()
        batch = Batch(Module.IBKR, {"market.ttl_seconds": 1.0})
        self._publisher.add_to(batch, self._clock.monotonic(), after_read=True)
        return batch


def module(reads: list[bytes], turn: int, rate: int) -> int:
    """How many commands it made."""
    turns = Turns(rate)
    return sum(len(turns.turn(read, turn)) for read in reads)


async def module_written(reads: list[bytes], turn: int, rate: int, servers: Servers) -> None:
    store, turns = servers.async_store(Module.IBKR), Turns(rate)
    for read in reads:
        await store.post(turns.turn(read, turn))
    await store.close()


def compared(messages: list[bytes], turn: int, rate: int, shapes: dict[str, Any], servers: Servers) -> None:
    reads = reads_of(messages, turn)
    contestants = {
        "parse": partial(parse, reads),
        "usual code": lambda: usual(reads, Callbacks(True, shapes)),
        "module": partial(module, reads, turn, rate),
        "usual code, written": lambda: written_by_usual(reads, Callbacks(True, shapes), servers),
        "module, written": lambda: module_written(reads, turn, rate, servers),
    }
    rounds = [{name: cpu(work, messages) for name, work in contestants.items()} for _ in range(ROUNDS)]
    for name in contestants:
        each = median(one[name] for one in rounds)
        print(f"   {turn:>2} a read: {name:<20} {each:7.2f} us a message, {1e6 / each:9,.0f} messages a second")
    what = f"ingestion at {turn} a read, times less CPU than ib_insync callbacks + json"
    verdict(what, median(one["usual code"] / one["module"] for one in rounds), 5)
    verdict(f"{what}, with the writes", median(one["usual code, written"] / one["module, written"] for one in rounds), 5)
    verdict(f"ingestion at {turn} a read, messages a second", 1e6 / median(one["module, written"] for one in rounds), SUSTAINED)


def main() -> None:
    messages = frames(MESSAGES)
    title(
        f"ingestion: {MESSAGES} frames, 7 depth to 3 prints",
        "in one process, from the bytes of a read; CPU time",
        "the module's books are conflated to 20 a second, its prints never; the usual code tells each by itself",
    )
    with tempfile.TemporaryDirectory() as folder, running_servers(Path(folder)) as servers:
        for turn, rate in READS:
            compared(messages, turn, rate, shapes_of(messages), servers)


if __name__ == "__main__":
    main()
