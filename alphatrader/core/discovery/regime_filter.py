"""The chain behind volatility states: how likely one follows another, and which one holds now.

`transitions` learns the matrix (Baum and Welch, with the states' own densities held still); `forward` is the live filter of one
more window. It looks at the past only: a state told by it was known then. Light: analytics may run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ROUNDS: Final = 30
SETTLED: Final = 1e-4
STAY: Final = 0.9
"""Where learning begins: a state most likely goes on."""
SEEN_BEFORE: Final = 1.0
"""Windows of each transition that are taken as seen, so that a rare one is never impossible."""
LEAST_DENSITY: Final = 1e-300


def densities(points: Floats, means: Floats, spreads: Floats) -> Floats:
    """n by k: normal density of each point in each state."""
    scores = (points[:, None] - means) / spreads
    return np.asarray(np.maximum(np.exp(-0.5 * scores**2) / (spreads * np.sqrt(2.0 * np.pi)), LEAST_DENSITY))


def forward(before: Floats, point: float, means: Floats, spreads: Floats, matrix: Floats) -> Floats:
    """Probability of each state after one more window, given that before it; rows of `matrix` are from, columns to."""
    found = (before @ matrix) * densities(np.array([point]), means, spreads)[0]
    return np.asarray(found / found.sum())


def transitions(sessions: Sequence[Floats], means: Floats, spreads: Floats, weights: Floats) -> Floats:
    """k by k. No transition is learnt over a night: each session begins with `weights`."""
    k = len(means)
    matrix = np.full((k, k), (1.0 - STAY) / max(1, k - 1))
    np.fill_diagonal(matrix, STAY if k > 1 else 1.0)
    fits = [densities(points, means, spreads) for points in sessions if len(points)]
    for _ in range(ROUNDS if k > 1 else 0):
        counts = np.full((k, k), SEEN_BEFORE / k)
        for fit in fits:
            counts += _expected(fit, matrix, weights)
        found = counts / counts.sum(axis=1, keepdims=True)
        moved, matrix = float(np.abs(found - matrix).max()), found
        if moved < SETTLED:
            break
    return matrix


def _expected(fit: Floats, matrix: Floats, weights: Floats) -> Floats:
    """Expected number of each transition in one session: the forward-backward rule, scaled at each window."""
    n, k = fit.shape
    ahead, back, scale = np.empty((n, k)), np.ones((n, k)), np.empty(n)
    reached = weights * fit[0]
    scale[0] = reached.sum()
    ahead[0] = reached / scale[0]
    for t in range(1, n):
        reached = (ahead[t - 1] @ matrix) * fit[t]
        scale[t] = reached.sum()
        ahead[t] = reached / scale[t]
    for t in range(n - 2, -1, -1):
        back[t] = matrix @ (fit[t + 1] * back[t + 1]) / scale[t + 1]
    onward = fit[1:] * back[1:] / scale[1:, None]
    return np.asarray((ahead[:-1].T @ onward) * matrix)
