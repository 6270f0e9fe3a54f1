"""Per event: read cut into frames -> decoded -> folded -> metrics -> encoded, CPU a message: the product beside the usual code.

Both begin with the bytes of a read of the gateway's socket, as each connection gets them. The usual code is ib_insync's own
framing, decoder, wrapper and ticker events, numbers from the callbacks, `json.dumps` for Redis, each message by itself. It tells
the same messages to the same keys with the same fields: every print, the book of every callback, and vpin and obi of every event
that moves them; what it computes is less (a windowed imbalance and a sum of the book, no VPIN buckets, no sweeps, no hidden
orders). Printed beside it: the same code told to leave out the prints and to write once a callback; and both with their writes to
a server, which are one await a command in the usual code. Also: what 1x, 2x, 4x, 8x events cost, which must grow in line.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import msgspec
import redis.asyncio
import uvloop
from ib_insync import IB, Contract
from interleaved import title, verdict

from alphatrader.clients.ibkr.framing import frame
from alphatrader.clients.ibkr.handlers import Handlers
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import MarketEvent
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.batch import Batch, encode
from alphatrader.runtime.store import decode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.servers import Servers, running_servers

START_NS = 1_795_014_000_000_000_000
SESSION = (START_NS - 3_600_000_000_000, START_NS + 20_000_000_000_000)
MESSAGES, ROUNDS = 4_000, 5
READS = ((1, 2_000), (10, 20_000))
"""Messages of one socket read, and the rate a second at which a gateway sends so many at once."""


def frames(count: int) -> list[bytes]:
    """Of ten messages seven are depth (id 13), three are prints (id 99), as on a busy symbol."""
    out = [f"13\0001\0001\0{row}\0ARCA\0000\0{side}\0{price}\0{300 + row}\0001\0" for row in range(10) for side, price in
           ((1, round(600 - row * 0.01, 2)), (0, round(600.02 + row * 0.01, 2)))]  # fmt: skip
    for n in range(count):
        if n % 10 < 7:
            row, side = n % 8, n & 1
            price = round(600 - row * 0.01, 2) if side else round(600.02 + row * 0.01, 2)
            out.append(f"13\0001\0001\0{row}\0ARCA\0001\0{side}\0{price}\0{100 + n % 400}\0001\0")
        else:
            venue = ("ARCA", "NASDAQ", "BATS")[n % 3]
            price_text = "600.0" if n & 1 else "600.02"
            out.append(f"99\0002\0001\0{START_NS // 10**9 + n // 2000}\0{price_text}\0{100 + n % 7}\0000\0{venue}\0\0")
    return [len(text).to_bytes(4, "big") + text.encode() for text in out]


def reads_of(messages: list[bytes], turn: int) -> list[bytes]:
    return [b"".join(messages[at : at + turn]) for at in range(0, len(messages), turn)]


def connection() -> Any:
    """An IB whose handshake is over."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    ib: Any = IB()
    ib.client._serverVersion = ib.client.decoder.serverVersion = 176
    ib.client._apiReady, ib.client.connState = True, ib.client.CONNECTED
    return ib


class Instant:
    """Market time that flows at the messages' rate, so that windows hold what they would hold."""

    def __init__(self) -> None:
        self.ns = START_NS

    def market_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / 1e9


class Line:
    def __init__(self, feed: SymbolFeed) -> None:
        self.feed, self.fresh = feed, False


def wired(feed: SymbolFeed) -> Callable[[bytes], None]:
    """What takes the bytes of a read, by the module's own framing and handlers, for this feed."""
    feed.set_depth(True)
    feed.set_ticks(True)
    ib = connection()
    frame(ib)
    line = Line(feed)
    Handlers({1: line, 2: line}, print).install(ib.client.decoder.handlers)
    received: Callable[[bytes], None] = ib.client.conn.data_received
    return received


def turns(reads: list[bytes], turn: int, rate: int) -> Iterator[tuple[list[MarketEvent], Batch, list[Metric]]]:
    """(events, the batch they go out in, metrics) of each turn."""
    clock = Instant()
    feed = SymbolFeed("SPY", full=True, depth_rows=20, quiet_seconds=5.0, market_ns=clock.market_ns, monotonic=clock.monotonic)
    received = wired(feed)
    stream = k.EVENTS_MARKET.at(symbol="SPY")
    meter = Meter("SPY", Analytics(), None, 5.0, 14)
    meter.take_bucket_size(1000, "discovered", (), START_NS)

    def age_of(instant_ns: int | None) -> float | None:
        return None if instant_ns is None else (clock.ns - instant_ns) / 1e6

    for read in reads:
        clock.ns += turn * 1_000_000_000 // rate
        received(read)
        feed.end_of_read()
        batch = Batch(Module.IBKR, {})
        events = feed.take_events(clock.monotonic())
        for event in events:
            batch.append(stream, event)
        for command in batch.commands:
            meter.fold(decode(k.EVENTS_MARKET, command[-1]), SESSION)
        yield events, batch, meter.metrics(clock.ns, clock.ns, age_of, "20261118") if meter.due(clock.ns) else []


