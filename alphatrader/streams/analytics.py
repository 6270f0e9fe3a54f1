"""AnalyticsEngine: folds every market event into the metrics of its symbol.

Reads `events:market:{symbol}` of all equities and futures and `events:options` (one XREAD; what was missed is recovered, see
runtime/market_reader.py), `options:{symbol}:chain`, `market:{symbol}:history` and `:daily` (warm-up), and of `discovered:*`
`vpin_bucket_size`, `lookback_bars`, `vol_regimes` and `mm_profiles`. Writes `metrics:{symbol}:*` (vpin and obi in each turn that
changed them, gex and dex in each that moved the spot, all once a second),
`events:metrics` (at most ten a second a symbol), `checkpoint:{symbol}` and `checkpoint:{symbol}:vpin_history`. Started by the
Procfile line `analytics`, as `analytics.shards` processes that share the symbols. A restart goes on from the checkpoint and the
stream since; a first start warms up from the broker's bars.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.contract.messages.market import BookEvent, MakersEvent, MarketEvent
from alphatrader.contract.messages.metrics import Checkpoint, Discovered, MetricsEvent, Parameter
from alphatrader.contract.messages.options import OptionsEvent
from alphatrader.contract.modules import Module
from alphatrader.core.analytics import shards
from alphatrader.core.analytics.makers import usual_presence
from alphatrader.core.analytics.meter import REWRITE_NS, Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.symbol import VERSION, checkpoint, restored
from alphatrader.core.analytics.vpin import fallback_size
from alphatrader.core.analytics.vpin_history import VpinRanks
from alphatrader.core.market.checksum import flaw
from alphatrader.core.options.settlement import end_of
from alphatrader.runtime.calendar import Session
from alphatrader.runtime.context import Context
from alphatrader.runtime.cursor import Entry
from alphatrader.runtime.gap_fill import Start
from alphatrader.runtime.market_reader import MarketReader
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.store import StoreLost

_DISCOVERED: Final[list[BoundKey[Discovered]]] = [
    key.at()
    for key in (k.DISCOVERED_VPIN_BUCKET_SIZE, k.DISCOVERED_LOOKBACK_BARS, k.DISCOVERED_VOL_REGIMES, k.DISCOVERED_MM_PROFILES)
]
_BLOCK_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 5.0
"""How often the slow inputs (bucket sizes, history not yet there) are looked at."""
_COUNT: Final = 1000
_SCAN_NS: Final = 10_000_000
"""How often those are asked, too, of whom no event came: for what is due by time."""
_LAG_SECONDS: Final = 1.0
"""The lag told is the largest of this long: from an event's arrival in its stream until it was folded."""


class _Round:
    """Every so many seconds all symbols, one a turn, so that none of it stops the feed."""

    def __init__(self, symbols: Sequence[str], seconds: float) -> None:
        self.begun = 0.0
        self._symbols, self._seconds = symbols, seconds
        self._left: deque[str] = deque()

    def next(self, now: float) -> str | None:
        """Whose turn it is; None between two rounds."""
        if not self._left:
            if now - self.begun < self._seconds:
                return None
            self.begun = now
            self._left.extend(self._symbols)
        return self._left.popleft()


def _written_ms(entries: Iterable[Entry[Any]]) -> int:
    """When the server took the first of the entries, machine time: an id begins with it, in as many digits for centuries."""
    return int(min(entry.id for entry in entries).partition("-")[0])


