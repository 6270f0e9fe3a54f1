"""Discovery against the sandbox's market, whose truth is known: what it was built with is found; errors are printed (-s)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from math import log, sqrt

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from alphatrader.contract.messages.market import Bar, BookEvent
from alphatrader.core.discovery.bars import returns_by_session
from alphatrader.core.discovery.bucket_size import Traded, bucket_size
from alphatrader.core.discovery.correlation import correlation
from alphatrader.core.discovery.regimes import vol_regimes
from alphatrader.core.market.book import Row, consolidate
from alphatrader.core.market.conditions import counts
from alphatrader.sandbox.market.instruments import SPECS
from alphatrader.sandbox.market.session_truth import correlation as true_correlation
from alphatrader.sandbox.market.types import Contract, Print
from alphatrader.sandbox.market.venues import MARKET_MAKERS
from tests.support.market_world import AAPL, SECOND, at, market_at
from tests.support.profiles import profiles_of

SEEDS = (7, 8)
MINUTES = 35
DIFFUSION = 0.8
"""Of a day's volatility; episodes of informed flow, which equities have, come on top (docs/truth.md)."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@cache
def two_sessions(seed: int) -> dict[str, list[Bar]]:
    """One-minute bars of the twenty instruments, as the broker's history has them; of futures the front month."""
    market = market_at(at(16), seed=seed)
    found: dict[str, list[Bar]] = {}
    for contract in market.contracts():
        name = contract.trading_class if contract.sec_type == "FUT" else contract.symbol
        if contract.sec_type in ("STK", "FUT") and name != "YM" and name not in found and _is_front(market, contract):
            bars = market.bars(contract.con_id, at(16), 2 * 86_400, 60)
            found[name] = [Bar(b.ts_ns, b.open, b.high, b.low, b.close, b.volume, b.wap, b.count) for b in bars]
    assert len(found) == 20
    return found


def _is_front(market: object, contract: Contract) -> bool:
    return market._rank(contract, market._session) == 0  # type: ignore[attr-defined]


