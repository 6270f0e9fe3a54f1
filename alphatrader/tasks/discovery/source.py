"""What a run of discovery computes from: the audit log of the data connection (of a symbol that it does not tell of,
`events:market:{symbol}`), `market:{symbol}:history` and `:daily`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.market import Bar
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.core.market.status import Hours
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import Clock, exchange_datetime, exchange_instant
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import Store

EVENTS_KEPT: Final = 20_000
"""All that a market stream keeps."""
PAGE: Final = 1000
"""Events in one read: more would hold the data server from its feeds."""


class Source:
    def __init__(self, store: Store, settings: Settings, clock: Clock, calendar: Calendar, log: Any, folder: Path) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._calendar = calendar
        self._log = log
        self._folder = folder

    def bars(self, key: Key[Any], symbol: str) -> tuple[Bar, ...]:
        message = self._store.get(key.at(symbol=symbol))
        return message.bars if message is not None else ()

    def recorded(self, symbols: tuple[str, ...], told: Callable[[float], None], failed: list[str]) -> dict[str, Any]:
        """Prints and books by symbol. `told` hears the share of the log that is read; `failed` gets what could not be."""
        from alphatrader.tasks.discovery.recorded import Recorded, log_files, read_recorded

        since_ns = self._since_ns()
        logs = log_files(self._folder / "audit", str(Module.IBKR))
        begins = f"{Module.IBKR}-{exchange_datetime(since_ns):%Y-%m-%d}"
        first = next((place for place, path in enumerate(logs) if path.stem >= begins), len(logs))
        found = read_recorded(
            logs[max(0, first - 1) :],  # what was subscribed before may still run
            self._settings.market,
            since_ns=since_ns,
            hours=self._hours,
            told=told,
            log=self._log,
        )
        for symbol in symbols:
            recorded = found.setdefault(symbol, Recorded())
            if recorded.failed is not None:
                failed.append(f"recorded {symbol}: {recorded.failed}")
            if not recorded.sizes:
                recorded.take(self._events(symbol))
            if recorded.books_refused:
                self._log.warning("books_refused", symbol=symbol, count=recorded.books_refused, reason="wrong checksum or order")
        return found

    def _since_ns(self) -> int:
        """Midnight before the first of the newest sessions that are read."""
        now_ns = self._clock.market_ns()
        newest = self._calendar.current(now_ns)
        if newest.open_ns > now_ns:
            newest = self._calendar.next(newest, -1)
        first = self._calendar.next(newest, 1 - self._settings.discovery.recorded_sessions)
        return exchange_instant(first.day, "00:00")

    def _events(self, symbol: str) -> list[Any]:
        """What the stream keeps, oldest first."""
        cursor = Cursor.at_start([k.EVENTS_MARKET.at(symbol=symbol)])
        events: list[Any] = []
        while len(events) < EVENTS_KEPT and (page := self._store.read(cursor, count=PAGE)):
            events += [entry.event for entry in page]
        return events

    def _hours(self, ts_ns: int) -> Hours | None:
        session = self._calendar.known(ts_ns)
        return Hours(session.name, session.open_ns, session.close_ns) if session else None
