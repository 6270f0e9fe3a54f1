"""Hidden liquidity: lit prints strictly inside the quote that stood before them. domain.md §3.

First form: the share of lit volume of the last five minutes that traded strictly inside, prints at mid counted apart (pegs).
Off-exchange reports are dark, not hidden, and left out. The quote is conflated to 100 ms, which the metric says. Icebergs need
each displayed size before and after a fill: not detected yet.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alphatrader.core.analytics.sweep import OFF_EXCHANGE

SECOND_NS: Final = 1_000_000_000
WINDOW_SECONDS: Final = 300
_EDGE: Final = 1e-6


class HiddenDetector(msgspec.Struct):
    slots: list[tuple[int, float, float, float, float]] = msgspec.field(default_factory=list)
    """(second, lit shares, hidden bought, hidden sold, at mid), oldest first."""
    prints: int = 0

    def add(self, received_ns: int, price: float, shares: float, venue: str, side: str, bid: float, ask: float) -> None:
        """Fold one print with the best quote that stood before it."""
        if venue in OFF_EXCHANGE or ask <= bid:
            return
        inside = bid + _EDGE < price < ask - _EDGE
        at_mid = inside and abs(price - (bid + ask) / 2) <= _EDGE
        bought = shares if inside and side == "buy" else 0.0
        sold = shares if inside and not bought else 0.0
        if inside and side == "unknown":
            bought = sold = shares / 2
        self.prints += 1
        second = received_ns // SECOND_NS
        entry = (second, shares, bought, sold, shares if at_mid else 0.0)
        if self.slots and self.slots[-1][0] >= second:
            last = self.slots[-1]
            entry = (last[0], last[1] + entry[1], last[2] + entry[2], last[3] + entry[3], last[4] + entry[4])
            self.slots[-1] = entry
        else:
            self.slots.append(entry)
        self.forget(received_ns)

    def forget(self, now_ns: int) -> None:
        first = now_ns // SECOND_NS - WINDOW_SECONDS
        while self.slots and self.slots[0][0] <= first:
            self.slots.pop(0)

    def reset(self) -> None:
        self.slots = []

    def totals(self, now_ns: int) -> tuple[float, float, float, float]:
        """(lit, hidden bought, hidden sold, at mid) shares of the window."""
        self.forget(now_ns)
        lit = sum(slot[1] for slot in self.slots)
        return lit, sum(s[2] for s in self.slots), sum(s[3] for s in self.slots), sum(s[4] for s in self.slots)
