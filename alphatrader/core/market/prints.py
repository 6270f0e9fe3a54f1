"""Who took the initiative in a print: the quote rule, then the tick rule (Lee and Ready 1991), never a random side.

With the quote in force just before the print. Where the quote is locked or crossed the tick rule alone decides; before the first
change of price the side is unknown, and readers split such a print in halves.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

Side = Literal["buy", "sell", "unknown"]
Rule = Literal["quote", "midpoint", "tick", "none"]

SAME_PRICE: Final = 1e-7
"""Closer than this two prices are one: far under any increment, far over what floats add up to."""


class Decided(NamedTuple):
    side: Side
    rule: Rule
    """What decided: the quote, the tick rule at its middle, the tick rule without a usable quote, or nothing."""


class RuleStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: float | None
    direction: Side


class TickRule:
    """Remembers the direction of the last change of price, and decides the side of each print."""

    def __init__(self) -> None:
        self._price: float | None = None
        self._direction: Side = "unknown"

    def standing(self) -> RuleStands:
        return RuleStands(self._price, self._direction)

    def stand_as(self, was: RuleStands) -> None:
        self._price, self._direction = was.price, was.direction

    def side(self, price: float, bid: float | None, ask: float | None, *, moves: bool) -> Side:
        return self.decide(price, bid, ask, moves=moves).side

    def decide(self, price: float, bid: float | None, ask: float | None, *, moves: bool) -> Decided:
        """The aggressor of a print, given the quote before it. `moves`: whether it takes part in the tick rule after this."""
        direction = self._direction
        if self._price is not None and abs(price - self._price) > SAME_PRICE:
            direction = "buy" if price > self._price else "sell"
        if moves:
            self._price, self._direction = price, direction
        rule: Rule = "tick"
        if bid is not None and ask is not None and bid < ask:
            from_middle = price - (bid + ask) / 2
            if abs(from_middle) > SAME_PRICE:
                return _BOUGHT if from_middle > 0 else _SOLD
            rule = "midpoint"
        return Decided(direction, "none" if direction == "unknown" else rule)


_BOUGHT: Final = Decided("buy", "quote")
_SOLD: Final = Decided("sell", "quote")
