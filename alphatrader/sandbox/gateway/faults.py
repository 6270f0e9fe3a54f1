"""Faults to inject into a running gateway, by call or from a scenario file.

`Faults.inject(kind, **args)` does one at once; `scenario.py` reads a file of them. `docs/scenarios.md` has an example.

| kind | arguments | effect |
|---|---|---|
| drop | client_id, port (both optional) | resets the matching connections |
| down, up | index (0 primary, 1 second) | closes a listener and its connections; listens again |
| notice | code, text | a message with id -1 to every client |
| lost | | 1100 to all; no data, no order news, no orders accepted |
| restored | data_lost (bool) | 1101 (subscriptions gone) or 1102 (kept), and everything works again |
| silence, speak | symbol (optional) | data stop, all or one symbol's, while the socket lives; come back |
| competing | | 10197 on every line, and silence until `speak` |
| in_use, free | client_id | 326 to whoever comes with this clientId; no more |
| reset | seconds (60) | the nightly reset: 1100, both gateways down, up again after so much market time |
| repeat, reorder | count, client_id | so many messages of market data come twice; so many pairs change places |
| deaf, hear | client_id | the gateway reads nothing of its clients; reads on |
| halt | symbol, value (0 ends it) | tick 49 for the symbol, and nothing of it matches |
| pause | symbol, seconds (300) | a volatility pause: tick 49 value 2, neither prints nor quotes, then a print reopens (`5`) |
| hmds | state: broken, asleep or there | 2105 and 162 to who asks; 2107, awake when asked; 2106 |
| not_subscribed, subscribed | symbol | 354 on its lines, and to who asks for it (10189 for ticks, 420 for bars); no more |
| refuse_next | code, text, order_type, count | the next orders are refused with the code (201) |
| inactive | order_ref, stubborn (bool) | a working order becomes Inactive, listed as open, until cancelled; stubborn: for ever |
| fill_cap | size, count | at most `size` is filled at each of the next `count` fills |
| withhold_status | count | so many orderStatus messages are swallowed |
| repeat_fill | count | the last execDetails and orderStatus again |
| correct_fill | price | the exchange corrects the last execution |
| hand_trade | con_id, quantity, price | someone trades by hand: a position without an API order |
| unlist, list | con_id | the contract is not found (200), whoever holds it; is found again |
| depth_reset | | 317 and the book anew |
| end | what (quote, depth, ticks, bars), code, text, symbol (optional) | what is subscribed of the kind ends with the code |
| garbage | client_id, what: text, length or cut | bytes that are no frame |
| next_valid_id | order_id | nextValidId goes back |
| replay | events | the next events of a recording that runs step by step (not a fault; nothing else moves it) |
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alphatrader.sandbox.gateway import hours, layouts, scenario
from alphatrader.sandbox.gateway.history import FARM_NOTICES
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import Fields, encode_frame

if TYPE_CHECKING:
    from alphatrader.sandbox.gateway.gateway import Gateway

log = logging.getLogger(__name__)

LOST = "Connectivity between IB and Trader Workstation has been lost."
RESTORED = {
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained.",
}


MARKET_DATA = frozenset({1, 2, 12, 13, 45, 46, 50, 99})


class _Disorder:
    """Stands before one session's `send` until so many messages of market data came twice, or changed places with the next."""

    def __init__(self, session: Session, repeat: int, reorder: int) -> None:
        self._session, self._send = session, session.send
        self._repeat, self._reorder = repeat, reorder
        self._held: Fields | None = None
        setattr(session, "send", self.send)  # noqa: B010 (an ordinary assignment to a method is refused by mypy)

    def send(self, fields: Fields) -> None:
        if fields[0] not in MARKET_DATA:
            self._send(fields)
            return
        if self._repeat:
            self._repeat -= 1
            self._send(fields)
        elif self._held is not None:
            held, self._held = self._held, None
            self._reorder -= 1
            self._send(fields)
            self._send(held)
            self._end_if_done()
            return
        elif self._reorder:
            self._held = fields
            return
        self._send(fields)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if not self._repeat and not self._reorder and getattr(self._session, "send", None) == self.send:
            setattr(self._session, "send", self._send)  # noqa: B010


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
            "silence": lambda symbol="": gateway.data.silence(True, self._con_ids(symbol)),
            "speak": lambda symbol="": gateway.data.silence(False, self._con_ids(symbol)),
            "competing": self._competing,
            "in_use": lambda client_id: gateway.taken_client_ids.add(client_id),
            "free": lambda client_id: gateway.taken_client_ids.discard(client_id),
            "reset": self._reset,
            "repeat": lambda count=1, client_id=None: self._disorder(client_id, repeat=count),
            "reorder": lambda count=1, client_id=None: self._disorder(client_id, reorder=count),
            "deaf": lambda client_id=None: self._listen(client_id, False),
            "hear": lambda client_id=None: self._listen(client_id, True),
            "halt": self._halt,
            "pause": lambda symbol, seconds=300: gateway.market.pause(symbol, seconds),
            "hmds": self._hmds,
            "not_subscribed": lambda symbol: gateway.data.entitle(self._con_ids(symbol) or (), False),
            "subscribed": lambda symbol: gateway.data.entitle(self._con_ids(symbol) or (), True),
            "refuse_next": self._refuse_next,
            "inactive": self._inactive,
            "fill_cap": self._fill_cap,
            "withhold_status": self._withhold_status,
            "repeat_fill": self._repeat_fill,
            "correct_fill": self._correct_fill,
            "hand_trade": self._hand_trade,
            "end": lambda what, code, text="", symbol="": gateway.data.end(what, code, text, self._con_ids(symbol)),
            "unlist": lambda con_id: gateway.contracts.unlisted.add(con_id),
            "list": lambda con_id: gateway.contracts.unlisted.discard(con_id),
            "depth_reset": lambda: gateway.data.reset_depth(),
            "garbage": self._garbage,
            "next_valid_id": self._next_valid_id,
            "replay": self._replay,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self._kinds)

    def inject(self, kind: str, **args: Any) -> None:
        """Raises ValueError: there is no such fault, it does not take these arguments, or it cannot be done now."""
        self.check(kind, args)
        self._gateway.wire_log.write("fault", what=kind, args=args)
        self._kinds[kind](**args)
        self._gateway.settle()

    def check(self, kind: str, args: Mapping[str, Any]) -> None:
        """Raises ValueError: there is no such fault, or it does not take these arguments."""
        if kind not in self._kinds:
            raise ValueError(f"fault {kind!r} is unknown; there are {', '.join(sorted(self._kinds))}")
        scenario.check_arguments(kind, self._kinds[kind], args)
        self._con_ids(args.get("symbol", ""))

    def load(self, path: Path, start_ns: int) -> None:
        """Takes up a scenario. Instants that were over when the gateway began are passed over, and told: they were for a start
        before this one. Raises ScenarioError."""
        for at, kind, args in scenario.read(path, start_ns, self.check):
            if at < start_ns:
                self._could_not(kind, args, "its instant was over when the gateway began")
            else:
                self._script.append((at, kind, args))

    def turn(self, now_ns: int) -> None:
        while self._script and self._script[0][0] <= now_ns:
            _, kind, args = self._script.pop(0)
            try:
                self.inject(kind, **args)
            except ValueError as error:  # such as repeat_fill before any fill: the rest of the script goes on
                self._could_not(kind, args, str(error))

    def _could_not(self, kind: str, args: dict[str, Any], why: str) -> None:
        log.error("scenario: %s %s could not be done: %s", kind, args, why)
        self._gateway.wire_log.write("fault", what=kind, args=args, failed=why)

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

    def _con_ids(self, symbol: str) -> set[int] | None:
        """A symbol's instruments, its options among them; None for all there are."""
        if not symbol:
            return None
        found = {contract.con_id for contract in self._gateway.market.contracts(symbol=symbol)}
        if not found:
            raise ValueError(f"symbol {symbol!r} is unknown")
        return found

    def _competing(self) -> None:
        self._gateway.data.tell_lines(10197, "No market data during competing live session")
        self._gateway.data.silence(True)

    def _reset(self, seconds: float = 60) -> None:
        self._notice(1100)
        self._gateway.settle()
        again = self._gateway.now_ns() + int(seconds * hours.NS)
        for index in range(len(self._gateway.ports)):
            self._gateway.close_listener(index)
            self._script.append((again, "up", {"index": index}))
        self._script.sort(key=lambda item: item[0])

    def _disorder(self, client_id: int | None, *, repeat: int = 0, reorder: int = 0) -> None:
        for session in self._ready(client_id):
            _Disorder(session, repeat, reorder)

    def _listen(self, client_id: int | None, reads: bool) -> None:
        for session in self._ready(client_id):
            session.listen(reads)

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

    def _hmds(self, state: Literal["there", "asleep", "broken"]) -> None:
        code, text = FARM_NOTICES[state]
        self._gateway.history.farm = state
        self._notice(code, text)

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
