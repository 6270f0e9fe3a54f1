"""The store: the only file that imports redis.

`AsyncStore` for streams, `Store` for Flask, Celery tasks and the CLI; both offer the same methods. Reads decode and check:
content that is not the key's message is refused with an error that names key and field, counted, and read as absent; a bad
stream entry is skipped the same way. Nothing is retried behind the caller's back: a write whose reply was lost must not be made
twice.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, TypeVar, cast

import msgspec
import redis
import redis.asyncio
from redis._parsers.base import BaseParser
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Key, Kind, Server
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.contract.settings.system import Address
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.cursor import Cursor, Entry
from alphatrader.runtime.hot_connection import LISTEN_SECONDS, HotConnection
from alphatrader.runtime.settings import server_socket

T = TypeVar("T")


class ServerFullError(RedisConnectionError):
    """It answers and takes no writes, as one whose disk is full: like one that is away it is waited for, and recovered from."""


BaseParser.EXCEPTION_CLASSES["MISCONF"] = ServerFullError  # redis-py itself does so with LOADING

StoreLost: Final = (RedisConnectionError, RedisTimeoutError)
"""What reading and writing raise while a server is away: stop, back off, recover."""
StoreError = RedisError
WrongPasswordError = AuthenticationError
"""A server that answers and knows other passwords: it is of another data folder, or of another mode."""

BLOCK_SECONDS: Final = 1.0
"""Longest wait inside one read: well under the socket's time-out."""
_SOCKET_TIMEOUT: Final = 5.0
_STREAM_FIELD: Final = b"e"


class WrongServerError(RuntimeError):
    """This server belongs to another mode."""


@cache
def _decoder(key: Key[Any]) -> Any:
    return msgspec.msgpack.Decoder(key.schema) if key.kind == Kind.STREAM else msgspec.json.Decoder(key.schema)


def decode(key: Key[T], content: bytes) -> T:
    """The message in `content`. Raises msgspec.ValidationError or DecodeError."""
    message: T = _decoder(key).decode(content)
    return message


