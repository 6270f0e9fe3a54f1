"""The worker `pulls` as its tests make it: its desk on real servers, and a vendor that has every chain."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog

from alphatrader.clients.alphavantage import AlphaVantage
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Last
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.budget import CallBudget
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.tasks.alphavantage.chains import AlphaVantageIngestion
from tests.support.fixed_market import FixedMarket
from tests.support.http import Answers, running_answers, send
from tests.support.servers import Servers
from tests.support.vendors import MONDAY_TEN_NS


class EveryMarket(FixedMarket):
    """Shows SPY's chain and news to whoever asks, so that all twelve have one."""

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        return [(MONDAY_TEN_NS - 3600 * 10**9, f"{symbol} is calm", 0.4, 0.5)][:limit]


@dataclass
class Desk:
    servers: Servers
    settings: Settings
    log: Any

    def clock(self, market_ns: int = MONDAY_TEN_NS) -> Clock:
        return Clock(market_ns, time.time_ns(), 1.0)

    def client(self) -> AlphaVantage:
        store, calls = self.servers.store(Module.PULLS), self.settings.options.calls_per_minute
        return AlphaVantage(
            self.settings.options,
            self.settings.vendors,
            "AVKEY-SECRET-1",
            budget=CallBudget(store, k.AV_BUDGET.at(), k.AV_PAUSE.at(), calls),
            clock=Clock(),
            rng=random.Random(7),
        )

    def ingestion(self, market_ns: int = MONDAY_TEN_NS) -> AlphaVantageIngestion:
        store = self.servers.store(Module.PULLS)
        return AlphaVantageIngestion(store, self.client(), self.settings, self.clock(market_ns), nyse(), self.log)

    def spot(self, symbol: str = "SPY", bid: float = 599.9, ask: float = 600.1) -> None:
        store = self.servers.store(Module.IBKR)
        batch = store.batch()
        batch.put(k.MARKET_LAST.at(symbol=symbol), Last(symbol, MONDAY_TEN_NS, 1, bid=bid, ask=ask))
        store.commit(batch)

    def seen(self, key: Any, symbol: str = "SPY") -> Any:
        return self.servers.store(Module.DASHBOARD).get(key.at(symbol=symbol))


def desk_of(servers: Servers, url: str, **options: Any) -> Desk:
    changed = msgspec.structs.replace(servers.settings.options, base_url=url, **options)
    return Desk(servers, msgspec.structs.replace(servers.settings, options=changed), structlog.get_logger())


def row(symbol: str, strike: int, right: str, day: str = "2026-11-23") -> dict[str, str]:
    mark = f"{20 + (600 - strike if right == 'C' else strike - 600) / 2:.2f}"
    return {
        "contractID": f"{symbol}261218{right}{strike * 1000:08d}",
        "symbol": symbol,
        "expiration": "2026-12-18",
        "strike": f"{strike}.00",
        "type": "call" if right == "C" else "put",
        "last": mark,
        "mark": mark,
        "bid": mark,
        "ask": mark,
        "volume": "10",
        "open_interest": "100",
        "date": day,
    }


def chain_body(symbol: str, day: str = "2026-11-23") -> bytes:
    rows = [row(symbol, strike, right, day) for strike in (590, 600, 610) for right in "CP"]
    return json.dumps({"endpoint": "Realtime Options", "message": "success", "data": rows}).encode()


@contextmanager
def vendor_with_every_chain() -> Iterator[tuple[Answers, dict[str, threading.Event]]]:
    """Answers any symbol's chain; a symbol with an event waits for it first."""
    held: dict[str, threading.Event] = {}

    def answer(handler: Any) -> None:
        symbol = parse_qs(urlsplit(handler.path).query)["symbol"][0]
        if symbol in held:
            held[symbol].wait(20)
        send(handler, chain_body(symbol))

    with running_answers() as answers:
        answers.answer = answer
        yield answers, held
        for event in held.values():
            event.set()
