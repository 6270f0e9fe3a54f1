"""Trend and volatility regime from one-minute closes, with hysteresis. domain.md §5.

First form. Trend strength is min(|t|/3, 1) of the drift's t-statistic (mean over standard error of the last 20 one-minute
changes); the slope's own t-statistic is published beside it but decides nothing, since a random walk makes it large. Volatility
strength is the percentile of the 20-minute realised volatility in the known minutes, from the median up. A class is entered at
0.6, left at 0.4, and stands at least five minutes. VPIN percentile and GEX sign do not enter yet.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec
import numpy as np

from alphatrader.core.analytics.minutes import Minutes

RegimeClass = Literal["TREND_UP", "TREND_DOWN", "RANGE", "HIGH_VOL"]
SPAN: Final = 20
ENTER: Final = 0.6
LEAVE: Final = 0.4
DWELL_NS: Final = 5 * 60_000_000_000
MIN_PAST: Final = 60
_STRONG_T: Final = 3.0
_PAST_CHANGES: Final = 120


class Reading(msgspec.Struct, frozen=True):
    """What one look at the minutes says. None where there are too few."""

    drift_t: float | None
    slope_t: float | None
    realised_vol: float | None
    """Standard deviation of a one-minute log return."""
    vol_percentile: float | None
    minute_sigma: float | None
    """Standard deviation of a one-minute price change, over up to two hours."""
    n: int


def read(minutes: Minutes) -> Reading:
    runs = [np.array([bar[4] for bar in run], dtype=float) for run in minutes.runs()]
    logs = [np.diff(np.log(run)) for run in runs if len(run) > 1]
    changes = np.concatenate([np.diff(run) for run in runs]) if runs else np.empty(0)
    newest = logs[-1][-SPAN:] if logs else np.empty(0)
    sigma = float(np.std(changes[-_PAST_CHANGES:], ddof=1)) if len(changes) >= SPAN else None
    if len(newest) < SPAN:
        return Reading(None, None, None, None, sigma or None, len(newest))
    deviation = float(np.std(newest, ddof=1))
    drift_t = float(np.mean(newest)) / (deviation / math.sqrt(SPAN)) if deviation > 0 else None
    past = [np.std(np.lib.stride_tricks.sliding_window_view(run, SPAN), axis=1, ddof=1) for run in logs if len(run) >= SPAN]
    known = np.concatenate(past)
    percentile = float(np.mean(known <= deviation)) if len(known) >= MIN_PAST else None
    return Reading(drift_t, slope_t(runs[-1][-SPAN:]), deviation, percentile, sigma or None, SPAN)


def slope_t(closes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """t-statistic of the least-squares slope of the closes on time; None on a perfect line."""
    n = len(closes)
    x = np.arange(n) - (n - 1) / 2
    y = closes - closes.mean()
    slope = float(x @ y) / float(x @ x)
    residual = float(np.sum((y - slope * x) ** 2))
    return slope / math.sqrt(residual / (n - 2) / float(x @ x)) if residual > 0 else None


class Regime(msgspec.Struct):
    """The class that stands, and since when."""

    name: str | None = None
    since_ns: int = 0

    def update(self, reading: Reading, now_ns: int) -> str | None:
        if reading.drift_t is None:
            return self.name
        trend = min(abs(reading.drift_t) / _STRONG_T, 1.0)
        strengths = {
            "HIGH_VOL": max(0.0, (reading.vol_percentile - 0.5) * 2) if reading.vol_percentile is not None else 0.0,
            "TREND_UP": trend if reading.drift_t > 0 else 0.0,
            "TREND_DOWN": trend if reading.drift_t < 0 else 0.0,
        }
        if self.name is not None and now_ns - self.since_ns < DWELL_NS:
            return self.name
        if self.name in strengths and strengths[self.name] >= LEAVE:
            return self.name
        entered = [name for name, strength in strengths.items() if strength >= ENTER]
        name = entered[0] if entered else "RANGE"
        if name != self.name:
            self.name, self.since_ns = name, now_ns
        return self.name
