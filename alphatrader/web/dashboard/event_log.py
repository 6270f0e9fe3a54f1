"""What happened, in words: the newest events of the state server's streams, for the page's log."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from alphatrader.contract.messages.orders import Fill, OrderEvent
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.messages.risk import Approval, HaltEvent
from alphatrader.contract.messages.signals import SignalEvent
from alphatrader.web.dashboard.board import Board
from alphatrader.web.dashboard.views.market import ms
from alphatrader.web.dashboard.views.trading import contract_name

_KEPT: Final = 150
Line = tuple[int, str, str, str]
"""Market instant, kind, level (plain, good, warn, bad), text."""


class EventLog:
    def __init__(self, board: Board) -> None:
        self._board = board
        self._lines: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_KEPT)
        self._number = 0

    def clear(self) -> None:
        self._lines.clear()

    def add(self, event: Any) -> None:
        line = told(event)
        if line is None:
            return
        ts_ns, kind, level, text = line
        shown = {"at_ms": ms(ts_ns), "kind": kind, "level": level, "text": text}
        if any(known == shown for _, known in self._lines):
            return  # read twice: once as history, once from the stream
        self._number += 1
        self._lines.append((self._number, shown))

    def show(self) -> None:
        self._board.put_group("log.", {str(number): line for number, line in self._lines})


def told(event: Any) -> Line | None:
    """One event in words; None for what is not worth a line."""
    match event:
        case SignalEvent(kind=kind, signal=made, reason=reason):
            direction = "call" if made.direction == "long_call" else "put"
            text = f"{made.strategy} {made.symbol} long {direction} {contract_name(made.contract)} at {made.entry:.2f}"
            if kind == "new":
                return made.ts_ns, "signal", "plain", f"{text}, confidence {made.confidence:.0f}"
            return made.ts_ns, "signal", "plain", f"{text} {kind}{_because(reason)}"
        case Approval():
            word, level = ("approved", "good") if event.approved else ("refused", "warn")
            return event.ts_ns, "risk", level, f"{word} {event.strategy} {event.symbol} x{event.quantity}{_because(event.reason)}"
        case OrderEvent(record=record):
            level = {"FILLED": "good", "REJECTED": "bad", "UNKNOWN": "bad"}.get(record.state, "plain")
            text = f"{record.role} {record.side} {record.quantity} {contract_name(record.contract)} {record.state}"
            return event.ts_ns, "order", level, f"{text}{_because(record.reason)}"
        case Fill():
            word = "bought" if event.side == "BUY" else "sold"
            corrected = " (corrected)" if event.revision > 1 else ""
            name = contract_name(event.contract) or event.symbol
            return event.ts_ns, "fill", "good", f"{word} {event.quantity} {name} at {event.price}{corrected}"
        case PositionEvent(kind="opened" | "closed" as kind, position=held):
            result = f", realized {held.realized:+,.2f}" if kind == "closed" else ""
            return event.ts_ns, "position", "plain", f"{kind} {contract_name(held.contract)}{result}{_because(event.reason)}"
        case HaltEvent():
            word = "FLATTEN" if event.flatten else "HALTED" if event.halted else "resumed"
            level = "bad" if event.halted else "good"
            return event.ts_ns, "halt", level, f"{word} by {event.by}{_because(event.reason)} (epoch {event.epoch})"
    return None


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""
