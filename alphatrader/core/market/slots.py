"""Who gets the account's scarce subscriptions: market-data lines, 5-second bars, depth and tick-by-tick slots.

Lines and bars go by urgency, in the order of the caller. Slots go to the pinned symbols first; the others take turns, the nearest
to a signal sooner and longer. What the account really grants is learnt from the broker's refusals: other clients share it, and it
may grow back. All times are monotonic seconds. Pure; `streams/ibkr/lines.py` asks and obeys.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

T = TypeVar("T", bound=Hashable)

DWELL_SECONDS: Final = 60.0
"""How long a holder keeps its slot: subscribing costs messages, and a metric needs a while of depth to say anything."""
BRIEF_SECONDS: Final = 20.0
"""How long at least, when an urgent one comes; the broker takes no two tick-by-tick requests for one contract within 15 s."""
PULL_SECONDS: Final = 3600.0
"""Being at a signal counts as much as having waited this long, which is more than a round of all the others takes: the nearest
come first and stay longest, and yet nobody starves."""
URGENT: Final = 1.0
"""Nearness of what has a living signal or an open position."""
RELEARN_SECONDS: Final = 120.0
"""After a refusal one more is tried after this long; the pause doubles with each refusal of such a try."""
RELEARN_MOST_SECONDS: Final = 1800.0
RETRY_SECONDS: Final = 60.0
"""What the broker refused is asked for again after this long; the pause doubles."""
RETRY_MOST_SECONDS: Final = 1800.0
GRACE_SECONDS: Final = 10.0
"""A line nobody wants any more is kept this long where there is room: what comes back soon costs nothing."""
LINES: Final = "quote"
BARS: Final = "bars"


class Limit:
    """How many subscriptions of one kind the account has: the setting, or fewer when the broker said so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._learnt = most
        self._wait = RELEARN_SECONDS
        self._try_at = float("inf")

    def now(self, at: float) -> int:
        """What may be asked for; one more than was granted when its time has come."""
        return min(self._most, self._learnt + (at >= self._try_at))

    def granted(self, number: int, at: float) -> None:
        """So many gave data. When that is more than was believed, the account has grown: the next one is tried at once."""
        if number > self._learnt:
            self._learnt = min(self._most, number)
            self._wait, self._try_at = RELEARN_SECONDS, at

    def refused(self, granted: int, at: float) -> None:
        """The broker refused one more than `granted`."""
        if at >= self._try_at:
            self._wait = min(2 * self._wait, RELEARN_MOST_SECONDS)
        self._learnt = min(self._learnt, max(0, granted))
        self._try_at = at + self._wait


