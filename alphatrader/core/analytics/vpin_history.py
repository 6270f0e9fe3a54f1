"""How often each VPIN was seen, session by session: what a value is ranked in (sources.md §1: alarms use the percentile).

One value for each print that fills a bucket or several (the paper has one a bucket), and only while no bucket of the ring comes
from classified bars. The
newest session is still growing and is left out, so that a value is never ranked among its own neighbours. What adjusts VPIN
(adverse.py) is ranked alike, by one value at each full bucket.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final

import msgspec

from alphatrader.contract.messages.metrics import VpinHistory, VpinSession

BINS: Final = 200
"""Of equal width over [0, 1]; the last one holds 1 itself."""
SESSIONS_NEEDED: Final = 20
SESSIONS_KEPT: Final = 60


class Rank(msgspec.Struct, frozen=True):
    percentile: float | None
    """Share of the past values under this one, those of its own bin counted half."""
    n: int
    sessions: int
    reason: str | None


class Ranks:
    """The kept history of one number. Ranking is one look-up; the sums are made anew when a session begins."""

    def __init__(self, name: str, kept: Iterable[VpinSession], bin_of: Callable[[float], int]) -> None:
        self._name, self._bin = name, bin_of
        usable = [one for one in kept if len(one.counts) == BINS]
        self._sessions = {one.open_ns: list(one.counts) for one in sorted(usable, key=lambda one: one.open_ns)[-SESSIONS_KEPT:]}
        self._sum()

    def add(self, open_ns: int, value: float) -> None:
        """One bucket's value in the session that opened then; one of a session before the newest comes too late."""
        if open_ns not in self._sessions:
            if self._sessions and open_ns < max(self._sessions):
                return
            self._sessions[open_ns] = [0] * BINS
            while len(self._sessions) > SESSIONS_KEPT:
                del self._sessions[min(self._sessions)]
            self._sum()
        elif open_ns != max(self._sessions):
            return
        self._sessions[open_ns][self._bin(value)] += 1

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
            return Rank(None, n, self._past, f"no {self._name} to rank")
        at = self._bin(value)
        return Rank((self._under[at] + self._counts[at] / 2) / n, n, self._past, None)

    def kept(self) -> tuple[VpinSession, ...]:
        return tuple(VpinSession(open_ns, tuple(counts)) for open_ns, counts in self._sessions.items())


class VpinRanks(Ranks):
    """The kept history of one symbol's VPIN and of its two inputs."""

    def __init__(self, kept: VpinHistory | None = None) -> None:
        super().__init__("VPIN", kept.sessions if kept else (), _share_bin)
        self.spread = Ranks("spread", kept.spreads if kept else (), _spread_bin)
        self.markout = Ranks("markout", kept.markouts if kept else (), _markout_bin)

    def message(self, symbol: str) -> VpinHistory:
        return VpinHistory(symbol, self.kept(), self.spread.kept(), self.markout.kept())


def _share_bin(value: float) -> int:
    return min(int(value * BINS), BINS - 1)


def _spread_bin(relative: float) -> int:
    """Spread / mid, in steps of 6 %: from a hundredth of a basis point to a tenth of the price."""
    return min(max(int(BINS * (math.log10(max(relative, 1e-6)) + 6) / 5), 0), BINS - 1)


def _markout_bin(bps: float) -> int:
    """Either sign alike: a hundredth of a basis point a bin at 0, a tenth of the value far from it, to 1,000 at the ends."""
    return min(max(int(BINS / 2 * (1 + math.asinh(bps * 10) / math.asinh(10_000.0))), 0), BINS - 1)
