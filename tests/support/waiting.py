"""Waits for what must come: with a limit, and in words where it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 60.0
"""As long as a busy machine may take; what does come is seen at once."""


async def until(condition: Callable[[], Any], what: str = "", limit: float = PATIENCE_SECONDS) -> Any:
    """The condition's value once it is true; AssertionError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what or condition}"
        await asyncio.sleep(0.01)
    return value
