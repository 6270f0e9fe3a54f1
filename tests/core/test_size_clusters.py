"""Clusters of trade sizes: no worse than scikit-learn's KMeans, and exact where every cut is allowed."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from sklearn.cluster import KMeans

from alphatrader.core.discovery.size_clusters import SizeHistogram


def inertia_of(groups: list[np.ndarray]) -> float:
    return sum(float(((np.log(group) - np.log(group).mean()) ** 2).sum()) for group in groups)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_few_distinct_sizes_are_split_as_by_trying_every_cut(k: int) -> None:
    sizes = np.random.default_rng(k).integers(1, 15, 200).astype(float)
    distinct = np.unique(sizes)
    splits = [(-np.inf, *(distinct[cut] for cut in cuts), np.inf) for cuts in combinations(range(1, len(distinct)), k - 1)]
    best = min(inertia_of([sizes[(sizes >= a) & (sizes < b)] for a, b in pairwise(s)]) for s in splits)
    assert SizeHistogram(sizes).clusters(k).inertia == pytest.approx(best, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_many_sizes_are_split_no_worse_than_by_kmeans(k: int, *, whole: bool) -> None:
    # given thousands of distinct sizes, on whole shares and on fractions
    sizes = np.random.default_rng(k).lognormal(5.0, 1.6, 20_000)
    sizes = np.ceil(sizes).astype(np.int64) if whole else sizes
    points = np.log(sizes).reshape(-1, 1)
    # when they are split
    found = SizeHistogram(sizes).clusters(k)
    # then KMeans does not do better, and the parts add up: labels, trades, volumes, inertia
    reference = KMeans(n_clusters=k, n_init=10, random_state=0).fit(points)
    assert found.inertia <= float(reference.inertia_) * (1 + 1e-6)
    labels = found.label(sizes)
    groups = [sizes[labels == label] for label in range(k)]
    assert [len(group) for group in groups] == found.trades.tolist()
    assert [group.sum() for group in groups] == pytest.approx(found.volumes.tolist())
    assert inertia_of(groups) == pytest.approx(found.inertia, rel=1e-9)
    assert [float(np.exp(np.log(group).mean())) for group in groups] == pytest.approx(found.centres.tolist())


def test_more_clusters_than_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 distinct trade sizes cannot make 3 clusters"):
        SizeHistogram(np.array([100.0, 100.0, 200.0])).clusters(3)
