"""News sentiment of the twelve underlyings, ticked by beat on the pulls worker.

Reads Alpha Vantage; writes `sentiment:{symbol}:score`. A refused answer leaves the last score until its 300 s are over: two more
ticks come before that. A tick that comes too early does nothing, by how much of its life a key has left.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from celery.signals import worker_ready

from alphatrader.clients.alphavantage import AlphaVantage, AlphaVantageError, LimitedError
from alphatrader.contract import keys as k
from alphatrader.contract.settings import Settings
from alphatrader.core.sentiment import HALF_LIFE_NS, sentiment
from alphatrader.runtime.celery_app import app, context, store
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.store import Store
from alphatrader.tasks.alphavantage.vendor import client

HALF_LIVES: Final = 8
"""Older stories weigh under a two-hundredth and are not asked for."""


class SentimentIngestion:
    def __init__(self, store: Store, client: AlphaVantage, settings: Settings, clock: Clock, log: Any) -> None:
        self._store = store
        self._client = client
        self._settings = settings
        self._clock = clock
        self._log = log

    def pull_all(self) -> None:
        """One round. The vendor's limit, our budget, an open breaker or a vendor that is away ends it: the next symbol would meet
        the same."""
        for symbol in self._settings.market.equities:
            if not self._due(symbol):
                continue
            try:
                self.refresh(symbol)
            except LimitedError as error:
                self._log.warning("news_limited", symbol=symbol, reason=error.reason, after=error.after, error=str(error))
                return
            except AlphaVantageError as error:
                self._log.warning("news_refused", symbol=symbol, reason=error.reason, error=str(error))
                if error.reason == "connection":
                    return

    def refresh(self, symbol: str) -> None:
        """Raises AlphaVantageError."""
        answer = self._client.news(symbol, self._clock.market_ns() - HALF_LIVES * HALF_LIFE_NS)
        batch = self._store.batch()
        batch.put(k.SENTIMENT.at(symbol=symbol), sentiment(symbol, answer.stories, self._clock.market_ns()))
        self._store.commit(batch)

    def _due(self, symbol: str) -> bool:
        key = k.SENTIMENT.at(symbol=symbol)
        left_ms = self._store.ttl_ms(key)
        written_seconds_ago = (key.key.ttl_seconds or 0.0) - (left_ms or 0) / 1000
        return left_ms is None or written_seconds_ago >= self._settings.options.sentiment_refresh_seconds / 2


@cache
def ingestion() -> SentimentIngestion:
    """This process's one."""
    here = context()
    return SentimentIngestion(store(), client(), here.settings, here.clock, here.log)


@app.task(name="sentiment.pull_all")  # type: ignore[untyped-decorator]
def pull_all() -> None:
    """Beat's tick, every `options.sentiment_refresh_seconds`."""
    ingestion().pull_all()


@worker_ready.connect
def _at_once(**_: Any) -> None:
    pull_all.delay()
