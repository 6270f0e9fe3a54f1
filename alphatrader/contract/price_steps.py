"""The least steps between prices of US-listed options: an order between two steps is refused by the broker (error 110).

The exchanges' Penny Interval Program (Cboe Rule 5.4, Nasdaq ISE Options 3 §3): a class in it moves by $0.01 under $3 and by $0.05
from there on, SPY, QQQ and IWM by $0.01 at any price; every other class by $0.05 and $0.10. The broker's `minTick` is only the
finest step of a contract. A price on a coarse step is on every finer one, so where this table is coarser than the broker's own
rule the order still stands. Used wherever an option is priced: `core` and the flattening in `clients`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

PENNIES_THROUGHOUT: Final = frozenset({"SPY", "QQQ", "IWM"})
COARSER_FROM: Final = Decimal(3)
COARSER: Final = {Decimal("0.01"): Decimal("0.05"), Decimal("0.05"): Decimal("0.10")}


def step(symbol: str, finest: Decimal, price: Decimal) -> Decimal:
    """USD between two prices of an option of `symbol` at `price`. `finest`: the broker's minTick of it."""
    return finest if price < COARSER_FROM or symbol in PENNIES_THROUGHOUT else COARSER.get(finest.normalize(), finest)
