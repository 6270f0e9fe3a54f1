"""Volatility states of a symbol: a Gaussian mixture on realised volatility, its size by BIC (sources.md §5).

Each point is the cube root of a window's realised variance and not its log: of five returns the log is so skewed that BIC sees
two states where there is one, while the cube root is all but normal (Wilson and Hilferty 1931) and its bias is known. The usual
shape of a day, high at the open and again towards the close, is divided out first: it is no state, it comes every day.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.bars import Floats, SessionReturns, sample
from alphatrader.core.discovery.regime_filter import transitions

BARS_A_WINDOW: Final = 5
MIN_WINDOWS: Final = 60
MOST_STATES: Final = 3
MINUTES_A_YEAR: Final = 252 * 390
SHAPED_FROM_SESSIONS: Final = 2
"""In one session the shape of the day and a change of state cannot be told apart."""
DAY_MINUTES: Final = 390.0
MINUTE_NS: Final = 60 * 1_000_000_000


def vol_regimes(sessions: Sequence[SessionReturns], opened_ns: Callable[[int], int], *, seed: int) -> Parameter:
    """Of one-minute returns. `opened_ns` gives when the session of an instant opened.

    Value: the number of states, which may be 1. `detail`: each state's yearly volatility and weight, calmest first, and the
    bounds between them; under `filter` what `regime_filter.forward` needs, and the day's shape that a window's root is divided
    by first. Confidence: how likely this number of states is among those tried, by their BIC.
    """
    windows = [_windows(session, opened_ns) for session in sessions]
    n = sum(len(roots) for _, roots in windows)
    if n < MIN_WINDOWS:
        why = f"{n} five-minute windows, {MIN_WINDOWS} are needed"
        return Parameter(value=None, n=n, confidence=None, fallback=why, **sample(sessions))
    shape = _day_shape(windows) if len(sessions) >= SHAPED_FROM_SESSIONS else np.zeros(3)
    level = [roots / np.exp(_powers(minutes) @ shape) for minutes, roots in windows]
    points = np.concatenate(level).reshape(-1, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [GaussianMixture(k, n_init=2, random_state=seed).fit(points) for k in range(1, MOST_STATES + 1)]
    bics = np.array([float(fit.bic(points)) for fit in fits])
    best = fits[int(bics.argmin())]
    order = np.argsort(best.means_.ravel())
    means = best.means_.ravel()[order]
    spreads = np.sqrt(best.covariances_.ravel()[order])
    weights = best.weights_[order]
    matrix = transitions(level, means, spreads, weights)
    return Parameter(
        value=float(len(means)),
        n=n,
        confidence=round(float(1.0 / np.exp((bics.min() - bics) / 2.0).sum()), 4),
        fallback=None,
        detail={
            "states": [
                {"vol": round(_vol(mean), 6), "log_sd": round(float(1.5 * sd / mean), 6), "weight": round(float(weight), 6)}
                for mean, sd, weight in zip(means, spreads, weights, strict=True)
            ],
            "bounds_vol": [round(bound, 6) for bound in _bounds(best, order)],
            "bic": [round(float(bic), 3) for bic in bics],
            "certain": round(float(best.predict_proba(points).max(axis=1).mean()), 4),
            "window_minutes": BARS_A_WINDOW,
            "filter": _filter(means, spreads, weights, matrix, shape),
        },
        **sample(sessions),
    )


def _filter(means: Floats, spreads: Floats, weights: Floats, matrix: Floats, shape: Floats) -> dict[str, Any]:
    return {
        "point": "cube root of the window's mean squared minute return, yearly, over the day's shape",
        "means": np.round(means, 8).tolist(),
        "variances": np.round(spreads**2, 10).tolist(),
        "first": np.round(weights, 6).tolist(),
        "transitions": np.round(matrix, 6).tolist(),
        "day_shape": np.round(shape, 6).tolist(),
        "day_shape_of": "exp(a + b x + c x^2), x = minutes since the open / 390, from 0 to 1",
    }


def _windows(session: SessionReturns, opened_ns: Callable[[int], int]) -> tuple[Floats, Floats]:
    """Minutes since the open and cube root of the yearly variance, of each full window; one without any move says nothing and is
    left out."""
    count = len(session.returns) // BARS_A_WINDOW
    used = count * BARS_A_WINDOW
    squares = (session.returns[:used].reshape(count, BARS_A_WINDOW) ** 2).mean(axis=1)
    minutes = (session.stamps[:used:BARS_A_WINDOW] - opened_ns(int(session.stamps[0]))) / MINUTE_NS
    moved = squares > 0.0
    return minutes[moved], np.asarray(np.cbrt(squares[moved] * MINUTES_A_YEAR))


def _powers(minutes: Floats) -> Floats:
    x = np.clip(minutes / DAY_MINUTES, 0.0, 1.0)
    return np.stack((np.ones_like(x), x, x * x), axis=1)


def _day_shape(windows: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Of log(root) on the time of day, by least squares, with a mean of zero: volatility keeps its level."""
    powers = _powers(np.concatenate([minutes for minutes, _ in windows]))
    logs = np.log(np.concatenate([roots for _, roots in windows]))
    found, *_ = np.linalg.lstsq(powers, logs, rcond=None)
    found[0] -= float((powers @ found).mean())
    return np.asarray(found)


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
