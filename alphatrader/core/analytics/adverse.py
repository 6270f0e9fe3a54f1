"""What speaks of toxic flow beside VPIN, and VPIN adjusted by it: no paper defines that (sources.md §1).

Two inputs over the last five minutes of prints: the mean quoted spread they met, relative to the mid, and the realised markout
against passive quotes: side x (mid 30 s later - price) over that mid, in basis points, + where the resting side lost. Prints are
gathered by the second of reception, and a second is marked at the mid in force 30 s after its end, so that a print costs the same
at any rate. How long market makers' quotes are there is no input: no feed names enough of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

SECOND_NS: Final = 1_000_000_000
HORIZON_NS: Final = 30 * SECOND_NS
WINDOW_NS: Final = 300 * SECOND_NS
MIN_PRINTS: Final = 20
MIN_INPUTS: Final = 2


class Slot(msgspec.Struct):
    """The prints of one second."""

    start_ns: int
    prints: int = 0
    spreads: float = 0.0
    """Sum over them of spread / mid."""
    sided: int = 0
    signed: int = 0
    """Buys less sells."""
    signed_prices: float = 0.0
    markouts_bps: float | None = None
    """Sum over the sided ones; None until marked, and where there was no mid to mark at."""


class Adverse(msgspec.Struct):
    slots: list[Slot] = msgspec.field(default_factory=list)
    """Oldest first."""
    marked: int = 0
    """How many of them are past their horizon."""
    spread: float | None = None
    """Mean spread / mid of the window's prints; None with fewer than MIN_PRINTS."""
    markout_bps: float | None = None

    def due(self, now_ns: int) -> bool:
        """Whether `advance` has anything to do: hardly once a second, and it is asked before each event."""
        slots, marked = self.slots, self.marked
        if marked < len(slots) and slots[marked].start_ns + SECOND_NS + HORIZON_NS <= now_ns:
            return True
        return marked > 0 and slots[0].start_ns <= now_ns - WINDOW_NS

    def advance(self, now_ns: int, mid: float | None) -> None:
        """Called before each event, with the mid in force until it."""
        done = self.marked
        while done < len(self.slots) and self.slots[done].start_ns + SECOND_NS + HORIZON_NS <= now_ns:
            slot = self.slots[done]
            if mid is not None and mid > 0:
                slot.markouts_bps = (mid * slot.signed - slot.signed_prices) / mid * 10_000
            done += 1
        gone = 0
        while gone < done and self.slots[gone].start_ns <= now_ns - WINDOW_NS:
            gone += 1
        if gone or done != self.marked:
            self.marked = done - gone
            del self.slots[:gone]
            self._measure()

    def add(self, received_ns: int, price: float, side: str, bid: float | None, ask: float | None) -> None:
        """A print and the quote in force before it; without an open quote it says nothing."""
        if bid is None or ask is None or not 0 < bid < ask:
            return
        start_ns = received_ns - received_ns % SECOND_NS
        if not self.slots or start_ns > self.slots[-1].start_ns:
            self._measure()
            self.slots.append(Slot(start_ns))
        slot = self.slots[-1]
        slot.prints += 1
        slot.spreads += (ask - bid) * 2 / (ask + bid)
        if side == "buy":
            slot.sided += 1
            slot.signed += 1
            slot.signed_prices += price
        elif side == "sell":
            slot.sided += 1
            slot.signed -= 1
            slot.signed_prices -= price

    def _measure(self) -> None:
        """Anew when a second is over or marked, not for each print."""
        n = sum(slot.prints for slot in self.slots)
        self.spread = math.fsum(slot.spreads for slot in self.slots) / n if n >= MIN_PRINTS else None
        known = [(slot.sided, slot.markouts_bps) for slot in self.slots[: self.marked] if slot.markouts_bps is not None]
        n = sum(sided for sided, _ in known)
        self.markout_bps = math.fsum(total for _, total in known) / n if n >= MIN_PRINTS else None

    def reset(self) -> None:
        """A hole in the feed: what was printed before it cannot be marked."""
        self.slots, self.marked, self.spread, self.markout_bps = [], 0, None, None


class Adjusted(msgspec.Struct, frozen=True):
    value: float | None
    z: float | None
    """Mean of the inputs' percentiles mapped to [-1, 1]; None where too few have one."""
    reason: str | None
    """Why the value is VPIN itself."""


def adjusted(vpin: float | None, percentiles: Mapping[str, float | None], strength: float) -> Adjusted:
    """clip(vpin (1 + strength z), 0, 1) by the inputs' percentiles in their own history."""
    known = [percentile * 2 - 1 for percentile in percentiles.values() if percentile is not None]
    if len(known) < MIN_INPUTS:
        lacking = ", ".join(name for name, percentile in percentiles.items() if percentile is None)
        return Adjusted(vpin, None, f"equal to vpin: {len(known)} of {MIN_INPUTS} inputs have a percentile, not {lacking}")
    z = math.fsum(known) / len(known)
    return Adjusted(None if vpin is None else min(max(vpin * (1 + strength * z), 0.0), 1.0), z, None)
