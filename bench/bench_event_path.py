"""Per event: frame decoded -> folded -> metrics -> encoded, CPU a message: the product beside the usual code.

The usual code is ib_insync's own decoder, wrapper and ticker events, numbers from the callbacks, `json.dumps` for Redis, each
message by itself. It tells the same messages to the same keys with the same fields: every print, the book of every callback, and
vpin and obi of every event that moves them; what it computes is less (a windowed imbalance and a sum of the book, no VPIN
buckets, no sweeps, no hidden orders). Printed beside it: the same code told to leave out the prints and to write once a callback.
Also: what 1x, 2x, 4x, 8x events cost, which must grow in line.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median
from time import process_time
from typing import Any

import msgspec
from ib_insync import IB, Contract
from interleaved import title, verdict

from alphatrader.clients.ibkr.handlers import Handlers
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.batch import Batch, encode
from alphatrader.runtime.store import decode
from alphatrader.streams.analytics import METRIC_KEYS

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
    return [text.encode() for text in out]


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


def product(messages: list[bytes], turn: int, rate: int, made: list[Any] | None = None) -> tuple[int, Any]:
    """(bytes of what was told, the last metric). `made` takes the messages."""
    clock = Instant()
    feed = SymbolFeed("SPY", full=True, depth_rows=20, quiet_seconds=5.0, market_ns=clock.market_ns, monotonic=clock.monotonic)
    feed.set_depth(True)
    feed.set_ticks(True)
    handlers: dict[int, Any] = {}
    line = Line(feed)
    Handlers({1: line, 2: line}, print).install(handlers)
    meter = Meter("SPY", Analytics(), None, 5.0, 14)
    meter.take_bucket_size(1000, "discovered", (), START_NS)
    bytes_out, last = 0, None
    for at in range(0, len(messages), turn):
        clock.ns += turn * 1_000_000_000 // rate
        for message in messages[at : at + turn]:
            fields = message.decode().split("\0")
            handlers[int(fields[0])](fields)
        feed.end_of_read()
        batch = Batch(Module.IBKR, {})
        for event in feed.take_events(clock.monotonic()):
            batch.append(k.EVENTS_MARKET.at(symbol="SPY"), event)
            if made is not None:
                made.append(event)
        for command in batch.commands:
            bytes_out += len(command[-1])
            meter.fold(decode(k.EVENTS_MARKET, command[-1]), SESSION)
        if not meter.due(clock.ns):
            continue
        now = clock.ns
        for metric in meter.metrics(now, now, lambda ns: None if ns is None else (now - ns) / 1e6, "20261118"):  # noqa: B023
            last = metric
            if made is not None:
                made.append(metric)
            bytes_out += len(encode(METRIC_KEYS[metric.metric], metric))
    return bytes_out, last


class Usual:
    """What the usual code does with a callback. `whole`: it tells every print, and the metrics of every event."""

    def __init__(self, whole: bool, shapes: dict[str, dict[str, Any]]) -> None:
        self.whole, self.shapes = whole, shapes
        self.prints: deque[tuple[float, float]] = deque(maxlen=1000)
        self.book: tuple[list[Any], list[Any]] = ([], [])
        self.bytes_out = self.told = 0

    def tell(self, message: dict[str, Any]) -> str:
        text = json.dumps(message)
        self.bytes_out += len(text)
        self.told += 1
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
        self.tell({**self.shapes[name], "value": value})


def shapes_of(messages: list[bytes]) -> dict[str, dict[str, Any]]:
    """A message of each kind as the product tells it, for its fields."""
    made: list[Any] = []
    product(messages, *READS[0], made)
    names = {"Trade": "trade", "BookEvent": "book"}
    return {
        getattr(one, "metric", names.get(type(one).__name__, "")): {
            name: msgspec.to_builtins(getattr(one, name)) for name in one.__struct_fields__
        }
        for one in made
    }


def usual(messages: list[bytes], turn: int, _rate: int, code: Usual) -> Usual:
    asyncio.set_event_loop(asyncio.new_event_loop())
    ib: Any = IB()
    ib.client._serverVersion = ib.client.decoder.serverVersion = 176
    contract = Contract(conId=756733, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
    ticker = ib.wrapper.startTicker(1, contract, "mktDepth")
    ib.wrapper.startTicker(2, contract, "AllLast")
    ticker.updateEvent += code.on_update
    for at in range(0, len(messages), turn):
        ib.wrapper.tcpDataArrived()
        for message in messages[at : at + turn]:
            ib.client.decoder.interpret(message.decode().split("\0")[:-1])
        ib.wrapper.tcpDataProcessed()
    return code


def cpu(work: Callable[[], Any], messages: list[bytes]) -> float:
    start = process_time()
    work()
    return (process_time() - start) / len(messages) * 1e6


def main() -> None:
    title(
        f"per-event path: {MESSAGES} frames, 7 depth to 3 prints",
        "in one process, without sockets and Redis: what Python itself costs; CPU time",
        "the product's books are conflated to 20 a second, its metrics made once a turn where they moved; its prints never",
        "the usual code tells the same messages, each by itself, and computes less: no VPIN buckets, sweeps, hidden orders",
        "`least`: it leaves the prints untold and writes its book and two metrics once a callback, which is once a read",
    )
    messages = frames(MESSAGES)
    shapes = shapes_of(messages)
    for turn, rate in READS:
        made: list[Any] = []
        ours_bytes, last = product(messages, turn, rate, made)
        same, least = (usual(messages, turn, rate, Usual(whole, shapes)) for whole in (True, False))
        assert same.told and least.told and msgspec.json.encode(last), "one of them told nothing"
        rounds = [
            [
                cpu(partial(product, messages, turn, rate), messages),
                cpu(partial(usual, messages, turn, rate, Usual(True, shapes)), messages),
                cpu(partial(usual, messages, turn, rate, Usual(False, shapes)), messages),
            ]
            for _ in range(ROUNDS)
        ]
        told = (len(made), ours_bytes), (same.told, same.bytes_out), (least.told, least.bytes_out)
        for name, column, (count, size) in zip(
            ("product", "usual code", "usual, least"), zip(*rounds, strict=True), told, strict=True
        ):
            each = f"{median(column):7.2f} us a message; told {count} messages, {size} bytes"
            print(f"   {turn:>2} a read ({rate}/s): {name:<12} {each}")
        print(f"   {turn:>2} a read: product against `least`: {median(row[2] / row[0] for row in rounds):.2f} times less CPU")
        times = median(row[1] / row[0] for row in rounds)
        verdict(f"event path at {turn} a read, times less CPU than ib_insync callbacks + json, same messages", times, 5)
    sizes = [frames(MESSAGES * factor) for factor in (1, 2, 4, 8)]
    costs = [
        median(values)
        for values in zip(*([cpu(partial(product, some, *READS[1]), some) for some in sizes] for _ in range(3)), strict=True)
    ]
    print("   us a message at 1x, 2x, 4x, 8x events: " + ", ".join(f"{cost:.2f}" for cost in costs))
    step = max(b / a for a, b in pairwise(costs))
    verdict("event path, largest growth of the cost a message when events double", step, 1.25, at_most=True)


if __name__ == "__main__":
    main()
