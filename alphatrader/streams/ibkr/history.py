"""The past of each symbol, asked of the broker: at each connect, when a minute is missing, and on a new day.

Used by `IBKRIngestion`. Writes `market:{symbol}:history` and `:daily`. One request at a time: the broker paces them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Final

from alphatrader.clients.ibkr import lookup
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Bars
from alphatrader.core.market.feed import SymbolFeed
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.runtime.module import StreamModule

LOOK_SECONDS: Final = 0.5
CHECK_SECONDS: Final = 30.0
RETRY_FIRST_SECONDS: Final = 30.0
RETRY_MOST_SECONDS: Final = 600.0
"""What the broker refused is asked for again after a pause that doubles; a pacing violation pauses all."""


class History:
    def __init__(
        self,
        module: StreamModule,
        feeds: Mapping[str, SymbolFeed],
        contracts: Mapping[str, lookup.Listed],
        broker: Callable[[], Any],
    ) -> None:
        """`broker` gives whom to ask, or None without a link."""
        self.due = False
        """Everything is to be fetched anew."""
        self._module, self._store, self._clock = module, module.store, module.clock
        self._feeds, self._contracts, self._broker = feeds, contracts, broker
        self._fetched_on: dict[str, date] = {}
        self._again: dict[str, tuple[float, float]] = {}
        """When a symbol may be asked for again, and the pause it was."""
        self._paused_until = float("-inf")

    async def run(self) -> None:
        module, looked_at = self._module, float("-inf")
        self._fetched_on.clear()
        while not module.stopping.is_set():
            await module.pause(LOOK_SECONDS)
            now = self._clock.monotonic()
            if self.due:
                self._fetched_on.clear()
            elif now - looked_at < CHECK_SECONDS:
                continue
            looked_at, self.due = now, False
            for symbol, feed in self._feeds.items():
                await self._follow(symbol, feed)

    async def _follow(self, symbol: str, feed: SymbolFeed) -> None:
        module, ib = self._module, self._broker()
        if module.stopping.is_set() or ib is None or not feed.full or symbol not in self._contracts:
            return
        now, (again_at, paused) = self._clock.monotonic(), self._again.get(symbol, (float("-inf"), 0.0))
        if now < max(again_at, self._paused_until):
            return
        today = self._clock.session_date()
        if not feed.bars.hole and self._fetched_on.get(symbol) == today:
            return
        try:
            await self._fetch(ib, symbol, feed)
            self._fetched_on[symbol] = today
            self._again.pop(symbol, None)
        except lookup.LookupFailedError as error:
            pause = min(max(RETRY_FIRST_SECONDS, 2 * paused), RETRY_MOST_SECONDS)
            self._again[symbol] = self._clock.monotonic() + pause, pause
            if error.pacing:
                self._paused_until = self._clock.monotonic() + pause
            module.health.count("history_missing")
            module.log.warning("history_missing", symbol=symbol, reason=str(error), retry_seconds=pause)
        except (ConnectionError, TimeoutError) as error:
            module.log.warning("history_interrupted", symbol=symbol, reason=str(error) or type(error).__name__)
            await module.pause(1.0)

    async def _fetch(self, ib: Any, symbol: str, feed: SymbolFeed) -> None:
        contract = self._contracts[symbol].contract
        minutes = await lookup.bars(ib, contract, duration="2 D", size="1 min")
        feed.bars.load(minutes, self._clock.market_ns())
        days = await lookup.bars(ib, contract, duration="61 D", size="1 day")
        today = self._clock.session_date()
        before = tuple(bar for bar in days if exchange_datetime(bar.ts_ns).date() < today)[-60:]
        batch = self._store.batch()
        batch.put(k.MARKET_HISTORY.at(symbol=symbol), feed.history())
        batch.put(k.MARKET_DAILY.at(symbol=symbol), Bars(symbol, self._clock.market_ns(), 86_400, before))
        await self._store.commit(batch)
