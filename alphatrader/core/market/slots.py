"""Who gets the account's scarce subscriptions: market-data lines, depth and tick-by-tick slots.

Lines go by urgency. Slots go to the pinned symbols first; what is spare rotates over the others, the least served first.
A refusal by the broker teaches the real limit, which is tried again after a while: other clients share the account.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Final, TypeVar

T = TypeVar("T", bound=Hashable)

DWELL_SECONDS: Final = 60.0
"""How long a rotating symbol keeps its slot."""
RELEARN_SECONDS: Final = 120.0


class Limit:
    """A number of subscriptions the account has: the setting, or fewer when the broker said so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._learned = most
        self._learned_at = 0.0

    def now(self, at: float) -> int:
        """`at`: monotonic seconds."""
        if self._learned < self._most and at - self._learned_at >= RELEARN_SECONDS:
            self._learned = self._most
        return self._learned

    def refused(self, granted: int, at: float) -> None:
        """The broker refused one more than `granted`."""
        self._learned, self._learned_at = min(self._most, max(0, granted)), at


def first_lines(wanted: Iterable[T], capacity: int) -> list[T]:
    """The most urgent `capacity` different contracts, in order."""
    return list(dict.fromkeys(wanted))[: max(0, capacity)]


class Rotation:
    """Slots of one kind."""

    def __init__(self, pinned: Sequence[str], others: Sequence[str]) -> None:
        self._pinned = tuple(pinned)
        self._others = [name for name in others if name not in pinned]
        self._grants = dict.fromkeys(self._others, 0)
        self._since: dict[str, float] = {}

    def holders(self, capacity: int, at: float) -> tuple[str, ...]:
        """Who holds the slots from `at` (monotonic seconds) on."""
        kept = self._pinned[:capacity]
        spare = capacity - len(kept)
        staying = [name for name, since in self._since.items() if at - since < DWELL_SECONDS][:spare]
        for name in [name for name in self._since if name not in staying]:
            del self._since[name]
        waiting = sorted((name for name in self._others if name not in staying), key=lambda name: self._grants[name])
        for name in waiting[: spare - len(staying)]:
            self._since[name] = at
            self._grants[name] += 1
            staying.append(name)
        return (*kept, *staying)
