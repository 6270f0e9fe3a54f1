"""The module loop's own promises: a task that swallows its cancel is told again, named, and in the end the process ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alphatrader.runtime.module import end_tasks


class Log:
    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, event: str, **values: Any) -> None:
        self.errors.append({"event": event, **values})


async def deaf(times: int) -> None:
    """Swallows so many cancels."""
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)


async def failing() -> None:
    raise ValueError("no")


def test_a_swallowed_cancel_is_said_and_sent_again() -> None:
    async def story() -> None:
        log = Log()
        tasks = [asyncio.create_task(deaf(1), name="deaf"), asyncio.create_task(failing())]
        await asyncio.sleep(0)
        failed = await end_tasks(tasks, log)
        assert [str(error) for error in failed] == ["no"]
        assert [(e["event"], e["task"]) for e in log.errors] == [("task_does_not_end", "deaf")]
        assert any("test_module.py" in place for place in log.errors[0]["stands_at"])

    asyncio.run(story())


def test_a_task_that_never_ends_ends_the_process() -> None:
    async def story() -> None:
        task = asyncio.create_task(deaf(3), name="stone-deaf")
        await asyncio.sleep(0)
        with pytest.raises(SystemExit, match="stone-deaf"):
            await end_tasks([task], Log())
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(story())
