"""Sweeps: one order that takes liquidity on several venues at once. sources.md §3.

Prints of one side within the window (reception time: IB stamps whole seconds): two or more of condition F (intermarket sweep;
tick-by-tick only) on two or more venues; or three or more lit venues, or three or more prices of one venue, where the window's
notional reaches the percentile `analytics.sweep_percentile` of the symbol's own last runs, and, on a feed that shows condition F,
one of the prints carries it: under Regulation NMS an order sent to several venues' quotes at once is marked. A run is what one
side printed within the window of its first print, a single print too: without that bound a busy tenth of a second passes for a
sweep. Every further print of that side inside the window belongs to the same sweep. What a sweep weighs: sweep_score.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from functools import lru_cache
from typing import Final

import msgspec

from alphatrader.core.market.venues import OFF_EXCHANGE

MEMORY_NS: Final = 60_000_000_000
MIN_VENUES: Final = 3
MIN_LEVELS: Final = 3
MIN_ISO_VENUES: Final = 2
ISO: Final = "F"
ISO_MEMORY_NS: Final = 1_800_000_000_000
"""A feed that showed condition F this lately shows it whenever it is there: a stock trades it many times a minute."""
RUNS_KEPT: Final = 500
RUNS_NEEDED: Final = 50
PAST_KEPT: Final = 200
_UNITS_A_USD: Final = 10_000
"""Notional is summed in whole ten-thousandths of a dollar: a sum that prints enter and leave stays exact."""


_SIDES: Final = ("buy", "sell")
_text: Final = lru_cache(maxsize=4096)(repr)
"""Of a price: to look it up costs a fifth of writing it."""


class Window(msgspec.Struct):
    """One side's prints inside the window, counted along, so that a print costs the same at any rate."""

    venues: dict[str, int] = msgspec.field(default_factory=dict)
    levels: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """Venue -> price, as text -> prints."""
    iso: dict[str, int] = msgspec.field(default_factory=dict)
    """Venue -> prints of condition F."""
    notional: int = 0

    def take(self, venue: str, price: str, iso: bool, notional: int) -> None:
        self.notional += notional
        venues = self.venues
        if (prints := venues.get(venue)) is None:
            venues[venue], self.levels[venue] = 1, {price: 1}
        else:
            venues[venue] = prints + 1
            levels = self.levels[venue]
            levels[price] = levels.get(price, 0) + 1
        if iso:
            self.iso[venue] = self.iso.get(venue, 0) + 1

    def rule(self, venue: str, runs: Runs, percentile: float, *, shows_iso: bool) -> str | None:
        """By which rule the window is a sweep with its newest print, on `venue`, in it; the notional it must reach is that of the
        runs, unknown while they are few. Where the feed shows condition F, prints none of which carries it are separate orders:
        an order that sweeps must be marked."""
        if len(self.iso) >= MIN_ISO_VENUES:
            return "iso"
        rule = "venues" if len(self.venues) >= MIN_VENUES else "levels" if len(self.levels[venue]) >= MIN_LEVELS else None
        if rule is None or (shows_iso and not self.iso):
            return None
        least = runs.at(percentile)
        return None if least is None or self.notional < least else rule

    def drop(self, venue: str, price: str, iso: bool, notional: int) -> None:
        self.notional -= notional
        _less(self.venues, venue)
        levels = self.levels[venue]
        _less(levels, price)
        if not levels:
            del self.levels[venue]
        if iso:
            _less(self.iso, venue)


def _less(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]


class Sweep(msgspec.Struct):
    side: str
    first_ns: int
    last_ns: int
    notional: float
    shares: float
    venues: list[str]
    prints: int
    rule: str
    """That fired: iso, venues or levels."""
    levels: int = 1
    """Most prices on one venue when it was found."""
    iso_prints: int = 0


class Runs(msgspec.Struct):
    """Notional of the newest runs, both sides', in ten-thousandths of a dollar."""

    newest: list[int] = msgspec.field(default_factory=list)
    """Oldest first."""
    ranked: list[int] = msgspec.field(default_factory=list)
    """The same, smallest first."""
    open: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    """Side -> (reception of its first print, notional so far) of the run that may still grow."""

    def add(self, received_ns: int, side: str, notional: int, window_ns: int) -> None:
        first_ns, so_far = self.open.get(side) or (received_ns, 0)
        if received_ns - first_ns >= window_ns:
            self._close(so_far)
            first_ns, so_far = received_ns, 0
        self.open[side] = first_ns, so_far + notional

    def _close(self, notional: int) -> None:
        if len(self.newest) == RUNS_KEPT:
            del self.ranked[bisect_left(self.ranked, self.newest.pop(0))]
        self.newest.append(notional)
        insort(self.ranked, notional)

    def at(self, percentile: float) -> int | None:
        """The least notional that this percentage of the runs are at or under; None with fewer than RUNS_NEEDED."""
        n = len(self.ranked)
        return self.ranked[max(0, math.ceil(percentile / 100 * n) - 1)] if n >= RUNS_NEEDED else None


