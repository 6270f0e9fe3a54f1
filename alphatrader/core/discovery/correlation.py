"""Correlation of five-minute returns over the symbols, shrunk by Ledoit and Wolf, never indefinite (sources.md §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.covariance import LedoitWolf

from alphatrader.contract.messages.market import Bar
from alphatrader.core.discovery.bars import Floats, closes

WINDOW_NS: Final = 5 * 60 * 1_000_000_000
MIN_OVERLAP: Final = 60
LEAST_EIGENVALUE: Final = 1e-5
"""So much that rounding twenty symbols' matrix to six digits leaves none negative."""
MOST_ROUNDS: Final = 500
MET: Final = 1e-10
"""Relative change of a round at which the projections have met."""


@dataclass(frozen=True, slots=True)
class Correlated:
    symbols: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    n: int
    """Five-minute returns that all of them have."""
    left_out: dict[str, str]
    """Symbol -> why."""
    shrinkage: float | None = None
    """Ledoit and Wolf's: the share of the matrix that is their target, no correlation at all."""
    from_ns: int | None = None
    to_ns: int | None = None


def correlation(bars: Mapping[str, Sequence[Bar]]) -> Correlated:
    """Of one-minute bars by symbol. A symbol that shares too few windows with the others is left out and named."""
    by_window = {symbol: _returns(series) for symbol, series in bars.items()}
    left_out = {symbol: f"{len(found)} returns" for symbol, found in by_window.items() if len(found) < MIN_OVERLAP}
    kept = {symbol: found for symbol, found in by_window.items() if symbol not in left_out}
    shared = _shared(kept)
    while len(kept) > 1 and len(shared) < MIN_OVERLAP:
        without = {symbol: _shared({s: f for s, f in kept.items() if s != symbol}) for symbol in kept}
        worst = max(without, key=lambda symbol: len(without[symbol]))
        left_out[worst] = f"shares {len(shared)} returns with the others"
        del kept[worst]
        shared = without[worst]
    symbols = [symbol for symbol in kept if _moved(kept[symbol], shared)]
    left_out |= dict.fromkeys(set(kept) - set(symbols), "did not move")
    if len(symbols) < 2:
        return Correlated((), (), len(shared), left_out)
    table = np.array([[kept[symbol][window] for symbol in symbols] for window in shared])
    matrix, shrinkage = shrunk(table)
    rows = tuple(tuple(row) for row in np.round(nearest(matrix), 6).tolist())
    span = {"from_ns": shared[0] * WINDOW_NS, "to_ns": (shared[-1] + 1) * WINDOW_NS}
    return Correlated(tuple(symbols), rows, len(shared), left_out, shrinkage, **span)


def shrunk(returns: Floats) -> tuple[Floats, float]:
    """Ledoit-Wolf on standardised columns, scaled back to ones on the diagonal; and how much it shrank."""
    scaled = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    fit = LedoitWolf(assume_centered=True).fit(scaled)
    return _unit(fit.covariance_), float(fit.shrinkage_)


def _returns(series: Sequence[Bar]) -> dict[int, float]:
    """Window -> return since the window before it; none over a gap."""
    stamps, prices = closes(series)
    windows = stamps // WINDOW_NS
    last = np.flatnonzero(np.diff(windows, append=np.int64(-1)) != 0)
    windows, logs = windows[last], np.log(prices[last])
    next_to = np.diff(windows) == 1
    return dict(zip(windows[1:][next_to].tolist(), np.diff(logs)[next_to].tolist(), strict=True))


def _shared(found: Mapping[str, dict[int, float]]) -> list[int]:
    return sorted(set.intersection(*(set(windows) for windows in found.values()))) if found else []


def _moved(found: dict[int, float], shared: Sequence[int]) -> bool:
    return any(found[window] != 0.0 for window in shared)


def nearest(matrix: Floats) -> Floats:
    """The correlation matrix nearest to a symmetric one in the Frobenius norm, with no eigenvalue under `LEAST_EIGENVALUE`.

    Higham's alternating projections with Dykstra's correction (IMA J. Numer. Anal. 22, 2002). Where they have not met after
    `MOST_ROUNDS`, the last projection scaled to ones on the diagonal: semi-definite all the same."""
    found = (matrix + matrix.T) / 2.0
    if np.linalg.eigvalsh(found)[0] >= LEAST_EIGENVALUE and np.allclose(np.diag(found), 1.0, rtol=0.0, atol=1e-12):
        return found
    correction = np.zeros_like(found)
    for _ in range(MOST_ROUNDS):
        before = found
        corrected = found - correction
        values, vectors = np.linalg.eigh(corrected)
        positive = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
        correction = positive - corrected
        found = positive.copy()
        np.fill_diagonal(found, 1.0)
        if np.linalg.norm(found - before) <= MET * np.linalg.norm(found):
            break
    return _unit(positive)


def _unit(covariance: Floats) -> Floats:
    scale = np.sqrt(np.diag(covariance))
    scaled: Floats = covariance / np.outer(scale, scale)
    np.fill_diagonal(scaled, 1.0)
    return scaled