def product(reads: list[bytes], turn: int, rate: int, made: list[Any] | None = None) -> int:
    """Bytes of what was told. `made` takes the messages."""
    bytes_out = 0
    for events, batch, metrics in turns(reads, turn, rate):
        for command in batch.commands:
            bytes_out += len(command[-1])
        for metric in metrics:
            bytes_out += len(encode(k.METRICS[metric.metric], metric))
        if made is not None:
            made += [*events, *metrics]
    return bytes_out


async def product_written(reads: list[bytes], turn: int, rate: int, servers: Servers) -> None:
    """As the product writes: each module's turn in one write, replies read as they come."""
    feeds, analytics = servers.async_store(Module.IBKR), servers.async_store(Module.ANALYTICS)
    for _, batch, metrics in turns(reads, turn, rate):
        await feeds.post(batch)
        out = analytics.batch()
        for metric in metrics:
            out.put(k.METRICS[metric.metric].at(symbol="SPY"), metric)
        await analytics.post(out)
        await asyncio.sleep(0)
    await feeds.close()
    await analytics.close()


class Usual:
    """What the usual code does with a callback. `whole`: it tells every print, and the metrics of every event."""

    def __init__(self, whole: bool, shapes: dict[str, dict[str, Any]]) -> None:
        self.whole, self.shapes = whole, shapes
        self.prints: deque[tuple[float, float]] = deque(maxlen=1000)
        self.book: tuple[list[Any], list[Any]] = ([], [])
        self.bytes_out = self.told = 0
        self.untold: list[tuple[Any, ...]] = []
        """Commands for Redis."""

    def tell(self, message: dict[str, Any], key: str = "") -> str:
        """An event, or what a key holds from now on."""
        text = json.dumps(message)
        self.bytes_out += len(text)
        self.told += 1
        self.untold.append(("SET", key, text, "PX", 5000) if key else ("XADD", "events:market:SPY", "*", "e", text))
        return text

    def on_update(self, updated: Any) -> None:
        for tick in updated.tickByTicks:
            self.prints.append((tick.price, tick.size))
            if self.whole:
                trade = {"price": tick.price, "size": tick.size, "venue": tick.exchange, "conditions": tick.specialConditions}
                json.loads(self.tell({**self.shapes["trade"], **trade}))
                self.vpin()
        if not updated.domTicks:
            if not self.whole:
                self.vpin()
            return
        sides = {
            name: [{"price": row.price, "size": row.size, "venue": row.marketMaker} for row in rows[:10]]
            for name, rows in (("bids", updated.domBids), ("asks", updated.domAsks))
        }
        event = json.loads(self.tell({**self.shapes["book"], **sides}))
        self.book = event["bids"], event["asks"]
        bid, ask = (sum(row["size"] for row in side) for side in self.book)
        self.metric("obi", (bid - ask) / (bid + ask) if bid + ask else None)
        if not self.whole:
            self.vpin()

    def vpin(self) -> None:
        bids, asks = self.book
        mid = (bids[0]["price"] + asks[0]["price"]) / 2 if bids and asks else None
        flow = sum(size if mid is not None and price > mid else -size for price, size in self.prints)
        volume = sum(size for _, size in self.prints)
        self.metric("vpin", abs(flow) / volume if volume else None)

    def metric(self, name: str, value: float | None) -> None:
        self.tell({**self.shapes[name], "value": value}, f"metrics:SPY:{name}")


def shapes_of(messages: list[bytes]) -> dict[str, dict[str, Any]]:
    """A message of each kind as the product tells it, for its fields."""
    made: list[Any] = []
    turn, rate = READS[0]
    product(reads_of(messages, turn), turn, rate, made)
    names = {"Trade": "trade", "BookEvent": "book"}
    return {
        getattr(one, "metric", names.get(type(one).__name__, "")): {
            name: msgspec.to_builtins(getattr(one, name)) for name in one.__struct_fields__
        }
        for one in made
    }


