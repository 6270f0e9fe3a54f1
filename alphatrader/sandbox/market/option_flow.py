"""What customers do in a symbol's options, slot by slot: their demand for delta, and the pace at which contracts trade.

Half of the episodes of informed flow are hedges: they begin in the options, 10 to 30 s before the stock, customers take delta
in the episode's direction, and dealers who sold it to them trade the stock after it. The other half has nothing to do with
options. Outside hedges the demand of each slot is drawn for itself, and nothing follows it. Used by `option_desk.py`;
`announcing.py` tells the truth.
"""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .hashing import generator, key64, mix, unit
from .paths import SLOT_SECONDS, Episodes

Floats = NDArray[Any]
_IDLE = 0.7  # the strongest demand of a slot outside hedges
_BUSIER = 2.0  # how much more trades in a hedge


class Hedge(NamedTuple):
    """Seconds are from the session's open."""

    start: float
    end: float  # of the options' flow; the stock's is `lag` later
    lag: int
    direction: int


def hedge_in(seed: int, symbol: str, day: date, episodes: Episodes, block: int) -> Hedge | None:
    """The one that belongs to the episode of a block of the session; None where that is no hedge, or past the session's last."""
    if block >= len(episodes.start):
        return None
    drawn = mix(key64(seed, "hedges", symbol, day), block)
    lag = SLOT_SECONDS * (2 + int(5 * unit(drawn, 2)))
    start, end = float(episodes.start[block]) - lag, float(episodes.end[block]) - lag
    return Hedge(start, end, lag, int(episodes.direction[block])) if unit(drawn, 1) < 0.5 and start >= 0 else None


def hedges(seed: int, symbol: str, day: date, episodes: Episodes | None) -> list[Hedge]:
    """Those of a session, in order; none of a symbol without informed flow."""
    if episodes is None:
        return []
    found = (hedge_in(seed, symbol, day, episodes, block) for block in range(len(episodes.start)))
    return [hedge for hedge in found if hedge is not None]


class OptionFlow:
    """Of one symbol in one session of so many slots."""

    def __init__(self, seed: int, symbol: str, day: date, slots: int, episodes: Episodes | None) -> None:
        draw = generator(seed, "option flow", symbol, day)
        middles = (np.arange(slots) + 0.5) * SLOT_SECONDS
        self.demand: Floats = _IDLE * (2 * draw.random(slots) - 1)
        """-1 to 1 by slot: + customers buy calls and sell puts."""
        busy = np.ones(slots)
        for hedge in hedges(seed, symbol, day, episodes):
            inside = (middles >= hedge.start) & (middles < hedge.end)
            self.demand[inside] = hedge.direction * (0.8 + 0.2 * draw.random(int(inside.sum())))
            busy[inside] += _BUSIER
        x = np.arange(slots + 1) / slots
        usual = 0.25 * (1 - (1 - x) ** 3) + 0.5 * x + 0.25 * x**3  # faster at both ends of the day
        self.pace: Floats = np.concatenate(([0.0], np.cumsum(np.diff(usual) * busy)))
        """Share of the day's contracts that have traded at the start of each slot; one more entry than slots."""
        self.pace /= self.pace[-1]
