"""Signed order flow over a sliding window, by seconds: how one-sided the aggressors were. [-1, 1], + is buying."""

from __future__ import annotations

import msgspec

SECOND_NS = 1_000_000_000
MIN_WATCH_NS = 30 * SECOND_NS
"""A handful of prints is one-sided by chance."""


class FlowWindow(msgspec.Struct):
    seconds: int
    slots: list[tuple[int, float, float]] = msgspec.field(default_factory=list)
    """(second, signed shares, shares), oldest first."""
    since_ns: int | None = None
    """Prints have been seen without a gap since then."""

    def add(self, ts_ns: int, shares: float, side: str) -> None:
        if self.since_ns is None:
            self.since_ns = ts_ns
        second = ts_ns // SECOND_NS
        signed = shares if side == "buy" else -shares if side == "sell" else 0.0
        slots = self.slots
        if slots and second <= slots[-1][0]:
            last, had_signed, had = slots[-1]
            slots[-1] = (last, had_signed + signed, had + shares)
            return
        slots.append((second, signed, shares))
        first = second - self.seconds
        while slots[0][0] <= first:
            slots.pop(0)

    def share(self, now_ns: int, shares: Shares) -> float | None:
        """Signed share of the volume in the seconds of `shares`; None without a print in them, or after too short a watch."""
        if self.since_ns is None or now_ns - self.since_ns < MIN_WATCH_NS:
            return None
        signed, volume = shares.of(self.slots, now_ns // SECOND_NS)
        return signed / volume if volume > 0 else None

    def reset(self) -> None:
        self.slots, self.since_ns = [], None


class Shares:
    """(signed, all) shares of the newest seconds of a window. Those that are over are summed once, when the next one begins: a
    print costs the same however many seconds there are."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._over: tuple[list[tuple[int, float, float]], int, int, float, float] | None = None
        """(slots, the open second, the first that counts, signed and all shares of those between)."""

    def of(self, slots: list[tuple[int, float, float]], now: int) -> tuple[float, float]:
        """`now` is the present second; slots as a `FlowWindow` holds them, never empty after its first print."""
        first = now - self._seconds
        open_, signed, volume = slots[-1]
        if open_ <= first:
            return 0.0, 0.0
        over = self._over
        if over is None or over[0] is not slots or over[1] != open_ or over[2] != first:
            between = [slot for slot in slots[:-1] if slot[0] > first]
            over = (slots, open_, first, sum(slot[1] for slot in between), sum(slot[2] for slot in between))
            self._over = over
        return over[3] + signed, over[4] + volume
