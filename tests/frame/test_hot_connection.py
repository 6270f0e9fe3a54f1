"""The hot path's connections: what is posted is there, what is asked is answered, and nothing that went wrong is passed over."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import hiredis
import pytest
import uvloop

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.market import Last, Trade
from alphatrader.contract.modules import Module
from alphatrader.runtime import hot_connection
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.hot_connection import LISTEN_SECONDS, HotConnection, RefusedCommandError
from alphatrader.runtime.servers import holds_sockets
from alphatrader.runtime.settings import load, server_socket
from alphatrader.runtime.store import AsyncStore, Store, StoreLost
from tests.support.servers import Servers

LAST = k.MARKET_LAST.at(symbol="SPY")
EVENTS = k.EVENTS_MARKET.at(symbol="SPY")


def trade(seq: int) -> Trade:
    return Trade(seq, 2, 3, 660.01, 100.0, "ARCA", "", "buy", True, True, True)


async def post(store: AsyncStore, seq: int) -> None:
    batch = store.batch()
    batch.append(EVENTS, trade(seq))
    batch.put(LAST, Last(symbol="SPY", ts_ns=1, seq=seq))
    await store.post(batch)


def posted(reader: Store) -> list[int]:
    return [event.seq for event in reversed(reader.latest(EVENTS, 100_000))]


def test_what_is_posted_is_there_in_order_once_the_store_is_closed(servers: Servers) -> None:
    async def story() -> None:
        store = servers.async_store(Module.IBKR)
        for seq in range(3000):
            await post(store, seq)
        await store.close()

    asyncio.run(story())
    reader = servers.store(Module.SIGNALS)
    last, left = reader.get(LAST), reader.ttl_ms(LAST)  # first: it lives a second
    assert last is not None and last.seq == 2999
    assert left is not None and 0 < left <= 1000
    assert posted(reader) == list(range(3000))


def test_the_writer_waits_for_a_server_that_is_far_behind(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_connection, "MOST_UNANSWERED", 20)

    async def story() -> None:
        store = servers.async_store(Module.IBKR)
        for seq in range(200):
            await post(store, seq)
            assert store._writers[Server.DATA].unanswered <= 22
        await store.close()

    asyncio.run(story())
    assert posted(servers.store(Module.SIGNALS)) == list(range(200))


listening = pytest.mark.parametrize("listen", [0.0, LISTEN_SECONDS], ids=["always", "now and then"])
"""How a writer reads its replies."""


@listening
def test_a_write_the_server_refuses_is_raised_by_the_next(servers: Servers, listen: float) -> None:
    async def story() -> None:
        # given a user that may not write this key, past the store's own check
        at = servers.settings.servers.data
        password = servers.vault.redis_password(Module.SIGNALS)
        who = (at.host, at.port, str(Module.SIGNALS), password)
        writer = await HotConnection.connect(*who, time.monotonic, 5.0, listen_seconds=listen)
        for _ in range(2):
            await writer.write([("SET", LAST.name, b"{}")])
            with pytest.raises(RefusedCommandError, match="NOPERM"):
                await writer.settled()
        # and so it is where nobody waits for the answer
        await writer.write([("SET", LAST.name, b"{}")])
        async with asyncio.timeout(20):
            while writer.unanswered:
                await asyncio.sleep(0.001)
        with pytest.raises(RefusedCommandError, match="NOPERM"):
            await writer.write([("GET", LAST.name)])
        writer.close()
        with pytest.raises(RefusedCommandError, match="WRONGPASS"):
            await HotConnection.connect(at.host, at.port, str(Module.SIGNALS), "wrong", time.monotonic, 5.0)

    asyncio.run(story())


def test_a_lost_connection_is_a_lost_store_and_the_next_post_begins_anew(servers: Servers) -> None:
    async def story() -> None:
        store = servers.async_store(Module.IBKR)
        await post(store, 1)
        await store._writers[Server.DATA].settled()
        # when the server ends the connection
        servers.store(Module.REDIS).raw(Server.DATA, "CLIENT", "KILL", "USER", str(Module.IBKR))

        async def post_until_it_fails() -> None:
            while True:
                await post(store, 2)
                await asyncio.sleep(0)

        with pytest.raises(StoreLost):
            await asyncio.wait_for(post_until_it_fails(), 3)
        # then the module's recovery finds a store that works
        await post(store, 3)
        await store.close()

    asyncio.run(story())
    assert posted(servers.store(Module.SIGNALS))[-1] == 3


def test_a_server_that_does_not_answer_is_a_time_out() -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(TimeoutError, match=r"no answer in 0\.2 s, 2 owed"):
                await HotConnection.connect("127.0.0.1", port, "ibkr", "secret", time.monotonic, 0.2)
        with pytest.raises(ConnectionError):  # nobody listens there any more
            await HotConnection.connect("127.0.0.1", port, "ibkr", "secret", time.monotonic, 0.2)

    asyncio.run(story())


@listening
def test_a_server_that_stops_answering_is_noticed_while_nobody_writes(listen: float) -> None:
    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SETNAME")
        writer.write(b"+OK\r\n+OK\r\n")
        await reader.readuntil(b"heard")
        writer.write(b"+OK\r\n")
        await reader.read()
        writer.close()

    async def story() -> None:
        server = await asyncio.start_server(answer_twice, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            writer = await HotConnection.connect("127.0.0.1", port, "ibkr", "secret", time.monotonic, 0.2, listen_seconds=listen)
            await writer.write([("SET", "a", "heard")])
            await writer.write([("SET", "a", "1")])
            async with asyncio.timeout(20):
                while writer.alive:
                    await asyncio.sleep(0.01)
            with pytest.raises(TimeoutError, match=r"no answer in 0\.2 s, 1 owed"):
                await writer.write([("SET", "a", "2")])
            writer.close()

    asyncio.run(story())


@listening
def test_a_loop_that_stood_still_takes_no_server_for_silent(servers: Servers, listen: float) -> None:
    async def story() -> None:
        at = servers.settings.servers.data
        password = servers.vault.redis_password(Module.IBKR)
        who = (at.host, at.port, str(Module.IBKR), password)
        writer = await HotConnection.connect(*who, time.monotonic, 0.2, listen_seconds=listen)
        # given one that has just read an answer
        await writer.write([("SET", LAST.name, b"{}", "PX", "1000")])
        async with asyncio.timeout(20):
            while writer.unanswered:
                await asyncio.sleep(0.001)
        # and a write whose answer has come, but nobody could read it
        await writer.write([("SET", LAST.name, b"{}", "PX", "1000")])
        time.sleep(0.5)
        await asyncio.sleep(0)
        # when it goes on, then nothing was lost
        await writer.write([("SET", LAST.name, b"{}", "PX", "1000")])
        await writer.settled()
        assert writer.alive and writer.unanswered == 0
        writer.close()

    asyncio.run(story())


def test_readers_that_wait_at_once_do_not_wait_for_one_another(servers: Servers) -> None:
    async def story() -> None:
        store, writer = servers.async_store(Module.SIGNALS), servers.async_store(Module.IBKR)
        # given a reader that waits for a stream on which nothing comes
        quiet = asyncio.create_task(store.read(Cursor.at_start([k.EVENTS_MARKET.at(symbol="QQQ")]), block_seconds=3.0))
        await asyncio.sleep(0)
        # when another asks for one on which something stands, then it has it while the first still waits
        await post(writer, 1)
        entries = await store.read(Cursor.at_start([EVENTS]), block_seconds=3.0)
        assert [entry.event.seq for entry in entries] == [1] and not quiet.done()
        # and a reader that was cancelled leaves nothing that the next would take for its own
        quiet.cancel()
        await asyncio.wait({quiet})
        again = await store.read(Cursor.at_start([EVENTS]), block_seconds=3.0)
        assert [entry.event.seq for entry in again] == [1]
        await writer.close()
        await store.close()

    asyncio.run(story())


def test_a_read_the_server_refuses_or_drops_is_told_apart(servers: Servers) -> None:
    async def story() -> None:
        store = servers.async_store(Module.TELEGRAM)
        with pytest.raises(RefusedCommandError, match="NOPERM"):  # not one of its streams
            await store.read(Cursor.at_start([EVENTS]))
        reader = servers.async_store(Module.SIGNALS)
        waiting = asyncio.create_task(reader.read(Cursor.at_start([EVENTS]), block_seconds=3.0))
        await until_blocked(servers)
        servers.store(Module.REDIS).raw(Server.DATA, "CLIENT", "KILL", "USER", str(Module.SIGNALS))
        with pytest.raises(StoreLost):
            await waiting
        # then the next read finds a store that works
        assert await reader.read(Cursor.at_start([EVENTS]), block_seconds=None) == []
        await store.close()
        await reader.close()

    asyncio.run(story())


async def until_blocked(servers: Servers) -> None:
    """A client waits at the data server."""
    door = servers.store(Module.REDIS)
    while int(door.raw(Server.DATA, "INFO", "clients")["blocked_clients"]) == 0:
        await asyncio.sleep(0.01)


def peers(servers: Servers, module: Module) -> list[str]:
    """From where the data server's hot connections of a module come."""
    rows = servers.store(Module.REDIS).raw(Server.DATA, "CLIENT", "LIST")
    parsed = rows if isinstance(rows, list) else [dict(p.split("=", 1) for p in r.split()) for r in rows.decode().splitlines()]
    return [row["addr"] for row in parsed if row["name"] == f"{module}-hot"]


