"""Clusters of 1,000,000 trade sizes: discovery's own way beside scikit-learn's KMeans with n_init=10, with both inertias."""

from __future__ import annotations

from statistics import median
from time import process_time

import numpy as np
from interleaved import title, verdict
from sklearn.cluster import KMeans

from alphatrader.core.discovery.size_clusters import SizeHistogram

TRADES, K, ROUNDS = 1_000_000, 5, 3


def trade_sizes() -> np.ndarray:
    """Odd lots, round lots, blocks: whole shares, as a tape has them."""
    random = np.random.default_rng(11)
    odd = random.integers(1, 100, TRADES * 45 // 100)
    round_lots = 100 * random.geometric(0.45, TRADES * 50 // 100)
    blocks = np.round(np.exp(random.normal(8.5, 0.7, TRADES - len(odd) - len(round_lots))))
    return np.concatenate((odd, round_lots, np.maximum(blocks, 1.0))).astype(np.int64)


def main() -> None:
    title(
        f"clustering of {TRADES} trade sizes on log(size), k = {K}",
        f"KMeans takes seconds, so there are {ROUNDS} rounds of it",
        "the product's time includes making the histogram of sizes",
        "CPU time: of KMeans that of all threads it takes by itself",
    )
    sizes = trade_sizes()
    points = np.log(sizes).reshape(-1, 1)
    fast, slow = [], []
    for _ in range(ROUNDS):
        times = []
        for _again in range(5):
            start = process_time()
            found = SizeHistogram(sizes).clusters(K)
            times.append(process_time() - start)
        fast.append(median(times))
        start = process_time()
        reference = KMeans(n_clusters=K, n_init=10, random_state=1).fit(points)
        slow.append(process_time() - start)
    print(
        f"   product {median(fast) * 1e3:.2f} ms, inertia {found.inertia:.8g}; "
        f"KMeans {median(slow):.2f} s, inertia {reference.inertia_:.8g}"
    )
    verdict("clustering, times faster than KMeans n_init=10", median(s / f for s, f in zip(slow, fast, strict=True)), 1000)
    verdict("clustering, inertia over KMeans's", found.inertia / float(reference.inertia_), 1.0, at_most=True)


if __name__ == "__main__":
    main()