def opened(bars: list[Bar]) -> dict[int, int]:
    """Day -> when its session opened."""
    first: dict[int, int] = {}
    for bar in bars:
        first.setdefault(bar.ts_ns // (86_400 * SECOND), bar.ts_ns)
    return first


@pytest.mark.parametrize("seed", SEEDS)
def test_one_volatility_is_found_as_one_state(seed: int) -> None:
    # given a market of one volatility a symbol, with the usual shape of a day
    states, ratios = {}, {}
    for symbol, bars in two_sessions(seed).items():
        opens = opened(bars)
        found = vol_regimes(returns_by_session(bars), lambda ts_ns, opens=opens: opens[ts_ns // (86_400 * SECOND)], seed=7)
        states[symbol] = found.value
        ratios[symbol] = found.detail["states"][0]["vol"] / (DIFFUSION * SPECS[symbol].daily_vol * sqrt(252))
    print(f"\nseed {seed}: states found {Counter(states.values())}; volatility over the diffusion's:")
    print("  " + ", ".join(f"{symbol} {ratio:.2f}" for symbol, ratio in ratios.items()))
    # then at most one of twenty is split (a chance of 5 % each would make two or more in one of four)
    assert sum(count != 1 for count in states.values()) <= 1
    # and where neither episodes nor a coarse tick add moves of their own, its volatility is found within four standard errors
    # of 154 windows of five returns: 4 / sqrt(2 * 154 * 5) = 10 %, and the mixture's own spread
    for symbol in ("GC", "CL", "DX"):
        assert ratios[symbol] == pytest.approx(1.0, abs=0.15), symbol


@pytest.mark.parametrize("seed", SEEDS)
def test_the_factors_correlation_is_found(seed: int) -> None:
    found = correlation(two_sessions(seed))
    assert len(found.symbols) == 20 and not found.left_out and found.n == 154
    truth = np.array([[true_correlation(a, b) for b in found.symbols] for a in found.symbols])
    errors = (np.array(found.matrix) - truth)[np.triu_indices(20, 1)]
    worst, rms = float(np.abs(errors).max()), float(np.sqrt((errors**2).mean()))
    print(f"\nseed {seed}: correlation errors of 190 pairs: rms {rms:.3f}, worst {worst:.3f}, shrunk by {found.shrinkage:.1%}")
    # a correlation of n returns has a standard error of at most 1/sqrt(n); episodes of the leaders add moves that are not shared
    assert rms < 1.5 / sqrt(found.n) and worst < 4.5 / sqrt(found.n)
    assert np.linalg.eigvalsh(np.array(found.matrix)).min() > -1e-6


@dataclass
class Heard:
    prints: list[Print] = field(default_factory=list)
    books: list[BookEvent] = field(default_factory=list)
    rows: list[tuple[list[Row], list[Row]]] = field(default_factory=list)


@cache
def heard() -> Heard:
    """AAPL from 10:00: every print, and its book once a second with Nasdaq's own names."""
    market, heard = market_at(at(10), depth_con_ids=(AAPL,)), Heard()
    for second in range(1, MINUTES * 60 + 1):
        ts_ns = at(10) + second * SECOND
        heard.prints += [one for one in market.step(ts_ns).prints if one.con_id == AAPL]
        book = market.book(AAPL)
        assert book is not None
        bids, asks = ([Row(r.price, r.size, r.venue, r.market_maker) for r in side] for side in (book.bids, book.asks))
        levels = consolidate(bids, descending=True), consolidate(asks, descending=False)
        heard.books.append(BookEvent(second, ts_ns, ts_ns, True, *levels, 0, 0))
        heard.rows.append((bids, asks))
    return heard


def test_the_structure_of_sizes_is_found_no_worse_than_by_kmeans() -> None:
    # given prints of which the truth is: 22 % of the lit and off-exchange ones are odd lots, under a hundred shares
    sizes = [one.size for one in heard().prints if counts(one.conditions, first_of_day=False).vpin]
    found = bucket_size(Traded(np.array(sizes, dtype=np.float64)), None, min_trades=1000, seed=7)
    clusters, k = found.detail["clusters"], found.detail["k"]
    # then K-means of scikit-learn does not do better, and its heaviest cluster gives the same bucket
    points = np.log(np.array(sizes, dtype=np.float64)).reshape(-1, 1)
    reference = KMeans(n_clusters=k, n_init=10, random_state=0).fit(points)
    assert found.detail["inertia"] <= float(reference.inertia_) * (1 + 1e-6)
    volumes = [float(np.array(sizes)[reference.labels_ == label].sum()) for label in range(k)]
    centre = float(np.exp(reference.cluster_centers_[int(np.argmax(volumes))][0]))
    assert found.value == pytest.approx(max(100, round(centre * 50 / 100) * 100), rel=0.02)
    # and the clusters under a lot hold the odd lots
    odd = sum(size < 100 for size in sizes) / len(sizes)
    small = sum(one["trade_share"] for one in clusters if one["centre"] < 100)
    print(f"\n{len(sizes)} prints, k {k} ({found.detail['method']}), inertia {found.detail['inertia']:.2f} against KMeans's")
    print(
        f"  {reference.inertia_:.2f}; odd lots {odd:.3f} in truth, {small:.3f} in clusters under a lot; bucket {found.value:,.0f}"
    )
    assert 0.15 < odd < 0.30 and small == pytest.approx(odd, abs=0.03)


def test_the_makers_are_found_with_the_interest_they_showed() -> None:
    found = profiles_of(heard().books)
    profiles = found.detail["profiles"]
    assert set(MARKET_MAKERS) <= set(profiles)
    # an independent count over the raw rows: within three ticks of the best on both sides, alone at a best, mean size
    near: Counter[str] = Counter()
    alone: defaultdict[str, float] = defaultdict(float)
    shown: defaultdict[str, list[float]] = defaultdict(list)
    for rows in heard().rows[:-1]:
        both = []
        for side in rows:
            best = side[0].price
            close = {r.market_maker or r.venue for r in side if abs(r.price - best) < 0.035}
            at_best = {r.market_maker or r.venue for r in side if abs(r.price - best) < 0.005}
            if len(at_best) == 1:
                alone[at_best.pop()] += 0.5
            for row in side:
                shown[row.market_maker or row.venue].append(row.size)
            both.append(close)
        near.update(both[0] & both[1])
    seconds = len(heard().rows) - 1
    worst = max(abs(profiles[name]["presence"] - near[name] / seconds) for name in profiles)
    print(f"\n{len(profiles)} names in {found.detail['seconds'] / 60:.0f} minutes; largest error of presence {worst:.4f}")
    for name, profile in profiles.items():
        assert profile["presence"] == pytest.approx(near[name] / seconds, abs=1e-4), name
        assert profile["alone_at_best"] == pytest.approx(alone[name] / seconds, abs=1e-4), name
        assert profile["mean_size"] == pytest.approx(sum(shown[name]) / len(shown[name]), abs=0.01), name
    # the ten firms have equal shares of the attributed rows: a chi-square of their 20-second stands would fall under this
    rows = [len(shown[name]) for name in MARKET_MAKERS]
    spread = max(abs(log(count / (sum(rows) / len(rows)))) for count in rows)
    print(f"  rows by firm, largest departure from equal shares {spread:.2f} (log)")
    assert spread < log(2.0)
