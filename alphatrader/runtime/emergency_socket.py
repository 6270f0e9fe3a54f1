"""Emergency's own door on loopback: halt and flatten reach it while Redis is down. Both ends of the protocol stand here.

One JSON line each way over TCP on 127.0.0.1: `{"token", "kind", "by", "reason"}` is answered with
`{"ok", "epoch", "halted", "flatten", "detail"}`. The port stands in `data/<mode>/emergency.json` (0600); the token is the secret
`emergency_token`. `emergency` serves; the CLI asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

FILE: Final = "emergency.json"
LINE_LIMIT: Final = 4096
ANSWER_SECONDS: Final = 5.0

Kind = Literal["halt", "resume", "flatten", "status"]


class Request(msgspec.Struct, frozen=True):
    token: str
    kind: Kind
    by: str
    reason: str = ""


class Answer(msgspec.Struct, frozen=True):
    ok: bool
    epoch: int
    halted: bool
    flatten: bool
    detail: str = ""
    """What is being done, or why it was refused."""


class Door(msgspec.Struct, frozen=True):
    port: int
    pid: int


class EmergencyUnreachableError(ConnectionError):
    """Emergency's door did not answer: the gateway itself is the next way (clients/ibkr/flatten.py)."""


def ask(folder: Path, token: str, kind: Kind, *, by: str, reason: str = "", timeout_seconds: float = ANSWER_SECONDS) -> Answer:
    """Asks emergency and returns its answer. Raises EmergencyUnreachableError."""
    try:
        door = msgspec.json.decode((folder / FILE).read_bytes(), type=Door)
        with socket.create_connection(("127.0.0.1", door.port), timeout_seconds) as connection:
            connection.sendall(msgspec.json.encode(Request(token, kind, by, reason)) + b"\n")
            line = connection.makefile("rb").readline(LINE_LIMIT)
        return msgspec.json.decode(line, type=Answer)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise EmergencyUnreachableError(f"emergency does not answer on its door ({FILE}): {error}") from error


class EmergencyDoor:
    """The serving end. `answer` is awaited for each request whose token is right."""

    def __init__(self, folder: Path, token: str, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._path = folder / FILE
        self._token = token.encode()
        self._answer = answer
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LINE_LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        beside = self._path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(Door(port, os.getpid())))
        os.replace(beside, self._path)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await reader.readline()
            answer = await self._judge(line)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a caller that says nothing, leaves, or sends an endless line
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _judge(self, line: bytes) -> Answer:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return Answer(False, 0, True, False, f"not a request: {error}")
        if not self._token or not hmac.compare_digest(request.token.encode(), self._token):
            return Answer(False, 0, True, False, "wrong token")
        return await self._answer(request)
