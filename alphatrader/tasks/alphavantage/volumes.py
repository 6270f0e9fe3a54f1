"""What each contract traded day by day: `options:{symbol}:volumes:{day}`, which the unusual contracts are compared with.

A day's hash grows with the day's volume, about once a minute and by what changed, until the session's midnight: so it ends as the
volume at the close, or as what was last seen. Where a full server has evicted it, it is written whole again within the minute.
The day itself is never among the days that it is compared with.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.contract.messages.options import Chain, Unusual
from alphatrader.core.options.volume_history import DAYS, compared, grown, volumes
from alphatrader.runtime.calendar import Calendar, CalendarError, Session
from alphatrader.runtime.clock import SECOND, exchange_datetime
from alphatrader.runtime.store import Store

KEEP_SECONDS: Final = 60.0
WRITTEN_AT_ONCE: Final = 2_000
"""Fields in one command: a whole chain's would hold the server, and market data with it."""


@dataclass(slots=True)
class _Day:
    """What this process knows is kept of a symbol's day."""

    name: str = ""
    kept_machine_ns: int = 0
    volumes: dict[str, int] = field(default_factory=dict)


class VolumeHistory:
    """Of all symbols; one symbol's calls come one after the other, as `AlphaVantageIngestion` sees to."""

    def __init__(self, store: Store, calendar: Calendar) -> None:
        self._store = store
        self._calendar = calendar
        self._days: defaultdict[str, _Day] = defaultdict(_Day)

    def compared(self, unusual: Unusual) -> Unusual:
        """With each contract's z-score over the sessions before the one its volume is of. Raises StoreError."""
        names = [item.occ for item in unusual.items]
        history: defaultdict[str, list[int]] = defaultdict(list)
        for session in self._before(self._session(unusual.ts_ns)) if names else ():
            for occ, volume in self._store.fields(self._key(unusual.symbol, session), names).items():
                history[occ].append(volume)
        return compared(unusual, history)

    def keep(self, chain: Chain) -> None:
        """Keeps the day's volumes, where the last time was a minute ago or of another day. Outside its session's date a chain
        is of no day: before the open it may carry anything. Raises StoreError."""
        session, day = self._session(chain.ts_ns), self._days[chain.symbol]
        if exchange_datetime(chain.ts_ns).date() != session.day:
            return
        if day.name == session.name and chain.machine_ns - day.kept_machine_ns < KEEP_SECONDS * SECOND:
            return
        key = self._key(chain.symbol, session)
        # Another day, or a process that starts: what an earlier one kept is there. Fewer or more than this one knows of: a full
        # server evicted the hash, or another process writes it too.
        if day.name != session.name or self._store.length(key) != len(day.volumes):
            day = self._days[chain.symbol] = _Day(session.name, 0, self._store.fields(key))
        more = list(grown(volumes(chain), day.volumes).items())
        for at in range(0, len(more), WRITTEN_AT_ONCE):
            part = dict(more[at : at + WRITTEN_AT_ONCE])
            batch = self._store.batch()
            batch.put_fields(key, part)
            self._store.commit(batch)
            day.volumes |= part
        day.kept_machine_ns = chain.machine_ns

    def _session(self, ts_ns: int) -> Session:
        """The last one that has opened: what a chain's volumes are of."""
        session = self._calendar.current(ts_ns)
        return session if session.open_ns <= ts_ns else self._calendar.next(session, -1)

    def _before(self, session: Session) -> list[Session]:
        """Up to DAYS sessions before it, oldest first; fewer where the calendar's table begins."""
        found = []
        for steps in range(-DAYS, 0):
            try:
                found.append(self._calendar.next(session, steps))
            except CalendarError:
                continue
        return found

    @staticmethod
    def _key(symbol: str, session: Session) -> BoundKey[int]:
        return k.OPTIONS_VOLUMES.at(symbol=symbol, day=session.name)
