"""The market side of a trading day on the two servers, written as `ibkr` and `analytics` write it, and its clock."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.messages import market as m
from alphatrader.contract.messages.metrics import Metric, MetricsEvent
from alphatrader.contract.modules import Module
from alphatrader.core.market.checksum import checksum
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import SECOND, Clock, Epoch, exchange_instant
from tests.support.servers import Servers

DAY = date(2026, 11, 18)
START = exchange_instant(DAY, "11:05")
PRICES = {
    "SPY": 661.42,
    "QQQ": 595.10,
    "IWM": 238.77,
    "AAPL": 268.31,
    "TSLA": 402.65,
    "NVDA": 186.22,
    "AMD": 233.40,
    "GOOGL": 284.15,
    "META": 601.77,
    "AMZN": 223.90,
    "MSFT": 494.02,
    "VXX": 34.18,
    "ES": 6635.25,
    "NQ": 24640.5,
    "RTY": 2391.4,
    "VX": 21.35,
    "DX": 99.62,
    "GC": 4068.2,
    "CL": 60.71,
    "ZB": 116.53,
}
"""YM and the foreign indices have no feed."""


@contextmanager
def epoch(servers: Servers) -> Iterator[Clock]:
    """A sandbox clock that runs from 11:05, stamped as the sandbox line's parent does."""
    held = Epoch(servers.folder, start_ns=START, speed=1.0, resume_at=lambda last: START)
    ended = threading.Event()

    def stamp() -> None:
        while not ended.wait(1.0):
            held.stamp()

    thread = threading.Thread(target=stamp, daemon=True)
    thread.start()
    try:
        yield held.clock
    finally:
        ended.set()
        thread.join()
        (servers.folder / "clock.json").unlink()


