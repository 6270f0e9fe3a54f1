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
        if self.slots and second <= self.slots[-1][0]:
            last, had_signed, had = self.slots[-1]
            self.slots[-1] = (last, had_signed + signed, had + shares)
        else:
            self.slots.append((second, signed, shares))
        self._forget(ts_ns)

    def value(self, now_ns: int, seconds: int | None = None) -> float | None:
        """Signed share of the volume in the last `seconds`; None without a print in them, or after too short a watch."""
        if self.since_ns is None or now_ns - self.since_ns < MIN_WATCH_NS:
            return None
        first = now_ns // SECOND_NS - (seconds or self.seconds)
        signed = volume = 0.0
        for second, slot_signed, slot_volume in reversed(self.slots):
            if second <= first:
                break
            signed += slot_signed
            volume += slot_volume
        return signed / volume if volume > 0 else None

    def reset(self) -> None:
        self.slots, self.since_ns = [], None

    def _forget(self, now_ns: int) -> None:
        first = now_ns // SECOND_NS - self.seconds
        while self.slots and self.slots[0][0] <= first:
            self.slots.pop(0)
