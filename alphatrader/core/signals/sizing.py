"""How many contracts: a share of Kelly on a cautious win rate, under the cap on premium. sources.md §6.

f = p / a - q / b, a the fraction of the stake lost at the stop, b the fraction won at the targets; p is a low quantile of the
posterior Beta(1 + wins, 1 + losses), the settings' prior counted in. No f above zero, no trade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import betaincinv


@dataclass(frozen=True)
class Size:
    contracts: int
    share: float
    """Of equity, after the share of Kelly and the cap."""
    kelly: float
    win_rate: float
    """The cautious one."""


def cautious_win_rate(wins: float, losses: float, quantile: float) -> float:
    return float(betaincinv(1.0 + wins, 1.0 + losses, quantile))


def kelly(win_rate: float, loss_fraction: float, win_fraction: float) -> float:
    """The growth-optimal fraction of equity. Raises ValueError for fractions that are not positive."""
    if not loss_fraction > 0 or not win_fraction > 0:
        raise ValueError(f"loss and win fractions must be positive, got {loss_fraction} and {win_fraction}")
    return win_rate / loss_fraction - (1.0 - win_rate) / win_fraction


def mean_target(targets: Sequence[float]) -> float:
    """Mean exit price when a third is sold at the first, half of the rest at the second, and so on: equal parts."""
    return math.fsum(targets) / len(targets)


def size(
    *,
    equity: float,
    ask: float,
    stop: float,
    targets: Sequence[float],
    win_rate: float,
    kelly_share: float,
    premium_cap_share: float,
    multiplier: int,
) -> Size:
    """Contracts of `multiplier` shares to buy at `ask` a share; 0 where the edge or the equity does not carry one."""
    fraction = kelly(win_rate, (ask - stop) / ask, (mean_target(targets) - ask) / ask)
    share = min(max(0.0, fraction) * kelly_share, premium_cap_share)
    return Size(math.floor(share * equity / (ask * multiplier)), share, fraction, win_rate)
