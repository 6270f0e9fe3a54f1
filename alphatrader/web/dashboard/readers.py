"""The threads that keep the board: one a server, woken by its streams, and one for what changes slowly.

A lost server is said on the board and tried again; what stood on it is then marked as of before, never shown as now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

from alphatrader.contract.key import Server
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import Store, StoreError
from alphatrader.web.dashboard.board import Board
from alphatrader.web.dashboard.ledger_reader import LedgerReader
from alphatrader.web.dashboard.market_reader import MarketReader
from alphatrader.web.dashboard.state_reader import StateReader

_RETRY_SECONDS: Final = 0.5


class Reader(Protocol):
    server: Server

    def recover(self) -> None:
        """Read what there is: at the start and after a lost server."""

    def step(self) -> None:
        """Wait for news for a moment, and bring the board up to date."""

    def lost(self) -> None:
        """Say on the board that nothing is known now."""


class Readers:
    def __init__(
        self, context: Context, store: Store, board: Board, chosen: Callable[[], set[str]], instruments: tuple[str, ...]
    ) -> None:
        self._context = context
        self._board = board
        self.market = MarketReader(context, store, board, chosen, instruments)
        self._state = StateReader(context, store, board, chosen)
        self._ledgers = LedgerReader(context, store, board)
        self._down: dict[str, Server] = {}
        self._lock = threading.Lock()

    def start(self, heartbeat: Heartbeat) -> None:
        for reader in (self.market, self._state, self._ledgers):
            name = type(reader).__name__
            threading.Thread(target=self._keep, args=(reader, name, heartbeat), name=name, daemon=True).start()

    def _keep(self, reader: Reader, name: str, heartbeat: Heartbeat) -> None:
        """Forever. An error nobody foresaw is told and tried again: the page and its buttons must outlive it."""
        pause = threading.Event()
        recovered = False
        while True:
            try:
                if not recovered:
                    reader.recover()
                    recovered = True
                    self._say(reader.server, name, heartbeat, up=True)
                reader.step()
            except Exception as error:
                recovered = False
                reader.lost()
                if isinstance(error, StoreError):
                    self._context.log.warning("server_lost", server=str(reader.server), reader=name, error=str(error))
                else:
                    self._context.log.exception("reader_failed", reader=name)
                    heartbeat.count(f"{name} failed")
                self._say(reader.server, name, heartbeat, up=False)
                pause.wait(_RETRY_SECONDS)

    def _say(self, server: Server, name: str, heartbeat: Heartbeat, *, up: bool) -> None:
        with self._lock:
            was_up = server not in self._down.values()
            if up:
                self._down.pop(name, None)
            else:
                self._down[name] = server
            is_up = server not in self._down.values()
            down = sorted({f"{lost} server" for lost in self._down.values()})
        if is_up:
            self._board.put(f"link.{server}", {"up": True})
        elif was_up:
            self._board.put(f"link.{server}", {"up": False, "since_ms": self._context.clock.machine_ns() // 1_000_000})
        heartbeat.degraded(f"cannot read the {' and the '.join(down)}", down[0]) if down else heartbeat.ready()
