"""When an equity is paused for volatility (LULD): rarely, by the seed. Used by `simulation.py`, as the pauses that are scripted.

What a pause does to the feed is simulated, and the print that reopens; the prices do not run to a band before it.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from .business_days import Session
from .hashing import key64

SECOND_NS = 1_000_000_000
PAUSE_NS = 300 * SECOND_NS
CHANCE = 0.002  # of a stock and a session: one in two months over a dozen stocks
FIRST_NS, LAST_NS = 900 * SECOND_NS, 2_100 * SECOND_NS  # none begins so soon after the open, nor so late before the close


class Halt(NamedTuple):
    """A halt of one equity (LULD pause, tick 49 value 2), widened to whole 5-second slots."""

    symbol: str
    start_ns: int
    end_ns: int


def natural(seed: int, symbol: str, session: Session) -> tuple[Halt, ...]:
    """Those of a stock in a session: none, or one."""
    draw = Random(key64(seed, "pause", symbol, session.day))  # noqa: S311 (a simulation, not a secret)
    first, last = session.open_ns + FIRST_NS, session.close_ns - LAST_NS
    if draw.random() >= CHANCE or last <= first:
        return ()
    start_ns = draw.randrange(first, last, 5 * SECOND_NS)
    return (Halt(symbol, start_ns, start_ns + PAUSE_NS),)