def called(reads: list[bytes], code: Usual) -> Iterator[None]:
    """Calls the usual code's callbacks, read by read."""
    ib = connection()
    contract = Contract(conId=756733, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
    ticker = ib.wrapper.startTicker(1, contract, "mktDepth")
    ib.wrapper.startTicker(2, contract, "AllLast")
    ticker.updateEvent += code.on_update
    for read in reads:
        ib.client.conn.data_received(read)
        yield


def usual(reads: list[bytes], code: Usual) -> Usual:
    for _ in called(reads, code):
        code.untold.clear()
    return code


async def usual_written(reads: list[bytes], code: Usual, servers: Servers) -> None:
    """As it is usually written: redis-py, one await a command."""
    at, password = servers.settings.servers.data, servers.vault.redis_password(Module.REDIS)
    client = redis.asyncio.Redis(host=at.host, port=at.port, username=Module.REDIS, password=password)
    for _ in called(reads, code):
        for command in code.untold:
            await client.execute_command(*command)
        code.untold.clear()
    await client.aclose()


def cpu(work: Callable[[], Any], messages: list[bytes]) -> float:
    gc.collect()
    start = process_time()
    done = work()
    if asyncio.iscoroutine(done):
        uvloop.run(done)
    return (process_time() - start) / len(messages) * 1e6


def compared(messages: list[bytes], turn: int, rate: int, shapes: dict[str, dict[str, Any]], servers: Servers) -> None:
    reads, made = reads_of(messages, turn), list[Any]()
    ours_bytes = product(reads, turn, rate, made)
    same, least = (usual(reads, Usual(whole, shapes)) for whole in (True, False))
    assert same.told and least.told and made, "one of them told nothing"
    contestants: dict[str, Callable[[], Any]] = {
        "product": partial(product, reads, turn, rate),
        "usual code": lambda: usual(reads, Usual(True, shapes)),
        "usual, least": lambda: usual(reads, Usual(False, shapes)),
        "product, written": lambda: product_written(reads, turn, rate, servers),
        "usual, written": lambda: usual_written(reads, Usual(True, shapes), servers),
    }
    rounds = [{name: cpu(work, messages) for name, work in contestants.items()} for _ in range(ROUNDS)]
    told = {
        "product": (len(made), ours_bytes),
        "usual code": (same.told, same.bytes_out),
        "usual, least": (least.told, least.bytes_out),
    }
    for name in contestants:
        each = f"{median(one[name] for one in rounds):7.2f} us a message"
        count, size = told.get(name, (0, 0))
        print(f"   {turn:>2} a read ({rate}/s): {name:<16} {each}" + (f"; told {count} messages, {size} bytes" if count else ""))

    def times(other: str, ours: str) -> float:
        return median(one[other] / one[ours] for one in rounds)

    print(f"   {turn:>2} a read: product against `least`: {times('usual, least', 'product'):.2f} times less CPU")
    what = f"event path at {turn} a read, times less CPU than ib_insync callbacks + json, same messages"
    verdict(what, times("usual code", "product"), 5)
    verdict(f"{what}, each with its writes", times("usual, written", "product, written"), 5)


def main() -> None:
    title(
        f"per-event path: {MESSAGES} frames, 7 depth to 3 prints",
        "in one process, from the bytes of a read: what Python itself costs; CPU time; `written`: to a server of its own, too",
        "the product's books are conflated to 20 a second, its metrics made once a turn where they moved; its prints never",
        "the usual code tells the same messages, each by itself, and computes less: no VPIN buckets, sweeps, hidden orders",
        "`least`: it leaves the prints untold and writes its book and two metrics once a callback, which is once a read",
    )
    messages = frames(MESSAGES)
    shapes = shapes_of(messages)
    with tempfile.TemporaryDirectory() as folder, running_servers(Path(folder)) as servers:
        for turn, rate in READS:
            compared(messages, turn, rate, shapes, servers)
    sizes = [frames(MESSAGES * factor) for factor in (1, 2, 4, 8)]
    costs = [
        median(values)
        for values in zip(
            *([cpu(partial(product, reads_of(some, READS[1][0]), *READS[1]), some) for some in sizes] for _ in range(3)),
            strict=True,
        )
    ]
    print("   us a message at 1x, 2x, 4x, 8x events: " + ", ".join(f"{cost:.2f}" for cost in costs))
    step = max(b / a for a, b in pairwise(costs))
    verdict("event path, largest growth of the cost a message when events double", step, 1.25, at_most=True)


if __name__ == "__main__":
    main()
