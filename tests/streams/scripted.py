"""A stage for analytics and signals: a module of ours beside the scripted voices of those it reads, on real servers."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractAsyncContextManager
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from alphatrader.contract.key import BoundKey
from alphatrader.contract.messages.market import Bar
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock, exchange_instant
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import Store
from tests.support.modules import running_module
from tests.support.servers import Servers

DAY = date(2026, 11, 18)
MINUTE_NS = 60_000_000_000


class Stage:
    def __init__(self, servers: Servers, folder: Path, at: str = "10:00") -> None:
        self.servers = servers
        self.folder = folder
        self.clock = Clock(exchange_instant(DAY, at), time.time_ns(), 1.0)
        self._stores: dict[Module, Store] = {}

    def context(self, module: Module, settings: Any = None) -> Context:
        log = structlog.wrap_logger(logging.getLogger(f"test.{module}"), wrapper_class=structlog.stdlib.BoundLogger)
        secrets = Secrets(module, self.servers.vault.environment_for(module))
        return Context(module, settings or self.servers.settings, secrets, self.clock, nyse(), log, self.folder)

    def store(self, module: Module) -> Store:
        if module not in self._stores:
            self._stores[module] = self.servers.store(module)
        return self._stores[module]

    def put(self, module: Module, bound: BoundKey[Any], value: Any) -> None:
        batch = self.store(module).batch()
        batch.put(bound, value)
        self.store(module).commit(batch)

    def append(self, module: Module, bound: BoundKey[Any], *events: Any) -> None:
        batch = self.store(module).batch()
        for event in events:
            batch.append(bound, event)
        self.store(module).commit(batch)

    def get(self, bound: BoundKey[Any]) -> Any:
        return self.store(Module.OPERATOR).get(bound)

    def running(self, kind: type[StreamModule], settings: Any = None) -> AbstractAsyncContextManager[Any]:
        return running_module(kind(self.context(kind.name, settings)))

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


def minute_bars(first_ns: int, count: int, price: float, volume: float) -> tuple[Bar, ...]:
    """Quiet minutes that rock a little around a price."""
    closes = [price + 0.05 * ((i * 7) % 5 - 2) for i in range(count)]
    return tuple(
        Bar(first_ns + i * MINUTE_NS, close, close + 0.1, close - 0.1, close, volume, close, 10) for i, close in enumerate(closes)
    )
