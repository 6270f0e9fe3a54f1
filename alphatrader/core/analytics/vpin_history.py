"""How often each VPIN was seen, session by session: what a value is ranked in (domain.md §1: alarms use the percentile).

One value a full bucket, as in the paper's distribution, and only while no bucket of the ring comes from classified bars. The
newest session is still growing and is left out, so that a value is never ranked among its own neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from alphatrader.contract.messages.metrics import VpinHistory, VpinSession

BINS: Final = 200
"""Of equal width over [0, 1]; the last one holds 1 itself."""
SESSIONS_NEEDED: Final = 20
SESSIONS_KEPT: Final = 60


@dataclass(frozen=True)
class Rank:
    percentile: float | None
    """Share of the past values under this one, those of its own bin counted half."""
    n: int
    sessions: int
    reason: str | None


class VpinRanks:
    """The kept history of one symbol. Ranking is one look-up; the sums are made anew when a session begins."""

    def __init__(self, kept: VpinHistory | None = None) -> None:
        usable = [one for one in kept.sessions if len(one.counts) == BINS] if kept else []
        self._sessions = {one.open_ns: list(one.counts) for one in sorted(usable, key=lambda one: one.open_ns)[-SESSIONS_KEPT:]}
        self._sum()

    def add(self, open_ns: int, value: float) -> None:
        """One bucket's VPIN in the session that opened then; one of a session before the newest comes too late."""
        if open_ns not in self._sessions:
            if self._sessions and open_ns < max(self._sessions):
                return
            self._sessions[open_ns] = [0] * BINS
            while len(self._sessions) > SESSIONS_KEPT:
                del self._sessions[min(self._sessions)]
            self._sum()
        elif open_ns != max(self._sessions):
            return
        self._sessions[open_ns][_bin(value)] += 1

    def _sum(self) -> None:
        past = [self._sessions[open_ns] for open_ns in sorted(self._sessions)[:-1]]
        self._counts = [sum(column) for column in zip(*past, strict=True)] or [0] * BINS
        self._under = [0, *accumulate(self._counts)]
        self._past = len(past)

    def rank(self, value: float | None) -> Rank:
        n = self._under[-1]
        if self._past < SESSIONS_NEEDED:
            return Rank(None, n, self._past, f"{self._past} of {SESSIONS_NEEDED} whole sessions of its own history")
        if value is None:
            return Rank(None, n, self._past, "no VPIN to rank")
        at = _bin(value)
        return Rank((self._under[at] + self._counts[at] / 2) / n, n, self._past, None)

    def message(self, symbol: str) -> VpinHistory:
        return VpinHistory(symbol, tuple(VpinSession(open_ns, tuple(counts)) for open_ns, counts in self._sessions.items()))


def _bin(value: float) -> int:
    return min(int(value * BINS), BINS - 1)
