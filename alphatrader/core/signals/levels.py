"""Entry, stop and targets of a long option, from the quote, the underlying's ATR and delta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Levels:
    entry: float
    stop: float
    targets: tuple[float, ...]


def to_tick(price: float, tick: float) -> float:
    return round(round(price / tick) * tick, 6)


def levels(
    *, bid: float, ask: float, tick: float, delta: float, atr: float, stop_atr: float, target_atr: Sequence[float]
) -> Levels | None:
    """Entry at the ask. The stop stands at least two ticks under the bid, or it would sell at once; targets rise by ticks.

    None where a stop under the bid would not be above zero: such an option is too cheap to protect."""
    move = abs(delta) * atr
    stop = to_tick(min(ask - stop_atr * move, bid - 2 * tick), tick)
    if stop < tick:
        return None
    targets: list[float] = []
    least = ask
    for distance in target_atr:
        least = max(to_tick(ask + distance * move, tick), to_tick(least + tick, tick))
        targets.append(least)
    return Levels(ask, stop, tuple(targets))
