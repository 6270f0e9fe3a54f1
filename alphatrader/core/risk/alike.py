"""Premium that rides on one bet: options that win and lose together, by the correlation of their underlyings. sources.md §7.

Counted in premium, the most that a bought option can lose: it is known of every place from the state server alone, where
delta-dollars would make each verdict wait for a quote. Two calls, or two puts, are one bet where their underlyings move together
(ρ over 0.7), a call and a put where they move against one another (ρ under -0.7). A pair of which the correlation is not known
counts as one bet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from alphatrader.core.risk.portfolio import Matrix

ALIKE: Final = 0.7
Right = Literal["C", "P"]


@dataclass(frozen=True, slots=True)
class Bet:
    symbol: str
    right: Right | None
    """None: not known, and so any."""
    usd: Decimal
    """Premium that it can lose."""


def alike_usd(bets: Iterable[Bet], symbol: str, right: Right, matrix: Matrix) -> Decimal:
    """Premium of the bets that win and lose as an option of `symbol` would."""
    return sum((bet.usd for bet in bets if _is_alike(bet, symbol, right, matrix)), Decimal(0))


def _is_alike(bet: Bet, symbol: str, right: Right, matrix: Matrix) -> bool:
    rho = 1.0 if bet.symbol == symbol else matrix.get((bet.symbol, symbol))
    if rho is None or not math.isfinite(rho) or bet.right is None:
        return True
    return (rho if bet.right == right else -rho) > ALIKE
