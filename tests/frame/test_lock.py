"""One running instance of a module, and a fence that tells an older one from a newer."""

from __future__ import annotations

import asyncio

import pytest

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
