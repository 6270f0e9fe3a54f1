"""Which of the volatility states discovery found holds now: its forward filter, one window of minutes at a time. sources.md §5.

A window is the five one-minute changes discovery measured by, counted from the first finished minute of the session (a change
over minutes without a print is not one minute's, and none); its point
is the cube root of their mean square, yearly, over the day's shape (docs/decisions/010, 090). The filter looks back only: a state
told here was known then. Each session begins with the states' own weights, as discovery learnt no change over a night. A state
stands until it is less likely than 0.4, and another is taken at 0.6; between them there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.regime_filter import forward

ENTER: Final = 0.6
LEAVE: Final = 0.4
MINUTE_NS: Final = 60_000_000_000
MINUTES_A_YEAR: Final = 252 * 390
DAY_MINUTES: Final = 390.0
_KEY: Final = k.DISCOVERED_VOL_REGIMES.pattern
NOT_DISCOVERED: Final = f"{_KEY} is not there"
ONE_STATE: Final = "discovery found one state: there is no high to tell from a low"


class Filter(msgspec.Struct, frozen=True):
    """`detail.filter` of a discovered parameter, with what it needs beside it."""

    means: tuple[float, ...]
    variances: tuple[float, ...]
    first: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]
    day_shape: tuple[float, float, float]
    vols: tuple[float, ...]
    """Yearly volatility of each state, calmest first."""
    window: int
    """Minutes."""


def filter_of(parameter: Parameter | None) -> tuple[Filter | None, str | None]:
    """The filter that discovery published for a symbol, or why there is none."""
    if parameter is None:
        return None, NOT_DISCOVERED
    if parameter.value is None:
        return None, f"not discovered: {parameter.fallback or 'no value'}"
    try:
        told: Mapping[str, Any] = parameter.detail["filter"]
        vols = [state["vol"] for state in parameter.detail["states"]]
        plain = {**told, "vols": vols, "window": parameter.detail["window_minutes"]}
        found = msgspec.convert(plain, Filter)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        return None, f"{_KEY} cannot be read: {error}"
    states = len(found.means)
    rows = (found.first, *found.transitions)
    sound = (
        states >= 1
        and found.window >= 1
        and len(found.transitions) == len(found.variances) == len(found.vols) == states
        and all(len(row) == states and min(row) >= 0 and abs(math.fsum(row) - 1) < 1e-3 for row in rows)
        and all(0 < number < math.inf for number in (*found.means, *found.variances, *found.vols))
        and all(map(math.isfinite, found.day_shape))
    )
    return (found, None) if sound else (None, f"{_KEY} cannot be read: its filter is no chain of states")


class VolState(msgspec.Struct):
    """The filter's place in the session."""

    likely: list[float] = msgspec.field(default_factory=list)
    """Probability of each state after the newest window; empty before the first."""
    run_ns: int | None = None
    """Start of the first minute of the session that was filtered."""
    folded: int = 0
    """Changes of it that are in `likely`, or were in a window that did not move."""
    windows: int = 0
    state: int | None = None
    """The one that stands."""
    since_ns: int = 0
    by: Filter | None = None

    def advance(self, by: Filter, bars: Sequence[tuple[int, float, float, float, float]], opened_ns: int) -> None:
        """Folds what is new in the finished minutes of a session, oldest first, that opened then. Another filter, or minutes
        that begin elsewhere, begin the session anew; so does none of them."""
        if not bars:
            self._begin(by, None)
            return
        if by != self.by or bars[0][0] != self.run_ns:
            self._begin(by, bars[0][0])
        changes = [(after[0], before[4], after[4]) for before, after in pairwise(bars) if after[0] - before[0] == MINUTE_NS]
        while self.folded + by.window <= len(changes):
            window = changes[self.folded : self.folded + by.window]
            self._window(by, window, (window[0][0] - opened_ns) / MINUTE_NS, window[-1][0] + MINUTE_NS)
            self.folded += by.window

    def forget(self) -> None:
        """The session's minutes are others now: its windows are folded anew from its first."""
        self.by = None

    def _begin(self, by: Filter, run_ns: int | None) -> None:
        self.by, self.run_ns = by, run_ns
        self.likely, self.folded, self.windows, self.state, self.since_ns = [], 0, 0, None, 0

    def _window(self, by: Filter, changes: Sequence[tuple[int, float, float]], minutes: float, ended_ns: int) -> None:
        """`changes`: start of the minute, the close before it, and its own."""
        square = math.fsum((math.log(after) - math.log(before)) ** 2 for _, before, after in changes) / by.window
        if square <= 0:
            return  # no move at all says nothing, as in discovery
        x = min(max(minutes / DAY_MINUTES, 0.0), 1.0)
        a, b, c = by.day_shape
        point = (square * MINUTES_A_YEAR) ** (1 / 3) / math.exp(a + b * x + c * x * x)
        # Before the session's first window there is nothing to pass from: its states are as likely as their weights.
        before = np.array(self.likely or by.first)
        matrix = np.array(by.transitions) if self.likely else np.eye(len(by.first))
        self.likely = forward(before, point, np.array(by.means), np.sqrt(np.array(by.variances)), matrix).tolist()
        self.windows += 1
        if self.state is not None and self.likely[self.state] >= LEAVE:
            return
        best = max(range(len(self.likely)), key=self.likely.__getitem__)
        state = best if self.likely[best] >= ENTER else None
        if state != self.state:
            self.state, self.since_ns = state, ended_ns

    def reading(self, by: Filter | None, why_not: str | None, now_ns: int) -> Vol:
        """What the metric tells. `why_not`: the reason that there is no filter."""
        if by is None:
            return Vol(None, None, why_not or NOT_DISCOVERED, {})
        known = by == self.by and bool(self.likely)
        states = len(by.means)
        told = {
            "vol_states": states,
            "vol_states_yearly": list(by.vols),
            "vol_state_probabilities": list(self.likely) if known else [],
            "vol_state_windows": self.windows if known else 0,
            "vol_state_age_s": (now_ns - self.since_ns) / 1e9 if known and self.state is not None else None,
        }
        if not known:
            return Vol(None, None, f"no window of {by.window} minutes that moved in this session yet", told)
        if states == 1:
            return Vol(0, None, ONE_STATE, told)
        high = math.fsum(p * i for i, p in enumerate(self.likely)) / (states - 1)
        return Vol(self.state, high, None if self.state is not None else f"no state is likelier than {ENTER}", told)


class Vol(msgspec.Struct, frozen=True):
    state: int | None
    """0 is the calmest."""
    high: float | None
    """0 to 1: the expected place among the states. As evidence for HIGH_VOL; None where it is missing."""
    reason: str | None
    told: dict[str, Any]
    """Components of the metric."""
