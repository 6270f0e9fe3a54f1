"""What a strategy may look at, and the features that several share. Features are in [-1, 1], + is up, None is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from alphatrader.contract.messages.market import Status
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.options import Sentiment, Unusual

Features = dict[str, float | None]


@dataclass(frozen=True)
class Inputs:
    """One symbol at one instant. Metrics that are stale or not ready are absent."""

    symbol: str
    now_ns: int
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    status: Status | None = None
    unusual: Unusual | None = None
    sentiment: Sentiment | None = None

    def part(self, metric: str, name: str) -> float | None:
        """A component of a metric that is there; NaN and non-numbers count as missing."""
        found = self.metrics.get(metric)
        part = found.components.get(name) if found is not None else None
        return float(part) if isinstance(part, int | float) and math.isfinite(part) else None

    def value(self, metric: str) -> float | None:
        """A metric that is there; NaN and infinity count as missing: `clip` would make all evidence of them."""
        found = self.metrics.get(metric)
        return found.value if found is not None and found.value is not None and math.isfinite(found.value) else None


def clip(value: float) -> float:
    return max(-1.0, min(1.0, value))


def flow(inputs: Inputs, seconds: int) -> float | None:
    """How one-sided the aggressors were, with the sweeps' side where there were any."""
    signed = inputs.part("vpin", f"flow_{seconds}s")
    if signed is None:
        return None
    return clip(1.25 * signed + 0.25 * (inputs.value("sweep") or 0.0))


def book(inputs: Inputs) -> float | None:
    """Which side of the book is heavy, over the last twenty seconds."""
    leaning = inputs.part("obi", "smoothed_20s")
    return clip(1.5 * leaning) if leaning is not None else None


def short_trend(inputs: Inputs) -> float | None:
    """The moves of the last minute and the last three, in their own standard deviations; a missing one counts nothing."""
    moves = [inputs.part("regime", f"trend_{seconds}s") for seconds in (60, 180)]
    known = [math.tanh(move / 2) / 2 for move in moves if move is not None]
    return clip(math.fsum(known)) if known else None


def session_trend(inputs: Inputs) -> float | None:
    """Strength of the last twenty minutes' drift."""
    return inputs.value("regime")
