"""One run of discovery, from what was recorded to the keys, the mode's own `discovered.yaml` and the report.

Reads what `source.py` gives. A symbol's failure does not lose the others. What jumped since yesterday waits
(`core/discovery/jumps.py`). The file is written whole or not at all, and before the keys: a run that is killed leaves what was,
and the next one goes on after the symbols that are done (`kept.py`). Two runs at once are one: the second finds the file's lock
held, or that a run began after it was asked.
"""

from __future__ import annotations

import fcntl
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.market import Bar
from alphatrader.contract.messages.metrics import DiscoveryProgress, Parameter
from alphatrader.contract.settings import Settings
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery import jumps
from alphatrader.core.discovery.found import Found, FoundError, Matrix
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import Clock, exchange_datetime, exchange_instant
from alphatrader.runtime.settings import ROOT
from alphatrader.runtime.store import Store
from alphatrader.tasks.discovery.kept import Unfinished, read, read_unfinished, write, write_unfinished
from alphatrader.tasks.discovery.source import Source

SEED: Final = ROOT / "config" / "discovered.yaml"
FILE: Final = "discovered.yaml"
PART: Final = "discovered.part"
LOCK: Final = "discovered.lock"
REPORTS: Final = "reports"
AGAIN_NS: Final = 20 * 60 * 1_000_000_000
"""While prints are too few, discovery runs again after this long."""
KEYS: Final[dict[str, Key[Any]]] = {
    "vpin_bucket_size": k.DISCOVERED_VPIN_BUCKET_SIZE,
    "lookback_bars": k.DISCOVERED_LOOKBACK_BARS,
    "mm_profiles": k.DISCOVERED_MM_PROFILES,
    "vol_regimes": k.DISCOVERED_VOL_REGIMES,
}
Tell = Callable[[DiscoveryProgress], None]


@dataclass
class Run:
    """What one run knows and says of itself."""

    steps: int
    started_machine_ns: int
    requests: tuple[str, ...]
    tell: Tell
    symbol: str | None
    done: int = 0
    failed: list[str] = field(default_factory=list)


