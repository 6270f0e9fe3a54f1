"""The thin connection of the hot path: one socket, one write a turn, replies read as they come.

`AsyncStore.post` writes market data and metrics through one, which are replaced within a second and need no MULTI: replies are
not waited for, and are read every LISTEN_SECONDS only: else each write would wake the process once more. `AsyncStore.read` asks
streams through another: a blocking read must not stand before a write.
An error reply to a write is not passed over: the next `write` raises it; one to `ask` is raised there. A lost or silent server
is a ConnectionError or a TimeoutError; silence is judged by timers of the loop, which run after what has arrived was read: a loop
that stood still itself takes no server for silent. What was sent and not answered by then is lost, as with any write whose reply
did not come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import hiredis

LISTEN_SECONDS: Final = 0.02
"""How often a writer reads its replies while nobody waits for one."""
MOST_UNANSWERED: Final = 50_000
"""Commands in flight before the writer waits: a server that slow must slow its writers."""
HALF: Final = 0.5


WILL_BE_WELL: Final = ("LOADING", "MISCONF")
"""A server that has just started, and one whose disk is full: it is waited for."""


class RefusedCommandError(RuntimeError):
    """The server refused a command: no permission, no memory, a wrong type."""


class HotConnection(asyncio.Protocol):
    """Made by `connect`. All methods belong to the event loop it was made in."""

    def __init__(self, monotonic: Callable[[], float], timeout_seconds: float, listen_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()  # once: each asking is a system call, up to Python 3.11
        self._monotonic = monotonic
        self._listen_seconds = listen_seconds
        self._deaf: asyncio.TimerHandle | None = None
        """When it listens again."""
        self._waiting = 0
        self._timeout = timeout_seconds
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        self._lost: ConnectionError | TimeoutError | None = None
        self._refused: RefusedCommandError | None = None
        self._sent = self._answered = 0
        self._asked: deque[tuple[int, asyncio.Future[Any]]] = deque()
        """Who waits for which reply, by its number."""
        self._heard = 0.0
        """When the server last answered, or was asked for something while nothing was owed, or began to be listened to."""
        self._watch: asyncio.TimerHandle | None = None
        """Judges the silence of a server that owes replies."""
        self._paused = False
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        user: str,
        password: str,
        monotonic: Callable[[], float],
        timeout_seconds: float,
        *,
        listen_seconds: float = 0.0,
        path: Path | None = None,
    ) -> HotConnection:
        """A connection that the server has let in: by the Unix socket at `path` where one answers, which costs less, else by TCP.

        Raises ConnectionError, TimeoutError or RefusedCommandError."""
        connection = cls(monotonic, timeout_seconds, listen_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                await connection._open(host, port, path)
        except (OSError, TimeoutError) as error:
            raise ConnectionError(f"{host}:{port}: {error or 'no answer'}") from error
        try:
            await connection.write([("AUTH", user, password), ("CLIENT", "SETNAME", f"{user}-hot")])
            await connection.settled()
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(self, host: str, port: int, path: Path | None) -> None:
        if path is not None:
            with contextlib.suppress(OSError):  # none there, or one that a server left behind which was killed
                await self._loop.create_unix_connection(lambda: self, str(path))
                return
        await self._loop.create_connection(lambda: self, host, port)

    @property
    def alive(self) -> bool:
        """Whether nothing is known against it: a server that went away without a word is noticed at the next use."""
        return self._lost is None

    @property
    def unanswered(self) -> int:
        return self._sent - self._answered

    async def write(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Sends commands in one write. Waits only when the server is far behind. Raises what came of earlier ones."""
        self._check()
        if not commands or self._transport is None:
            return
        self._send(self._transport, commands)
        if self._paused or self.unanswered > MOST_UNANSWERED:
            await self._until(lambda: not self._paused and self.unanswered <= MOST_UNANSWERED * HALF)

    def write_now(self, commands: Sequence[tuple[Any, ...]]) -> bool:
        """Sends commands in one write; False, and nothing is sent, where `write` would have to wait or raise."""
        if self._transport is None or self._paused or self._refused or self._lost or self.unanswered > MOST_UNANSWERED:
            return False
        self._send(self._transport, commands)
        return True

    async def ask(self, *command: Any, block_seconds: float = 0.0) -> Any:
        """The reply to one command, which may itself wait `block_seconds` at the server. Raises RefusedCommandError."""
        self._check()
        if self._transport is None:
            raise ConnectionError("not connected")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._send(self._transport, (command,))
        self._asked.append((self._sent, answer))
        self._listen()
        limit = self._loop.call_later(block_seconds + self._timeout, self._give_up, answer, block_seconds + self._timeout)
        try:
            return await answer
        finally:
            limit.cancel()

    async def settled(self) -> None:
        """Returns when everything sent was answered."""
        await self._until(lambda: self.unanswered == 0)

    def close(self) -> None:
        self._unwatch()
        if self._transport is not None:
            self._transport.close()

    def _send(self, transport: asyncio.Transport, commands: Sequence[tuple[Any, ...]]) -> None:
        if self._sent == self._answered:
            self._heard = self._monotonic()
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._judge)
        self._sent += len(commands)
        content = b"".join(map(hiredis.pack_command, commands))
        # uvloop would send only when the turn of the loop is over: what else is done in it need not be waited for.
        if transport.get_write_buffer_size() == 0 and not transport.is_closing():
            try:
                sent = os.write(self._descriptor, content)
            except OSError:  # no room, or the connection is gone: the transport waits, or says so
                sent = 0
            if sent == len(content):
                return
            content = content[sent:]
        transport.write(content)

    @staticmethod
    def _give_up(answer: asyncio.Future[Any], seconds: float) -> None:
        if not answer.done():
            answer.set_exception(TimeoutError(f"no answer in {seconds:g} s"))

    async def _until(self, condition: Callable[[], bool]) -> None:
        self._waiting += 1
        self._listen()
        try:
            while not condition():
                self._room.clear()
                try:
                    await asyncio.wait_for(self._room.wait(), self._timeout)
                except TimeoutError:
                    self._check()
                    raise TimeoutError(f"no answer in {self._timeout:g} s, {self.unanswered} owed") from None
                self._check()
        finally:
            self._waiting -= 1

    def _check(self) -> None:
        if self._refused is not None:
            refused, self._refused = self._refused, None
            raise refused
        if self._lost is not None:
            raise self._lost

    def _listen(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None
            self._heard = self._monotonic()  # a loop that stood still has not listened for long
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def _judge(self) -> None:
        self._watch = None
        if self._sent == self._answered or self._asked:
            return  # nothing is owed, or who asked has a limit of his own
        left = self._heard + self._timeout - self._monotonic()
        if left > 0:
            self._watch = self._loop.call_later(left, self._judge)
        else:
            self._lost = self._lost or TimeoutError(f"no answer in {self._timeout:g} s, {self.unanswered} owed")
            self._room.set()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._heard = self._monotonic()
        asked = self._asked
        while (reply := self._reader.gets()) is not False:
            self._answered += 1
            if asked and asked[0][0] == self._answered:
                _give(asked.popleft()[1], reply)
            elif isinstance(reply, hiredis.ReplyError):
                self._take_error(str(reply))
        self._room.set()
        if self._listen_seconds and not asked and not self._waiting and self._transport is not None:
            self._transport.pause_reading()
            self._deaf = self._loop.call_later(self._listen_seconds, self._listen)

    def _take_error(self, text: str) -> None:
        if text.startswith(WILL_BE_WELL):
            self._lost = self._lost or ConnectionError(text)
        else:
            self._refused = self._refused or RefusedCommandError(text)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        if self._deaf is not None:
            self._deaf.cancel()
        self._lost = self._lost or ConnectionError(f"connection closed with {self.unanswered} commands unanswered")
        if exc is not None:
            self._lost.__cause__ = exc
        while self._asked:
            _fail(self._asked.popleft()[1], self._lost)
        self._room.set()


def _give(answer: asyncio.Future[Any], reply: Any) -> None:
    """To whom still waits for it."""
    if answer.done():
        return
    if not isinstance(reply, hiredis.ReplyError):
        answer.set_result(reply)
    elif str(reply).startswith(WILL_BE_WELL):
        answer.set_exception(ConnectionError(str(reply)))
    else:
        answer.set_exception(RefusedCommandError(str(reply)))


def _fail(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
