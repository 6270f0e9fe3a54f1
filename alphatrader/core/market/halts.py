"""The halt state of one instrument, from the broker's tick 49: -1 unknown, 0 open, 1 general halt, 2 volatility pause.

What is not known counts as halted for whoever would open a position. Option exchanges halt with the stock. Used by `SymbolFeed`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alphatrader.contract.messages.market import HaltState

OPEN, GENERAL, VOLATILITY = 0, 1, 2
REOPENED_NS: Final = 60_000_000_000
"""How long `reopened` is said after a halt: the first quotes and prints are of the reopening auction."""
_STATES: Final[dict[int, HaltState]] = {GENERAL: "halted", VOLATILITY: "paused"}


class HaltsStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: int | None
    since_ns: int | None
    today: int
    reopened_ns: int | None
    stopped: bool
    session: str | None


class Halts:
    def __init__(self) -> None:
        self.code: int | None = None
        self.since_ns: int | None = None
        """When the halt began whose end was not told: one that a new line tells again in the same session is the same."""
        self.today = 0
        self._reopened_ns: int | None = None
        self._stopped = False
        """By the last word of this line that was not "unknown": what opens after that reopens, whatever stood between."""
        self._session: str | None = None

    def tell(self, value: float, now_ns: int, session: str | None = None) -> bool:
        """What the tick says; True when the state changed. Any other number than 0, 1 and 2 is unknown."""
        code = int(value) if value in (OPEN, GENERAL, VOLATILITY) else None
        if session != self._session:
            self._session, self.today = session, 0
            if self.code is None:
                self.since_ns = None
        if code == self.code:
            return False
        if code in _STATES:
            if self.since_ns is None:
                self.since_ns, self.today = now_ns, self.today + 1
            self._stopped = True
        elif code == OPEN:
            self._reopened_ns = now_ns if self._stopped else None
            self._stopped, self.since_ns = False, None
        self.code = code
        return True

    def standing(self) -> HaltsStand:
        return HaltsStand(self.code, self.since_ns, self.today, self._reopened_ns, self._stopped, self._session)

    def stand_as(self, was: HaltsStand) -> None:
        self.code, self.since_ns, self.today = was.code, was.since_ns, was.today
        self._reopened_ns, self._stopped, self._session = was.reopened_ns, was.stopped, was.session

    def count(self, session: str | None) -> int:
        """Halts of that session; the last known one's where it is not known which session it is."""
        return self.today if session is None or session == self._session else 0

    def forget(self) -> None:
        """The line broke: nothing is known until the broker says it again."""
        self.code = self._reopened_ns = None
        self._stopped = False

    @property
    def halted(self) -> bool | None:
        return None if self.code is None else self.code != OPEN

    def state(self, now_ns: int) -> HaltState:
        if self.code is None:
            return "unknown"
        if self.code != OPEN:
            return _STATES[self.code]
        reopened = self._reopened_ns
        return "reopened" if reopened is not None and now_ns - reopened < REOPENED_NS else "open"
