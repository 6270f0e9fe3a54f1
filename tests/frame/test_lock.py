"""One running instance of a module, and a fence that tells an older one from a newer."""

from __future__ import annotations

import asyncio
import os

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.runtime.lock import LockLostError, ModuleLock
from alphatrader.runtime.store import AsyncStore
from tests.support.servers import Servers


def locked(servers: Servers, story) -> None:
    async def run() -> None:
        store: AsyncStore = servers.async_store(Module.EXECUTION)
        await story(store)
        await store.close()

    asyncio.run(run())


async def lapsed(store: AsyncStore) -> None:
    """As if its time to live had passed."""
    assert await store.raw(Server.STATE, "DEL", k.LOCK.at(module=Module.EXECUTION).name) == 1


def test_a_second_instance_waits_and_gets_a_larger_fence(servers: Servers) -> None:
    async def story(store: AsyncStore) -> None:
        first, second = ModuleLock(store, Module.EXECUTION), ModuleLock(store, Module.EXECUTION)
        fence = await first.acquire()
        assert fence > 0
        assert await second.acquire() == 0
        holder = await second.holder()
        assert holder is not None
        assert holder.fence == fence
        await first.release()
        assert await second.acquire() > fence
        with pytest.raises(LockLostError):
            await first.renew()

    locked(servers, story)


def test_the_holder_takes_up_its_own_lock_again_with_the_same_fence(servers: Servers) -> None:
    async def story(store: AsyncStore) -> None:
        lock = ModuleLock(store, Module.EXECUTION)
        fence = await lock.acquire()
        assert await lock.acquire() == fence

    locked(servers, story)


def test_a_lock_that_lapsed_is_kept_where_nobody_took_it_and_lost_where_somebody_did(servers: Servers) -> None:
    async def story(store: AsyncStore) -> None:
        first, second = ModuleLock(store, Module.EXECUTION), ModuleLock(store, Module.EXECUTION)
        fence = await first.acquire()
        # given a lock that lapsed: a new holder has nothing to wait for
        await lapsed(store)
        # when nobody took it, then it is the first one's as before
        await first.renew()
        holder = await first.holder()
        assert holder is not None and holder.fence == fence and holder.pid == os.getpid()
        assert await second.acquire() == 0
        # when somebody did, then it is lost, while he holds it and after him
        await lapsed(store)
        assert await second.acquire() > fence
        with pytest.raises(LockLostError):
            await first.renew()
        await second.release()
        with pytest.raises(LockLostError):
            await first.renew()
        assert await second.holder() is None

    locked(servers, story)


def test_a_lock_of_an_emptied_server_is_lost(servers: Servers) -> None:
    async def story(store: AsyncStore) -> None:
        lock = ModuleLock(store, Module.EXECUTION)
        await lock.acquire()
        servers.flush()
        with pytest.raises(LockLostError):
            await lock.renew()

    locked(servers, story)
