"""`quotes:{conId}` for modules that close and guard positions: what the data server cannot say in time is not there.

A data server that is away, or stalled with its connections up, must hold up no exit and no booking (invariants.md I8). Used by
`execution` and `positions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import AsyncStore, StoreLost

READ_SECONDS: Final = 1.0
"""Longest wait for quotes: an exit without one goes at market."""
AWAY_SECONDS: Final = 1.0
"""A server that did not answer is not asked again for this long."""


class Quotes:
    def __init__(self, store: AsyncStore, clock: Clock, health: Heartbeat) -> None:
        self._store = store
        self._clock = clock
        self._health = health
        self._asked_again = 0.0

    async def of(self, con_ids: Sequence[int]) -> dict[int, ContractQuote]:
        """conId -> its quote, for those that have one now; nothing while the data server does not answer."""
        if not con_ids or self._clock.monotonic() < self._asked_again:
            return {}
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await self._store.get_many([k.QUOTES.at(con_id=con_id) for con_id in con_ids])
        except (*StoreLost, TimeoutError):
            self._asked_again = self._clock.monotonic() + AWAY_SECONDS
            self._health.count("quotes_not_read")
            return {}
        return {con_id: quote for con_id, quote in zip(con_ids, found, strict=True) if quote is not None}
