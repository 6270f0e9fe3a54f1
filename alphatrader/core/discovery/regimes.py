"""Volatility states of a symbol: a Gaussian mixture on realised volatility, its size by BIC (domain.md section 5).

Each point is the cube root of a window's realised variance and not its log: of five returns the log is so skewed that BIC sees
two states where there is one, while the cube root is all but normal (Wilson and Hilferty 1931) and its bias is known.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.bars import Floats

BARS_A_WINDOW: Final = 5
MIN_WINDOWS: Final = 60
MOST_STATES: Final = 3
MINUTES_A_YEAR: Final = 252 * 390


def vol_regimes(returns: Sequence[Floats], *, seed: int) -> Parameter:
    """`returns` of one-minute bars by session. Value: the number of states, which may be 1; their volatilities (yearly), weights
    and the bounds between them are in `detail`, calmest first. Confidence: mean probability of each window's own state."""
    roots = np.concatenate([_cube_roots(session) for session in returns]) if returns else np.empty(0)
    n = len(roots)
    if n < MIN_WINDOWS:
        return Parameter(value=None, n=n, confidence=None, fallback=f"{n} five-minute windows, {MIN_WINDOWS} are needed")
    points = roots.reshape(-1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [GaussianMixture(k, n_init=2, random_state=seed).fit(points) for k in range(1, MOST_STATES + 1)]
    bics = [float(fit.bic(points)) for fit in fits]
    best = fits[int(np.argmin(bics))]
    order = np.argsort(best.means_.ravel())
    means = best.means_.ravel()[order]
    spreads = np.sqrt(best.covariances_.ravel()[order])
    weights = best.weights_[order]
    certain = float(best.predict_proba(points).max(axis=1).mean())
    return Parameter(
        value=float(len(means)),
        n=n,
        confidence=round(certain, 4) if len(means) > 1 else None,
        fallback=None,
        detail={
            "states": [
                {"vol": round(_vol(mean), 6), "log_sd": round(float(1.5 * sd / mean), 6), "weight": round(float(weight), 6)}
                for mean, sd, weight in zip(means, spreads, weights, strict=True)
            ],
            "bounds_vol": [round(bound, 6) for bound in _bounds(best, order)],
            "bic": [round(bic, 3) for bic in bics],
            "window_minutes": BARS_A_WINDOW,
        },
    )


def _cube_roots(returns: Floats) -> Floats:
    """Of the yearly variance of each full window; windows without any move say nothing and are left out."""
    windows = len(returns) // BARS_A_WINDOW
    squares = (returns[: windows * BARS_A_WINDOW].reshape(windows, BARS_A_WINDOW) ** 2).mean(axis=1)
    return np.asarray(np.cbrt(squares[squares > 0.0] * MINUTES_A_YEAR))


def _vol(root: float) -> float:
    """The yearly volatility whose windows have this mean cube root."""
    return float((root / (1.0 - 2.0 / (9.0 * BARS_A_WINDOW))) ** 1.5)


def _bounds(fit: GaussianMixture, order: np.ndarray) -> list[float]:
    """Volatility at which the likelier state changes, between neighbouring states."""
    means = fit.means_.ravel()[order]
    found = []
    for low, high, below, above in zip(means[:-1], means[1:], order[:-1], order[1:], strict=True):
        grid = np.linspace(low, high, 512)
        share = fit.predict_proba(grid.reshape(-1, 1))
        crossing = np.flatnonzero(share[:, above] >= share[:, below])
        found.append(_vol(grid[crossing[0]] if len(crossing) else high))
    return found
