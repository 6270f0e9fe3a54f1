"""The raw reference of the tick benchmark: blocking sockets, hiredis, one write a turn, nothing else.

Folds, measures and encodes with the product's own core, so that both write the same keys and bytes: what differs is how frames
reach it, how commands reach Redis, and what surrounds them. Run by bench_ticks.py as `tick_reference.py feed|metrics JSON`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Any

import hiredis

from alphatrader.clients.ibkr.handlers import Handlers
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import load
from alphatrader.runtime.store import decode

READ_BYTES = 64 * 1024
"""A larger buffer is memory asked of the system at each read, and given back."""
KEYS_SECONDS = 0.05
"""State keys of a symbol are written this often, as the product's."""


class RawRedis:
    """A socket to Redis: commands go out in one write, replies are read when somebody asks."""

    def __init__(self, port: int, path: str | None, user: str, password: str) -> None:
        if path is not None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(path)
        else:
            self._socket = socket.create_connection(("127.0.0.1", port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self.descriptor = self._socket.fileno()
        self.ask("AUTH", user, password)

    def tell(self, commands: list[Any]) -> None:
        """Sends; takes what replies are there without waiting for the rest."""
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        while select.select([self._socket], [], [], 0)[0]:
            self._reader.feed(self._socket.recv(READ_BYTES))
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply

    def ask(self, *command: Any) -> Any:
        self._socket.sendall(hiredis.pack_command(command))
        return self.next()

    def next(self) -> Any:
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(READ_BYTES))
        if isinstance(reply, Exception):
            raise reply
        return reply


class Line:
    def __init__(self, feed: SymbolFeed) -> None:
        self.feed = feed
        self.fresh = False


def feed(told: dict[str, Any], redis: RawRedis, clock: Clock) -> None:
    """Frames in; every print an event, the newest state a key."""
    feeds = [
        SymbolFeed(s, full=True, depth_rows=20, quiet_seconds=5.0, market_ns=clock.market_ns, monotonic=clock.monotonic)
        for s in told["symbols"]
    ]
    for one in feeds:
        one.set_ticks(True)
    handlers: dict[int, Any] = {}
    Handlers({number: Line(one) for number, one in enumerate(feeds)}, print).install(handlers)
    shown = dict.fromkeys(told["symbols"], 0.0)
    gateway = socket.create_connection(("127.0.0.1", told["raw"]))
    buffer = b""
    while data := gateway.recv(READ_BYTES):
        buffer += data
        at = 0
        while len(buffer) - at >= 4:
            end = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if end > len(buffer):
                break
            fields = buffer[at + 4 : end].decode().split("\0")
            handlers[int(fields[0])](fields)
            at = end
        buffer = buffer[at:]
        batch = Batch(Module.IBKR, {})
        now = clock.monotonic()
        for one in feeds:
            for event in one.take_events(now):
                batch.append(k.EVENTS_MARKET.at(symbol=one.symbol), event)
            if one.changed and now - shown[one.symbol] >= KEYS_SECONDS:
                shown[one.symbol], one.changed = now, set()
                batch.put(k.MARKET_TRADES.at(symbol=one.symbol), one.trades())
                batch.put(k.MARKET_TIMESTAMP.at(symbol=one.symbol), one.timestamps())
        redis.tell(batch.commands)


def metrics(told: dict[str, Any], redis: RawRedis, writer: RawRedis, clock: Clock) -> None:
    """Events in; the fast metrics of every symbol that changed, once a turn."""
    settings = load(told["environment"])
    meters = {k.EVENTS_MARKET.at(symbol=s).name: Meter(s, settings.analytics, None, 5.0, 14) for s in told["streams"]}
    for meter in meters.values():
        meter.take_bucket_size(told["bucket"], "discovered", (), clock.market_ns())
    session = tuple(told["session"])
    positions = dict.fromkeys(meters, told["from"])
    while True:
        reply = redis.ask("XREAD", "COUNT", 1000, "BLOCK", 1000, "STREAMS", *positions, *positions.values())
        batch = Batch(Module.ANALYTICS, {})
        now_ns, made_ns = clock.market_ns(), clock.machine_ns()
        for raw_name, items in reply or ():
            name = raw_name.decode()
            for raw_id, fields in items:
                positions[name] = raw_id
                meters[name].fold(decode(k.EVENTS_MARKET, fields[1]), session)

            def age_of(instant_ns: int | None) -> float | None:
                return None if instant_ns is None else max(0.0, (now_ns - instant_ns) / 1e6)  # noqa: B023 used at once

            for metric in meters[name].metrics(now_ns, made_ns, age_of, "20261118"):
                batch.put(k.METRICS[metric.metric].at(symbol=metric.symbol), metric)
        if batch.commands:
            writer.tell(batch.commands)


def main() -> None:
    what, told = sys.argv[1], json.loads(sys.argv[2])
    clock = Clock(told["market_start_ns"], told["machine_start_ns"], 1.0)
    connections = [RawRedis(told["redis"], told["redis_socket"], told["user"], told["password"]) for _ in range(2)]
    print("ready", flush=True)
    try:
        if what == "feed":
            feed(told, connections[0], clock)
        else:
            metrics(told, *connections, clock)
    except (ConnectionError, KeyboardInterrupt):
        time.sleep(0)


if __name__ == "__main__":
    main()