class MarketDesk:
    """Writes as each module; keeps the stores open."""

    def __init__(self, servers: Servers, clock: Clock) -> None:
        self.servers, self.clock = servers, clock
        self._stores: dict[Module, Any] = {}

    def store(self, module: Module) -> Any:
        if module not in self._stores:
            self._stores[module] = self.servers.store(module)
        return self._stores[module]

    def write(self, module: Module, *steps: Any) -> None:
        """Each step is given its own batch, so that one call may write to both servers."""
        store = self.store(module)
        for step in steps:
            batch: Batch = store.batch()
            step(batch)
            store.commit(batch)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()

    # -- Market ------------------------------------------------------------------------------------------------------------

    def quotes(self, step: int = 0) -> None:
        now = self.clock.market_ns()

        def put(batch: Batch) -> None:
            for i, (symbol, base) in enumerate(PRICES.items()):
                price = round(base * (1 + 0.0004 * math.sin(step / 3 + i)), 2)
                batch.put(
                    k.MARKET_LAST.at(symbol=symbol),
                    m.Last(
                        symbol,
                        now,
                        step,
                        price - 0.01,
                        300,
                        price + 0.01,
                        500,
                        price,
                        100,
                        1_250_000,
                        base * 0.997,
                        base * 1.004,
                        base * 0.994,
                        round(base * (1 + 0.003 * math.cos(i)), 2),
                    ),
                )
                received = now - (9 if symbol == "ZB" else 0) * SECOND
                batch.put(k.MARKET_TIMESTAMP.at(symbol=symbol), m.Timestamps(symbol, now, step, received, received, now, 0))

        self.write(Module.IBKR, put)

    def bars(self, symbol: str = "SPY") -> None:
        now = self.clock.market_ns()
        minute = 60 * SECOND
        first = now - now % minute - 240 * minute

        def bar(start: int, width: float, base: float) -> m.Bar:
            o, c = (
                base * (1 + 0.002 * math.sin(start / minute / 23)),
                base * (1 + 0.002 * math.sin((start + minute) / minute / 23)),
            )
            return m.Bar(start, o, max(o, c) * (1 + width), min(o, c) * (1 - width), c, 90_000 + 40_000 * math.sin(start), o, 100)

        history = tuple(bar(first + i * minute, 0.0003, PRICES[symbol]) for i in range(240))
        recent = tuple(bar(now - now % (5 * SECOND) - (120 - i) * 5 * SECOND, 0.0001, PRICES[symbol]) for i in range(120))
        self.write(
            Module.IBKR,
            lambda b: b.put(k.MARKET_HISTORY.at(symbol=symbol), m.Bars(symbol, now, 60, history)),
            lambda b: b.put(k.MARKET_BARS.at(symbol=symbol), m.Bars(symbol, now, 5, recent)),
        )

    def metrics(self, symbol: str = "SPY") -> None:
        now = self.clock.market_ns()

        def metric(name: str, value: float | None, units: str, n: int, reason: str | None = None, **parts: Any) -> Metric:
            return Metric(name, symbol, now, value is not None, reason, value, units, "as documented", n, parts, {})

        found = (
            (k.METRICS_VPIN, metric("vpin", 0.41, "share", 50, bucket_size=180_000, buckets=50, percentile=0.88)),
            (k.METRICS_OBI, metric("obi", 0.27, "-1 to 1", 10, volume=0.31, pressure=0.22, slope=0.11, ofi=0.4)),
            (
                k.METRICS_GEX,
                metric(
                    "gex",
                    2.41e9,
                    "USD per 1 %",
                    3120,
                    call_wall=662.5,
                    put_wall=660.5,
                    flip=661.1,
                    zero_dte=9.1e8,
                    spot=661.42,
                    strikes=[660.0 + i / 2 for i in range(60)],
                    call_by_strike=[1e7 * i for i in range(60)],
                    put_by_strike=[-2e7] * 60,
                ),
            ),
            (k.METRICS_DEX, metric("dex", -8.2e9, "USD", 3120, call=2.1e10, put=-2.92e10)),
            (k.METRICS_SWEEP, metric("sweep", 0.6, "share", 2, buy_usd=650_000, sell_usd=162_000, tape=self.sweeps(now))),
            (k.METRICS_HIDDEN, metric("hidden", None, "share", 0, "no depth for this symbol now")),
            (
                k.METRICS_REGIME,
                metric("regime", 0.34, "trend strength, -1 to 1", 95, **{"class": "trend_up", "drift_t": 1.02, "atr_1m": 0.18}),
            ),
            (
                k.METRICS_MAKERS,
                metric(
                    "makers",
                    0.12,
                    "share",
                    4,
                    makers={},
                    moves=[{"maker": "GSCO", "what": "leans", "side": "bid", "from_ms": 1, "last_ms": 2}],
                    attributed_share=0.22,
                    hedging={"sign": 1, "lag_seconds": 15, "p": 0.002, "reason": None},
                    moves_since_start=3,
                ),
            ),
        )

        def put(batch: Batch) -> None:
            for key, message in found:
                batch.put(key.at(symbol=symbol), message)

        self.write(Module.ANALYTICS, put)

    @staticmethod
    def sweeps(now_ns: int) -> list[dict[str, Any]]:
        """As analytics tells them, oldest first."""
        rows = ((40, "sell", 162_000.0, ["ARCA", "BATS"], 0.5), (3, "buy", 650_000.0, ["ARCA", "BATS", "IEX"], 1.0))
        return [
            {
                "at_ms": (now_ns - ago * SECOND) // 1_000_000,
                "side": side,
                "notional_usd": usd,
                "shares": usd / 650,
                "venues": venues,
                "levels": 1,
                "f_share": f,
            }
            for ago, side, usd, venues, f in rows
        ]

    def moment_of_metrics(self, seq: int, vpin: float | None, symbol: str = "SPY") -> None:
        event = MetricsEvent(seq, symbol, self.clock.market_ns(), seq, 0, {"vpin": vpin, "obi": 0.25})
        self.write(Module.ANALYTICS, lambda b: b.append(k.EVENTS_METRICS.at(), event))

    def book(self, symbol: str = "SPY", reason: str | None = None) -> None:
        base = PRICES[symbol]
        sides = [tuple(m.Level(round(base + way * i / 100, 2), 100.0 * i, "ARCA", "") for i in range(1, 11)) for way in (-1, 1)]
        bids, asks = sides if reason is None else ((), ())
        message = m.Book(symbol, self.clock.market_ns(), 1, reason is None, reason, "depth", bids, asks, checksum(bids, asks))
        self.write(Module.IBKR, lambda b: b.put(k.MARKET_BOOK.at(symbol=symbol), message))
