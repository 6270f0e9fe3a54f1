"""A stream module at work inside the test's own event loop, without its frame: no lock, no heartbeat, no back-off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from alphatrader.runtime.module import StreamModule

LEAVE_SECONDS = 5.0


@asynccontextmanager
async def running_module(module: StreamModule, *, fence: int = 1) -> AsyncIterator[Any]:
    """Recovered and running; asked to stop, and gone, at the end. What it fails with is the test's failure."""
    module.fence = fence
    await module.recover()
    task = asyncio.create_task(module.run())
    try:
        yield module
        assert not task.done(), f"{module.name} ended by itself"
    finally:
        module.stopping.set()
        try:
            await asyncio.wait_for(task, LEAVE_SECONDS)
            await module.shut()
        finally:
            await module.store.close()
