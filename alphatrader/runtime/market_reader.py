"""Reads market streams whole: what a reader missed is put back in its place before what came after it.

Used by `analytics`. Reads `events:market:{symbol}`, further streams beside them, and `resent:{module}`, where `ibkr` answers
`resend:{module}`, the one key written here. All of it goes through the module's store, so a recorded module is replayed with
what it recovered then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.cursor import Cursor, Entry
from alphatrader.runtime.gap_fill import GapFill, Start
from alphatrader.runtime.module import StreamModule

BEGIN_SECONDS: Final = 5.0
"""An `ibkr` that is there says within this that its answer has begun."""
ASKED_SECONDS: Final = 1.0
"""How often a request is written again: it lives 5 s."""
AHEAD: Final = 1000
"""After so many events of the answer it is written again at once: the answer goes on only so far ahead of what was taken."""


class MarketReader:
    def __init__(self, module: StreamModule, starts: Mapping[str, Start], others: Iterable[BoundKey[Any]]) -> None:
        """`starts`: by symbol, where each stream is read from; `others` are read from now on."""
        self._store, self._clock, self._health, self._log = module.store, module.clock, module.health, module.log
        analytics = module.settings.analytics
        self._wait_seconds = analytics.recover_seconds
        span_ns = int(analytics.recover_span_seconds * SECOND) if self._wait_seconds else 0
        streams = {symbol: k.EVENTS_MARKET.at(symbol=symbol) for symbol in starts}
        self._fill = GapFill({symbol: (streams[symbol].name, start) for symbol, start in starts.items()}, span_ns)
        self._request = k.RESEND.at(module=module.context.instance)
        self._resent = k.RESENT.at(module=module.context.instance)
        self._cursor = Cursor.at_end([*streams.values(), *others])
        self._cursor.positions |= {streams[symbol].name: start.id for symbol, start in starts.items()}
        self._cursor.keys[self._resent.name] = self._resent
        self._asked_at = self._heard_at = 0.0
        self._heard = self._said = 0

    def position(self, symbol: str) -> str:
        """What a checkpoint of everything that was read goes on from; `$` before the first read."""
        stream = k.EVENTS_MARKET.at(symbol=symbol).name
        return self._cursor.positions.get(stream) or self._fill.id_of(stream)

    async def read(self, *, block_seconds: float | None, count: int) -> list[Entry[Any]]:
        """What comes next, each symbol in its order and without what can be recovered missing."""
        fill = self._fill
        if fill.request is not None:
            await self._wait()
        elif fill.lacking:
            await self._ask()
        passed = fill.take(await self._store.read(self._cursor, block_seconds=block_seconds, count=count))
        if fill.ended:
            await self._tell()
        if fill.moves:
            for stream, position in fill.moves.items():
                if position is None:
                    self._cursor.positions.pop(stream, None)
                else:
                    self._cursor.positions[stream] = position
            fill.moves.clear()
        return passed

    async def _ask(self) -> None:
        self._cursor.positions[self._resent.name] = "$"
        await self._store.fix(self._cursor)
        request = self._fill.ask(self._clock.machine_ns())
        self._asked_at = self._heard_at = self._clock.monotonic()
        await self._write()
        missing = {symbol: gap.until - gap.after - 1 for symbol, gap in request.missing.items()}
        self._health.count("gaps", len(request.missing))
        self._health.fact("recovering", missing)
        self._log.warning("events_missed", missing=missing)

    async def _wait(self) -> None:
        """The request stands while it is answered, and not longer than the settings say without a word."""
        fill, now = self._fill, self._clock.monotonic()
        if fill.heard != self._heard:
            self._heard, self._heard_at = fill.heard, now
        if now - self._heard_at > (self._wait_seconds if fill.begun else min(BEGIN_SECONDS, self._wait_seconds)):
            fill.end(f"no word for {now - self._heard_at:.0f} s")
            await self._tell()
        elif now - self._asked_at >= ASKED_SECONDS or fill.taken - self._said >= AHEAD:
            self._asked_at = now
            await self._write()

    async def _write(self) -> None:
        if (request := self._fill.request) is not None:
            self._said = self._fill.taken
            batch = self._store.batch()
            batch.put(self._request, replace(request, taken=self._said))
            await self._store.commit(batch)

    async def _tell(self) -> None:
        """Gaps that are over: counted, and said."""
        ended, self._fill.ended = self._fill.ended, []
        for gap in ended:
            self._health.count("gaps recovered" if gap.reason is None else "gaps not recovered")
            self._health.count("events recovered", gap.found)
            say = self._log.info if gap.reason is None else self._log.warning
            say("gap_ended", symbol=gap.symbol, missing=gap.missing, found=gap.found, reason=gap.reason)
        if self._fill.request is None and self._resent.name in self._cursor.positions:
            del self._cursor.positions[self._resent.name]
            self._health.fact("recovering", None)
            batch = self._store.batch()
            batch.drop(self._request)
            await self._store.commit(batch)
