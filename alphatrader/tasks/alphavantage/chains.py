"""Option chains of the twelve underlyings: `AlphaVantageIngestion`, ticked by beat on the pulls worker.

Reads Alpha Vantage, `market:{symbol}:last`, and for its order `positions:summary`, `signals:{symbol}:pending` and `:active`;
writes `options:{symbol}:chain`, `:greeks`, `:flow`, `:unusual`, `events:options`, `budget:alphavantage:state`,
and by `volumes.py` what each contract traded day by day. A tick asks for every chain that is due, each in a thread of its own,
symbols with an open position or a signal first, and waits a little: what has no answer by then, or is refused, is written again
from the last good answer, marked stale with the reason and its age. So the keys never lapse in a session while anything good is
known, and one slow symbol holds nobody. A tick that comes too early (a worker that was away finds many) does nothing, by our own
stamps; nothing queues up behind a symbol that is being asked for.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from celery.signals import worker_ready

from alphatrader.clients.alphavantage import AlphaVantage, AlphaVantageError, BadAnswerError, ChainAnswer, LimitedError
from alphatrader.contract import keys as k
from alphatrader.contract.messages.options import OptionsEvent
from alphatrader.contract.settings import Settings
from alphatrader.core.options.assessment import Assessed, assess
from alphatrader.core.options.settlement import end_of
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.celery_app import app, context, heartbeat, store
from alphatrader.runtime.clock import SECOND, Clock
from alphatrader.runtime.store import Store, StoreError
from alphatrader.tasks.alphavantage.vendor import client
from alphatrader.tasks.alphavantage.volumes import VolumeHistory

PATIENCE_SECONDS: Final = 2.5
"""How long a tick waits for its answers before it writes stale chains; with the tick itself well under the keys' 10 s."""
PAUSE_SECONDS: Final = 1.5
PAUSE_STEP_SECONDS: Final = 0.1
FOR_ALL: Final = frozenset({"connection", "breaker_open", "own_pause"})
"""Refusals that are no one symbol's: nobody listens at the vendor's, or we do not ask any more because of that."""
CLOSED_SECONDS: Final = 60.0
"""Outside sessions chains are asked for this rarely, and their keys may lapse."""


@dataclass(slots=True)
class _Symbol:
    """What this process knows of one symbol; its lock orders what is written."""

    lock: threading.Lock
    asking: threading.Lock
    held: Assessed | None = None
    tried_ns: int = 0
    refusal: str = ""


