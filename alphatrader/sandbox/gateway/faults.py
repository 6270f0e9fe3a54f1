"""Faults to inject into a running gateway, by call or from a scenario file.

`Faults.inject(kind, **args)` does one at once. A scenario is JSON lines `{"at": "2026-11-23 10:00:00", "do": "drop",
...args}`: `at` is market time in New York, `after_seconds` counts from the gateway's start instead.

| kind | arguments | effect |
|---|---|---|
| drop | client_id, port (both optional) | resets the matching connections |
| down, up | index (0 primary, 1 second) | closes a listener and its connections; listens again |
| notice | code, text | a message with id -1 to every client |
| lost | | 1100 to all; no data, no order news, no orders accepted |
| restored | data_lost (bool) | 1101 (subscriptions gone) or 1102 (kept), and everything works again |
| silence, speak | | data stop while the socket lives; come back |
| halt | symbol, value (0 ends it) | tick 49 for the symbol, and nothing of it matches |
| refuse_next | code, text, order_type, count | the next orders are refused with the code (201) |
| inactive | order_ref, stubborn (bool) | a working order becomes Inactive, listed as open, until cancelled; stubborn: for ever |
| fill_cap | size, count | at most `size` is filled at each of the next `count` fills |
| withhold_status | count | so many orderStatus messages are swallowed |
| repeat_fill | count | the last execDetails and orderStatus again |
| correct_fill | price | the exchange corrects the last execution |
| hand_trade | con_id, quantity, price | someone trades by hand: a position without an API order |
| depth_reset | | 317 and the book anew |
| garbage | client_id, what: text, length or cut | bytes that are no frame |
| next_valid_id | order_id | nextValidId goes back |
| replay | events | the next events of a recording that runs step by step (not a fault; nothing else moves it) |
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import encode_frame

if TYPE_CHECKING:
    from alphatrader.sandbox.gateway.gateway import Gateway

LOST = "Connectivity between IB and Trader Workstation has been lost."
RESTORED = {
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained.",
}


class Faults:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._script: list[tuple[int, str, dict[str, Any]]] = []
        self._kinds: dict[str, Callable[..., None]] = {
            "drop": self._drop,
            "down": lambda index=0: gateway.close_listener(index),
            "up": lambda index=0: gateway.open_listener(index),
            "notice": self._notice,
            "lost": self._lost,
            "restored": self._restored,
            "silence": lambda: gateway.data.silence(True),
            "speak": lambda: gateway.data.silence(False),
            "halt": self._halt,
            "refuse_next": self._refuse_next,
            "inactive": self._inactive,
            "fill_cap": self._fill_cap,
            "withhold_status": self._withhold_status,
            "repeat_fill": self._repeat_fill,
            "correct_fill": self._correct_fill,
            "hand_trade": self._hand_trade,
            "depth_reset": lambda: gateway.data.reset_depth(),
            "garbage": self._garbage,
            "next_valid_id": self._next_valid_id,
            "replay": self._replay,
        }

    def inject(self, kind: str, **args: Any) -> None:
        if kind not in self._kinds:
            raise ValueError(f"fault {kind!r} is unknown; there are {', '.join(sorted(self._kinds))}")
        self._gateway.wire_log.write("fault", what=kind, args=args)
        self._kinds[kind](**args)
        self._gateway.settle()

    def load(self, path: Path, start_ns: int) -> None:
        """Read a scenario; a bad line is refused with its number."""
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip():
                continue
            try:
                entry = msgspec.json.decode(line, type=dict[str, Any])
                kind = entry.pop("do")
                if "after_seconds" in entry:
                    at = start_ns + int(float(entry.pop("after_seconds")) * hours.NS)
                else:
                    moment = datetime.fromisoformat(entry.pop("at"))
                    at = int(moment.replace(tzinfo=moment.tzinfo or hours.NEW_YORK).timestamp() * hours.NS)
            except (msgspec.DecodeError, msgspec.ValidationError, KeyError, ValueError, TypeError) as error:
                raise ValueError(f"{path} line {number}: not a scenario entry: {error}") from error
            if kind not in self._kinds:
                raise ValueError(f"{path} line {number}: fault {kind!r} is unknown")
            self._script.append((at, kind, entry))
        self._script.sort(key=lambda item: item[0])

    def turn(self, now_ns: int) -> None:
        while self._script and self._script[0][0] <= now_ns:
            _, kind, args = self._script.pop(0)
            self.inject(kind, **args)

    # --- connections

    def _ready(self, client_id: int | None = None, port: int | None = None) -> list[Session]:
        return [
            session
            for session in self._gateway.sessions
            if session.client_id is not None and client_id in (None, session.client_id) and port in (None, session.port)
        ]

    def _drop(self, client_id: int | None = None, port: int | None = None) -> None:
        for session in self._ready(client_id, port):
            session.close("injected drop", abort=True)

    def _notice(self, code: int, text: str = "") -> None:
        for session in self._ready():
            session.error(-1, code, text or RESTORED.get(code, LOST))

    def _lost(self) -> None:
        self._notice(1100)
        self._gateway.reporter.muted = self._gateway.orders.disconnected = True
        self._gateway.data.silence(True)

    def _restored(self, data_lost: bool = False) -> None:
        self._gateway.reporter.muted = self._gateway.orders.disconnected = False
        if data_lost:
            self._gateway.data.forget_all()
        self._gateway.data.silence(False)
        self._notice(1101 if data_lost else 1102)

    def _garbage(self, what: str = "text", client_id: int | None = None) -> None:
        pieces = {
            "text": encode_frame((1, 6, "x", "not a tick")),
            "length": b"\xff\xff\xff\xff",
            "cut": struct.pack(">I", 400) + b"1\x006\x00",
        }
        for session in self._ready(client_id):
            session.send_bytes(pieces[what])

    def _replay(self, events: int = 1) -> None:
        if self._gateway.pace is None:
            raise ValueError("replay: this gateway plays no recording")
        self._gateway.pace.ask(events)
        self._gateway.turn()

    def _next_valid_id(self, order_id: int = 1) -> None:
        for session in self._ready():
            session.send(layouts.next_valid_id(order_id))

    # --- market and orders

    def _halt(self, symbol: str, value: int = 1) -> None:
        for contract in self._gateway.market.contracts(symbol=symbol):
            if contract.sec_type != "OPT":
                self._gateway.quotes.halts[contract.con_id] = value
        self._gateway.quotes.refresh()

    def _refuse_next(self, code: int = 201, text: str = "", order_type: str = "", count: int = 1) -> None:
        reason = text or "Order rejected - reason:Injected refusal"
        self._gateway.orders.refuse_next += [(code, reason, order_type)] * count

    def _inactive(self, order_ref: str, stubborn: bool = False) -> None:
        order = next((o for o in self._gateway.ledger.working() if o.order_ref == order_ref), None)
        if order is None:
            raise ValueError(f"inactive: no working order has orderRef {order_ref!r}")
        order.status = "Inactive"
        self._gateway.ledger.save(order)
        self._gateway.orders.inactive[order.perm_id] = stubborn
        self._gateway.reporter.order(order)

    def _fill_cap(self, size: int, count: int = 1) -> None:
        self._gateway.engine.fill_cap += [size] * count

    def _withhold_status(self, count: int = 1) -> None:
        self._gateway.reporter.withheld_statuses += count

    def _repeat_fill(self, count: int = 1) -> None:
        reporter = self._gateway.reporter
        if reporter.last_fill is None:
            raise ValueError("repeat_fill: nothing has been filled yet")
        order, execution = reporter.last_fill
        for session in self._ready(order.client_id):
            for _ in range(count):
                reporter.execution(session, -1, execution)
                reporter.status(session, order)

    def _correct_fill(self, price: float) -> None:
        reporter = self._gateway.reporter
        if reporter.last_fill is None:
            raise ValueError("correct_fill: nothing has been filled yet")
        order, execution = reporter.last_fill
        _, new = self._gateway.ledger.correct(execution.exec_id, price)
        reporter.last_fill = (order, new)
        reporter.changed.add(new.con_id)
        self._gateway.wire_log.write("truth", what="correction", exec_id=new.exec_id, replaces=execution.exec_id, price=price)
        for session in self._ready(order.client_id):
            reporter.execution(session, -1, new)

    def _hand_trade(self, con_id: int, quantity: int, price: float) -> None:
        self._gateway.hand_trade(con_id, quantity, price)
