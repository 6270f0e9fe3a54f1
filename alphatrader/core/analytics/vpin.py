"""VPIN: volume-synchronised probability of informed trading (Easley, Lopez de Prado, O'Hara 2012). sources.md §1.

Buckets of equal volume; a print that overfills one is split over as many as it fills. VPIN = sum |Vb - Vs| / (n V) over the last
n full buckets; the open one is excluded. All counting is in integer half-shares, so that a print of unknown side splits 50/50
exactly and the running sum stays exact. State is carried from session to session; the caller passes only regular-hours prints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
from scipy.special import ndtr

from alphatrader.contract.messages.market import Bar

MINUTE_NS = 60_000_000_000
SESSION_BREAK_NS = 60 * MINUTE_NS
"""Bars farther apart than this are of two sessions."""


class Vpin(msgspec.Struct):
    """The folded state of one symbol. Plain data, so that a checkpoint is this struct as it stands."""

    buckets: int
    """n: full buckets in a VPIN."""
    size: int | None = None
    """V, shares; None until it is known."""
    size_source: str = ""
    imbalances: list[int] = msgspec.field(default_factory=list)
    """Signed, half-shares, of the full buckets, oldest first: a ring of at most `buckets`."""
    total: int = 0
    """Sum of their absolute values."""
    warm: int = 0
    """How many of the oldest came from bulk classification of bars."""
    buy: int = 0
    sell: int = 0
    """The open bucket, half-shares."""
    live_since_ns: int | None = None
    """Since when prints are folded at this size: bars that ended before may warm the ring up."""
    warmed: bool = False
    filled: int = 0
    """Full buckets since the start."""

    @property
    def ready(self) -> bool:
        return self.size is not None and len(self.imbalances) == self.buckets

    @property
    def value(self) -> float | None:
        if self.size is None or len(self.imbalances) < self.buckets:
            return None
        return self.total / (self.buckets * 2 * self.size)

    def signed(self, newest: int) -> float | None:
        """Signed imbalance of the newest full buckets, in [-1, 1], + where buyers were the aggressors."""
        last = self.imbalances[-newest:]
        return sum(last) / (len(last) * 2 * self.size) if self.size and last else None

    @property
    def open_share(self) -> float | None:
        """How full the open bucket is."""
        return (self.buy + self.sell) / (2 * self.size) if self.size else None

    def set_size(self, size: int, source: str, now_ns: int | None = None) -> bool:
        """Take a bucket size. Buckets of another size cannot be summed with the new ones: the ring starts anew at `now_ns`.

        True where it did."""
        if size < 1:
            raise ValueError(f"VPIN bucket size must be at least 1 share, got {size}")
        self.size_source = source
        if size == self.size:
            return False
        self.size = size
        self.imbalances, self.total, self.warm, self.filled = [], 0, 0, 0
        self.buy = self.sell = 0
        self.live_since_ns, self.warmed = now_ns, False
        return True

    def add(self, ts_ns: int, shares: int, side: str) -> bool:
        """Fold one print of `side` buy, sell or unknown. True when a bucket was filled."""
        if self.size is None or shares <= 0:
            return False
        if self.live_since_ns is None:
            self.live_since_ns = ts_ns
        halves = 2 * shares
        buy = halves if side == "buy" else 0 if side == "sell" else shares
        if self.buy + self.sell + halves < 2 * self.size:  # as nearly every print: it stays in the open bucket
            self.buy += buy
            self.sell += halves - buy
            return False
        self._fold(buy, halves - buy)
        return True

    def _fold(self, buy: int, sell: int) -> None:
        capacity = 2 * (self.size or 0)
        while buy + sell:
            room = capacity - self.buy - self.sell
            whole = buy + sell
            if whole < room:
                self.buy, self.sell = self.buy + buy, self.sell + sell
                return
            part_buy = buy * room // whole
            self._push(self.buy + part_buy - self.sell - (room - part_buy))
            buy, sell = buy - part_buy, sell - (room - part_buy)
            self.buy = self.sell = 0
            skipped = (buy + sell) // capacity - self.buckets
            if skipped > 0:  # a print larger than the whole ring: what would be evicted at once need not be pushed
                share = buy * (skipped * capacity) // (buy + sell)
                buy, sell = buy - share, sell - (skipped * capacity - share)
                self.filled += skipped

    def _push(self, imbalance: int) -> None:
        if len(self.imbalances) == self.buckets:
            self.total -= abs(self.imbalances.pop(0))
            self.warm = max(0, self.warm - 1)
        self.imbalances.append(imbalance)
        self.total += abs(imbalance)
        self.filled += 1

    def warm_up(self, bars: Sequence[Bar], bar_ns: int = MINUTE_NS) -> int:
        """Put bulk-classified buckets before the live ones, from bars that ended before the first live print.

        Returns how many were put there; they are marked `warm` and leave the ring first."""
        if self.size is None:
            return 0
        usable = [bar for bar in bars if self.live_since_ns is None or bar.ts_ns + bar_ns <= self.live_since_ns]
        past = Vpin(self.buckets)
        past.set_size(self.size, "")
        for buy, sell in bulk_classify(usable):
            past._fold(buy, sell)
        wanted = self.buckets - len(self.imbalances)
        older = past.imbalances[-wanted:] if wanted else []
        self.imbalances[:0] = older
        self.total += sum(abs(imbalance) for imbalance in older)
        self.warm += len(older)
        self.warmed = bool(older) or self.warmed
        return len(older)


def bulk_classify(bars: Sequence[Bar]) -> list[tuple[int, int]]:
    """(buy, sell) of each bar in half-shares: Vb = v Phi(dP / sigma), sigma the sample deviation of the bars' dP.

    The first bar of a session has no dP and counts half and half; so do all where sigma is 0."""
    changes = [
        after.close - before.close if after.ts_ns - before.ts_ns < SESSION_BREAK_NS else None for before, after in pairwise(bars)
    ]
    known = [change for change in changes if change is not None]
    sigma = 0.0
    if len(known) >= 2:
        mean = math.fsum(known) / len(known)
        sigma = math.sqrt(math.fsum((change - mean) ** 2 for change in known) / (len(known) - 1))
    classified = []
    for bar, change in zip(bars, [None, *changes], strict=False):
        halves = 2 * round(bar.volume)
        share = 0.5 if change is None or sigma == 0.0 else float(ndtr(change / sigma))
        buy = round(halves * share)
        classified.append((buy, halves - buy))
    return classified


def fallback_size(session_volumes: Sequence[float], buckets: int = 50) -> int | None:
    """Average daily volume / 50, to 100 shares, from whole sessions; None where no session is known."""
    volumes = [volume for volume in session_volumes if volume > 0]
    if not volumes:
        return None
    exact = math.fsum(volumes) / len(volumes) / buckets
    return max(1, round(exact / 100) * 100 if exact >= 100 else round(exact))
