"""Average directional index, Wilder 1978 (New Concepts in Technical Trading Systems): how one-directional the bars are, 0 to 100.

Directional movement is the larger of the new high and the new low beyond the previous bar, where it is positive; it and the true
range are smoothed with alpha 1/n from the sum of the first n; DX = 100 |+DI - -DI| / (+DI + -DI); ADX starts as the mean of the
first n DX and goes on with alpha 1/n.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from alphatrader.core.signals.atr import true_range

_UNITS: Final = 1_000_000
"""Prices are taken in whole millionths: as floats, a new high and a new low of as many ticks are not equal."""


def wilder_adx(bars: Iterable[tuple[float, float, float]], period: int) -> float | None:
    """ADX after the last of the bars (high, low, close), oldest first; None with fewer than 2 x period bars. Bars that never
    went anywhere are a measured 0."""
    before: tuple[int, int, int] | None = None
    up = down = span = 0.0
    adx = 0.0
    n = 0
    for bar in bars:
        high, low, close = (round(price * _UNITS) for price in bar)
        if before is not None:
            n += 1
            rise, fall = high - before[0], before[1] - low
            kept = 1 - 1 / period if n > period else 1.0
            up = up * kept + (rise if rise > fall and rise > 0 else 0.0)
            down = down * kept + (fall if fall > rise and fall > 0 else 0.0)
            span = span * kept + true_range(high, low, before[2])
            if n >= period:
                # Both indices are over the same range, which therefore drops out of their ratio.
                dx = 100 * abs(up - down) / (up + down) if span > 0 and up + down > 0 else 0.0
                adx = adx + dx / period if n < 2 * period else (adx * (period - 1) + dx) / period
        before = high, low, close
    return adx if n >= 2 * period - 1 else None
