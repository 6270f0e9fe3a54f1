"""The size of a VPIN bucket, from clusters of trade sizes (domain.md section 1).

K-means on log(size), k chosen by silhouette; the bucket holds fifty trades of the cluster that carries most volume, held between
a 200th and a 20th of the average day. Clusters describe sizes, they do not prove a best bucket: both numbers are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from alphatrader.contract.messages.metrics import Parameter

CLUSTERS: Final = range(2, 7)
TRADES_A_BUCKET: Final = 50
BUCKETS_A_DAY: Final = 50
MOST_BUCKETS_A_DAY: Final = 200
LEAST_BUCKETS_A_DAY: Final = 20
ROUND_TO: Final = 100
SAMPLE: Final = 4000
SILHOUETTE_SAMPLE: Final = 800


def bucket_size(sizes: Sequence[float], adv: float | None, *, min_trades: int, seed: int) -> Parameter:
    """`adv` is the average daily volume. Value None where neither trades nor volume are known."""
    traded = np.array([size for size in sizes if size > 0.0], dtype=np.float64)
    if len(traded) < min_trades:
        return _from_volume(adv, len(traded), f"{len(traded)} trades, {min_trades} are needed")
    sample = traded
    if len(traded) > SAMPLE:
        sample = np.random.default_rng(seed).choice(traded, SAMPLE, replace=False)
    distinct = len(np.unique(sample))
    if distinct <= CLUSTERS.start:
        return _from_volume(adv, len(traded), f"only {distinct} distinct trade sizes")
    score, labels, k = _best_clusters(np.log(sample).reshape(-1, 1), distinct, seed)
    clusters = _described(sample, labels, k)
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
            "silhouette": round(score, 4),
            "clusters": clusters,
            "proposed": proposed,
            "adv": adv,
            "adv_over_50": None if adv is None else round(adv / BUCKETS_A_DAY),
        },
    )


def _best_clusters(points: npt.NDArray[np.float64], distinct: int, seed: int) -> tuple[float, npt.NDArray[np.int64], int]:
    best: tuple[float, npt.NDArray[np.int64], int] | None = None
    for k in CLUSTERS:
        if k >= distinct:
            break
        labels = KMeans(n_clusters=k, init="k-means++", n_init=3, random_state=seed).fit_predict(points)
        size = min(SILHOUETTE_SAMPLE, len(points))
        try:
            score = float(silhouette_score(points, labels, sample_size=size, random_state=seed))
        except ValueError:
            continue  # the sample met a single cluster: this k separates nothing
        if best is None or score > best[0]:
            best = (score, labels, k)
    if best is None:
        raise ValueError("no number of clusters separates the trade sizes")
    return best


def _described(sizes: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], k: int) -> list[dict[str, Any]]:
    """Centre (geometric mean), share of trades and of volume; smallest first."""
    total = float(sizes.sum())
    rows = []
    for label in range(k):
        members = sizes[labels == label]
        rows.append(
            {
                "centre": round(float(np.exp(np.log(members).mean())), 2),
                "trade_share": round(len(members) / len(sizes), 4),
                "volume_share": round(float(members.sum()) / total, 4),
            }
        )
    return sorted(rows, key=lambda row: row["centre"])


def _from_volume(adv: float | None, n: int, why: str) -> Parameter:
    if adv is None:
        return Parameter(value=None, n=n, confidence=None, fallback=f"{why}; average daily volume unknown")
    value = max(1.0, float(round(adv / BUCKETS_A_DAY)))
    return Parameter(value=value, n=n, confidence=None, fallback=f"{why}: a 50th of the average day", detail={"adv": adv})
