"""Trend and volatility regime from one-minute bars, VPIN and gamma, with hysteresis. sources.md §5.

How many bars it looks back over is the symbol's own (lookback.py). Each feature is evidence between 0 and 1 for the classes
it speaks of (`WEIGHTS`), and a class's strength is the weighted mean over the features that are there. What is missing is not
taken for neutral: the confidence is the strength times the share of the class's weight that was there. A class is entered at
0.6, left at 0.4, and stands at least five minutes; where none is entered it is RANGE.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Final

import msgspec
import numpy as np

from alphatrader.core.analytics.adx import wilder_adx
from alphatrader.core.analytics.lookback import DEFAULT_BARS
from alphatrader.core.analytics.minutes import MINUTE_NS, Minutes

ENTER: Final = 0.6
LEAVE: Final = 0.4
DWELL_NS: Final = 5 * 60_000_000_000
MIN_PAST: Final = 60
_POINTS: Final = (5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)
_T_OF_CHANCE: Final = (7.65, 7.55, 7.74, 8.07, 8.79, 9.54, 10.6, 12.3, 15.1, 18.6, 21.5, 26.4, 30.7)
"""|t| of the slope that one in twenty random walks of so many points passes, by simulation (the tests do it again). Errors that
add up make it no Student's t: 3 is less than its median."""
ADX_CERTAIN: Final = 40.0
"""So that Wilder's 25, from which he follows a trend, is 0.62."""
_TREND: Final = {"slope_t": 0.4, "adx": 0.4, "gex_negative": 0.2}
WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "HIGH_VOL": {"vol_percentile": 0.4, "vpin_percentile": 0.2, "gex_negative": 0.2, "vol_state": 0.2},
    "TREND_UP": _TREND,
    "TREND_DOWN": _TREND,
}
"""Dealers short of gamma trade with the move: negative GEX speaks for a trend and for volatility alike."""
_NEEDED: Final = {"HIGH_VOL": "vol_percentile", "TREND_UP": "slope_t", "TREND_DOWN": "slope_t"}
_UNITS: Final = 1_000_000_000
"""Closes are taken in whole billionths."""
_PAST_CHANGES: Final = 120
_LEAST_CHANGES: Final = 20


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
    adx: float | None = None
    span: int = DEFAULT_BARS
    """Minutes that the slope, the drift and the volatility are of."""