class AnalyticsEngine(StreamModule):
    """Market events in, metrics out."""

    name = Module.ANALYTICS
    recorded = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        market = self.settings.market
        symbols = (*market.equities, *(future.root for future in market.futures))
        self.symbols = shards.select(symbols, context.shard, self.settings.analytics.shards)
        self._meters: dict[str, Meter] = {}
        self._stirred: dict[str, Meter] = {}
        """Those of the events that were folded since the last writing."""
        self._keys = {symbol: {name: key.at(symbol=symbol) for name, key in k.METRICS.items()} for symbol in self.symbols}
        self._by_stream = {k.EVENTS_MARKET.at(symbol=symbol).name: symbol for symbol in self.symbols}
        self._options_stream = k.EVENTS_OPTIONS.at()
        self._reader = MarketReader(self, {}, [])
        self._session: Session | None = None
        self._today: tuple[Session | None, str] = (None, "")
        """The session, and its day as an expiry."""
        self._published = 0
        self._look_round = _Round(self.symbols, _LOOK_SECONDS)
        self._keep_round = _Round(self.symbols, self.settings.analytics.checkpoint_seconds)
        self._discovered: list[Mapping[str, Parameter]] = []
        self._timed = self._waited_ms = 0.0
        self._scanned_ns = 0
        self._counted: Counter[str] = Counter()
        """What the heartbeat counts of the folded states, which keep their counts over a restart."""
        self.health.fact("symbols", ", ".join(self.symbols))

    async def recover(self) -> None:
        self._meters, self._stirred = {symbol: self._new_meter(symbol) for symbol in self.symbols}, {}
        starts = dict.fromkeys(self.symbols, Start("$"))
        kept = await self.store.get_many([k.CHECKPOINT.at(symbol=symbol) for symbol in self.symbols])
        for symbol, saved in zip(self.symbols, kept, strict=True):
            state = restored(saved.state, saved.version, self.settings.analytics) if saved else None
            if saved is not None and state is not None:
                state.minutes.warmed = False  # the minutes while we were away come from the broker's history
                self._meters[symbol].state = state
                starts[symbol] = Start(saved.stream_id, state.seq, state.received_ns or 0)
            self.health.count("checkpoints restored", int(state is not None))
        histories = await self.store.get_many([k.CHECKPOINT_VPIN_HISTORY.at(symbol=symbol) for symbol in self.symbols])
        for symbol, history in zip(self.symbols, histories, strict=True):
            self._meters[symbol].ranks = VpinRanks(history)
        self._reader = MarketReader(self, starts, [self._options_stream])
        # The first read fixes where "from now on" is: what comes while the warm-up is read is not lost.
        await self._fold(await self._reader.read(block_seconds=None, count=_COUNT))
        for symbol in self.symbols:
            await self._take_chain(symbol)
        await self._read_discovered()
        for symbol in self.symbols:
            await self._look(symbol)
        now = self.clock.monotonic()
        self._look_round.begun = self._keep_round.begun = now
        self.log.info("recovered", symbols=len(self.symbols), checkpoints=sum(saved is not None for saved in kept))

    def _new_meter(self, symbol: str) -> Meter:
        market, options, analytics = self.settings.market, self.settings.options, self.settings.analytics
        view = OptionsView(options.risk_free_rate, analytics.flip_range) if symbol in market.equities else None
        quiet = market.quiet_seconds_by_symbol.get(symbol, market.quiet_seconds)
        turn_ns = REWRITE_NS * self.symbols.index(symbol) // len(self.symbols)
        return Meter(symbol, analytics, view, quiet, self.settings.signals.atr_period, turn_ns)

    async def run(self) -> None:
        while not self.stopping.is_set():
            entries = await self._reader.read(block_seconds=_BLOCK_SECONDS, count=_COUNT)
            await self._fold(entries)
            now = self.clock.monotonic()
            if (symbol := self._look_round.next(now)) is not None:
                if symbol == self.symbols[0]:
                    await self._read_discovered()
                await self._look(symbol)
            await self._publish()
            if now - self._timed >= _LAG_SECONDS:
                self._timed = now
                self.health.fact("lag_ms", self._waited_ms)
                self._waited_ms = 0.0
            if (symbol := self._keep_round.next(now)) is not None:
                if symbol == self.symbols[0]:
                    self._tell()
                await self._checkpoint(symbol)

    async def shut(self) -> None:
        """The folded state as it stands, so that the next start misses nothing."""
        with contextlib.suppress(*StoreLost):
            for symbol in self._meters:
                await self._checkpoint(symbol)

    async def _fold(self, entries: list[Entry[Any]]) -> None:
        refreshed: dict[str, None] = {}
        for entry in entries:
            symbol = self._by_stream.get(entry.stream)
            if symbol is None:
                event: OptionsEvent = entry.event
                refreshed[event.symbol] = None
                continue
            told: MarketEvent = entry.event
            if isinstance(told, BookEvent | MakersEvent) and (wrong := flaw(told)) is not None:
                told = self._refused(told, entry.stream, wrong)
            self._stirred[symbol] = meter = self._meters[symbol]
            meter.fold(told, self._hours(getattr(told, "ts_ns", None)))
        self.health.count("events", len(entries))
        if entries:
            self._waited_ms = max(self._waited_ms, self.clock.machine_ns() / 1e6 - _written_ms(entries))
        for symbol in refreshed:
            if symbol in self._meters:
                await self._take_chain(symbol)

    def _refused(self, told: BookEvent | MakersEvent, stream: str, reason: str) -> BookEvent | MakersEvent:
        """A book of a wrong checksum, or in no order, is none."""
        self.log.warning("book_refused", stream=stream, seq=told.seq, reason=reason)
        if isinstance(told, BookEvent):
            self.health.count(f"books refused: {reason}")
            return replace(told, ready=False, bids=(), asks=(), nbbo=None, reason=reason)
        self.health.count(f"makers' books refused: {reason}")
        return replace(told, ready=False, bids=(), asks=(), reason=reason)

    def _hours(self, ts_ns: int | None) -> tuple[int, int] | None:
        """Regular hours of the session an instant belongs to."""
        if ts_ns is None:
            return None
        if self._session is None or not self._session.contains(ts_ns):
            self._session = self.calendar.known(ts_ns)
            if self._session is None:
                self.health.count("events of no session: time out of the calendar")
                return None
        return self._session.open_ns, self._session.close_ns

    async def _take_chain(self, symbol: str) -> None:
        if self._meters[symbol].view is None:
            return
        chain = await self.store.get(k.OPTIONS_CHAIN.at(symbol=symbol))
        if chain is None:
            return
        end = end_of(symbol, self.calendar.open_of, self.calendar.close_of)
        closes = {expiry: at for expiry in {row.expiry for row in chain.rows} if (at := end(expiry))}
        self._meters[symbol].take_chain(chain, closes, self.clock.market_ns())

    async def _read_discovered(self) -> None:
        found = await self.store.get_many(_DISCOVERED)
        self._discovered = [message.by_symbol if message else {} for message in found]

    async def _look(self, symbol: str) -> None:
        """What discovery published of a symbol, and history where it has not been warmed up."""
        bucket_size, lookback, vol_states, profile = (by_symbol.get(symbol) for by_symbol in self._discovered)
        meter = self._meters[symbol]
        state = meter.state
        meter.take_lookback(lookback)
        meter.take_vol_states(vol_states)
        state.makers.usual = usual_presence(profile, state.names)
        size, source = None, ""
        if bucket_size is not None and bucket_size.value is not None and bucket_size.value >= 1:
            size, source = round(bucket_size.value), "discovered"
        elif state.vpin.size is None:
            daily = await self.store.get(k.MARKET_DAILY.at(symbol=symbol))
            size, source = fallback_size([bar.volume for bar in daily.bars] if daily else []), "daily volume / 50"
        changes = size is not None and size != state.vpin.size
        lacks = not state.minutes.warmed or (state.vpin.size is not None and not state.vpin.warmed)
        if not changes and not lacks:
            return
        history = await self.store.get(k.MARKET_HISTORY.at(symbol=symbol))
        bars = history.bars if history is not None and history.bar_seconds == 60 else ()
        if size is not None:
            meter.take_bucket_size(size, source, bars, self.clock.market_ns())
        meter.warm_up(bars)

    async def _publish(self) -> None:
        now_ns, made_ns = self.clock.market_ns(), self.clock.machine_ns()
        least = int(self.settings.analytics.publish_seconds * 1e9)
        if (session := self.calendar.current(now_ns)) is not self._today[0]:
            self._today = session, session.name.replace("-", "")
        today = self._today[1]

        def age_of(instant_ns: int | None) -> float | None:
            return None if instant_ns is None else max(0.0, (now_ns - instant_ns) / self.clock.speed / 1e6)

        stirred, self._stirred = self._stirred, {}
        if not self._scanned_ns <= made_ns < self._scanned_ns + _SCAN_NS:
            self._scanned_ns, stirred = made_ns, self._meters
        batch = self.store.batch()
        for symbol, meter in stirred.items():
            if meter.due(made_ns):
                keys = self._keys[symbol]
                for metric in meter.metrics(now_ns, made_ns, age_of, today):
                    batch.put(keys[metric.metric], metric)
            if not meter.tell_due(made_ns, least):
                continue
            self._published += 1
            state = meter.state
            event = MetricsEvent(self._published, symbol, now_ns, state.seq or 0, state.received_ns or 0, dict(meter.values))
            batch.append(k.EVENTS_METRICS.at(), event)
        await self.store.post(batch)

    async def _checkpoint(self, symbol: str) -> None:
        """State, stream position and VPIN's history in one write: no bucket is counted twice after a restart."""
        position = self._reader.position(symbol)
        if position == "$":
            return
        batch = self.store.batch()
        state = checkpoint(self._meters[symbol].state)
        batch.put(k.CHECKPOINT.at(symbol=symbol), Checkpoint(symbol, position, self.clock.market_ns(), VERSION, state))
        batch.put(k.CHECKPOINT_VPIN_HISTORY.at(symbol=symbol), self._meters[symbol].ranks.message(symbol))
        await self.store.commit(batch)

    def _tell(self) -> None:
        """What each symbol's feed held that was left out, or broke it, by name: summed as counts, and whose it was as a fact."""
        counts, of = Counter[str](), dict[str, list[str]]()
        for symbol, meter in self._meters.items():
            for what, n in meter.state.counts.items():
                counts[what] += n
                of.setdefault(what, []).append(f"{symbol} {n}")
        for what, n in counts.items():
            self.health.count(what, n - self._counted[what])
        self._counted = counts
        self.health.fact("folded", "; ".join(f"{what}: {', '.join(symbols)}" for what, symbols in of.items()))
        self.health.fact("vpin_ready", [symbol for symbol, meter in self._meters.items() if meter.state.vpin.ready])
        live = [symbol for symbol, meter in self._meters.items() if meter.state.received_ns is not None]
        if live:
            self.health.ready()
        else:
            self.health.waiting("no market data yet", Module.IBKR)
