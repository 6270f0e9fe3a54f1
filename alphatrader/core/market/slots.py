"""Who gets the account's scarce subscriptions: market-data lines, depth and tick-by-tick slots.

`Allocation` holds what was granted and refused, and says what to close and to open next. Lines go by urgency. Slots go to the
pinned symbols first; what is spare rotates over the others, the least served first. A refusal by the broker teaches the real
limit, which is tried again after a while: other clients share the account.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)

DWELL_SECONDS: Final = 60.0
"""How long a rotating symbol keeps its slot."""
RELEARN_SECONDS: Final = 120.0
RETRY_SECONDS: Final = 60.0
"""What the broker refused is asked for again after this long."""
GRACE_SECONDS: Final = 10.0
"""A line nobody wants any more is kept this long where there is room: what comes back soon costs nothing."""
LINES: Final = "quote"


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


class Changes(NamedTuple):
    close: list[str]
    open: list[str]


class Allocation:
    """All times are monotonic seconds. Kinds are names of the caller's, `quote` the one of the lines."""

    def __init__(self, lines: int, slots: Mapping[str, int], pinned: Sequence[str], others: Sequence[str]) -> None:
        self._limits = {LINES: Limit(lines), **{kind: Limit(most) for kind, most in slots.items()}}
        self._rotations = {kind: Rotation(pinned, others) for kind in slots}
        self._refused_until: dict[tuple[str, str], float] = {}
        self._unwanted_since: dict[str, float] = {}

    def forget_refusals(self) -> None:
        """Another connection may be given what this one was not."""
        self._refused_until.clear()

    def limit_reached(self, kind: str, granted: int, at: float) -> None:
        """The broker gives no more than `granted` of this kind."""
        if kind in self._limits:
            self._limits[kind].refused(granted, at)

    def refused(self, kind: str, name: str, at: float, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._refused_until[kind, name] = at + retry_seconds

    def may_ask(self, kind: str, name: str, at: float) -> bool:
        return at >= self._refused_until.get((kind, name), float("-inf"))

    def lines(self, order: Iterable[str], opened: Collection[str], at: float) -> Changes:
        """Lines for the most urgent of `order`; others keep theirs for a while where there is room."""
        capacity = self._limits[LINES].now(at)
        chosen = first_lines(order, capacity)
        wanted = set(chosen)
        leaving = {name: self._unwanted_since.get(name, at) for name in opened if name not in wanted}
        staying = sorted((name for name, since in leaving.items() if at - since < GRACE_SECONDS), key=lambda name: -leaving[name])
        staying = staying[: max(0, capacity - len(chosen))]
        self._unwanted_since = {name: leaving[name] for name in staying}
        ask = [name for name in chosen if name not in opened and self.may_ask(LINES, name, at)]
        return Changes([name for name in leaving if name not in staying], ask)

    def slots(self, kind: str, eligible: Collection[str], opened: Collection[str], at: float) -> Changes:
        holders = [name for name in self._rotations[kind].holders(self._limits[kind].now(at), at) if name in eligible]
        ask = [name for name in holders if name not in opened and self.may_ask(kind, name, at)]
        return Changes([name for name in opened if name not in holders], ask)