class SweepDetector(msgspec.Struct):
    window_ns: int
    percentile: float = 80.0
    recent: list[tuple[int, str, str, float, int, str, bool]] = msgspec.field(default_factory=list)
    """(received, side, venue, shares, notional in ten-thousandths, price, condition F) of the window, as they came."""
    sides: dict[str, Window] = msgspec.field(default_factory=lambda: {"buy": Window(), "sell": Window()})
    runs: Runs = msgspec.field(default_factory=Runs)
    sweeps: list[Sweep] = msgspec.field(default_factory=list)
    """Of the last minute, oldest first."""
    past: list[float] = msgspec.field(default_factory=list)
    """Notional of the newest sweeps before those, oldest first."""
    since_ns: int | None = None
    """Prints with venues have come without a gap since then."""
    count: int = 0
    iso_ns: int | None = None
    """Reception of the newest print of condition F."""

    @property
    def threshold_usd(self) -> float | None:
        """What a window without two prints of condition F must reach to be a sweep; None until enough runs were seen."""
        least = self.runs.at(self.percentile)
        return least / _UNITS_A_USD if least is not None else None

    def add(self, received_ns: int, price: float, shares: float, venue: str, side: str, conditions: str = "") -> Sweep | None:
        """Fold one print; the sweep it completes, if any."""
        if not venue:
            return None
        if self.since_ns is None:
            self.since_ns = received_ns
        if venue in OFF_EXCHANGE or side not in _SIDES:
            return None
        until_ns, recent = received_ns - self.window_ns, self.recent
        if recent and recent[0][0] <= until_ns:
            self._leave(until_ns)
        iso = ISO in conditions.split() if conditions else False
        shows_iso = self.iso_ns is not None and received_ns - self.iso_ns <= ISO_MEMORY_NS
        if iso:
            self.iso_ns = received_ns
        notional = round(price * shares * _UNITS_A_USD)
        self.runs.add(received_ns, side, notional, self.window_ns)
        open_sweep = self._open(side, until_ns)
        if open_sweep is not None:
            open_sweep.last_ns = max(open_sweep.last_ns, received_ns)
            # Whole units again: equal notionals stay equal, however many prints they are of.
            open_sweep.notional = (round(open_sweep.notional * _UNITS_A_USD) + notional) / _UNITS_A_USD
            open_sweep.shares += shares
            open_sweep.prints += 1
            open_sweep.iso_prints += iso
            if venue not in open_sweep.venues:
                open_sweep.venues.append(venue)
            return None
        at = _text(price)
        recent.append((received_ns, side, venue, shares, notional, at, iso))
        window = self.sides[side]
        window.take(venue, at, iso, notional)
        rule = window.rule(venue, self.runs, self.percentile, shows_iso=shows_iso)
        if rule is None:
            return None
        same = [entry for entry in self.recent if entry[1] == side]
        found = Sweep(
            side=side,
            first_ns=same[0][0],
            last_ns=received_ns,
            notional=window.notional / _UNITS_A_USD,
            shares=math.fsum(entry[3] for entry in same),
            venues=sorted(window.venues),
            prints=len(same),
            rule=rule,
            levels=max(map(len, window.levels.values())),
            iso_prints=sum(window.iso.values()),
        )
        self.recent = [entry for entry in self.recent if entry[1] != side]
        self.sides[side] = Window()
        self.sweeps.append(found)
        self.count += 1
        self.forget(received_ns)
        return found

    def _open(self, side: str, until_ns: int) -> Sweep | None:
        """The sweep that a further print of this side belongs to: only the newest of a side can still be open, and none from
        before a hole in the prints."""
        for sweep in reversed(self.sweeps):
            if sweep.side == side:
                return sweep if sweep.last_ns > until_ns and sweep.last_ns >= (self.since_ns or 0) else None
        return None

    def _leave(self, until_ns: int) -> None:
        """Takes prints out of the window's front."""
        gone = 0
        for received_ns, side, venue, _, notional, at, iso in self.recent:
            if received_ns > until_ns:
                break
            gone += 1
            self.sides[side].drop(venue, at, iso, notional)
        del self.recent[:gone]

    def forget(self, now_ns: int) -> None:
        """Sweeps that ended a minute ago are past; those before them in the list may still go on."""
        until_ns = now_ns - MEMORY_NS
        if any(sweep.last_ns <= until_ns for sweep in self.sweeps):
            over = sorted((one for one in self.sweeps if one.last_ns <= until_ns), key=lambda one: one.last_ns)
            self.past = (self.past + [one.notional for one in over])[-PAST_KEPT:]
            self.sweeps = [one for one in self.sweeps if one.last_ns > until_ns]

    def reset(self) -> None:
        """A hole in the prints: no window or run spans it. What is known of past runs and sweeps stands."""
        self.recent, self.since_ns, self.iso_ns = [], None, None
        self.sides = {"buy": Window(), "sell": Window()}
        self.runs.open = {}

    def seen(self, now_ns: int) -> bool:
        """Whether no sweep in the last minute is a measurement: prints have come for so long."""
        return bool(self.sweeps) or (self.since_ns is not None and now_ns - self.since_ns >= MEMORY_NS)