class ParameterDiscovery:
    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        calendar: Calendar,
        log: Any,
        data_dir: Path,
        seed: Path = SEED,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._calendar = calendar
        self._log = log
        self._folder = data_dir
        self._path = data_dir / FILE
        self._part = data_dir / PART
        self._seed = seed
        self._source = Source(store, settings, clock, calendar, log, data_dir)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The twelve underlyings and the eight futures."""
        market = self._settings.market
        return (*market.equities, *(future.root for future in market.futures))

    # -- what the tasks call ---------------------------------------------------------------------------------------------

    def ensure(self, tell: Tell = lambda progress: None) -> None:
        """The keys exist, and what can be computed has been; a run that was killed is made up for."""
        if any(not self._store.length(key.at()) for key in (*KEYS.values(), k.DISCOVERED_CORRELATION_MATRIX)):
            self.republish()
        ready = {symbol for symbol in self.symbols if self._store.length(k.MARKET_HISTORY.at(symbol=symbol))}
        known = self._known()
        last = self._store.get(k.DISCOVERED_PROGRESS.at())
        unfinished = last is not None and last.state == "running"
        if ready - set(known.with_history) or (ready and self._prints_were_few(known)) or (ready and unfinished):
            self.run(tell=tell)

    def republish(self) -> None:
        """The values known, computed or seed, for another 24 hours."""
        self._publish(self._known())

    def accept(self, symbol: str | None, request: str = "") -> tuple[jumps.Change, ...]:
        """A person said yes to what waits, of one symbol or all."""
        with self._alone(wait=True):
            settled, changes = jumps.accept(self._known(), symbol)
            if changes:
                self._part.unlink(missing_ok=True)  # it would end with the values before this yes
                write(self._path, files.render(settled))
                self._publish(settled)
            now = self._clock.machine_ns()
            said = tuple(_line(change) for change in changes)
            self._put(
                DiscoveryProgress(
                    "done", "accepted", 1, 1, now, now, self._clock.market_ns(), (request,), 0.0, changed=said, kind="accept"
                )
            )
        self._log.info("discovery_accepted", symbol=symbol, changed=len(changes))
        return changes

    def run(
        self,
        *,
        symbol: str | None = None,
        request: str = "",
        asked_machine_ns: int | None = None,
        tell: Tell = lambda progress: None,
    ) -> Found | None:
        """Computes everything anew, or one symbol; writes file, keys and report. None where another run answers this one."""
        with self._alone(wait=False) as alone:
            last = self._store.get(k.DISCOVERED_PROGRESS.at())
            if not alone or (asked_machine_ns is not None and _answered(last, asked_machine_ns, symbol)):
                self._log.info("discovery_runs_already", request=request)
                return None
            symbols = self.symbols if symbol is None else (symbol,)
            before = self._unfinished(asked_machine_ns) if symbol is None else None
            started_ns = before.started_machine_ns if before else self._clock.machine_ns()
            one = Run(len(symbols) + 3, started_ns, (request,) if request else (), tell, symbol)
            try:
                found = self._run(one, symbols, before)
            except Exception as error:
                self._forget(symbol)
                self._progress(one, f"{error!r}"[:200], "failed", failed=(*one.failed, f"{error!r}"[:200]))
                raise
            self._forget(symbol)
            return found

    def nightly(self, tell: Tell = lambda progress: None) -> None:
        """Beat's run; none where it comes again after a kill that another run has made up for."""
        now_ns = self._clock.market_ns()
        today = exchange_datetime(now_ns).date()
        at = f"{self._settings.discovery.hour:02d}:00"
        due_ns = exchange_instant(today, at)
        if due_ns > now_ns:
            due_ns = exchange_instant(today - timedelta(days=1), at)
        last = self._store.get(k.DISCOVERED_PROGRESS.at())
        if last is not None and (last.kind, last.state, last.symbol) == ("run", "done", None) and last.ts_ns >= due_ns:
            self._log.info("discovery_done_already", ts_ns=last.ts_ns)
        else:
            self.run(tell=tell)

    # -- a run -----------------------------------------------------------------------------------------------------------

    def _run(self, one: Run, symbols: tuple[str, ...], before: Unfinished | None) -> Found:
        began = self._clock.monotonic()
        known = before.known if before else self._known()
        whole = len(symbols) == len(self.symbols)
        part = before or Unfinished(one.started_machine_ns, self._night(), self._computed_with(), known, {})
        self._progress(one, "reading what was recorded")
        recorded = self._source.recorded(
            symbols, lambda share: self._progress(one, f"reading what was recorded: {share:.0%}"), one.failed
        )
        computed: dict[str, Any] = {name: dict(getattr(known, name)) for name in files.PARAMETERS}
        bars = {name: self._source.bars(k.MARKET_HISTORY, name) for name in self.symbols}
        for symbol in symbols:
            one.done += 1
            if symbol not in part.symbols:
                self._progress(one, symbol)
                failures = len(one.failed)
                computations = self._computations(symbol, bars[symbol], recorded[symbol])
                values = {name: self._guarded(one, name, symbol, compute) for name, compute in computations.items()}
                if whole and len(one.failed) == failures:
                    part.symbols[symbol] = values
                    write_unfinished(self._part, part)
            else:
                values = part.symbols[symbol]
            for name, value in values.items():
                computed[name][symbol] = value
        one.done += 1
        self._progress(one, "correlation")
        tonight = Found(
            as_of_ns=self._clock.market_ns(),
            with_history=tuple(name for name, series in bars.items() if series) if whole else known.with_history,
            correlation_matrix=self._correlate(one, bars, known.correlation_matrix) if whole else known.correlation_matrix,
            **computed,
        )
        limits = jumps.Limits(self._settings.discovery.jump_share, self._settings.discovery.jump_correlation)
        settled, changes = jumps.settle(known, tonight, limits, self._night(), None if whole else frozenset(symbols))
        write(self._path, files.render(settled))
        self._publish(settled)
        one.done += 1
        self._progress(one, "report")
        report = self._report(one, settled, changes, {symbol: recorded[symbol].sizes for symbol in symbols})
        seconds = round(self._clock.monotonic() - began, 2)
        one.done = one.steps
        took = tuple(_line(change) for change in changes if change.took_effect)
        self._progress(one, "done", "done", seconds=seconds, failed=tuple(one.failed), changed=took, report=report)
        counts = {"changed": len(took), "waiting": len(settled.waiting), "failed": len(one.failed)}
        self._log.info("discovered", seconds=seconds, symbols=len(symbols), **counts)
        return settled

    def _computations(self, symbol: str, history: tuple[Bar, ...], recorded: Any) -> dict[str, Callable[[], Parameter]]:
        """The heavy packages are imported here, in the one process that uses them."""
        import numpy as np

        from alphatrader.core.discovery.bars import average_daily_volume, returns_by_session
        from alphatrader.core.discovery.bucket_size import Traded, bucket_size
        from alphatrader.core.discovery.lookback import lookback
        from alphatrader.core.discovery.regimes import vol_regimes

        settings = self._settings.discovery

        def sized() -> Parameter:
            adv = average_daily_volume(self._source.bars(k.MARKET_DAILY, symbol), settings.history_days)
            traded = Traded(np.frombuffer(recorded.sizes or array("q"), dtype=np.int64), recorded.from_ns, recorded.to_ns)
            return bucket_size(traded, adv, min_trades=settings.min_trades, seed=settings.seed)

        return {
            "vpin_bucket_size": sized,
            "lookback_bars": lambda: lookback(returns_by_session(history)),
            "mm_profiles": recorded.profiles,
            "vol_regimes": lambda: vol_regimes(returns_by_session(history), self._opened_ns, seed=settings.seed),
        }

    def _guarded(self, one: Run, name: str, symbol: str, compute: Callable[[], Parameter]) -> Parameter:
        try:
            return compute()
        except Exception as error:  # noqa: BLE001 one symbol's failure must not lose the others: it is told and marked
            self._log.exception("discovery_failed", parameter=name, symbol=symbol)
            one.failed.append(f"{name} {symbol}: {error!r}"[:200])
            return Parameter(value=None, n=0, confidence=None, fallback=f"failed: {error!r}"[:200])

    def _correlate(self, one: Run, bars: dict[str, tuple[Bar, ...]], known: Matrix) -> Matrix:
        from alphatrader.core.discovery.correlation import correlation

        try:
            result = correlation(bars)
        except Exception as error:  # noqa: BLE001 as above
            self._log.exception("discovery_failed", parameter="correlation_matrix")
            one.failed.append(f"correlation_matrix: {error!r}"[:200])
            return msgspec.structs.replace(known, fallback=f"kept, failed: {error!r}"[:200])
        out = ", ".join(f"{symbol} ({why})" for symbol, why in sorted(result.left_out.items()))
        if not result.symbols:
            origin = "kept from an earlier run" if known.from_ns is not None else "seed"
            return msgspec.structs.replace(known, fallback=f"{origin}; too few shared returns: {out}")
        sure = None if result.shrinkage is None else round(1.0 - result.shrinkage, 4)
        left_out = f"{files.LEFT_OUT}: {out}" if out else None
        return Matrix(result.symbols, result.matrix, result.n, left_out, sure, result.from_ns, result.to_ns)

    def _report(self, one: Run, *what: Any) -> str | None:
        """The report's name; a report that cannot be made is told and loses nothing else."""
        from alphatrader.tasks.discovery.report import write_report

        try:
            return write_report(self._folder / REPORTS, self._night(), *what, failed=one.failed)
        except Exception as error:  # noqa: BLE001 the values are in effect already
            self._log.exception("report_failed")
            one.failed.append(f"report: {error!r}"[:200])
            return None

    # -- what is known -----------------------------------------------------------------------------------------------------

    def _prints_were_few(self, known: Found) -> bool:
        """On a first day: most bucket sizes are not measured yet, and by now there may be prints to measure them."""
        sizes = known.vpin_bucket_size.values()
        few = sum(files.measured(size) for size in sizes) * 2 < len(sizes)
        return few and self._clock.market_ns() - known.as_of_ns >= AGAIN_NS

    def _night(self) -> str:
        return self._calendar.current(self._clock.market_ns()).name

    def _opened_ns(self, ts_ns: int) -> int:
        return self._calendar.current(ts_ns).open_ns

    def _forget(self, symbol: str | None) -> None:
        """A run of all symbols ended: only one that was killed leaves what it had computed."""
        if symbol is None:
            self._part.unlink(missing_ok=True)

    def _computed_with(self) -> str:
        return msgspec.json.encode(self._settings.discovery).decode()

    def _unfinished(self, asked_machine_ns: int | None) -> Unfinished | None:
        """What a killed run had done, where it may be gone on from."""
        try:
            found = read_unfinished(self._part)
        except FileNotFoundError:
            return None
        except FoundError as error:
            self._log.error("discovered_refused", error=str(error), instead="everything is computed")
            return None
        good = found.still_good(self._clock.machine_ns(), self._night(), self._computed_with(), asked_machine_ns)
        self._log.info("discovery_resumed" if good else "discovery_begun_anew", done=len(found.symbols))
        return found if good else None

    def _known(self) -> Found:
        """The mode's own values, or the seed. A broken file is refused, told, and not read again as if it were good."""
        if self._path.exists():
            try:
                return read(self._path)
            except FoundError as error:
                self._log.error("discovered_refused", error=str(error), instead=self._seed.name)
        return read(self._seed)

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        """Whether this is the only run of the mode. The kernel lets go of the lock when its process dies."""
        with (self._folder / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _publish(self, found: Found) -> None:
        maps, matrix = files.messages(found, self._clock.market_ns())
        batch = self._store.batch()
        for name, message in maps.items():
            batch.put(KEYS[name].at(), message)
        batch.put(k.DISCOVERED_CORRELATION_MATRIX.at(), matrix)
        batch.put(k.DISCOVERED_CANDIDATES.at(), jumps.candidates(found))
        self._store.commit(batch)

    def _progress(self, one: Run, step: str, state: Any = "running", **more: Any) -> None:
        progress = DiscoveryProgress(
            state,
            step,
            one.done,
            one.steps,
            one.started_machine_ns,
            self._clock.machine_ns(),
            self._clock.market_ns(),
            one.requests,
            symbol=one.symbol,
            **more,
        )
        self._put(progress)
        one.tell(progress)

    def _put(self, progress: DiscoveryProgress) -> None:
        batch = self._store.batch()
        batch.put(k.DISCOVERED_PROGRESS.at(), progress)
        self._store.commit(batch)


def _answered(last: DiscoveryProgress | None, asked_machine_ns: int, symbol: str | None) -> bool:
    """A run that began after it was asked answers it: one of all symbols whoever asked, one symbol's who asked for that one."""
    done = last is not None and last.kind == "run" and last.state == "done" and last.symbol in (None, symbol)
    return done and last is not None and last.started_machine_ns >= asked_machine_ns


def _line(change: jumps.Change) -> str:
    of = f" {change.symbol}" if change.symbol else ""
    return f"{change.parameter}{of}: {change.before} -> {change.after} ({change.why})"


__all__ = ["SEED", "ParameterDiscovery", "Tell", "read", "write"]
