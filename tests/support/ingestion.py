"""`IBKRIngestion` beside the stand-in gateway and real servers: `async with ingestion(servers, tmp_path) as s: ...`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alphatrader.clients.ibkr.subscriptions import Kind
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef, Wanted
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import AsyncStore
from alphatrader.streams.ibkr import IBKRIngestion
from tests.support.fixed_market import AAPL, ES_DEC, SPY, FixedMarket
from tests.support.gateway import Running, new_york_ns, running_gateway
from tests.support.modules import running_module
from tests.support.servers import Servers
from tests.support.waiting import until

FULL_KEYS = (k.MARKET_BOOK, k.MARKET_TRADES, k.MARKET_LAST, k.MARKET_BARS, k.MARKET_TIMESTAMP, k.MARKET_STATUS)
QUOTE_KEYS = (k.MARKET_LAST, k.MARKET_TIMESTAMP)


class TickingMarket(FixedMarket):
    """The fixed market with SPY trading in every turn, and the quotes of the others stirring: few contracts, so that subscribing
    takes no time."""

    def step(self, now_ns: int) -> Any:
        self.trade(SPY, 600.0, 10)
        for con_id in (AAPL, ES_DEC):
            self.quote_set(con_id, bid_size=100 + now_ns % 97)
        bids, asks = self._books[SPY].bids, self._books[SPY].asks
        self.book_set(SPY, [replace(bids[0], size=100 + now_ns % 97), *bids[1:]], list(asks))
        return super().step(now_ns)


@dataclass
class Story:
    running: Running
    module: IBKRIngestion
    servers: Servers
    reader: AsyncStore

    async def seen(self, condition: Callable[[], Awaitable[Any]], limit: float = 60.0) -> Any:
        """The condition's value once it is true, within the limit."""
        deadline = time.monotonic() + limit
        while not (value := await condition()):
            assert time.monotonic() < deadline, f"not seen within {limit} s; {self.module.health._reason}"
            await asyncio.sleep(0.01)
        return value

    async def get(self, key: Any, **parts: Any) -> Any:
        return await self.reader.get(key.at(**parts))

    async def want(self, module: Module, *refs: OptionRef, nearness: dict[str, float] | None = None) -> None:
        store = self.servers.async_store(module)
        batch = store.batch()
        batch.put(k.WANTED.at(module=module), Wanted(refs, 0, nearness or {}))
        await store.commit(batch)
        await store.close()

    async def events(self, symbol: str) -> list[Any]:
        cursor = Cursor.at_start([k.EVENTS_MARKET.at(symbol=symbol)])
        return [entry.event for entry in await self.reader.read(cursor, block_seconds=None, count=100_000)]

    def subscribed(self) -> dict[str, int]:
        return self.running.gateway.data.counts()


@asynccontextmanager
async def ingestion(
    servers: Servers,
    folder: Path,
    *,
    market: Any = "fixed",
    speed: float = 1.0,
    broker: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    log: dict[str, Any] | None = None,
    clock: Clock | None = None,
    **gateway: Any,
) -> AsyncIterator[Story]:
    """The module beside a gateway whose market time flows, and the keys as the dashboard's user reads them. `broker`, `data`
    and `log` are settings of those sections (`data`: of `market`); the rest goes to the gateway."""
    clock = clock or Clock(new_york_ns("2026-11-18 10:00:00"), time.time_ns(), speed)
    folder.mkdir(exist_ok=True)
    sold: Any = TickingMarket(clock.market_ns()) if market == "ticking" else market
    async with running_gateway(folder, market=sold, clock=clock.market_ns, **gateway) as running:  # type: ignore[arg-type]
        settings = msgspec.structs.replace(
            servers.settings,
            broker=msgspec.structs.replace(
                servers.settings.broker,
                gateways=(Address("127.0.0.1", running.port), Address("127.0.0.1", running.second_port)),
                **{"backoff_first_seconds": 0.05} | (broker or {}),
            ),
            market=msgspec.structs.replace(servers.settings.market, **{"quiet_seconds": 1.0} | (data or {})),
            log=msgspec.structs.replace(servers.settings.log, **log or {}),
        )
        secrets = Secrets(Module.IBKR, servers.vault.environment_for(Module.IBKR))
        context = Context(Module.IBKR, settings, secrets, clock, nyse(), structlog.get_logger(), folder)
        reader = servers.async_store(Module.DASHBOARD)
        try:
            async with running_module(IBKRIngestion(context)) as module:
                yield Story(running, module, servers, reader)
        finally:
            await reader.close()


def occ(strike: float, right: str = "C", symbol: str = "SPY", expiry: str = "20261218") -> OptionRef:
    return OptionRef(symbol, expiry, strike, right)  # type: ignore[arg-type]


THREE = {"equities": ("SPY", "AAPL"), "pinned": ("SPY",), "quote_only_futures": (), "indices": ()}
"""Settings of what the fixed market has, so that nothing is missing. ES is in the futures of the settings, with seven more."""


def small(servers: Servers, **changes: Any) -> dict[str, Any]:
    es = tuple(future for future in servers.settings.market.futures if future.root == "ES")
    return THREE | {"futures": es} | changes


async def all_live(s: Story) -> None:
    """SPY, AAPL and ES have depth, prints, bars and fresh keys."""
    await until(lambda: s.subscribed() == {"lines": 3, "depth": 3, "tick_by_tick": 3, "realtime_bars": 3})
    await s.seen(lambda: s.get(k.MARKET_BOOK, symbol="SPY"))


async def gone(s: Story, symbol: str) -> None:
    async def nothing() -> bool:
        return all(value is None for value in [await s.get(key, symbol=symbol) for key in FULL_KEYS])

    await s.seen(nothing)


def asked(s: Story) -> dict[tuple[Kind, str], int]:
    """Every subscription with its request id."""
    assert s.module._lines.subscriptions is not None
    return {(one.kind, one.name): one.req_id for one in s.module._lines.subscriptions}


def proven(s: Story, symbol: str) -> bool:
    one = s.module._lines.subscriptions.get(Kind.QUOTE, symbol) if s.module._lines.subscriptions else None
    return one is not None and one.heard_at is not None
