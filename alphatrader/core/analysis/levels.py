"""Technical levels of an underlying from its daily bars: the last session's range, floor-trader pivots, Wilder's ATR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphatrader.contract.messages.market import Bar
from alphatrader.core.signals.atr import wilder_atr


@dataclass(frozen=True, slots=True)
class Levels:
    """Prices. `atr` is None with fewer bars than its period needs."""

    high: float
    low: float
    close: float
    pivot: float
    resistance: float
    support: float
    atr: float | None


def levels(daily: Sequence[Bar], atr_period: int) -> Levels | None:
    """From daily bars, oldest first; None without any. Pivot P = (H + L + C) / 3, R1 = 2P - L, S1 = 2P - H."""
    if not daily:
        return None
    last = daily[-1]
    pivot = (last.high + last.low + last.close) / 3
    atr = wilder_atr(((bar.high, bar.low, bar.close) for bar in daily), atr_period)
    return Levels(last.high, last.low, last.close, pivot, 2 * pivot - last.low, 2 * pivot - last.high, atr)
