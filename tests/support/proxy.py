"""A TCP proxy that passes, holds, changes and cuts: it stands between a module and a server, and stops one at an exact message.

    async with proxy(port, tws_frames) as to_gateway:
        order = to_gateway.hold(lambda message: message.startswith(b"3\\0"), number=2)   # the second placeOrder
        ...                                                                # start what connects to to_gateway.port
        await order.wait()                                                 # the first has passed, the second has not
        to_gateway.release()

Held is that message and all that follows in its direction, on every connection, as by a network that carries no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Split = Callable[[bytes], tuple[list[bytes], bytes]]
"""What came so far -> whole messages, and the beginning of the next."""
API = b"API\0"


def chunks(content: bytes) -> tuple[list[bytes], bytes]:
    """For Redis: a client writes each command or pipeline in one piece."""
    return ([content] if content else []), b""


def tws_frames(content: bytes) -> tuple[list[bytes], bytes]:
    """The frames of the TWS socket, each with its length before it; the handshake's `API` is one of its own."""
    found = []
    while True:
        if content.startswith(API):
            found.append(API)
            content = content[len(API) :]
            continue
        if len(content) < 4:
            return found, content
        length = 4 + struct.unpack(">I", content[:4])[0]
        if len(content) < length:
            return found, content
        found.append(content[:length])
        content = content[length:]


@dataclass
class _Hold:
    stops: Callable[[bytes], bool]
    number: int
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def holds(self, message: bytes) -> bool:
        if not self.reached.is_set() and self.stops(message):
            self.number -= 1
            if self.number == 0:
                self.reached.set()
        return self.reached.is_set()


class Proxy:
    def __init__(self, target: int, split: Split) -> None:
        self._target = target
        self._split = split
        self._hold: dict[str, _Hold] = {}
        self.change: Callable[[bytes], bytes] = bytes
        """What becomes of each message on its way from the server."""
        self._open = asyncio.Event()
        self._open.set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    def hold(self, stops: Callable[[bytes], bool], number: int = 1, direction: str = "up") -> asyncio.Event:
        """Holds from the `number`th message on that `stops` says yes to; the event is set when it came. `up`: to the server."""
        self._open.clear()
        self._hold[direction] = _Hold(stops, number)
        return self._hold[direction].reached

    def release(self) -> None:
        """What was held goes on its way, and nothing more is held."""
        self._hold.clear()
        self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, forth}
        for name, source, sink in (("up", reader, forth), ("down", back, writer)):
            self._pumps.add(asyncio.create_task(self._pump(name, source, sink)))

    async def _pump(self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while content := await source.read(65_536):
                messages, rest = self._split(rest + content)
                for message in messages:
                    hold = self._hold.get(direction)
                    if hold is not None and hold.holds(message):
                        await self._open.wait()
                    sink.write(message if direction == "up" else self.change(message))
                await sink.drain()
        # A dead client's half-sent words never arrive: what is held at its end stays held.
        sink.close()

    async def close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def proxy(target: int, split: Split = chunks) -> AsyncIterator[Proxy]:
    """A proxy before a port of this machine."""
    made = Proxy(target, split)
    server = await asyncio.start_server(made._connected, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
