"""State server -> board: halt, lease, limits, signals, orders, positions, totals, modules, and the log of what happened.

Woken by the streams of signals, approvals, orders, fills, positions and halts, whose newest entries it reads at its start; state
keys are read every half second.
"""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Server
from alphatrader.contract.messages.orders import OPEN_STATES, Fill, OrderEvent, OrderRecord
from alphatrader.contract.messages.positions import PositionEvent
from alphatrader.contract.messages.risk import Approval, HaltEvent
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.contract.modules import SERVERS
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.servers import LINES
from alphatrader.runtime.store import ServerFullError, Store, StoreError
from alphatrader.web.dashboard.board import Board, of_symbol
from alphatrader.web.dashboard.event_log import EventLog
from alphatrader.web.dashboard.views import operations, trading
from alphatrader.web.dashboard.views.expected import expected
from alphatrader.web.dashboard.views.market import ms

POLL_SECONDS: Final = 0.5
_RESCAN_SECONDS: Final = 5.0
_SIGNALS_KEPT: Final = 60
_ORDERS_KEPT: Final = 80
_HISTORY: Final = 200
_STREAMS: Final[tuple[BoundKey[Any], ...]] = (
    k.EVENTS_SIGNALS.at(),
    k.EVENTS_APPROVALS.at(),
    k.EVENTS_ORDERS.at(),
    k.EVENTS_FILLS.at(),
    k.EVENTS_POSITIONS.at(),
    k.EVENTS_HALT.at(),
)


