"""Average true range (Wilder 1978): seeded with the mean of the first n true ranges, then ATR = (ATR' (n-1) + TR) / n."""

from __future__ import annotations

from collections.abc import Iterable


def true_range(high: float, low: float, previous_close: float) -> float:
    return max(high - low, abs(high - previous_close), abs(low - previous_close))


def wilder_atr(bars: Iterable[tuple[float, float, float]], period: int) -> float | None:
    """ATR after the last of the bars (high, low, close), oldest first; None with fewer than period + 1 bars.

    The first bar gives only its close: it has no previous one."""
    atr: float | None = None
    previous: float | None = None
    seed: list[float] = []
    for high, low, close in bars:
        if previous is not None:
            span = true_range(high, low, previous)
            if atr is None:
                seed.append(span)
                if len(seed) == period:
                    atr = sum(seed) / period
            else:
                atr = (atr * (period - 1) + span) / period
        previous = close
    return atr
