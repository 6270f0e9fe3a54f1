"""Per event: frame decoded -> folded -> metrics -> encoded, CPU a message: the product beside the usual code.

The usual code is ib_insync's own decoder, wrapper and ticker events, numbers from the callbacks, `json.dumps` for Redis. It
computes less than the product does (a windowed imbalance and a mean of the book, no VPIN buckets, no sweeps, no hidden orders).
Also: what 1x, 2x, 4x, 8x events cost, which must grow in line.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
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


def product(messages: list[bytes], turn: int, rate: int) -> tuple[int, Any]:
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
        for command in batch.commands:
            meter.fold(decode(k.EVENTS_MARKET, command[-1]), SESSION)
        if not meter.due(clock.ns):
            continue
        now = clock.ns
        for metric in meter.metrics(now, now, lambda ns: None if ns is None else (now - ns) / 1e6, "20261118"):  # noqa: B023
            last = metric
            bytes_out += len(encode(METRIC_KEYS[metric.metric], metric))
    return bytes_out, last


def usual(messages: list[bytes], turn: int, _rate: int) -> tuple[int, Any]:
    asyncio.set_event_loop(asyncio.new_event_loop())
    ib: Any = IB()
    ib.client._serverVersion = ib.client.decoder.serverVersion = 176
    contract = Contract(conId=756733, symbol="SPY", secType="STK", exchange="SMART", currency="USD")
    ticker = ib.wrapper.startTicker(1, contract, "mktDepth")
    ib.wrapper.startTicker(2, contract, "AllLast")
    prints: deque[tuple[float, float]] = deque(maxlen=1000)
    sent = [0, ""]

    def on_update(updated: Any) -> None:
        for tick in updated.tickByTicks:
            prints.append((tick.price, tick.size))
        bids, asks = updated.domBids[:10], updated.domAsks[:10]
        bid, ask = sum(level.size for level in bids), sum(level.size for level in asks)
        mid = (bids[0].price + asks[0].price) / 2 if bids and asks else None
        flow = sum(size if mid is not None and price > mid else -size for price, size in prints)
        volume = sum(size for _, size in prints)
        book = {
            "bids": [(row.price, row.size, row.marketMaker) for row in bids],
            "asks": [(r.price, r.size, r.marketMaker) for r in asks],
        }
        event = json.loads(json.dumps({"symbol": "SPY", "book": book}))
        metrics = {
            "obi": {"value": (bid - ask) / (bid + ask) if bid + ask else None, "levels": len(event["book"]["bids"])},
            "vpin": {"value": abs(flow) / volume if volume else None, "n": len(prints)},
        }
        for name, metric in metrics.items():
            sent[1] = json.dumps({"symbol": "SPY", "metric": name, **metric})
            sent[0] += len(sent[1])

    ticker.updateEvent += on_update
    for at in range(0, len(messages), turn):
        ib.wrapper.tcpDataArrived()
        for message in messages[at : at + turn]:
            ib.client.decoder.interpret(message.decode().split("\0")[:-1])
        ib.wrapper.tcpDataProcessed()
    return sent[0], sent[1]


def cpu(work: Callable[..., Any], messages: list[bytes], turn: int, rate: int) -> float:
    start = process_time()
    work(messages, turn, rate)
    return (process_time() - start) / len(messages) * 1e6


def main() -> None:
    title(
        f"per-event path: {MESSAGES} frames, 7 depth to 3 prints",
        "in one process, without sockets and Redis: what Python itself costs; CPU time",
        "the product's books are conflated to 20 a second, its metrics made in each turn that changed them, prints never are",
        "the usual code computes less: no VPIN buckets, sweeps, hidden orders, checks; and keeps no prints beyond 1000",
    )
    messages = frames(MESSAGES)
    for turn, rate in READS:
        assert usual(messages, turn, rate)[0] > 0, "ib_insync called nobody back"
        assert msgspec.json.encode(product(messages, turn, rate)[1]), "the product made no metric"
        rounds = [(cpu(product, messages, turn, rate), cpu(usual, messages, turn, rate)) for _ in range(ROUNDS)]
        ours, theirs = median(p for p, _ in rounds), median(u for _, u in rounds)
        print(f"   {turn:>2} a read ({rate}/s): product {ours:7.2f} us a message, usual code {theirs:7.2f} us")
        times = median(u / p for p, u in rounds)
        verdict(f"event path at {turn} a read, times less CPU than ib_insync callbacks + json", times, 5)
    sizes = [frames(MESSAGES * factor) for factor in (1, 2, 4, 8)]
    costs = [
        median(values) for values in zip(*([cpu(product, some, *READS[1]) for some in sizes] for _ in range(3)), strict=True)
    ]
    print("   us a message at 1x, 2x, 4x, 8x events: " + ", ".join(f"{cost:.2f}" for cost in costs))
    step = max(b / a for a, b in pairwise(costs))
    verdict("event path, largest growth of the cost a message when events double", step, 1.25, at_most=True)


if __name__ == "__main__":
    main()