class AlphaVantageIngestion:
    """Safe to call from several threads and several processes."""

    def __init__(
        self, store: Store, client: AlphaVantage, settings: Settings, clock: Clock, calendar: Calendar, log: Any
    ) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._options = settings.options
        self._clock = clock
        self._calendar = calendar
        self._log = log
        self._volumes = VolumeHistory(store, calendar)
        self._symbols: defaultdict[str, _Symbol] = defaultdict(lambda: _Symbol(threading.Lock(), threading.Lock()))
        self._begin = threading.Lock()
        self._noting = threading.Lock()

    def pull_all(self) -> None:
        """One tick over all symbols, the most urgent first."""
        failures: list[Exception] = []
        with self._begin:
            due = [symbol for symbol in self._by_urgency() if self._due(symbol)]
            asking = {symbol: threading.Thread(target=self._ask, args=(symbol, failures), daemon=True) for symbol in due}
            for thread in asking.values():
                thread.start()
        until = self._clock.monotonic() + PATIENCE_SECONDS
        for thread in asking.values():
            thread.join(max(0.0, until - self._clock.monotonic()))
        for symbol, state in self._symbols.items():
            if state.asking.locked():
                self._write_stale(symbol, f"no answer in {PATIENCE_SECONDS:g} s")
        self._tell_state()
        if failures:
            raise failures[0]

    def refresh(self, symbol: str) -> bool:
        """Asks for one chain now and writes what came, or the last good one as stale. False where it is already asked for."""
        state = self._symbols[symbol]
        if not state.asking.acquire(blocking=False):
            return False
        try:
            state.tried_ns = self._clock.machine_ns()
            assessed = self._fetch(symbol)
        except AlphaVantageError as error:
            self._note(symbol, error.reason, str(error), getattr(error, "after", ""))
            self._write_stale(symbol, str(error))
        except StoreError as error:  # no budget, no call
            self._note(symbol, "no_server", repr(error))
            self._write_stale(symbol, f"no call without the shared budget: {error}")
        else:
            self._note(symbol, "", "")
            with state.lock:
                state.held = assessed
                self._write(assessed)
                self._volumes.keep(assessed.chain)
        finally:
            state.asking.release()
        return True

    def _fetch(self, symbol: str) -> Assessed:
        answer = self._answer(symbol)
        ts_ns = self._clock.market_ns()
        session = self._calendar.at(ts_ns)
        if session is not None and answer.as_of < session.day:
            raise BadAnswerError("old_date", f"dated {answer.as_of} in the session of {session.day}", field="date")
        assessed = assess(
            symbol,
            answer.rows,
            answer.dropped,
            spot=self._spot(symbol),
            ts_ns=ts_ns,
            machine_ns=self._clock.machine_ns(),
            close_of=end_of(symbol, self._calendar.open_of, self._calendar.close_of),
            settings=self._options,
            fund=symbol in self._settings.market.etfs,
        )
        unusual = self._volumes.compared(assessed.unusual) if assessed.unusual is not None else None
        return replace(assessed, unusual=unusual)

    def _answer(self, symbol: str) -> ChainAnswer:
        """The vendor's; while all processes pause it is asked again for a moment, until the one call that tries was answered."""
        until = self._clock.monotonic() + PAUSE_SECONDS
        while True:
            try:
                return self._client.chain(symbol)
            except LimitedError as error:
                if error.reason != "own_pause" or self._clock.monotonic() >= until:
                    raise
            threading.Event().wait(PAUSE_STEP_SECONDS)

    def _ask(self, symbol: str, failures: list[Exception]) -> None:
        try:
            self.refresh(symbol)
        except Exception as error:  # noqa: BLE001 the tick that started this thread raises it
            failures.append(error)

    def _due(self, symbol: str) -> bool:
        """Whether nobody has asked for it lately: by our own stamps, else by how much of its life the key has left."""
        state = self._symbols[symbol]
        tick = self._options.refresh_seconds
        interval = tick if self._calendar.at(self._clock.market_ns()) else CLOSED_SECONDS
        age_seconds = (self._clock.machine_ns() - state.tried_ns) / SECOND
        if state.asking.locked() or age_seconds < interval - tick / 2:
            return False
        if age_seconds < interval * 3:
            return True
        key = k.OPTIONS_CHAIN.at(symbol=symbol)
        left_ms = self._store.ttl_ms(key)
        return left_ms is None or (key.key.ttl_seconds or 0.0) - left_ms / 1000 >= tick / 2

    def _by_urgency(self) -> list[str]:
        """What is held first, then what has a signal, then the oldest; where that cannot be read, the oldest."""
        symbols = self._settings.market.equities
        rank = dict.fromkeys(symbols, 2)
        try:
            summary = self._store.get(k.POSITIONS_SUMMARY.at())
            for key in (k.SIGNALS_PENDING, k.SIGNALS_ACTIVE):
                signals = self._store.get_many([key.at(symbol=symbol) for symbol in symbols])
                rank |= {symbol: 1 for symbol, found in zip(symbols, signals, strict=True) if found and found.by_strategy}
            rank |= {symbol: 0 for symbol, held in (summary.by_symbol if summary else {}).items() if held}
        except StoreError as error:
            self._log.warning("urgency_unknown", error=repr(error))
        return sorted(symbols, key=lambda symbol: (rank[symbol], self._symbols[symbol].tried_ns))

    def _spot(self, symbol: str) -> float | None:
        """Halfway between bid and ask, else the last trade; None while its feed is stale."""
        last = self._store.get(k.MARKET_LAST.at(symbol=symbol))
        if last is None:
            return None
        if last.bid and last.ask and last.bid <= last.ask:
            return (last.bid + last.ask) / 2
        return last.last or None

    def _write_stale(self, symbol: str, reason: str) -> None:
        """The last good chain again, with its own stamps, so that its age shows. Nothing where none of this session is known."""
        state = self._symbols[symbol]
        with state.lock:
            held = state.held or self._recall(symbol)
            session = self._calendar.at(self._clock.market_ns())
            if held is None or session is None or held.chain.ts_ns < session.open_ns:
                return
            state.held = held
            age_seconds = (self._clock.machine_ns() - held.chain.machine_ns) / SECOND
            chain = msgspec.structs.replace(
                held.chain, stale=True, reason=f"{reason}; the last good answer is {age_seconds:.0f} s old"
            )
            self._write(Assessed(chain, held.greeks, held.flow, held.unusual))

    def _recall(self, symbol: str) -> Assessed | None:
        """What another process, or this one before its restart, last wrote."""
        chain = self._store.get(k.OPTIONS_CHAIN.at(symbol=symbol))
        if chain is None:
            return None
        return Assessed(
            chain,
            self._store.get(k.OPTIONS_GREEKS.at(symbol=symbol)),
            self._store.get(k.OPTIONS_FLOW.at(symbol=symbol)),
            self._store.get(k.OPTIONS_UNUSUAL.at(symbol=symbol)),
        )

    def _write(self, assessed: Assessed) -> None:
        chain = assessed.chain
        batch = self._store.batch()
        batch.put(k.OPTIONS_CHAIN.at(symbol=chain.symbol), chain)
        if assessed.greeks is not None:
            batch.put(k.OPTIONS_GREEKS.at(symbol=chain.symbol), assessed.greeks)
        if assessed.flow is not None:
            batch.put(k.OPTIONS_FLOW.at(symbol=chain.symbol), assessed.flow)
        if assessed.unusual is not None:
            batch.put(k.OPTIONS_UNUSUAL.at(symbol=chain.symbol), assessed.unusual)
        batch.append(k.EVENTS_OPTIONS.at(), OptionsEvent(chain.symbol, chain.ts_ns, chain.quality, chain.stale))
        self._store.commit(batch)

    def _note(self, symbol: str, reason: str, text: str, after: str = "") -> None:
        """Logs a refusal when it begins or changes, and its end; what the vendor does to all symbols alike, once for all."""
        with self._noting:
            state = self._symbols[symbol]
            before, state.refusal = state.refusal, reason
            told = any(other.refusal in FOR_ALL for other in self._symbols.values() if other is not state)
            alike = FOR_ALL | {""} if told else FOR_ALL
            if reason == before or {reason, before} <= alike:
                return
            if reason:
                self._log.warning("chain_refused", symbol=symbol, reason=reason, after=after, error=text)
            else:
                self._log.info("chain_back", symbol=symbol, after=before)

    def refusing(self) -> dict[str, str]:
        """The symbols without a fresh chain, with the reason."""
        return {symbol: state.refusal for symbol, state in self._symbols.items() if state.refusal}

    def vendor(self) -> str:
        """The breaker and the back-off in words, for the dashboard and `alphatrader status`."""
        failures = self._store.fields(k.AV_PAUSE.at()).get("failures", 0)
        return f"breaker {self._client.breaker.state}" + (f", backing off after {failures} failures" if failures else "")

    def _tell_state(self) -> None:
        now_ns = self._clock.machine_ns()
        ages = {
            symbol: round((now_ns - state.held.chain.machine_ns) / SECOND, 1) if state.held else None
            for symbol, state in self._symbols.items()
        }
        batch = self._store.batch()
        batch.put(
            k.AV_STATE.at(),
            {
                "machine_ns": now_ns,
                "breaker": self._client.breaker.state,
                "pause": self._store.fields(k.AV_PAUSE.at()),
                "refused": dict(self._client.refused),
                "age_seconds": ages,
                "refusing": self.refusing(),
            },
        )
        self._store.commit(batch)


_made: list[AlphaVantageIngestion] = []
_making = threading.Lock()


def ingestion() -> AlphaVantageIngestion:
    """This process's one; its threads share what it remembers."""
    with _making:
        if not _made:
            here = context()
            _made.append(AlphaVantageIngestion(store(), client(), here.settings, here.clock, here.calendar, here.log))
        return _made[0]


@app.task(name="options.pull_all")  # type: ignore[untyped-decorator]
def pull_all() -> None:
    """Beat's tick, every `options.refresh_seconds`."""
    ingestion().pull_all()
    refusing = ingestion().refusing()
    heartbeat().fact("Alpha Vantage", ingestion().vendor())
    if refusing:
        heartbeat().degraded(f"no fresh chain of {', '.join(refusing)}: {', '.join(sorted(set(refusing.values())))}", "vendors")
    else:
        heartbeat().ready()


@worker_ready.connect
def _at_once(**_: Any) -> None:
    """A worker that starts does not wait for beat's next tick."""
    pull_all.delay()
