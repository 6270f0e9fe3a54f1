"""News items with sentiment for each equity: a few a day, from the seed, leaning the way the day's price goes.

Used by `simulation.py` (`Market.news`); the Alpha Vantage stand-in serves them.
"""

from __future__ import annotations

from random import Random

from .business_days import Session, Sessions
from .hashing import key64
from .paths import Paths

Item = tuple[int, str, float, float]  # ts_ns, headline, sentiment -1..1, relevance 0..1

_HEADLINES: dict[int, tuple[str, ...]] = {
    1: (
        "{0} climbs as buyers return",
        "Analysts lift targets on {0}",
        "Strong demand seen for {0} ahead of the close",
        "{0} draws inflows after upbeat outlook",
    ),
    0: (
        "{0} little changed as traders wait for data",
        "What options say about {0} this week",
        "{0}: five things to watch today",
        "Volume in {0} near its average",
    ),
    -1: (
        "{0} slips as sellers press",
        "Analysts trim estimates for {0}",
        "{0} under pressure on cautious outlook",
        "Outflows weigh on {0}",
    ),
}
_HOUR_NS = 3_600_000_000_000
_SESSIONS_BACK = 12


def _items_of(seed: int, symbol: str, session: Session, day_return: float) -> list[Item]:
    draw = Random(key64(seed, "news", symbol, session.day))  # noqa: S311 (a simulation, not a secret)
    mood = max(-0.5, min(0.5, day_return * 25))
    items = []
    for _ in range(draw.randint(4, 9)):
        ts_ns = draw.randrange(session.open_ns - 2 * _HOUR_NS, session.close_ns + 2 * _HOUR_NS, 1_000_000_000)
        score = round(max(-1.0, min(1.0, draw.gauss(mood, 0.25))), 6)
        tone = 1 if score >= 0.15 else -1 if score <= -0.15 else 0
        items.append((ts_ns, draw.choice(_HEADLINES[tone]).format(symbol), score, round(draw.uniform(0.2, 1.0), 6)))
    return items


def news_items(seed: int, paths: Paths, sessions: Sessions, symbol: str, now_ns: int, limit: int) -> list[Item]:
    """The latest `limit` items published by `now_ns`, newest first, from the last dozen sessions."""
    session = sessions.after(sessions.started(now_ns))  # its first items come before its open
    items: list[Item] = []
    for _ in range(_SESSIONS_BACK):
        before = sessions.before(session)
        day_return = paths.level(symbol, session.day) - paths.level(symbol, before.day)
        items += [item for item in _items_of(seed, symbol, session, day_return) if item[0] <= now_ns]
        if len(items) >= limit + 20:
            break
        session = before
    return sorted(items, reverse=True)[:limit]
