"""The thin writer of the hot path: one socket, one write a turn, replies read as they come and not waited for.

For market data and metrics, which are replaced within a second and need no MULTI: `AsyncStore.post` sends them through this.
An error reply is not passed over: the next `write` raises it. A lost or silent server is a ConnectionError or a TimeoutError
there. What was sent and not answered by then is lost, as with any write whose reply did not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis

MOST_UNANSWERED: Final = 50_000
"""Commands in flight before the writer waits: a server that slow must slow its writers."""
HALF: Final = 0.5


class RefusedWriteError(RuntimeError):
    """The server refused a command: no permission, no memory, a wrong type."""


class HotWriter(asyncio.Protocol):
    """Made by `connect`. All methods belong to the event loop it was made in."""

    def __init__(self, monotonic: Callable[[], float], timeout_seconds: float) -> None:
        self._monotonic = monotonic
        self._timeout = timeout_seconds
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._lost: ConnectionError | None = None
        self._refused: RefusedWriteError | None = None
        self._sent = self._answered = 0
        self._heard = 0.0
        """When the server last answered, or was asked for something while nothing was owed."""
        self._paused = False
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    async def connect(
        cls, host: str, port: int, user: str, password: str, monotonic: Callable[[], float], timeout_seconds: float
    ) -> HotWriter:
        """A writer that the server has let in. Raises ConnectionError, TimeoutError or RefusedWriteError."""
        loop = asyncio.get_running_loop()
        writer = cls(monotonic, timeout_seconds)
        try:
            await asyncio.wait_for(loop.create_connection(lambda: writer, host, port), timeout_seconds)
        except (OSError, TimeoutError) as error:
            raise ConnectionError(f"{host}:{port}: {error or 'no answer'}") from error
        try:
            await writer.write([("AUTH", user, password), ("CLIENT", "SETNAME", f"{user}-hot")])
            await writer.settled()
        except BaseException:
            writer.close()
            raise
        return writer

    @property
    def unanswered(self) -> int:
        return self._sent - self._answered

    async def write(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Sends commands in one write. Waits only when the server is far behind. Raises what came of earlier ones."""
        self._check()
        if not commands or self._transport is None:
            return
        if self._sent == self._answered:
            self._heard = self._monotonic()
        self._sent += len(commands)
        self._transport.write(b"".join(map(hiredis.pack_command, commands)))
        if self._paused or self.unanswered > MOST_UNANSWERED:
            await self._until(lambda: not self._paused and self.unanswered <= MOST_UNANSWERED * HALF)

    async def settled(self) -> None:
        """Returns when everything sent was answered."""
        await self._until(lambda: self.unanswered == 0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), self._timeout)
            except TimeoutError:
                self._check()
                raise TimeoutError(f"no answer in {self._timeout:g} s, {self.unanswered} owed") from None
            self._check()

    def _check(self) -> None:
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        if self._lost is not None:
            raise self._lost
        if self._sent != self._answered and self._monotonic() - self._heard > self._timeout:
            raise TimeoutError(f"no answer in {self._timeout:g} s, {self.unanswered} owed")

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._heard = self._monotonic()
        while (reply := self._reader.gets()) is not False:
            self._answered += 1
            if isinstance(reply, hiredis.ReplyError):
                self._take_error(str(reply))
        self._room.set()

    def _take_error(self, text: str) -> None:
        if text.startswith("LOADING"):
            self._lost = self._lost or ConnectionError(text)  # a server that has just started: it will be there
        else:
            self._refused = self._refused or RefusedWriteError(text)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or ConnectionError(f"connection closed with {self.unanswered} commands unanswered")
        if exc is not None:
            self._lost.__cause__ = exc
        self._room.set()
