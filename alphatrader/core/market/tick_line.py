"""One tick-by-tick subscription: whether prints come from it, else from the quote line, and whether it still lives.

Used by `SymbolFeed`.
"""

from __future__ import annotations

from typing import Final

import msgspec

MUTE_TICKS: Final = 50
"""So many prints on the quote line with none on a granted tick-by-tick line: that line is dead."""


class TicksStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: bool
    broken: bool
    passed_over: int


class TickLine:
    def __init__(self) -> None:
        self.on = False
        self.broken = False
        """Whether it must be subscribed anew."""
        self._passed_over = 0
        """Prints of the quote line since the newest of its own."""

    def switch(self, on: bool) -> None:
        self.on, self.broken, self._passed_over = on, False, 0

    def heard(self) -> None:
        """A print of its own came."""
        self._passed_over = 0

    def pass_over(self) -> None:
        """A print of the quote line came, which is not taken while this line is on."""
        self._passed_over += 1
        if self._passed_over >= MUTE_TICKS:
            self.broken = True

    def standing(self) -> TicksStand:
        return TicksStand(self.on, self.broken, self._passed_over)

    def stand_as(self, was: TicksStand) -> None:
        self.on, self.broken, self._passed_over = was.on, was.broken, was.passed_over
