"""The product's decode path without a socket: ib_insync's framing, our handlers, the feeds and what they publish.

`DecodePath.read(data)` is one read of the socket. It raises what the product may not do on any bytes: an exception of ours, a
message or a book that no reader could believe. What ib_insync's own handlers make of garbage it logs itself; that is counted.
"""

from __future__ import annotations

import json
import logging
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import msgspec
from ib_insync import IB

import alphatrader
from alphatrader.clients.ibkr import framing
from alphatrader.clients.ibkr.handlers import Handlers
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.core.market.checksum import checksum
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.core.market.quotes import OptionFeed
from alphatrader.sandbox.gateway import layouts
from alphatrader.sandbox.gateway.wire import encode_field
from alphatrader.sandbox.market.types import Bar

FRAMES = Path(__file__).parents[2] / "../shared/data/frames/frames.jsonl"
FULL, OPTION = 1, 2
"""Request ids of the two lines: an equity in full, a wanted option."""
VERSION = 176
READS_OF_A_CONNECTION = 500
"""After so many reads a new connection, as the product makes a new IB for each."""


PACKAGE = f"{Path(alphatrader.__file__).parent}/"
"""Where our code stands: the clone's own folder may have the same name, and hold the library, too."""


class OurFaultError(AssertionError):
    """The decode path did what no bytes may make it do."""


class _Watch(logging.Handler):
    """What ib_insync's decoder logged: ours when our code is in the traceback, beyond the loop that stands for the library's."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.library_errors = 0
        self.ours: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        _, error, trace = record.exc_info or (None, None, None)
        if error is not None and any(name.startswith(PACKAGE) and name != framing.__file__ for name in _files(trace)):
            self.ours = error
        else:
            self.library_errors += 1


def _files(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename
        trace = trace.tb_next


class DecodePath:
    def __init__(self) -> None:
        self.refused = self.reads = self.messages = 0
        self._watch = _Watch()
        for name in ("ib_insync.Decoder", "ib_insync.wrapper", "ib_insync.client", "ib_insync.ib"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.handlers = [self._watch if name == "ib_insync.Decoder" else logging.NullHandler()]
        self._ns = 1_800_000_000_000_000_000
        self._connect()

    def close(self) -> None:
        logger = logging.getLogger("ib_insync.Decoder")
        logger.handlers, logger.propagate = [], True

    def _connect(self) -> None:
        self.feed = SymbolFeed(
            "SPY", full=True, depth_rows=20, quiet_seconds=5, market_ns=self._market_ns, monotonic=self._monotonic
        )  # fmt: skip
        self.feed.set_depth(True)
        self.feed.set_ticks(True)
        self.option = OptionFeed(
            OptionRef("SPY", "20261218", 600.0, "C"), 1, self._market_ns, self._market_ns, self._monotonic, []
        )  # fmt: skip
        ib = IB()
        client: Any = ib.client
        client._serverVersion = client.decoder.serverVersion = VERSION
        client._apiReady, client.connState = True, client.CONNECTED
        lines = {number: SimpleNamespace(feed=feed, fresh=False) for number, feed in ((FULL, self.feed), (OPTION, self.option))}
        Handlers(lines, self._refuse).install(client.decoder.handlers)  # type: ignore[arg-type]
        framing.frame(ib)
        self._client = client

    def _market_ns(self) -> int:
        self._ns += 1_000_000
        return self._ns

    def _monotonic(self) -> float:
        return self._ns / 1e9

    def _refuse(self, why: str) -> None:
        self.refused += 1
        if len(why) > 400:
            raise OurFaultError(f"a refusal of {len(why)} letters: an answer that the sender sizes")

    def read(self, *pieces: bytes) -> None:
        """One or more reads; the connection's buffer begins empty, as after a reconnect."""
        self.reads += 1
        if self.reads % READS_OF_A_CONNECTION == 0:
            self._connect()
        self._client._data = b""
        for piece in pieces:
            before = self._client._numMsgRecv
            self._client.conn.data_received(piece)
            self.messages += self._client._numMsgRecv - before
            self.feed.end_of_read()
            self._published()
        if self._watch.ours is not None:
            error, self._watch.ours = self._watch.ours, None
            raise error

    @property
    def library_errors(self) -> int:
        return self._watch.library_errors

    def _published(self) -> None:
        """What readers would get now: it can be written, and says nothing that cannot be."""
        self._ns += 100_000_000
        events = self.feed.take_events(self._monotonic())
        book = self.feed.book(self._monotonic())
        for message in (*events, book, self.feed.last(), self.feed.status(), self.feed.trades(), self.feed.timestamps()):
            _believable(msgspec.to_builtins(message))
            msgspec.json.encode(message)
        if book.crc32 != checksum(book.bids, book.asks):
            raise OurFaultError("the checksum is not the book's")
        if len(book.bids) > 10 or len(book.asks) > 10:
            raise OurFaultError("more than ten levels")
        if book.ready and not (book.bids and book.asks):
            raise OurFaultError(f"a ready book without two sides: {book}")
        if book.ready and book.bids[0].price > book.asks[0].price and not self.feed.status().halted:  # in a halt they gather
            raise OurFaultError(f"a ready book whose sides cross: {book}")


