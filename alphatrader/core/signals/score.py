"""Confidence: weighted features in [-1, 1] through a logistic link to 0-100; calibrated by Platt's method once there are trades.

A missing feature counts nothing while its weight still does, so it lowers the score. The sign of the sum is the direction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Direction = Literal["long_call", "long_put"]
_ROUNDS: Final = 50


@dataclass(frozen=True)
class Calibration:
    """P(win) = 1 / (1 + exp(-(a x + b))), x the logit of the raw score (Platt 1999)."""

    a: float
    b: float
    trades: int


@dataclass(frozen=True)
class Score:
    lean: float
    """Weighted sum of the features, [-1, 1]."""
    direction: Direction | None
    """None on exactly no evidence."""
    confidence: float
    calibrated: bool


def score(
    features: Mapping[str, float | None],
    weights: Mapping[str, float],
    slope: float,
    cap: float,
    calibration: Calibration | None = None,
) -> Score:
    total = math.fsum(weights.values())
    lean = math.fsum(weight * (features.get(name) or 0.0) for name, weight in weights.items()) / total if total > 0 else 0.0
    logit = slope * abs(lean)
    if calibration is not None:
        logit = calibration.a * logit + calibration.b
    confidence = 100.0 / (1.0 + math.exp(-logit))
    if calibration is None:
        confidence = min(confidence, cap)
    direction: Direction | None = None if lean == 0.0 else "long_call" if lean > 0 else "long_put"
    return Score(lean, direction, confidence, calibration is not None)


def calibrate(outcomes: Sequence[tuple[float, bool]], least: int) -> Calibration | None:
    """Platt's fit on (raw confidence 0-100, won); None with fewer than `least` trades or only one kind of outcome.

    Targets are smoothed as in Platt 1999, so that a perfect separation stays finite; Newton's method on the two parameters."""
    wins = sum(won for _, won in outcomes)
    losses = len(outcomes) - wins
    if len(outcomes) < least or not wins or not losses:
        return None
    high, low = (wins + 1.0) / (wins + 2.0), 1.0 / (losses + 2.0)
    rows = [(_logit(confidence), high if won else low) for confidence, won in outcomes]
    a, b = 1.0, 0.0
    for _round in range(_ROUNDS):
        ga = gb = haa = hab = hbb = 0.0
        for x, target in rows:
            p = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, a * x + b))))
            w = max(p * (1.0 - p), 1e-12)
            ga, gb = ga + (p - target) * x, gb + (p - target)
            haa, hab, hbb = haa + w * x * x, hab + w * x, hbb + w
        haa, hbb = haa + 1e-9, hbb + 1e-9
        determinant = haa * hbb - hab * hab
        if determinant <= 0:
            return None
        step_a, step_b = (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant
        a, b = a - step_a, b - step_b
        if abs(step_a) + abs(step_b) < 1e-10:
            break
    return Calibration(a, b, len(outcomes)) if math.isfinite(a) and math.isfinite(b) else None


def _logit(confidence: float) -> float:
    p = min(0.999, max(0.001, confidence / 100.0))
    return math.log(p / (1.0 - p))
