"""News sentiment of one symbol: the mean of its stories' scores, weighted by relevance and age (sources.md §4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from alphatrader.contract.messages.options import Sentiment, SentimentItem

MIN_RELEVANCE: Final = 0.1
HALF_LIFE_NS: Final = 6 * 3600 * 1_000_000_000
EARLY_NS: Final = 60 * 1_000_000_000
"""A story dated later than this after now is not of this world yet: clocks differ by seconds, not by more."""
MOST_ITEMS: Final = 20


class Story(Protocol):
    @property
    def published_ns(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def relevance(self) -> float: ...


def sentiment(symbol: str, stories: Iterable[Story], ts_ns: int) -> Sentiment:
    """`score` is None where no story is relevant; `n` counts those that are. One address is one article, its last version."""
    distinct = {story.url or number: story for number, story in enumerate(stories)}
    items = [
        SentimentItem(
            published_ns=story.published_ns,
            title=story.title,
            url=story.url,
            score=story.score,
            relevance=story.relevance,
            weight=story.relevance * 0.5 ** (max(ts_ns - story.published_ns, 0) / HALF_LIFE_NS),
        )
        for story in distinct.values()
        if story.relevance >= MIN_RELEVANCE and story.published_ns <= ts_ns + EARLY_NS
    ]
    weight = sum(item.weight for item in items)
    score = sum(item.weight * item.score for item in items) / weight if weight > 0 else None
    weightiest = sorted(items, key=lambda item: -item.weight)[:MOST_ITEMS]
    return Sentiment(symbol=symbol, ts_ns=ts_ns, score=score, n=len(items), items=tuple(weightiest))
