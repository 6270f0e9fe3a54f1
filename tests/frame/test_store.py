"""The store holds the contract: one writer a key, typed content, and the servers refuse what it would let through."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import NoPermissionError

from alphatrader.contract import keys as k
from alphatrader.contract.key import BadKeyPartError, Server
from alphatrader.contract.messages.market import Last, Trade
from alphatrader.contract.messages.operations import Health
from alphatrader.contract.messages.risk import ControlRequest
from alphatrader.contract.modules import Module
from alphatrader.runtime.batch import ForbiddenWriteError, WrongMessageError
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import StoreError
from tests.support.servers import Servers

LAST = Last(symbol="SPY", ts_ns=1, seq=1, bid=660.0, ask=660.02)
TRADE = Trade(1, 2, 3, 660.01, 100.0, "ARCA", "", "buy", True, True, True)


def test_a_value_is_read_back_with_its_ttl(servers: Servers) -> None:
    ibkr, signals = servers.store(Module.IBKR), servers.store(Module.SIGNALS)
    batch = ibkr.batch()
    batch.put(k.MARKET_LAST.at(symbol="SPY"), LAST)
    ibkr.commit(batch)
    assert signals.get(k.MARKET_LAST.at(symbol="SPY")) == LAST
    assert 0 < (signals.ttl_ms(k.MARKET_LAST.at(symbol="SPY")) or 0) <= 1000
    assert signals.get(k.MARKET_LAST.at(symbol="QQQ")) is None


def test_a_hash_with_a_lifetime_gets_it_anew_with_every_write_and_is_read_by_field(servers: Servers) -> None:
    pulls, key = servers.store(Module.PULLS), k.OPTIONS_VOLUMES.at(symbol="SPY", day="2026-11-20")
    for values in ({"a": 1, "b": 2}, {"b": 3, "c": 4}):
        pulls.raw(Server.DATA, "PEXPIRE", key.name, 1000)
        batch = pulls.batch()
        batch.put_fields(key, values)
        pulls.commit(batch)
        lifetime_ms = (key.key.ttl_seconds or 0) * 1000
        assert lifetime_ms - 60_000 < (pulls.ttl_ms(key) or 0) <= lifetime_ms
    assert pulls.fields(key) == {"a": 1, "b": 3, "c": 4}
    assert pulls.fields(key, ["c", "absent", "a"]) == {"c": 4, "a": 1}
    assert pulls.fields(key, []) == {}


def test_the_store_refuses_a_module_that_is_not_the_writer(servers: Servers) -> None:
    batch = servers.store(Module.SIGNALS).batch()
    with pytest.raises(ForbiddenWriteError, match="signals may not write market:SPY:last: its writer is ibkr"):
        batch.put(k.MARKET_LAST.at(symbol="SPY"), LAST)


def test_the_store_refuses_another_type_and_another_kind(servers: Servers) -> None:
    batch = servers.store(Module.IBKR).batch()
    with pytest.raises(WrongMessageError, match="holds Last, not Trade"):
        batch.put(k.MARKET_LAST.at(symbol="SPY"), TRADE)
    with pytest.raises(WrongMessageError, match="is a stream"):
        batch.put(k.EVENTS_MARKET.at(symbol="SPY"), TRADE)


def test_the_telegram_bots_user_cannot_write_orders(servers: Servers) -> None:
    telegram = servers.store(Module.TELEGRAM)
    for command in (("SET", "orders:working:1", "{}"), ("HSET", "ledger:orders", "1", "{}"), ("DEL", "orders:pending:1")):
        with pytest.raises(NoPermissionError):
            telegram.raw(Server.STATE, *command)


def test_every_module_may_write_its_own_keys_and_no_other_at_the_server(servers: Servers) -> None:
    """The servers' users say the same as the contract, key by key and module by module."""
    parts = {"symbol": "SPY", "id": "1", "con_id": "1", "position": "1", "day": "2026-11-20"}
    wrong = []
    for module in Module:
        if module in (Module.REDIS, Module.STATE):
            continue
        store = servers.store(module)
        for key in k.ALL:
            values = {name: parts.get(name, str(module)) for name in key.parts}
            name = key.at(**values).name
            allowed = key.may_write(module, name) or module in key.takers
            if not isinstance(key.writer, Module) and module == Module.OPERATOR:
                allowed = False
            try:
                store.raw(key.server, "DEL", name)
                answer = "done"
            except NoPermissionError:
                answer = "refused"
            except StoreError as error:
                answer = str(error)
            if answer != ("done" if allowed else "refused"):
                wrong.append((str(module), name, answer))
        store.close()
    assert wrong == []


