"""`ParameterDiscovery`: the five `discovered:*` keys, on the discovery worker.

Reads `market:{symbol}:history`, `:daily` and `events:market:{symbol}`; writes the five keys, `discovered:progress` and
`data/<mode>/discovered.yaml`. Beat runs it nightly and republishes hourly, with the `as_of` of the values, so that keys of 24 h
never lapse. `discovery.ensure` (every minute) makes the keys exist at once on a first start, from the seed, and computes as soon
as bars of symbols are there that the last run had not, and again while prints were too few. A symbol's failure does not lose the
others.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from celery.signals import worker_ready

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.market import Bar, BookEvent, MarketEvent, Trade
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.found import Found, FoundError, Matrix
from alphatrader.core.market.checksum import intact
from alphatrader.runtime.celery_app import app, context, store
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import ROOT
from alphatrader.runtime.store import Cursor, Store

SEED: Final = ROOT / "config" / "discovered.yaml"
EVENTS_KEPT: Final = 20_000
"""All that a market stream keeps."""
PAGE: Final = 1000
"""Events in one read: more would hold the data server from its feeds."""
AGAIN_NS: Final = 20 * 60 * 1_000_000_000
"""While prints are too few, discovery runs again after this long."""
RECENT_NS: Final = 10 * 60 * 1_000_000_000
"""Prints of this long are enough, where they are enough; profiles of depth take all there is."""
KEYS: Final[dict[str, Key[Any]]] = {
    "vpin_bucket_size": k.DISCOVERED_VPIN_BUCKET_SIZE,
    "lookback_bars": k.DISCOVERED_LOOKBACK_BARS,
    "mm_profiles": k.DISCOVERED_MM_PROFILES,
    "vol_regimes": k.DISCOVERED_VOL_REGIMES,
}


def read(path: Path) -> Found:
    """Raises FoundError, which names file and field."""
    try:
        return files.parse(path.read_text())
    except (OSError, UnicodeDecodeError, FoundError) as error:
        raise FoundError(f"{path.name}: {error}") from error


def write(path: Path, found: Found) -> None:
    """Whole or not at all."""
    beside = path.with_suffix(".new")
    with beside.open("w") as file:
        file.write(files.render(found))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


class ParameterDiscovery:
    def __init__(self, store: Store, settings: Settings, clock: Clock, log: Any, data_dir: Path, seed: Path = SEED) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._log = log
        self._path = data_dir / "discovered.yaml"
        self._seed = seed

    @property
    def symbols(self) -> tuple[str, ...]:
        """The twelve underlyings and the eight futures."""
        market = self._settings.market
        return (*market.equities, *(future.root for future in market.futures))

    def ensure(self) -> None:
        """The keys exist, and what can be computed has been."""
        if any(not self._store.length(key.at()) for key in (*KEYS.values(), k.DISCOVERED_CORRELATION_MATRIX)):
            self.republish()
        ready = {symbol for symbol in self.symbols if self._store.length(k.MARKET_HISTORY.at(symbol=symbol))}
        known = self._known()
        if ready - set(known.with_history) or (ready and self._prints_were_few(known)):
            self.run()

    def _prints_were_few(self, known: Found) -> bool:
        """On a first day: most bucket sizes are not measured yet, and by now there may be prints to measure them."""
        sizes = known.vpin_bucket_size.values()
        few = sum(files.measured(size) for size in sizes) * 2 < len(sizes)
        return few and self._clock.market_ns() - known.as_of_ns >= AGAIN_NS

    def republish(self) -> None:
        """The values known, computed or seed, for another 24 hours."""
        self._publish(self._known())

    def run(self) -> Found:
        """Computes everything anew, writes the file and the keys."""
        started = self._clock.monotonic()
        known = self._known()
        computed: dict[str, dict[str, Parameter]] = {name: {} for name in files.PARAMETERS}
        bars: dict[str, tuple[Bar, ...]] = {}
        for done, symbol in enumerate(self.symbols):
            self._progress("running", done, symbol)
            bars[symbol] = self._bars(k.MARKET_HISTORY, symbol)
            for name, compute in self._computations(symbol, bars[symbol]).items():
                previous = getattr(known, name).get(symbol)
                computed[name][symbol] = files.kept(previous, self._guarded(name, symbol, compute))
        found = Found(
            as_of_ns=self._clock.market_ns(),
            with_history=tuple(symbol for symbol, series in bars.items() if series),
            correlation_matrix=self._correlate(bars, known.correlation_matrix),
            **computed,
        )
        write(self._path, found)
        self._publish(found)
        seconds = round(self._clock.monotonic() - started, 2)
        self._progress("done", len(self.symbols), None, seconds=seconds)
        self._log.info("discovered", seconds=seconds, symbols=len(self.symbols), with_history=len(found.with_history))
        return found

    def _computations(self, symbol: str, history: tuple[Bar, ...]) -> dict[str, Callable[[], Parameter]]:
        """The heavy packages are imported here, in the one process that uses them."""
        from alphatrader.core.discovery.bars import average_daily_volume, returns_by_session
        from alphatrader.core.discovery.bucket_size import bucket_size
        from alphatrader.core.discovery.lookback import lookback
        from alphatrader.core.discovery.makers import maker_profiles
        from alphatrader.core.discovery.regimes import vol_regimes

        settings = self._settings.discovery
        events = self._recorded(symbol)
        sizes = [event.size for event in events if isinstance(event, Trade) and event.counts_for_vpin]
        told = [event for event in events if isinstance(event, BookEvent)]
        books = [book for book in told if intact(book)]
        if refused := len(told) - len(books):
            self._log.warning("books_refused", symbol=symbol, count=refused, reason="wrong checksum")
        daily = self._bars(k.MARKET_DAILY, symbol)
        adv = average_daily_volume(daily, settings.history_days)
        returns = returns_by_session(history)
        return {
            "vpin_bucket_size": lambda: bucket_size(sizes, adv, min_trades=settings.min_trades, seed=settings.seed),
            "lookback_bars": lambda: lookback(returns),
            "mm_profiles": lambda: maker_profiles(books),
            "vol_regimes": lambda: vol_regimes(returns, seed=settings.seed),
        }

    def _recorded(self, symbol: str) -> list[MarketEvent]:
        """Recent events, or all that are kept where they hold too few prints, or depth."""
        recent = self._events(symbol, since_ns=self._clock.machine_ns() - RECENT_NS)
        prints = sum(isinstance(event, Trade) for event in recent)
        depth = any(isinstance(event, BookEvent) and event.source == "depth" for event in recent)
        return recent if prints >= self._settings.discovery.min_trades and not depth else self._events(symbol, since_ns=0)

    def _events(self, symbol: str, since_ns: int) -> list[MarketEvent]:
        """Oldest first. Entries of a stream are named by the server's time in milliseconds."""
        stream = k.EVENTS_MARKET.at(symbol=symbol)
        cursor = Cursor({stream.name: stream}, {stream.name: f"{since_ns // 1_000_000}-0"})
        events: list[MarketEvent] = []
        while len(events) < EVENTS_KEPT and (page := self._store.read(cursor, count=PAGE)):
            events += [entry.event for entry in page]
        return events

    def _guarded(self, name: str, symbol: str, compute: Callable[[], Parameter]) -> Parameter:
        from threadpoolctl import threadpool_limits

        try:
            with threadpool_limits(1):  # tiny problems: more threads only fight for the cores
                return compute()
        except Exception as error:  # noqa: BLE001 one symbol's failure must not lose the others: it is told and marked
            self._log.exception("discovery_failed", parameter=name, symbol=symbol)
            return Parameter(value=None, n=0, confidence=None, fallback=f"failed: {error!r}"[:200])

    def _correlate(self, bars: dict[str, tuple[Bar, ...]], known: Matrix) -> Matrix:
        from alphatrader.core.discovery.correlation import correlation

        try:
            result = correlation(bars)
        except Exception as error:  # noqa: BLE001 as above
            self._log.exception("discovery_failed", parameter="correlation_matrix")
            return Matrix(known.symbols, known.matrix, known.n, f"kept, failed: {error!r}"[:200])
        out = ", ".join(f"{symbol} ({why})" for symbol, why in sorted(result.left_out.items()))
        if not result.symbols:
            origin = "seed" if (known.fallback or "").startswith("seed") else "kept from an earlier run"
            return Matrix(known.symbols, known.matrix, known.n, f"{origin}; too few shared returns: {out}")
        return Matrix(result.symbols, result.matrix, result.n, f"left out: {out}" if out else None)

    def _bars(self, key: Key[Any], symbol: str) -> tuple[Bar, ...]:
        message = self._store.get(key.at(symbol=symbol))
        return message.bars if message is not None else ()

    def _known(self) -> Found:
        """The mode's own values, or the seed. A broken file is refused, told, and not read again as if it were good."""
        if self._path.exists():
            try:
                return read(self._path)
            except FoundError as error:
                self._log.error("discovered_refused", error=str(error), instead=self._seed.name)
        return read(self._seed)

    def _publish(self, found: Found) -> None:
        maps, matrix = files.messages(found, self._clock.market_ns())
        batch = self._store.batch()
        for name, message in maps.items():
            batch.put(KEYS[name].at(), message)
        batch.put(k.DISCOVERED_CORRELATION_MATRIX.at(), matrix)
        self._store.commit(batch)

    def _progress(self, state: str, done: int, symbol: str | None, **more: Any) -> None:
        batch = self._store.batch()
        batch.put(
            k.DISCOVERED_PROGRESS.at(),
            {"state": state, "done": done, "of": len(self.symbols), "symbol": symbol, "ts_ns": self._clock.market_ns(), **more},
        )
        self._store.commit(batch)


@cache
def discovery() -> ParameterDiscovery:
    """This process's one."""
    here = context()
    return ParameterDiscovery(store(), here.settings, here.clock, here.log, here.data_dir)


@app.task(name="discovery.run")  # type: ignore[untyped-decorator]
def run() -> None:
    """Nightly, and by command."""
    discovery().run()


@app.task(name="discovery.republish")  # type: ignore[untyped-decorator]
def republish() -> None:
    """Hourly."""
    discovery().republish()


@app.task(name="discovery.ensure")  # type: ignore[untyped-decorator]
def ensure() -> None:
    """Every minute; cheap when there is nothing to do."""
    discovery().ensure()


@worker_ready.connect
def _at_once(**_: Any) -> None:
    """The five keys exist as soon as the worker does."""
    if context().module == Module.DISCOVERY:
        ensure.delay()