def _believable(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise OurFaultError(f"{value} is published")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        _believable(part)


# -- inputs --------------------------------------------------------------------------------------------------------------------


def frame(fields: Iterable[str]) -> bytes:
    payload = ("\0".join(fields) + "\0").encode(errors="backslashreplace")
    return struct.pack(">I", len(payload)) + payload


def own_messages() -> list[list[str]]:
    """One of each message of market data that the gateway stand-in sends to the two lines."""
    bar = Bar(1_800_000_000_000_000_000, 600.0, 601.0, 599.0, 600.5, 900, 600.2, 7)
    made = [
        layouts.tick_price(FULL, 1, 600.0, 300, 1),
        layouts.tick_price(FULL, 2, -1.0, 0),
        layouts.tick_size(FULL, 8, 1_000),
        layouts.tick_size(FULL, 36, -500),
        layouts.tick_generic(FULL, 49, 2),
        layouts.tick_string(FULL, 48, "600.01;100;1800000000000;5000;600.0;true"),
        layouts.depth(FULL, 0, 0, 1, 600.0, 300),
        layouts.depth_l2(FULL, 0, "ARCA", 0, 0, 600.02, 200, True),
        layouts.depth_l2(FULL, 1, "CDRG", 1, 1, 599.98, 100, False),
        layouts.depth_l2(FULL, 0, "", 2, 1, 0.0, 0, True),
        layouts.tick_by_tick_last(FULL, 2, 1_800_000_000, 600.01, 50, 2, "ISLAND", "F I"),
        layouts.tick_by_tick_bid_ask(FULL, 1_800_000_000, 600.0, 600.02, 1, 2),
        layouts.realtime_bar(FULL, bar),
        layouts.tick_req_params(FULL, 0.01, "9c0001"),
        layouts.market_data_type(FULL, 1),
        layouts.tick_price(OPTION, 2, 4.1, 10),
        layouts.tick_option(OPTION, 13, 0.2, 0.5, 4.0, 0.02, 0.6, -0.1, 600.0),
        layouts.tick_option(
            FULL, 13, 0.2, 0.5, 4.0, 0.02, 0.6, -0.1, 600.0
        ),  # found by atheris: no underlying's line asks for it
        layouts.error(FULL, 317, "Market depth data has been RESET.", VERSION),
    ]
    return [[encode_field(field) for field in fields] for fields in made]


def recorded_messages() -> list[list[str]]:
    """Frames of real gateways, where the folder beside the project has them."""
    if not FRAMES.exists():
        return []
    return [frame["fields"] for frame in map(json.loads, FRAMES.read_text().splitlines()) if frame["type"] != "handshake"]