def nearest(told: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """How near each symbol is to a signal by whoever says the most."""
    found: dict[str, float] = {}
    for nearness in told:
        for symbol, near in nearness.items():
            found[symbol] = max(near, found.get(symbol, 0.0))
    return found


def first_lines(wanted: Iterable[T], capacity: int) -> list[T]:
    """The most urgent `capacity` different contracts, in order."""
    return list(dict.fromkeys(wanted))[: max(0, capacity)]


class Turns:
    """Who holds the slots of one kind. A name's claim is its nearness to a signal plus how long it has waited."""

    def __init__(self, pinned: Sequence[str]) -> None:
        self._pinned = tuple(pinned)
        self._since: dict[str, float] = {}
        """Holder that is not pinned -> when it got its slot."""
        self._waits: dict[str, float] = {}

    def holders(self, capacity: int, names: Collection[str], at: float, nearness: Mapping[str, float]) -> tuple[str, ...]:
        """Who of `names` holds the slots from now on. `nearness` is 0 (far from a signal) to 1 (`URGENT`)."""
        kept = [name for name in self._pinned if name in names][: max(0, capacity)]
        others = [name for name in names if name not in self._pinned]
        spare = max(0, capacity) - len(kept)
        for gone in self._since.keys() - set(others):
            del self._since[gone]
        waiting = {name: since for name, since in self._waits.items() if name in others}  # of equals, whoever left first
        self._waits = waiting | {name: at for name in others if name not in self._since and name not in waiting}

        def near(name: str) -> float:
            return min(URGENT, max(0.0, nearness.get(name, 0.0)))

        while len(self._since) > spare:  # fewer slots than before: the farthest leave, the newest of equals
            self._leave(min(self._since, key=lambda name: (near(name), -self._since[name])), at)
        claims = {name: near(name) * PULL_SECONDS + at - since for name, since in self._waits.items()}
        for name in sorted(claims, key=lambda name: -claims[name]):
            if len(self._since) >= spare:
                ready = [held for held in self._since if self._may_go(held, near(held), near(name), at)]
                weakest = min(ready, key=lambda held: (near(held), self._since[held]), default=None)
                if weakest is None or near(weakest) * PULL_SECONDS >= claims[name]:
                    break  # nobody passes the greatest claim by, or it could be kept waiting for ever
                self._leave(weakest, at)
            self._since[name] = at
            del self._waits[name]
        return (*kept, *self._since)

    def _may_go(self, held: str, nearness: float, challenger: float, at: float) -> bool:
        least = BRIEF_SECONDS if challenger >= URGENT > nearness else DWELL_SECONDS
        return at - self._since[held] >= least

    def _leave(self, name: str, at: float) -> None:
        del self._since[name]
        self._waits[name] = at


class Changes(NamedTuple):
    close: list[str]
    open: list[str]


class Allocation:
    """What was granted and refused, and what to close and to open next. Kinds are names of the caller's."""

    def __init__(self, ordered: Mapping[str, int], slots: Mapping[str, int], pinned: Sequence[str]) -> None:
        """`ordered` kinds (lines, bars) go by the caller's order, `slots` in turns; each with the most the account has."""
        self._limits = {kind: Limit(most) for kind, most in (*ordered.items(), *slots.items())}
        self._turns = {kind: Turns(pinned) for kind in slots}
        self._refused: dict[tuple[str, str], tuple[float, float]] = {}
        """(until when, the pause it was) by kind and name."""
        self._unwanted_since: dict[str, float] = {}

    def forget_refusals(self) -> None:
        """Another connection may be given what this one was not."""
        self._refused.clear()

    def learnt(self, at: float) -> dict[str, int]:
        """What the account is believed to have, by kind."""
        return {kind: limit.now(at) for kind, limit in self._limits.items()}

    def granted(self, kind: str, number: int, at: float) -> None:
        self._limits[kind].granted(number, at)

    def limit_reached(self, kind: str, granted: int, at: float) -> None:
        """The broker gives no more than `granted` of this kind."""
        self._limits[kind].refused(granted, at)

    def refused(self, kind: str, name: str, at: float, *, retry_seconds: float | None = None) -> None:
        """`retry_seconds` for a pause that does not grow."""
        _, before = self._refused.get((kind, name), (0.0, 0.0))
        pause = min(max(RETRY_SECONDS, 2 * before), RETRY_MOST_SECONDS) if retry_seconds is None else retry_seconds
        self._refused[kind, name] = at + pause, 0.0 if retry_seconds is not None else pause

    def answered(self, kind: str, name: str) -> None:
        """It gave data: a later refusal begins with the shortest pause."""
        self._refused.pop((kind, name), None)

    def may_ask(self, kind: str, name: str, at: float) -> bool:
        return (kind, name) not in self._refused or at >= self._refused[kind, name][0]

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

    def bars(self, order: Iterable[str], opened: Collection[str], at: float) -> Changes:
        chosen = first_lines(order, self._limits[BARS].now(at))
        ask = [name for name in chosen if name not in opened and self.may_ask(BARS, name, at)]
        return Changes([name for name in opened if name not in chosen], ask)

    def slots(
        self, kind: str, names: Iterable[str], opened: Collection[str], at: float, nearness: Mapping[str, float] | None = None
    ) -> Changes:
        """Slots for those of `names` whose turn it is; who was refused lately stands aside."""
        eligible = [name for name in names if name in opened or self.may_ask(kind, name, at)]
        holders = self._turns[kind].holders(self._limits[kind].now(at), eligible, at, nearness or {})
        return Changes([name for name in opened if name not in holders], [name for name in holders if name not in opened])