def _client_options(module: Module, password: str, at: Address, decode_timeout: float) -> dict[str, Any]:
    return {
        "host": at.host,
        "port": at.port,
        "username": str(module),
        "password": password,
        "client_name": str(module),
        "socket_timeout": decode_timeout,
        "socket_connect_timeout": 2.0,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


class _Base:
    """What both stores share: who they are, and how commands and replies look."""

    def __init__(self, module: Module, settings: Settings) -> None:
        self.module = module
        self.mode = settings.mode
        self.refused: Counter[str] = Counter()
        """Bad content by key pattern."""
        self._ttl_by_setting = {"market.ttl_seconds": settings.market.ttl_seconds}
        self._log = logging.getLogger("alphatrader.store")

    def batch(self) -> Batch:
        return Batch(self.module, self._ttl_by_setting)

    def _value(self, bound: BoundKey[T], content: bytes | None, field_name: str = "") -> T | None:
        if content is None:
            return None
        try:
            return decode(bound.key, content)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            place = f"{bound.name}[{field_name}]" if field_name else bound.name
            self.refused[bound.key.pattern] += 1
            self._log.error("refused the content of %s: %s", place, error)
            return None

    def _entries(self, reply: Any, cursor: Cursor) -> list[Entry[Any]]:
        entries = []
        pairs = reply.items() if isinstance(reply, Mapping) else reply or ()
        for raw_name, items in pairs:
            name = raw_name.decode()
            bound, entry_id = cursor.keys[name], ""
            for raw_id, fields in items:
                entry_id = raw_id.decode()
                event = self._value(bound, _stream_payload(fields), entry_id)
                if event is not None:
                    entries.append(Entry(name, entry_id, event))
            if entry_id:
                cursor.positions[name] = entry_id
        return entries

    def _check_stamp(self, server: Server, mode: str | None) -> None:
        if mode is not None and mode != self.mode:
            raise WrongServerError(f"the {server} server belongs to mode {mode}, this process runs in {self.mode}")


def _stream_payload(fields: Any) -> bytes | None:
    if isinstance(fields, list) and len(fields) == 2 and fields[0] == _STREAM_FIELD:
        return cast(bytes, fields[1])
    if isinstance(fields, Mapping):
        return fields.get(_STREAM_FIELD)
    return dict(zip(fields[::2], fields[1::2], strict=True)).get(_STREAM_FIELD)


def _read_command(cursor: Cursor, block_seconds: float | None, count: int) -> list[Any]:
    block = ["BLOCK", int(block_seconds * 1000)] if block_seconds else []
    return ["XREAD", "COUNT", count, *block, "STREAMS", *cursor.positions, *cursor.positions.values()]


_STAMPS: Final = {Server.DATA: k.STAMP_DATA, Server.STATE: k.STAMP_STATE}


class Store(_Base):
    """Blocking: for Flask, Celery tasks and the CLI. Safe to share between threads."""

    def __init__(self, module: Module, settings: Settings, password: str, *, timeout_seconds: float = _SOCKET_TIMEOUT) -> None:
        super().__init__(module, settings)
        self._clients: dict[Server, Any] = {
            server: redis.Redis(**_client_options(module, password, settings.servers.at(server), timeout_seconds))
            for server in Server
        }

    def check_servers(self) -> None:
        """Raises WrongServerError when a server belongs to another mode."""
        for server, key in _STAMPS.items():
            stamp = self.get(key.at())
            self._check_stamp(server, stamp.mode if stamp else None)

    def get(self, bound: BoundKey[T]) -> T | None:
        return self._value(bound, self._clients[bound.key.server].get(bound.name))

    def get_many(self, bounds: list[BoundKey[T]]) -> list[T | None]:
        if not bounds:
            return []
        reply: Any = self._clients[bounds[0].key.server].mget([bound.name for bound in bounds])
        return [self._value(bound, content) for bound, content in zip(bounds, reply, strict=True)]

    def field(self, bound: BoundKey[T], name: str) -> T | None:
        return self._value(bound, self._clients[bound.key.server].hget(bound.name, name), name)

    def fields(self, bound: BoundKey[T], names: Sequence[str] | None = None) -> dict[str, T]:
        """The fields of a hash; with `names` those of them that it has."""
        client = self._clients[bound.key.server]
        if names is None:
            found = {name.decode(): content for name, content in client.hgetall(bound.name).items()}
        else:
            found = dict(zip(names, client.hmget(bound.name, names) if names else (), strict=True))
        values = {name: self._value(bound, content, name) for name, content in found.items()}
        return {name: value for name, value in values.items() if value is not None}

    def put_field_once(self, bound: BoundKey[Any], name: str, value: Any) -> bool:
        """Writes a field of a hash unless it is there; says whether it wrote. A claim: only one caller gets True."""
        batch = self.batch()
        batch.put_field(bound, name, value)
        return bool(self._clients[bound.key.server].hsetnx(bound.name, name, batch.commands[0][3]))

    def due(self, bound: BoundKey[T], until_ns: int, limit: int = 100) -> list[T]:
        """Messages of a queue due by a market instant, earliest first. They stay until taken."""
        reply: Any = self._clients[bound.key.server].zrangebyscore(bound.name, "-inf", until_ns // 1_000_000, start=0, num=limit)
        return [value for content in reply if (value := self._value(bound, content)) is not None]

    def next_due_ns(self, bound: BoundKey[Any]) -> int | None:
        """When the queue's earliest message is due, market time; None when it is empty."""
        reply: Any = self._clients[bound.key.server].zrange(bound.name, 0, 0, withscores=True)
        return int(reply[0][1]) * 1_000_000 if reply else None

    def length(self, bound: BoundKey[Any]) -> int:
        command = {Kind.QUEUE: "ZCARD", Kind.STREAM: "XLEN", Kind.HASH: "HLEN", Kind.LOG: "ZCARD", Kind.VALUE: "EXISTS"}
        return int(self._clients[bound.key.server].execute_command(command[bound.key.kind], bound.name))

    def ttl_ms(self, bound: BoundKey[Any]) -> int | None:
        """Milliseconds a key has left; None where it has no TTL or is absent."""
        left = int(self._clients[bound.key.server].pttl(bound.name))
        return left if left >= 0 else None

    def latest(self, bound: BoundKey[T], count: int = 1) -> list[T]:
        """The newest events of a stream, newest first."""
        reply: Any = self._clients[bound.key.server].execute_command("XREVRANGE", bound.name, "+", "-", "COUNT", count)
        events = (self._value(bound, _stream_payload(fields), raw_id.decode()) for raw_id, fields in reply)
        return [event for event in events if event is not None]

    def read(self, cursor: Cursor, *, block_seconds: float | None = None, count: int = 500) -> list[Entry[Any]]:
        """Events after the cursor, which moves past them (past refused ones too). All its streams are on one server."""
        client = self._clients[next(iter(cursor.keys.values())).key.server]
        self._resolve(cursor, client)
        reply = client.execute_command(*_read_command(cursor, block_seconds, count))
        return self._entries(reply, cursor)

    def _resolve(self, cursor: Cursor, client: Any) -> None:
        for name, position in cursor.positions.items():
            if position == "$":
                last = client.execute_command("XREVRANGE", name, "+", "-", "COUNT", 1)
                cursor.positions[name] = last[0][0].decode() if last else "0"

    def saved_cursor(self, cursor: Cursor) -> Cursor:
        """The cursor where this module last kept it; a stream it never read stands as it was given."""
        cursor.positions |= {n: p for n, p in self.fields(k.CURSOR.at(module=self.module)).items() if n in cursor.keys}
        return cursor

    def scan(self, key: Key[T]) -> Iterator[BoundKey[T]]:
        """The existing keys of a pattern."""
        for raw in self._clients[key.server].scan_iter(match=key.glob(), count=500):
            if key.parse(raw.decode()) is not None:
                yield BoundKey(key, raw.decode())

    def raw(self, server: Server, *command: Any) -> Any:
        """A command outside the contract's shapes: scripts, INFO. Keep it in `runtime/` and in the CLI's read-only commands."""
        return self._clients[server].execute_command(*command)

    def commit(self, batch: Batch) -> None:
        """Sends a batch in one MULTI: all of it or nothing."""
        if batch.server is None:
            return
        if len(batch) == 1:
            self._clients[batch.server].execute_command(*batch.commands[0])
            return
        pipe = self._clients[batch.server].pipeline(transaction=True)
        for command in batch.commands:
            pipe.execute_command(*command)
        pipe.execute()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


class AsyncStore(_Base):
    """For streams: the same methods, awaited."""

    def __init__(self, module: Module, settings: Settings, password: str) -> None:
        super().__init__(module, settings)
        self._clients: dict[Server, Any] = {
            server: redis.asyncio.Redis(**_client_options(module, password, settings.servers.at(server), _SOCKET_TIMEOUT))
            for server in Server
        }
        self._settings, self._password = settings, password
        self._writers: dict[Server, HotConnection] = {}
        self._readers: defaultdict[Server, list[HotConnection]] = defaultdict(list)
        """Connections that nobody reads from now."""

    async def check_servers(self, servers: Iterable[Server] = tuple(Server)) -> None:
        """Raises WrongServerError when one of them belongs to another mode."""
        for server in servers:
            stamp = await self.get(_STAMPS[server].at())
            self._check_stamp(server, stamp.mode if stamp else None)

    async def get(self, bound: BoundKey[T]) -> T | None:
        return self._value(bound, await self._call(bound.key.server, "GET", bound.name))

    async def get_many(self, bounds: list[BoundKey[T]]) -> list[T | None]:
        if not bounds:
            return []
        reply = await self._call(bounds[0].key.server, "MGET", *(bound.name for bound in bounds))
        return [self._value(bound, content) for bound, content in zip(bounds, reply, strict=True)]

    async def field(self, bound: BoundKey[T], name: str) -> T | None:
        return self._value(bound, await self._call(bound.key.server, "HGET", bound.name, name), name)

    async def fields(self, bound: BoundKey[T], names: Sequence[str] | None = None) -> dict[str, T]:
        """The fields of a hash; with `names` those of them that it has."""
        if names is None:
            reply = await self._call(bound.key.server, "HGETALL", bound.name)
            found = {name.decode(): content for name, content in reply.items()}
        else:
            reply = await self._call(bound.key.server, "HMGET", bound.name, *names) if names else ()
            found = dict(zip(names, reply, strict=True))
        values = {name: self._value(bound, content, name) for name, content in found.items()}
        return {name: value for name, value in values.items() if value is not None}

    async def latest(self, bound: BoundKey[T], count: int = 1) -> list[T]:
        reply = await self._call(bound.key.server, "XREVRANGE", bound.name, "+", "-", "COUNT", count)
        events = (self._value(bound, _stream_payload(fields), raw_id.decode()) for raw_id, fields in reply)
        return [event for event in events if event is not None]

    async def read(self, cursor: Cursor, *, block_seconds: float | None = BLOCK_SECONDS, count: int = 500) -> list[Entry[Any]]:
        server = next(iter(cursor.keys.values())).key.server
        await self.fix(cursor)
        return self._entries(await self._wait(server, _read_command(cursor, block_seconds, count), block_seconds), cursor)

    async def _call(self, server: Server, *command: Any) -> Any:
        """The answer to one command: every read but a stream's comes through here."""
        return await self._clients[server].execute_command(*command)

    async def _wait(self, server: Server, command: list[Any], block_seconds: float | None) -> Any:
        """The answer to a command that may wait at the server: every read of streams comes through here."""
        idle = self._readers[server] = [reader for reader in self._readers[server] if reader.alive]
        hot = idle.pop() if idle else await self._connect(server)
        try:
            reply = await hot.ask(*command, block_seconds=block_seconds or 0.0)
        except (ConnectionError, TimeoutError) as error:
            hot.close()
            raise RedisConnectionError(str(error)) from error
        except BaseException:
            hot.close()  # a reply may still be on its way, which the next reader must not take for its own
            raise
        idle.append(hot)
        return reply

    async def fix(self, cursor: Cursor) -> None:
        """Gives an end of a stream its real id, so that nothing that comes between now and the first read is lost."""
        if "$" not in cursor.positions.values():
            return
        server = next(iter(cursor.keys.values())).key.server
        for name, position in cursor.positions.items():
            if position == "$":
                last = await self._call(server, "XREVRANGE", name, "+", "-", "COUNT", 1)
                cursor.positions[name] = last[0][0].decode() if last else "0"

    async def saved_cursor(self, cursor: Cursor) -> Cursor:
        kept = await self.fields(k.CURSOR.at(module=self.module))
        cursor.positions |= {n: p for n, p in kept.items() if n in cursor.keys}
        await self.fix(cursor)
        return cursor

    async def scan(self, key: Key[T]) -> AsyncIterator[BoundKey[T]]:
        async for raw in self._clients[key.server].scan_iter(match=key.glob(), count=500):
            if key.parse(raw.decode()) is not None:
                yield BoundKey(key, raw.decode())

    async def raw(self, server: Server, *command: Any) -> Any:
        return await self._call(server, *command)

    async def commit(self, batch: Batch, *, atomic: bool = True) -> None:
        """Sends a batch; `atomic` in one MULTI. Market data need no MULTI and are sent as a plain pipeline."""
        if batch.server is None:
            return
        if len(batch) == 1:
            await self._clients[batch.server].execute_command(*batch.commands[0])
            return
        pipe = self._clients[batch.server].pipeline(transaction=atomic)
        for command in batch.commands:
            pipe.execute_command(*command)
        await pipe.execute()

    async def post(self, batch: Batch) -> None:
        """Sends a batch without a MULTI and without waiting for its replies: market data and metrics, which are replaced within
        a second. What came of an earlier post is raised by a later one: StoreLost, or RefusedCommandError."""
        if batch.server is None:
            return
        try:
            if (writer := self._writers.get(batch.server)) is None:
                writer = self._writers[batch.server] = await self._connect(batch.server, listen_seconds=LISTEN_SECONDS)
            await writer.write(batch.commands)
        except (ConnectionError, TimeoutError) as error:
            if (dead := self._writers.pop(batch.server, None)) is not None:
                dead.close()
            raise RedisConnectionError(str(error)) from error

    def post_now(self, batch: Batch) -> bool:
        """Posts from a place that cannot wait; False, and nothing is sent, where `post` would have to wait or raise."""
        if batch.server is None:
            return True
        writer = self._writers.get(batch.server)
        return writer is not None and writer.write_now(batch.commands)

    async def _connect(self, server: Server, *, listen_seconds: float = 0.0) -> HotConnection:
        at, path = self._settings.servers.at(server), server_socket(self._settings, server)
        who = (at.host, at.port, str(self.module), self._password)
        try:
            return await HotConnection.connect(*who, monotonic, _SOCKET_TIMEOUT, listen_seconds=listen_seconds, path=path)
        except (ConnectionError, TimeoutError) as error:
            raise RedisConnectionError(str(error)) from error

    async def close(self) -> None:
        for writer in self._writers.values():
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.settled()
            writer.close()
        for reader in chain.from_iterable(self._readers.values()):
            reader.close()
        self._writers.clear()
        self._readers.clear()
        for client in self._clients.values():
            await client.aclose()
