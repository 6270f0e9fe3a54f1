"""Data server -> board: quotes of all instruments, and of the chosen symbols metrics, gamma profile, book and the open minute.

Woken by `events:metrics`; state keys are read with MGET every 250 ms, which is as often as a client is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.market import Book
from alphatrader.contract.messages.metrics import Metric
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import Store
from alphatrader.web.dashboard.board import Board, of_symbol
from alphatrader.web.dashboard.trails import Point, Trails
from alphatrader.web.dashboard.views import market as view
from alphatrader.web.dashboard.views.metrics import metric as tile

POLL_SECONDS: Final = 0.25
_LEAST_SECONDS: Final = 0.1
_OPEN_MINUTES: Final = 2


class MarketReader:
    server = Server.DATA

    def __init__(
        self, context: Context, store: Store, board: Board, chosen: Callable[[], set[str]], instruments: tuple[str, ...]
    ) -> None:
        self._clock = context.clock
        self._quiet_ms = int(context.settings.market.quiet_seconds * 1000)
        self._equities = context.settings.market.equities
        self._store = store
        self._board = board
        self._chosen = chosen
        self._instruments = instruments
        self._trails = Trails()
        self._pause = threading.Event()
        self._cursor = Cursor.at_end([k.EVENTS_METRICS.at()])
        self._last = 0.0

    def recover(self) -> None:
        self._cursor = Cursor.at_end([k.EVENTS_METRICS.at()])
        self._quotes()

    def step(self) -> None:
        for entry in self._store.read(self._cursor, block_seconds=POLL_SECONDS):
            self._trails.add(entry.event)
        self._pause.wait(max(0.0, _LEAST_SECONDS - (self._clock.monotonic() - self._last)))
        self._last = self._clock.monotonic()
        self._tick()
        self._quotes()
        for symbol in self._chosen():
            self._symbol(symbol)
        self._board.market_was_read()

    def lost(self) -> None:
        self._board.put_group("quote.", {name: view.quote(None, None, None) for name in self._instruments})
        for symbol in self._chosen():
            self._show(symbol, dict.fromkeys(k.METRICS), None)

    def candles(self, symbol: str) -> list[list[float]]:
        """Of the last two sessions, as far as they are known."""
        history = self._store.get(k.MARKET_HISTORY.at(symbol=symbol))
        return view.candles(history, self._store.get(k.MARKET_BARS.at(symbol=symbol)))

    def trail(self, symbol: str) -> list[Point]:
        """VPIN and OBI of the last quarter of an hour, as far as this process has seen it."""
        return self._trails.of(symbol)

    def _tick(self) -> None:
        """Both clocks, so that the page's own clock and ages run true between updates."""
        second = self._clock.machine_ns() // 1_000_000_000
        known = self._clock.market_ns() - (self._clock.machine_ns() - second * 1_000_000_000) * self._clock.speed
        self._board.put("clock", {"machine_ms": second * 1000, "market_ms": int(known) // 1_000_000, "speed": self._clock.speed})

    def _quotes(self) -> None:
        names = self._instruments
        lasts = self._store.get_many([k.MARKET_LAST.at(symbol=name) for name in names])
        stamps = self._store.get_many([k.MARKET_TIMESTAMP.at(symbol=name) for name in names])
        states = self._store.get_many([k.MARKET_STATUS.at(symbol=name) for name in names])
        rows = {
            name: view.quote(last, stamp, status) | {"order": order, "quiet_ms": self._quiet_ms}
            for order, (name, last, stamp, status) in enumerate(zip(names, lasts, stamps, states, strict=True))
        }
        self._board.put_group("quote.", rows)

    def _symbol(self, symbol: str) -> None:
        messages = self._store.get_many([key.at(symbol=symbol) for key in k.METRICS.values()])
        self._show(symbol, dict(zip(k.METRICS, messages, strict=True)), self._store.get(k.MARKET_BOOK.at(symbol=symbol)))
        recent = self._store.get(k.MARKET_BARS.at(symbol=symbol))
        self._board.put(of_symbol(symbol, "minutes"), view.candles(None, recent)[-_OPEN_MINUTES:])

    def _show(self, symbol: str, metrics: dict[str, Metric | None], book: Book | None) -> None:
        self._board.put_group(of_symbol(symbol, "metric."), {name: tile(metric) for name, metric in metrics.items()})
        self._board.put(of_symbol(symbol, "profile"), view.profile(metrics["gex"]))
        self._board.put(of_symbol(symbol, "depth"), view.depth(book))
