"""K-means of trade sizes on log(size), by dynamic programming on the histogram of sizes instead of on the trades.

In one dimension clusters are intervals, so the best split is found exactly among any set of allowed cuts. With up to `MOST_CUTS`
distinct sizes every cut is allowed and the result is the optimum (Wang and Song 2011, Ckmeans.1d.dp). With more, cuts are allowed
at equal steps of trades first, and the split is then moved by Lloyd's rule over all sizes until it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Sizes = npt.NDArray[np.int64] | Floats
"""Whole shares are quicker as integers."""
MOST_CUTS: Final = 256
_COUNTED_TO: Final = 2_000_000
"""Largest size for which a counter for each size up to it is kept."""
_ROUNDS: Final = 300


@dataclass(frozen=True)
class SizeClusters:
    """Smallest first. `uppers`: the largest size of each cluster."""

    inertia: float
    """Sum of squared distances of log(size) to its cluster's mean."""
    uppers: Floats
    centres: Floats
    """Geometric means, shares."""
    trades: npt.NDArray[np.int64]
    volumes: Floats
    method: str = ""
    """Which of the two ways above found it."""

    def label(self, sizes: Sizes) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.uppers[:-1], sizes, side="left")


class SizeHistogram:
    """Distinct positive sizes with how often each was traded, and sums over any run of them in constant time."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, counts = _counted(sizes)
        logs = np.log(self.sizes)
        self._logs = logs - (counts * logs).sum() / counts.sum()
        """About their mean, so that squares lose no digits."""
        self._shift = float(logs[0] - self._logs[0])
        weighted = counts * self._logs
        self._n, self._sum, self._squares, self._volume = map(
            _summed, (counts, weighted, weighted * self._logs, counts * self.sizes)
        )

    @property
    def trades(self) -> int:
        return int(self._n[-1])

    def clusters(self, k: int) -> SizeClusters:
        """The split into `k`. Raises ValueError where there are fewer distinct sizes."""
        distinct = len(self.sizes)
        if not 1 <= k <= distinct:
            raise ValueError(f"{distinct} distinct trade sizes cannot make {k} clusters")
        allowed = np.arange(distinct + 1)
        if distinct > MOST_CUTS:
            steps = np.searchsorted(self._n, np.linspace(0, self._n[-1], MOST_CUTS - k))
            even = np.linspace(0, distinct, k + 1).astype(np.int64)
            allowed = np.unique(np.concatenate((steps, even)))
        edges = self._best_edges(allowed, k)
        if distinct > MOST_CUTS:
            edges = self._settled(edges)
        n, total = np.diff(self._n[edges]), np.diff(self._sum[edges])
        return SizeClusters(
            inertia=float(self._cost(edges[:-1], edges[1:]).sum()),
            uppers=self.sizes[edges[1:] - 1],
            centres=np.exp(total / n + self._shift),
            trades=n.astype(np.int64),
            volumes=np.diff(self._volume[edges]),
            method=f"best of {MOST_CUTS} cuts, settled by Lloyd's rule" if distinct > MOST_CUTS else "exact",
        )

    def _cost(self, start: Any, end: Any) -> Any:
        """Inertia of the sizes [start, end) as one cluster."""
        n = self._n[end] - self._n[start]
        total = self._sum[end] - self._sum[start]
        return np.maximum(self._squares[end] - self._squares[start] - total * total / np.maximum(n, 1.0), 0.0)

    def _best_edges(self, allowed: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.int64]:
        """The `k + 1` edges, all of `allowed`, with the least inertia."""
        cost = np.where(allowed[:, None] < allowed[None, :], self._cost(allowed[:, None], allowed[None, :]), np.inf)
        best, origins = cost[0], []
        columns = np.arange(len(allowed))
        for _ in range(k - 1):
            through = best[:, None] + cost
            origin = through.argmin(axis=0)
            best = through[origin, columns]
            origins.append(origin)
        at = len(allowed) - 1
        path = [at]
        for origin in reversed(origins):
            at = int(origin[at])
            path.append(at)
        return allowed[[0, *reversed(path)]]

    def _settled(self, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Each size to its nearest mean, until none moves."""
        for _ in range(_ROUNDS):
            means = np.diff(self._sum[edges]) / np.diff(self._n[edges])
            inner = np.searchsorted(self._logs, (means[1:] + means[:-1]) / 2, side="right")
            moved = np.concatenate((edges[:1], inner, edges[-1:]))
            if np.array_equal(moved, edges) or not (np.diff(moved) > 0).all():
                break
            edges = moved
        return edges


def _counted(sizes: Sizes) -> tuple[Floats, Floats]:
    """Distinct sizes and how often each comes. Whole shares are counted by index, which needs no sorting."""
    if sizes.dtype.kind == "i" and len(sizes) and int(sizes.max()) <= _COUNTED_TO:
        counts = np.bincount(sizes)
        distinct = np.flatnonzero(counts)
        often = counts[distinct]
    else:
        distinct, often = np.unique(sizes, return_counts=True)
    return distinct.astype(np.float64), often.astype(np.float64)


def _summed(values: Floats) -> Floats:
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