def test_the_server_lets_a_sharded_module_write_under_the_names_of_its_shards_and_no_others(servers: Servers) -> None:
    for module, name, allowed in (
        (Module.ANALYTICS, "lock:analytics.2", True),
        (Module.ANALYTICS, "health:analytics.99", True),
        (Module.ANALYTICS, "lock:analytics.1", False),
        (Module.ANALYTICS, "lock:analytics.100", False),
        (Module.ANALYTICS, "lock:analytics2", False),
        (Module.RISK, "lock:risk.2", False),
        (Module.SIGNALS, "lock:analytics.2", False),
    ):
        store = servers.store(module)
        if allowed:
            store.raw(Server.STATE, "DEL", name)
        else:
            with pytest.raises(NoPermissionError):
                store.raw(Server.STATE, "DEL", name)
        store.close()


def test_nobody_gets_in_without_a_user(servers: Servers) -> None:
    from redis import Redis

    address = servers.settings.servers.state
    with pytest.raises(StoreError, match=r"(?i)auth"):
        Redis(host=address.host, port=address.port).get("global:halt")


def test_bad_content_is_refused_named_and_counted(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    ibkr, signals = servers.store(Module.IBKR), servers.store(Module.SIGNALS)
    ibkr.raw(Server.DATA, "SET", "market:SPY:last", '{"symbol": "SPY", "ts_ns": "soon", "seq": 1}')
    assert signals.get(k.MARKET_LAST.at(symbol="SPY")) is None
    assert signals.refused["market:{symbol}:last"] == 1
    assert "market:SPY:last" in caplog.text
    assert "$.ts_ns" in caplog.text


def test_a_bad_stream_entry_is_skipped_and_the_next_one_read(servers: Servers) -> None:
    ibkr, analytics = servers.store(Module.IBKR), servers.store(Module.ANALYTICS)
    stream = k.EVENTS_MARKET.at(symbol="SPY")
    cursor = Cursor.at_start([stream])
    ibkr.raw(Server.DATA, "XADD", stream.name, "*", "e", "garbage")
    ibkr.raw(Server.DATA, "XADD", stream.name, "*", "other", "field")
    batch = ibkr.batch()
    batch.append(stream, TRADE)
    ibkr.commit(batch)
    assert [entry.event for entry in analytics.read(cursor)] == [TRADE]
    assert analytics.read(cursor) == []
    assert analytics.refused["events:market:{symbol}"] == 1


def test_a_cursor_is_kept_with_what_was_booked_and_found_again(servers: Servers) -> None:
    risk = servers.store(Module.RISK)
    cli = servers.store(Module.CLI)
    stream = k.CONTROL.at(module=Module.CLI)
    from alphatrader.contract.messages.risk import ControlRequest

    request = ControlRequest("1", "halt", "test", "why", 1, 1)
    batch = cli.batch()
    batch.append(stream, request)
    cli.commit(batch)
    cursor = Cursor.at_start([stream])
    assert [entry.event for entry in risk.read(cursor)] == [request]
    booked = risk.batch()
    cursor.keep(booked, Module.RISK)
    risk.commit(booked)
    assert risk.read(risk.saved_cursor(Cursor.at_end([stream]))) == []


def test_names_that_would_change_a_keys_meaning_are_refused() -> None:
    for name in ("SP:Y", "*", "{SPY}", "", "a b", "S\nY"):
        with pytest.raises(BadKeyPartError, match="symbol="):
            k.MARKET_LAST.at(symbol=name)


def test_the_async_store_reads_what_the_blocking_one_wrote(servers: Servers) -> None:
    health = Health("risk", "ready", None, 1, 1, 1, 1, {}, {})
    risk = servers.store(Module.RISK)
    batch = risk.batch()
    batch.put(k.HEALTH.at(module=Module.RISK), health)
    risk.commit(batch)

    async def read() -> tuple[object, object]:
        store = servers.async_store(Module.WATCHDOG)
        found = await store.get(k.HEALTH.at(module=Module.RISK))
        names = [bound.name async for bound in store.scan(k.HEALTH)]
        await store.close()
        return found, names

    assert asyncio.run(read()) == (health, ["health:risk"])


def test_what_comes_between_the_saved_cursor_and_the_first_read_is_read(servers: Servers) -> None:
    async def story() -> list[str]:
        reader = servers.async_store(Module.EXECUTION)
        writer = servers.async_store(Module.CLI)
        # given a reader that stands at the end of a stream it never read
        cursor = await reader.saved_cursor(Cursor.at_end([k.CONTROL.at(module=Module.CLI)]))
        batch = writer.batch()
        batch.append(k.CONTROL.at(module=Module.CLI), ControlRequest("r-1", "halt", "a test", "between", 1, 1))
        await writer.commit(batch)
        # when it reads for the first time after something came
        entries = await reader.read(cursor, block_seconds=None)
        await reader.close()
        await writer.close()
        return [entry.event.id for entry in entries]

    assert asyncio.run(story()) == ["r-1"]