def test_a_server_of_this_machine_is_reached_by_its_unix_socket_and_any_other_by_tcp(servers: Servers, tmp_path: Path) -> None:
    at, path = servers.settings.servers.data, server_socket(servers.settings, Server.DATA)
    assert path is not None and path.is_socket() and path.stat().st_mode & 0o077 == 0
    who = (at.host, at.port, str(Module.IBKR), servers.vault.redis_password(Module.IBKR), time.monotonic, 5.0)
    left_behind = tmp_path / "killed.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left_behind))

    async def story() -> None:
        store = servers.async_store(Module.IBKR)
        await post(store, 1)
        (peer,) = peers(servers, Module.IBKR)
        assert str(path) in peer
        await store.close()
        for nobody in (None, tmp_path / "never.sock", left_behind):
            writer = await HotConnection.connect(*who, path=nobody)
            (by_tcp,) = peers(servers, Module.IBKR)
            assert by_tcp.startswith("127.0.0.1:")
            writer.close()
            async with asyncio.timeout(20):
                while peers(servers, Module.IBKR):
                    await asyncio.sleep(0.01)

    asyncio.run(story())


def test_a_folder_too_deep_for_a_unix_socket_and_a_server_elsewhere_have_none(servers: Servers, tmp_path: Path) -> None:
    environment = {**servers.environment, "ALPHATRADER_DATA_DIR": str(tmp_path / ("deep" * 30))}
    assert server_socket(load(environment), Server.DATA) is None
    elsewhere = {**servers.environment, "ALPHATRADER_SERVERS__STATE__HOST": "10.0.0.7"}
    assert server_socket(load(elsewhere), Server.STATE) is None
    # and a server on a file system without sockets is started without one
    assert holds_sockets(tmp_path) and not list(tmp_path.glob("*.probe")) and not holds_sockets(Path("/proc"))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_a_server_has_no_room_for_goes_out_whole_and_in_order(run: Callable[..., None]) -> None:
    commands = [("SET", f"key{number}", b"%d" % number * 3000) for number in range(1000)]

    async def story() -> None:
        come, reads = bytearray(), asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"SETNAME")
            await reader.readuntil(b"ibkr-hot\r\n")
            writer.write(b"+OK\r\n+OK\r\n")
            await reads.wait()
            while content := await reader.read(1 << 16):
                come.extend(content)
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            writer = await HotConnection.connect("127.0.0.1", port, "ibkr", "secret", time.monotonic, 20.0)
            # given one that reads nothing, until the writer would have to wait
            sent = 0
            while writer.write_now(commands[sent : sent + 1]):
                sent += 1
            assert 0 < sent < len(commands)
            # when it reads, then all of it is there, each command once
            reads.set()
            await writer.write(commands[sent:])
            writer.close()
            async with asyncio.timeout(20):
                while len(come) < sum(len(hiredis.pack_command(command)) for command in commands):
                    await asyncio.sleep(0.01)
        assert bytes(come) == b"".join(map(hiredis.pack_command, commands))

    run(story())
