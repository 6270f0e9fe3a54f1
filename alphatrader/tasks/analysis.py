"""MarketAnalysisGenerator: the morning note, from OpenAI where it writes an acceptable one, else from a plain template.

Reads `market:{symbol}:last` and `:daily`, `sentiment:{symbol}:score`; writes `analysis:morning:full` and `:preview`,
`dashboard:morning_analysis` and an entry of `telegram:analysis:queue`. Run by the morning routine, and once late where a session
has no note yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from alphatrader.clients.openai import NoteError, NoteWriter
from alphatrader.contract import keys as k
from alphatrader.contract.messages.distribution import Analysis, Delivery
from alphatrader.contract.settings import Settings
from alphatrader.core.analysis import note
from alphatrader.core.analysis.levels import levels
from alphatrader.runtime.calendar import Session
from alphatrader.runtime.celery_app import AlphaTask, app
from alphatrader.runtime.store import Store

FUTURES: Final = ("ES", "NQ", "RTY", "VX")
"""Beside them YM, which is quotes only."""


class Writer(Protocol):
    def write(self, instruction: str, facts: str) -> str: ...


class MarketAnalysisGenerator:
    def __init__(self, store: Store, settings: Settings, log: Any, market_ns: Callable[[], int], writer: Writer | None) -> None:
        self._store = store
        self._settings = settings
        self._log = log
        self._market_ns = market_ns
        self._writer = writer

    def facts(self) -> dict[str, str]:
        market = self._settings.market
        names = [*FUTURES, *(future.root for future in market.quote_only_futures), *(index.name for index in market.indices)]
        quotes = {name: self._store.get(k.MARKET_LAST.at(symbol=name)) for name in names}
        period = self._settings.signals.atr_period
        marked = {}
        for symbol in market.equities[:3]:
            daily = self._store.get(k.MARKET_DAILY.at(symbol=symbol))
            marked[symbol] = levels(daily.bars, period) if daily else None
        sentiment = {}
        for symbol in market.equities[:3]:
            score = self._store.get(k.SENTIMENT.at(symbol=symbol))
            sentiment[symbol] = score.score if score else None
        return note.facts(quotes, marked, sentiment)

    def generate(self, session: Session) -> Analysis:
        """Writes the session's note everywhere it is shown."""
        known = self.facts()
        text, why = self._written(session, known)
        source: Any = "openai" if text else "template"
        if not text:
            text = f"{note.template(session.name, known)}\n(Written from a template: {why}.)"
        now = self._market_ns()
        disclaimer = self._settings.distribution.disclaimer
        full = Analysis(session.name, f"Morning note, {session.name}", text, source, known, disclaimer, now)
        shown = Analysis(session.name, full.title, note.preview(text), source, {}, disclaimer, now)
        batch = self._store.batch()
        batch.put(k.ANALYSIS_FULL.at(), full)
        batch.put(k.ANALYSIS_PREVIEW.at(), shown)
        batch.put(k.DASHBOARD_ANALYSIS.at(), full)
        self._store.commit(batch)
        queued = self._store.batch()
        queued.enqueue(k.TELEGRAM_ANALYSIS_QUEUE.at(), now, self._delivery(full, now))
        self._store.commit(queued)
        self._log.info("morning_note", session=session.name, source=source, why=why)
        return full

    def _written(self, session: Session, known: dict[str, str]) -> tuple[str | None, str | None]:
        """The model's text, or None and why not."""
        if self._writer is None:
            return None, "no OpenAI key is configured"
        try:
            text = self._writer.write(note.INSTRUCTION, note.prompt(session.name, known))
        except NoteError as error:
            return None, f"the model gave none: {error}"
        why = note.refused(text, session.name, known)
        return (None, f"the model's text was refused: {why}") if why else (text, None)

    def _delivery(self, analysis: Analysis, now: int) -> Delivery:
        return Delivery(
            id=f"analysis-{analysis.session}:premium",
            tier="premium",
            kind="analysis",
            symbol="",
            due_ns=now,
            created_ns=now,
            title=analysis.title,
            lines=tuple(analysis.text.splitlines()),
            fields={},
            disclaimer=analysis.disclaimer,
        )


def generator(task: AlphaTask) -> MarketAnalysisGenerator:
    """The generator of this worker, with its key."""
    vendors, key = task.settings.vendors, task.secrets.get("openai_key")
    writer = (
        NoteWriter(
            key=key,
            base_url=vendors.openai_url,
            model=vendors.openai_model,
            timeout_seconds=vendors.timeout_seconds,
            breaker_failures=vendors.breaker_failures,
            breaker_reset_seconds=vendors.breaker_reset_seconds,
        )
        if key
        else None
    )
    return MarketAnalysisGenerator(task.store, task.settings, task.log, task.clock.market_ns, writer)


@app.task(name="analysis.morning", bind=True)
def morning(self: AlphaTask) -> None:
    """Writes today's note where there is none: at a first start in the middle of a session, and after a lost data server."""
    session = self.calendar.on(self.clock.session_date())
    if session is None:
        return
    known = self.store.get(k.ANALYSIS_FULL.at())
    if known is None or known.session != session.name:
        generator(self).generate(session)
