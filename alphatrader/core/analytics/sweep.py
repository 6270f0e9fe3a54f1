"""Sweeps: one order that takes liquidity on several venues at once. domain.md §3.

Prints of one side within the window (reception time: IB stamps whole seconds) on three or more lit venues, or at three or more
prices of one venue, or two or more of condition F (intermarket sweep; tick-by-tick only) on two or more venues. Every further
print of that side inside the window belongs to the same sweep. Its score is the signed notional of the sweeps of the last minute
over their gross, [-1, 1], + where buyers swept.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

OFF_EXCHANGE: Final = frozenset({"FINRA", "D", "FINN", "FINC", "FINY", "XADF", ""})
MEMORY_NS: Final = 60_000_000_000
MIN_VENUES: Final = 3
MIN_LEVELS: Final = 3
MIN_ISO_VENUES: Final = 2
ISO: Final = "F"


class Window(msgspec.Struct):
    """One side's prints inside the window, counted along, so that a print costs the same at any rate."""

    venues: dict[str, int] = msgspec.field(default_factory=dict)
    levels: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """Venue -> price, as text -> prints."""
    iso: dict[str, int] = msgspec.field(default_factory=dict)
    """Venue -> prints of condition F."""

    def take(self, venue: str, price: str, iso: bool) -> bool:
        """Whether the window is a sweep with this print in it."""
        self.venues[venue] = self.venues.get(venue, 0) + 1
        levels = self.levels.setdefault(venue, {})
        levels[price] = levels.get(price, 0) + 1
        if iso:
            self.iso[venue] = self.iso.get(venue, 0) + 1
        return len(self.venues) >= MIN_VENUES or len(levels) >= MIN_LEVELS or len(self.iso) >= MIN_ISO_VENUES

    def drop(self, venue: str, price: str, iso: bool) -> None:
        _less(self.venues, venue)
        _less(self.levels[venue], price)
        if not self.levels[venue]:
            del self.levels[venue]
        if iso:
            _less(self.iso, venue)


def _less(counts: dict[str, int], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class Sweep(msgspec.Struct):
    side: str
    first_ns: int
    last_ns: int
    notional: float
    shares: float
    venues: list[str]
    prints: int
    levels: int = 1
    """Most prices on one venue when it was found."""
    iso_prints: int = 0


class SweepDetector(msgspec.Struct):
    window_ns: int
    recent: list[tuple[int, str, str, float, float, str, bool]] = msgspec.field(default_factory=list)
    """(received, side, venue, shares, notional, price, condition F) of the window, as they came."""
    sides: dict[str, Window] = msgspec.field(default_factory=lambda: {"buy": Window(), "sell": Window()})
    sweeps: list[Sweep] = msgspec.field(default_factory=list)
    """Of the last minute, oldest first."""
    since_ns: int | None = None
    """Prints with venues have come without a gap since then."""
    count: int = 0

    def add(self, received_ns: int, price: float, shares: float, venue: str, side: str, conditions: str = "") -> Sweep | None:
        """Fold one print; the sweep it completes, if any."""
        if not venue:
            return None
        if self.since_ns is None:
            self.since_ns = received_ns
        if venue in OFF_EXCHANGE or side not in ("buy", "sell"):
            return None
        self._leave(received_ns - self.window_ns)
        iso = ISO in conditions.split()
        open_sweep = next((s for s in reversed(self.sweeps) if s.side == side and s.last_ns > received_ns - self.window_ns), None)
        if open_sweep is not None:
            open_sweep.last_ns = max(open_sweep.last_ns, received_ns)
            open_sweep.notional += price * shares
            open_sweep.shares += shares
            open_sweep.prints += 1
            open_sweep.iso_prints += iso
            if venue not in open_sweep.venues:
                open_sweep.venues.append(venue)
            return None
        at = repr(price)
        self.recent.append((received_ns, side, venue, shares, price * shares, at, iso))
        window = self.sides[side]
        if not window.take(venue, at, iso):
            return None
        same = [entry for entry in self.recent if entry[1] == side]
        found = Sweep(
            side=side,
            first_ns=same[0][0],
            last_ns=received_ns,
            notional=math.fsum(entry[4] for entry in same),
            shares=math.fsum(entry[3] for entry in same),
            venues=sorted(window.venues),
            prints=len(same),
            levels=max(map(len, window.levels.values())),
            iso_prints=sum(window.iso.values()),
        )
        self.recent = [entry for entry in self.recent if entry[1] != side]
        self.sides[side] = Window()
        self.sweeps.append(found)
        self.count += 1
        self.forget(received_ns)
        return found

    def _leave(self, until_ns: int) -> None:
        """Takes prints out of the window's front."""
        gone = 0
        for received_ns, side, venue, _, _, at, iso in self.recent:
            if received_ns > until_ns:
                break
            gone += 1
            self.sides[side].drop(venue, at, iso)
        del self.recent[:gone]

    def forget(self, now_ns: int) -> None:
        while self.sweeps and self.sweeps[0].last_ns <= now_ns - MEMORY_NS:
            self.sweeps.pop(0)

    def reset(self) -> None:
        self.recent, self.since_ns = [], None
        self.sides = {"buy": Window(), "sell": Window()}

    def score(self, now_ns: int) -> float | None:
        """0.0 is a measurement: a minute of prints without a sweep. None until a minute of prints has been seen."""
        self.forget(now_ns)
        gross = math.fsum(sweep.notional for sweep in self.sweeps)
        if gross > 0:
            return math.fsum(sweep.notional if sweep.side == "buy" else -sweep.notional for sweep in self.sweeps) / gross
        return 0.0 if self.since_ns is not None and now_ns - self.since_ns >= MEMORY_NS else None
