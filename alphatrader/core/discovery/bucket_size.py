"""The size of a VPIN bucket, from clusters of trade sizes (sources.md §1).

K-means on log(size) of all trades (size_clusters.py), k chosen by silhouette on a sample; the bucket holds fifty trades of the
cluster that carries most volume, held between a 200th and a 20th of the average day. Clusters describe sizes, they do not prove a
best bucket: both numbers are kept.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from sklearn.metrics import silhouette_score

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.size_clusters import SizeClusters, SizeHistogram, Sizes

CLUSTERS: Final = range(2, 7)
TRADES_A_BUCKET: Final = 50
BUCKETS_A_DAY: Final = 50
MOST_BUCKETS_A_DAY: Final = 200
LEAST_BUCKETS_A_DAY: Final = 20
ROUND_TO: Final = 100
SILHOUETTE_SAMPLE: Final = 800


class Traded(NamedTuple):
    """The prints of a symbol that count for VPIN."""

    sizes: Sizes
    from_ns: int | None = None
    to_ns: int | None = None


def bucket_size(sample: Traded, adv: float | None, *, min_trades: int, seed: int) -> Parameter:
    """`adv` is the average daily volume. Value None where neither trades nor volume are known. Confidence: the silhouette."""
    traded = sample.sizes[sample.sizes > 0]
    if len(traded) < min_trades:
        return _from_volume(adv, len(traded), f"{len(traded)} trades, {min_trades} are needed")
    histogram = SizeHistogram(traded)
    distinct = len(histogram.sizes)
    if distinct <= CLUSTERS.start:
        return _from_volume(adv, len(traded), f"only {distinct} distinct trade sizes")
    score, best, k = _best_clusters(histogram, traded, seed)
    clusters = _described(best)
    heaviest = max(clusters, key=lambda cluster: cluster["volume_share"])
    proposed = round(heaviest["centre"] * TRADES_A_BUCKET / ROUND_TO) * ROUND_TO
    value = float(max(proposed, ROUND_TO))
    if adv is not None:
        value = max(1.0, round(min(max(value, adv / MOST_BUCKETS_A_DAY), adv / LEAST_BUCKETS_A_DAY)))
    return Parameter(
        value=value,
        n=len(traded),
        confidence=round(max(0.0, score), 4),
        fallback=None if adv is not None else "average daily volume unknown: not held within its bounds",
        detail={
            "k": k,
            "method": best.method,
            "inertia": round(best.inertia, 6),
            "silhouette": round(score, 4),
            "clusters": clusters,
            "proposed": proposed,
            "adv": adv,
            "adv_over_50": None if adv is None else round(adv / BUCKETS_A_DAY),
        },
        from_ns=sample.from_ns,
        to_ns=sample.to_ns,
    )


def _best_clusters(histogram: SizeHistogram, traded: Sizes, seed: int) -> tuple[float, SizeClusters, int]:
    """(silhouette, clusters, k) of the best k. The silhouette is of a sample: it compares every pair."""
    sample = traded
    if len(traded) > SILHOUETTE_SAMPLE:
        sample = np.random.default_rng(seed).choice(traded, SILHOUETTE_SAMPLE, replace=False)
    points = np.log(sample).reshape(-1, 1)
    best: tuple[float, SizeClusters, int] | None = None
    for k in CLUSTERS:
        if k >= len(histogram.sizes):
            break
        clusters = histogram.clusters(k)
        try:
            score = float(silhouette_score(points, clusters.label(sample)))
        except ValueError:
            continue  # the sample met a single cluster: this k separates nothing
        if best is None or score > best[0]:
            best = (score, clusters, k)
    if best is None:
        raise ValueError("no number of clusters separates the trade sizes")
    return best


def _described(clusters: SizeClusters) -> list[dict[str, Any]]:
    """Centre (geometric mean), share of trades and of volume; smallest first."""
    rows = zip(clusters.centres, clusters.trades, clusters.volumes, strict=True)
    trades, volume = int(clusters.trades.sum()), float(clusters.volumes.sum())
    return [
        {
            "centre": round(float(centre), 2),
            "trade_share": round(int(count) / trades, 4),
            "volume_share": round(float(shares) / volume, 4),
        }
        for centre, count, shares in rows
    ]


def _from_volume(adv: float | None, n: int, why: str) -> Parameter:
    if adv is None:
        return Parameter(value=None, n=n, confidence=None, fallback=f"{why}; average daily volume unknown")
    value = max(1.0, float(round(adv / BUCKETS_A_DAY)))
    return Parameter(value=value, n=n, confidence=None, fallback=f"{why}: a 50th of the average day", detail={"adv": adv})
