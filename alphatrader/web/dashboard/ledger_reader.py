"""State server -> board, what grows or changes slowly: delivery ledger and queues, closed trades; and the morning note.

It rests at least fifty times as long as it worked, so that a long ledger never keeps the server busy.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.runtime.context import Context
from alphatrader.runtime.store import Store, StoreError
from alphatrader.web.dashboard.board import Board
from alphatrader.web.dashboard.views import operations, trading
from alphatrader.web.dashboard.views.market import ms

_REST_SECONDS: Final = 1.0
_REST_SHARE: Final = 50.0
_TRADES_SHOWN: Final = 30


class LedgerReader:
    server = Server.STATE

    def __init__(self, context: Context, store: Store, board: Board) -> None:
        self._clock = context.clock
        self._calendar = context.calendar
        self._queues = operations.queues(context.settings.market.equities)
        self._store = store
        self._board = board
        self._pause = threading.Event()

    def recover(self) -> None:
        self._read()

    def step(self) -> None:
        began = self._clock.monotonic()
        self._read()
        self._pause.wait(max(_REST_SECONDS, (self._clock.monotonic() - began) * _REST_SHARE))

    def lost(self) -> None:
        self._board.put("deliveries", None)
        self._board.put("queues", None)

    def _read(self) -> None:
        self._board.put("queues", {name: self._queue(bound) for name, bound in self._queues.items()})
        self._board.put("deliveries", operations.deliveries(self._store.fields(k.LEDGER_DELIVERY.at())))
        session = self._calendar.current(self._clock.market_ns()).name
        closed = [trade for trade in self._store.fields(k.LEDGER_TRADES.at()).values() if trade.session == session]
        newest = sorted(closed, key=lambda trade: trade.closed_ns)[-_TRADES_SHOWN:]
        self._board.put_group("trade.", {trade.position_id: trading.trade(trade) for trade in newest})
        self._note()

    def _queue(self, bound: Any) -> dict[str, Any]:
        length = self._store.length(bound)
        return {"length": length, "next_ms": ms(self._store.next_due_ns(bound)) if length else None}

    def _note(self) -> None:
        """The note stands on the other server, whose loss is the other reader's to tell."""
        try:
            message = self._store.get(k.DASHBOARD_ANALYSIS.at())
        except StoreError:
            return
        self._board.put("note", operations.note(message))