class StateReader:
    server = Server.STATE

    def __init__(self, context: Context, store: Store, board: Board, chosen: Any) -> None:
        self._context = context
        self._clock = context.clock
        self._equities = context.settings.market.equities
        self._store = store
        self._board = board
        self._chosen = chosen
        self._cursor = Cursor.at_end(_STREAMS)
        self._log = EventLog(board)
        self._signals: dict[str, tuple[Signal, str, str | None]] = {}
        self._verdicts: dict[str, tuple[str, str]] = {}
        self._orders: dict[str, OrderRecord] = {}
        self._position_keys: list[Any] = []
        self._scanned = -_RESCAN_SECONDS
        self._polled = -POLL_SECONDS

    # -- Start ---------------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        self._cursor = Cursor.at_end(_STREAMS)
        self._store.read(self._cursor)
        self._log.clear()
        self._signals.clear()
        self._orders.clear()
        events: list[Any] = []
        for stream in _STREAMS:
            events += reversed(self._store.latest(stream, _HISTORY))
        for event in sorted(events, key=_instant):
            self._book(event)
        for pattern in (k.ORDERS_PENDING, k.ORDERS_WORKING):
            for record in self._store.get_many(list(self._store.scan(pattern))):
                if record is not None:
                    self._orders[record.id] = record
        self._scan()
        self._show_events()
        self._poll()

    def step(self) -> None:
        entries = self._store.read(self._cursor, block_seconds=POLL_SECONDS)
        for entry in entries:
            self._book(entry.event)
        now = self._clock.monotonic()
        if now - self._scanned >= _RESCAN_SECONDS or any(isinstance(entry.event, PositionEvent) for entry in entries):
            self._scan()
        if entries:
            self._show_events()
        if entries or now - self._polled >= POLL_SECONDS:
            self._poll()

    def lost(self) -> None:
        unknown = "the state server does not answer"
        self._board.put("halt", trading.halt(None) | {"reason": f"{unknown}: treated as halted"})
        self._board.put("lease", trading.lease(None) | {"reason": unknown})
        self._board.put("modules_unknown", unknown)
        self._board.put("expected", None)

    # -- Events --------------------------------------------------------------------------------------------------------------

    def _book(self, event: Any) -> None:
        match event:
            case SignalEvent():
                signal = event.signal
                known = self._verdicts.get(signal.id)
                if event.kind == "new":
                    state, reason = known or ("pending", None)
                else:
                    state, reason = event.kind, event.reason
                self._signals[signal.id] = (signal, state, reason)
            case Approval():
                self._verdicts[event.signal_id] = trading.verdict(event)
                if event.signal_id in self._signals:
                    self._signals[event.signal_id] = (self._signals[event.signal_id][0], *trading.verdict(event))
            case OrderEvent():
                self._orders[event.record.id] = event.record
            case Fill() | PositionEvent() | HaltEvent():
                pass
        self._log.add(event)

    def _show_events(self) -> None:
        for gone in list(self._signals)[:-_SIGNALS_KEPT]:
            del self._signals[gone]
        for gone in list(self._verdicts)[: -_SIGNALS_KEPT * 4]:
            del self._verdicts[gone]
        finished = [record.id for record in self._orders.values() if record.state not in OPEN_STATES]
        for gone in finished[:-_ORDERS_KEPT]:
            del self._orders[gone]
        self._board.put_group("signal.", {name: trading.signal(*found) for name, found in self._signals.items()})
        self._board.put_group("order.", {name: trading.order(record) for name, record in self._orders.items()})
        self._log.show()

    # -- State ---------------------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Keys that come and go."""
        self._scanned = self._clock.monotonic()
        self._position_keys = [bound for bound in self._store.scan(k.POSITIONS) if bound.name != k.POSITIONS_SUMMARY.at().name]

    def _poll(self) -> None:
        self._polled = self._clock.monotonic()
        store, board = self._store, self._board
        now_ns = self._clock.market_ns()
        board.put("session", operations.session(self._context.calendar, now_ns))
        board.put("halt", trading.halt(store.get(k.HALT.at())))
        board.put("lease", trading.lease(store.get(k.LEASE.at())))
        board.put("risk", trading.risk(store.get(k.RISK_STATE.at())))
        measures = {"correlation": store.get(k.RISK_CORRELATION.at()), "var": store.get(k.RISK_VAR.at())}
        board.put_group("measure.", {n: {"value": m.value, "reason": m.reason} for n, m in measures.items() if m})
        power = store.get(k.BUYING_POWER.at())
        board.put("power", {"value": float(power.value), "machine_ms": ms(power.machine_ns)} if power else {"value": None})
        board.put("summary", trading.summary(store.get(k.POSITIONS_SUMMARY.at())))
        counts = {"made": store.get(k.SIGNALS_COUNT.at()), "told": store.get(k.DISTRIBUTION_COUNT.at())}
        board.put("counts", {n: {"count": c.count, "session": c.session} if c else None for n, c in counts.items()})
        held = store.get_many(self._position_keys)
        board.put_group("position.", {p.id: trading.position(p) for p in held if p and p.status != "closed"})
        self._poll_signals()
        self._poll_modules()

    def _poll_signals(self) -> None:
        """What waits and what stands now, by symbol: ids of the maps; and why the chosen symbols have none."""
        pending = self._store.get_many([k.SIGNALS_PENDING.at(symbol=symbol) for symbol in self._equities])
        active = self._store.get_many([k.SIGNALS_ACTIVE.at(symbol=symbol) for symbol in self._equities])
        standing = {
            signal.id: state
            for state, maps in (("pending", pending), ("active", active))
            for found in maps
            if found is not None
            for signal in found.by_strategy.values()
        }
        self._board.put("standing", standing)
        found = self._store.get_many([k.SIGNALS_WHY.at(symbol=symbol) for symbol in self._equities])
        whys = {why.symbol: why for why in found if why is not None}
        for symbol in self._chosen():
            self._board.put(of_symbol(symbol, "why"), trading.why(whys.get(symbol)))
        here, now_ns, count = self._context, self._clock.market_ns(), self._store.get(k.SIGNALS_COUNT.at())
        said = expected(here.settings.strategies, here.calendar, now_ns, count, whys.values(), self._clock.speed)
        self._board.put("expected", said)

    def _poll_modules(self) -> None:
        settings = self._context.settings
        names = [name for line in AlphaTrader.LINES for name in line.instances(settings)]
        found = self._store.get_many([k.HEALTH.at(module=name) for name in names])
        beats = {name: beat for name, beat in zip(names, found, strict=True) if beat is not None}
        seen = self._store.get(k.OBSERVED.at())
        answers = {str(line): self._answers(LINES[line]) for line in SERVERS}
        self._board.put("modules_unknown", None)
        self._board.put_group("module.", operations.modules(settings, beats, seen, answers))
        self._board.put("alerts", operations.alerts(seen) if seen else None)
        self._board.put("discovery", self._discovery())

    def _discovery(self) -> list[str] | None:
        """None while the data server, where discovery's keys are, does not answer."""
        try:
            progress, waiting = self._store.get(k.DISCOVERED_PROGRESS.at()), self._store.get(k.DISCOVERED_CANDIDATES.at())
        except StoreError:
            return None
        return operations.discovery(progress, waiting)

    def _answers(self, server: Server) -> bool:
        if server == Server.STATE:
            return True
        try:
            self._store.raw(server, "PING")
        except ServerFullError:
            return True  # it does, and the watchdog says what is wrong with it
        except StoreError:
            return False
        return True


def _instant(event: Any) -> int:
    match event:
        case SignalEvent():
            return event.signal.ts_ns
        case _:
            return int(event.ts_ns)
