"""Entry, stop and targets of a long option, from the quote, the underlying's ATR and delta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from alphatrader.contract.price_steps import step


@dataclass(frozen=True)
class Levels:
    entry: float
    stop: float
    targets: tuple[float, ...]


def to_tick(price: float, tick: float) -> float:
    return round(round(price / tick) * tick, 6)


def levels(
    *,
    bid: float,
    ask: float,
    symbol: str,
    finest: float,
    delta: float,
    atr: float,
    stop_atr: float,
    target_atr: Sequence[float],
) -> Levels | None:
    """Entry at the ask. The stop stands at least two ticks under the bid, or it would sell at once; targets rise by ticks.

    None where a stop under the bid would not be above zero: such an option is too cheap to protect."""

    def tick(price: float) -> float:
        return float(step(symbol, Decimal(str(finest)), Decimal(str(price))))

    def on_grid(price: float) -> float:
        return to_tick(price, tick(price))

    move = abs(delta) * atr
    stop = on_grid(min(ask - stop_atr * move, bid - 2 * tick(bid)))
    if stop < finest:
        return None
    targets: list[float] = []
    least = ask
    for distance in target_atr:
        least = max(on_grid(ask + distance * move), on_grid(least + tick(least)))
        targets.append(least)
    return Levels(ask, stop, tuple(targets))
