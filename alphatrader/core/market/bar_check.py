"""The broker's 5-second bars against our own of the same prints.

A bar of ours is complete when prints were heard from before its first second to after its last. The broker's volume may hold what
comes late and its window is cut at its own clock, so a difference is one only beyond the tolerances below. Used by `SymbolFeed`.
"""

from __future__ import annotations

from typing import Final

from alphatrader.contract.messages.market import Bar

BAR_NS: Final = 5_000_000_000
KEPT: Final = 6
"""Bars of ours kept for the broker's, which come a little later."""
VOLUME_SHARE: Final = 0.05
"""Of the volume: prints at the very edge of a bar fall on either side."""
VOLUME_SHARES: Final = 200.0
PRICE_SHARE: Final = 0.0005
"""Of the high and the low."""


class BarCheck:
    def __init__(self) -> None:
        self.reconciled = self.different = 0
        self.difference: str | None = None
        self._ours: dict[int, list[float]] = {}
        self._whole_from: int | None = None

    def broken(self) -> None:
        """Prints were lost: no bar of ours is whole until one begins anew."""
        self._ours.clear()
        self._whole_from = None

    def add(self, ts_ns: int, price: float, size: float, *, volume: bool, in_range: bool) -> None:
        start = ts_ns - ts_ns % BAR_NS
        if self._whole_from is None:
            self._whole_from = start + BAR_NS
        bar = self._ours.get(start)
        if bar is None:
            bar = self._ours[start] = [0.0, float("-inf"), float("inf")]
            while len(self._ours) > KEPT:
                del self._ours[min(self._ours)]
        if volume:
            bar[0] += size
        if in_range:
            if price > bar[1]:
                bar[1] = price
            if price < bar[2]:
                bar[2] = price

    def compare(self, theirs: Bar) -> str | None:
        """What differs, None when nothing does or ours is not whole."""
        if self._whole_from is None or theirs.ts_ns < self._whole_from:
            return None
        volume, high, low = self._ours.pop(theirs.ts_ns, (0.0, float("-inf"), float("inf")))
        self.reconciled += 1
        wrong = []
        if abs(volume - theirs.volume) > max(VOLUME_SHARES, VOLUME_SHARE * theirs.volume):
            wrong.append(f"volume {theirs.volume:g}, from prints {volume:g}")
        if low <= high and theirs.volume > 0:
            for name, ours, its in (("high", high, theirs.high), ("low", low, theirs.low)):
                if abs(ours - its) > PRICE_SHARE * abs(its):
                    wrong.append(f"{name} {its:g}, from prints {ours:g}")
        if not wrong:
            return None
        self.different += 1
        self.difference = "; ".join(wrong)
        return self.difference