def read(minutes: Minutes, adx_period: int, span: int = DEFAULT_BARS, opened_ns: int | None = None) -> Reading:
    """`span`: changes to look back over, 5 to 120. `opened_ns`: when the present session opened; the newest are of it alone."""
    split = minutes.runs(opened_ns)
    adx = wilder_adx([bar[2:] for bar in split[-1]], adx_period) if split else None
    runs = [np.array([bar[4] for bar in run], dtype=float) for run in split]
    # Over minutes without a print, as of a halt, a change is not one minute's.
    whole = [np.diff([bar[0] for bar in run]) == MINUTE_NS for run in split]
    logs = [np.diff(np.log(run))[ones] for run, ones in zip(runs, whole, strict=True)]
    changes = np.concatenate([np.diff(run)[ones] for run, ones in zip(runs, whole, strict=True)]) if runs else np.empty(0)
    newest = logs[-1][-span:] if logs else np.empty(0)  # a session's first minute has no change yet
    sigma = float(np.std(changes[-_PAST_CHANGES:], ddof=1)) if len(changes) >= _LEAST_CHANGES else None
    if len(newest) < span:
        return Reading(None, None, None, None, sigma or None, len(newest), adx, span)
    past = [np.std(np.lib.stride_tricks.sliding_window_view(run, span), axis=1, ddof=1) for run in logs if len(run) >= span]
    known = np.concatenate(past)
    deviation = float(known[-1])  # computed as the others are: it is at or under itself to the last bit
    drift_t = float(np.mean(newest)) / (deviation / math.sqrt(span)) if deviation > 0 else None
    percentile = float(np.mean(known <= deviation)) if len(known) >= MIN_PAST else None
    newest_bars = split[-1][-span:]
    slope = slope_t([bar[0] // MINUTE_NS for bar in newest_bars], [bar[4] for bar in newest_bars])
    return Reading(drift_t, slope, deviation, percentile, sigma or None, span, adx, span)


def slope_t(minutes: Sequence[int], closes: Sequence[float]) -> float | None:
    """t-statistic of the least-squares slope of the closes on their minutes; None on a perfect line, also a level one. Sums are
    of whole numbers: a line is perfect or not, whatever its floats."""
    n, total = len(closes), sum(minutes)
    x = [n * minute - total for minute in minutes]  # so many times the minutes from their mean; t has no unit
    y = [round((close - closes[0]) * _UNITS) for close in closes]
    xx, xy = sum(map(mul, x, x)), sum(map(mul, x, y))
    residual = (n * sum(map(mul, y, y)) - sum(y) ** 2) * xx - n * xy * xy
    return xy / math.sqrt(residual / (n * (n - 2))) if residual else None


def slope_t_of_chance(points: int) -> float:
    """|t| of the slope of so many closes, 5 to 120, that one in twenty random walks passes."""
    return float(np.interp(points, _POINTS, _T_OF_CHANCE))


class Judged(msgspec.Struct, frozen=True):
    """What speaks for one class."""

    strength: float
    """0 to 1, over the features that are there."""
    there: float
    """Share of the class's weight that those features have."""

    @property
    def confidence(self) -> float:
        return self.strength * self.there


def evidence(
    reading: Reading, vpin_percentile: float | None, gex_usd: float | None, high_vol: float | None
) -> dict[str, float | None]:
    """Each feature as evidence between 0 and 1; None where it is missing. A percentile speaks from the middle up;
    `high_vol` is the expected place among the volatility states."""
    return {
        "slope_t": min(abs(reading.slope_t) / slope_t_of_chance(reading.span), 1.0) if reading.slope_t is not None else None,
        "adx": min(reading.adx / ADX_CERTAIN, 1.0) if reading.adx is not None else None,
        "vol_percentile": _upper(reading.vol_percentile),
        "vpin_percentile": _upper(vpin_percentile),
        "gex_negative": float(gex_usd < 0) if gex_usd is not None else None,
        "vol_state": high_vol,
    }


def _upper(percentile: float | None) -> float | None:
    return max(0.0, (percentile - 0.5) * 2) if percentile is not None else None


def judge(reading: Reading, found: Mapping[str, float | None]) -> dict[str, Judged]:
    """Of every class. A trend is only to the side the slope points; without its main feature a class cannot be entered."""
    against = {"TREND_UP": -1.0, "TREND_DOWN": 1.0}
    judged = {}
    for name, weights in WEIGHTS.items():
        known = {feature: part for feature in weights if (part := found[feature]) is not None}
        there = math.fsum(weights[feature] for feature in known)
        possible = _NEEDED[name] in known and (reading.slope_t or 0.0) * against.get(name, 0.0) <= 0
        strength = math.fsum(weights[feature] * part for feature, part in known.items()) / there if possible else 0.0
        judged[name] = Judged(strength, there)
    nothing_else = 1 - max(one.strength for one in judged.values())
    judged["RANGE"] = Judged(nothing_else, (judged["HIGH_VOL"].there + judged["TREND_UP"].there) / 2)
    return judged


class Regime(msgspec.Struct):
    """The class that stands, and since when."""

    name: str | None = None
    since_ns: int = 0

    def update(self, judged: Mapping[str, Judged], now_ns: int) -> str:
        if self.name is not None and now_ns - self.since_ns < DWELL_NS:
            return self.name
        if self.name is not None and self.name in WEIGHTS and judged[self.name].strength >= LEAVE:
            return self.name
        entered = [name for name in WEIGHTS if judged[name].strength >= ENTER]
        name: str = max(entered, key=lambda one: judged[one].strength) if entered else "RANGE"
        if name != self.name:
            self.name, self.since_ns = name, now_ns
        return name
