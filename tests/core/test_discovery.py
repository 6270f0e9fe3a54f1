"""Discovery finds what was planted, and says so where there is too little to find."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from alphatrader.contract.messages.market import Bar, BookEvent, Level
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.bars import average_daily_volume, returns_by_session
from alphatrader.core.discovery.bucket_size import bucket_size
from alphatrader.core.discovery.correlation import correlation
from alphatrader.core.discovery.lookback import lookback
from alphatrader.core.discovery.makers import maker_profiles
from alphatrader.core.discovery.regimes import vol_regimes


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the task runs them: these problems are tiny."""
    with threadpool_limits(1):
        yield


MINUTE = 60 * 10**9
OPEN = 1_795_444_200 * 10**9  # Monday 2026-11-23, 09:30 in New York
NIGHT = 1050 * MINUTE


def bars_of(returns: np.ndarray, *, start_ns: int = OPEN, per_session: int = 390, price: float = 100.0) -> list[Bar]:
    """One-minute bars whose closes follow `returns`, in sessions with a night between."""
    prices = price * np.exp(np.cumsum(returns))
    stamps = [start_ns + i * MINUTE + (i // per_session) * NIGHT for i in range(len(prices))]
    return [Bar(ts, p, p, p, p, 1000.0, p, 10) for ts, p in zip(stamps, prices.tolist(), strict=True)]


# -- bucket size -----------------------------------------------------------------------------------------------------------


def test_the_bucket_holds_fifty_trades_of_the_cluster_that_carries_the_volume() -> None:
    # given odd lots, round lots and blocks, of which the blocks near 5,000 carry most of the volume
    rng = np.random.default_rng(1)
    odd, round_lots, blocks = (
        rng.lognormal(np.log(10), 0.2, 3000),
        rng.lognormal(np.log(200), 0.2, 2500),
        rng.lognormal(np.log(5000), 0.2, 700),
    )
    sizes = rng.permutation(np.concatenate([odd, round_lots, blocks]))
    # when the size of a bucket is asked for
    found = bucket_size(sizes.tolist(), 20_000_000, min_trades=1000, seed=7)
    # then the planted clusters are found within a tenth, and the bucket is fifty of the heaviest
    assert found.detail["k"] == 3
    assert [cluster["centre"] for cluster in found.detail["clusters"]] == pytest.approx([10, 200, 5000], rel=0.1)
    assert found.value == pytest.approx(250_000, rel=0.1)
    assert found.value % 100 == 0
    assert (found.n, found.fallback) == (6200, None)
    assert found.confidence is not None and found.confidence > 0.7
    assert found.detail["adv_over_50"] == 400_000


@pytest.mark.parametrize(("adv", "value"), [(100_000_000, 500_000), (1_000_000, 50_000)])
def test_the_bucket_stays_between_a_200th_and_a_20th_of_the_day(adv: float, value: float) -> None:
    rng = np.random.default_rng(2)
    sizes = np.concatenate([rng.lognormal(np.log(10), 0.2, 2000), rng.lognormal(np.log(2000), 0.2, 2000)])
    assert bucket_size(sizes.tolist(), adv, min_trades=1000, seed=7).value == value


def test_the_same_seed_finds_the_same() -> None:
    sizes = np.random.default_rng(3).lognormal(4, 1, 9000).tolist()
    assert bucket_size(sizes, 1e7, min_trades=1000, seed=7) == bucket_size(sizes, 1e7, min_trades=1000, seed=7)


def test_too_few_trades_fall_back_to_a_50th_of_the_day_and_without_it_to_nothing() -> None:
    found = bucket_size([100.0] * 999, 5_000_000, min_trades=1000, seed=7)
    assert (found.value, found.n, found.confidence) == (100_000, 999, None)
    assert found.fallback is not None and "999 trades" in found.fallback
    nothing = bucket_size([], None, min_trades=1000, seed=7)
    assert nothing.value is None and nothing.fallback is not None


def test_trades_of_one_size_are_no_clusters() -> None:
    found = bucket_size([100.0] * 5000, 5_000_000, min_trades=1000, seed=7)
    assert found.value == 100_000 and found.fallback is not None and "distinct" in found.fallback


# -- lookback --------------------------------------------------------------------------------------------------------------


def test_the_lookback_ends_where_the_planted_memory_ends() -> None:
    # given returns that are the sum of the last twelve shocks: correlated up to lag 11 and not beyond
    shocks = np.random.default_rng(4).normal(size=4000)
    returns = np.convolve(shocks, np.ones(12), mode="valid")
    found = lookback([returns])
    assert found.fallback is None
    assert found.detail["signed"] in range(10, 16)
    assert found.value == max(found.detail["signed"], found.detail["size"])
    assert found.confidence is not None and found.confidence > 0.5


def test_white_noise_has_no_memory_and_gets_the_default() -> None:
    found = lookback([np.random.default_rng(11).normal(size=3000)])
    assert found.fallback is None or "default" in found.fallback
    assert found.value is not None and 5 <= found.value <= 20


def test_calm_and_wild_spells_show_in_the_size_of_returns() -> None:
    rng = np.random.default_rng(6)
    spells = np.repeat(rng.choice([0.2, 2.0], size=200), 20)
    found = lookback([rng.normal(size=4000) * spells])
    assert found.detail["size"] >= 8 > found.detail["signed"]
    assert found.value == found.detail["size"]


@pytest.mark.parametrize("returns", [[], [np.zeros(50)], [np.zeros(5000)]])
def test_too_few_or_still_returns_get_the_default_and_say_so(returns: list[np.ndarray]) -> None:
    found = lookback(returns)
    assert found.value == 20 and found.fallback is not None and "default" in found.fallback


# -- regimes ---------------------------------------------------------------------------------------------------------------


def planted(vols: list[float], seed: int) -> np.ndarray:
    """Returns whose yearly volatility changes every hour between `vols`."""
    rng = np.random.default_rng(seed)
    hourly = np.repeat(rng.permutation(np.resize(vols, 26)), 60)
    return rng.normal(size=len(hourly)) * hourly / np.sqrt(252 * 390)


def test_two_planted_volatilities_are_found_calm_first() -> None:
    returns = planted([0.1, 0.6], 1)
    found = vol_regimes([returns], seed=7)
    assert found.value == 2
    assert [state["vol"] for state in found.detail["states"]] == pytest.approx([0.1, 0.6], rel=0.1)
    assert [state["weight"] for state in found.detail["states"]] == pytest.approx([0.5, 0.5], abs=0.1)
    (bound,) = found.detail["bounds_vol"]
    assert 0.12 < bound < 0.45
    assert found.confidence is not None and found.confidence > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_one_volatility_is_one_state(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(size=1560) * 0.2 / np.sqrt(252 * 390)
    found = vol_regimes([returns], seed=7)
    assert found.value == 1 and found.confidence is None and found.detail["bounds_vol"] == []
    assert found.detail["states"][0]["vol"] == pytest.approx(0.2, rel=0.05)


def test_too_few_windows_are_no_regimes() -> None:
    found = vol_regimes([np.full(5 * 59, 0.001)], seed=7)
    assert found.value is None and found.n == 59 and found.fallback is not None


# -- correlation -----------------------------------------------------------------------------------------------------------


def test_planted_correlations_are_found_and_the_matrix_is_positive_semidefinite() -> None:
    # given three symbols with correlations 0.9, 0.3 and 0.1, over eight sessions
    rng = np.random.default_rng(8)
    truth = np.array([[1.0, 0.9, 0.3], [0.9, 1.0, 0.1], [0.3, 0.1, 1.0]])
    draws = rng.multivariate_normal(np.zeros(3), truth, size=390 * 8) * 0.0004
    series = {name: bars_of(draws[:, i]) for i, name in enumerate(("A", "B", "C"))}
    found = correlation(series)
    # then each is within three standard errors, and no combination has a negative variance
    assert found.symbols == ("A", "B", "C") and not found.left_out
    assert found.n == 8 * 77
    matrix = np.array(found.matrix)
    assert np.abs(matrix - truth).max() < 3.0 / np.sqrt(found.n)
    assert np.linalg.eigvalsh(matrix).min() >= 0.0
    assert np.array_equal(np.diag(matrix), np.ones(3))


def test_a_symbol_without_enough_shared_windows_is_left_out_and_named() -> None:
    rng = np.random.default_rng(9)
    long, other = bars_of(rng.normal(size=780) * 1e-3), bars_of(rng.normal(size=780) * 1e-3)
    short = bars_of(rng.normal(size=100) * 1e-3)
    elsewhere = bars_of(rng.normal(size=780) * 1e-3, start_ns=OPEN - 30 * 24 * 60 * MINUTE)
    still = bars_of(np.zeros(780))
    found = correlation({"A": long, "S": short, "E": elsewhere, "B": other, "Z": still, "N": []})
    assert found.symbols == ("A", "B")
    assert set(found.left_out) == {"S", "E", "Z", "N"}


def test_more_symbols_than_returns_still_give_a_valid_matrix() -> None:
    rng = np.random.default_rng(10)
    common = rng.normal(size=400)
    series = {f"S{i}": bars_of((common + rng.normal(size=400)) * 1e-3) for i in range(90)}
    matrix = np.array(correlation(series).matrix)
    assert matrix.shape == (90, 90)
    assert np.linalg.eigvalsh(matrix).min() > -1e-6


# -- makers ----------------------------------------------------------------------------------------------------------------


def book(second: float, bids: list[tuple[float, float, str]], asks: list[tuple[float, float, str]]) -> BookEvent:
    def side(rows: list[tuple[float, float, str]]) -> tuple[Level, ...]:
        return tuple(Level(price, size, "NASDAQ", name) for price, size, name in rows)

    ts_ns = OPEN + int(second * 1e9)
    return BookEvent(1, ts_ns, ts_ns, True, side(bids), side(asks), 0, 0)


def test_profiles_say_who_shows_interest_where() -> None:
    # given half an hour in which CDRG stands at both bests, NITE far away, and JNST only bids in half of the books
    books = []
    for i in range(1900):
        bids = [(100.0, 300.0, "CDRG"), (99.5, 100.0, "NITE")]
        if i % 2:
            bids.insert(1, (99.99, 200.0, "JNST"))
        books.append(book(i, bids, [(100.01, 300.0, "CDRG"), (100.5, 100.0, "NITE")]))
    found = maker_profiles(books)
    assert found.value == 3 and found.fallback is None
    profiles = found.detail["profiles"]
    assert profiles["CDRG"]["presence"] == 1.0 and profiles["CDRG"]["alone_at_best"] == 1.0
    assert profiles["CDRG"]["two_sided"] == 1.0 and profiles["CDRG"]["mean_size"] == 300.0
    assert profiles["NITE"]["presence"] == 0.0
    assert profiles["JNST"]["presence"] == 0.0 and profiles["JNST"]["two_sided"] == 0.0
    assert profiles["CDRG"]["refreshes_a_second"] < 0.01


def test_under_half_an_hour_of_depth_there_is_no_profile() -> None:
    short = [book(i, [(100.0, 1.0, "CDRG")], [(100.1, 1.0, "CDRG")]) for i in range(600)]
    found = maker_profiles(short)
    assert found.value is None and found.fallback is not None and "10 minutes" in found.fallback
    assert maker_profiles([]).value is None


# -- small parts ------------------------------------------------------------------------------------------------------------


def test_returns_leave_out_the_night_and_bad_prices() -> None:
    series = bars_of(np.full(20, 0.01), per_session=10)
    broken = [*series[:3], Bar(series[3].ts_ns, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0), *series[4:]]
    assert [len(part) for part in returns_by_session(series)] == [9, 9]
    assert [len(part) for part in returns_by_session(broken)] == [8, 9]


def test_average_volume_is_of_the_last_days_that_traded() -> None:
    days = [Bar(i, 1.0, 1.0, 1.0, 1.0, volume, 1.0, 1) for i, volume in enumerate((9e9, 100.0, 0.0, 300.0))]
    assert average_daily_volume(days, 2) == 200.0
    assert average_daily_volume([], 2) is None


def parameter(value: float | None, n: int, fallback: str | None) -> Parameter:
    return Parameter(value=value, n=n, confidence=None, fallback=fallback)


def test_a_fallback_on_fewer_data_does_not_replace_what_was_measured() -> None:
    measured, short, none = parameter(5, 9000, None), parameter(7, 10, "10 trades"), parameter(None, 0, "no trades")
    assert files.kept(measured, short).value == 5
    again = files.kept(files.kept(measured, short), none)
    assert again.value == 5 and again.fallback == "kept from an earlier run; no trades"
    seed = parameter(3, 0, "seed")
    assert files.kept(seed, short) == short
    assert files.kept(seed, none).fallback == "seed; no trades"
    assert files.kept(measured, parameter(6, 8000, None)).value == 6
    assert files.kept(None, none) == none
