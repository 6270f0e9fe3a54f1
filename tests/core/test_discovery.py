"""Discovery finds what was planted, and says so where there is too little to find."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from statsmodels.stats.correlation_tools import corr_nearest
from threadpoolctl import threadpool_limits

from alphatrader.contract.messages.market import Bar, BookEvent, Level, Part
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.bars import SessionReturns, average_daily_volume, returns_by_session
from alphatrader.core.discovery.bucket_size import Traded, bucket_size
from alphatrader.core.discovery.correlation import correlation, nearest
from alphatrader.core.discovery.lookback import lookback
from alphatrader.core.discovery.makers import MakerTally
from alphatrader.core.discovery.regime_filter import densities, forward, transitions
from alphatrader.core.discovery.regimes import vol_regimes
from tests.support.profiles import profiles_of


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


def session(returns: np.ndarray, start_ns: int = OPEN) -> SessionReturns:
    return SessionReturns(start_ns + np.arange(1, len(returns) + 1) * MINUTE, returns)


def opened(ts_ns: int) -> int:
    """When the session of an instant opened: every 24 hours from the first."""
    return ts_ns - (ts_ns - OPEN) % (1440 * MINUTE)


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
    found = bucket_size(Traded(sizes), 20_000_000, min_trades=1000, seed=7)
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
    assert bucket_size(Traded(sizes), adv, min_trades=1000, seed=7).value == value


def test_the_same_seed_finds_the_same() -> None:
    sizes = Traded(np.random.default_rng(3).lognormal(4, 1, 9000))
    assert bucket_size(sizes, 1e7, min_trades=1000, seed=7) == bucket_size(sizes, 1e7, min_trades=1000, seed=7)


def test_too_few_trades_fall_back_to_a_50th_of_the_day_and_without_it_to_nothing() -> None:
    found = bucket_size(Traded(np.full(999, 100.0)), 5_000_000, min_trades=1000, seed=7)
    assert (found.value, found.n, found.confidence) == (100_000, 999, None)
    assert found.fallback is not None and "999 trades" in found.fallback
    nothing = bucket_size(Traded(np.empty(0)), None, min_trades=1000, seed=7)
    assert nothing.value is None and nothing.fallback is not None


def test_trades_of_one_size_are_no_clusters() -> None:
    found = bucket_size(Traded(np.full(5000, 100.0)), 5_000_000, min_trades=1000, seed=7)
    assert found.value == 100_000 and found.fallback is not None and "distinct" in found.fallback


# -- lookback --------------------------------------------------------------------------------------------------------------


def test_the_lookback_ends_where_the_planted_memory_ends() -> None:
    # given returns that are the sum of the last twelve shocks: correlated up to lag 11 and not beyond
    shocks = np.random.default_rng(4).normal(size=4000)
    returns = np.convolve(shocks, np.ones(12), mode="valid")
    found = lookback([session(returns)])
    assert found.fallback is None
    assert found.detail["signed"] in range(10, 16)
    assert found.value == max(found.detail["signed"], found.detail["size"])
    assert found.confidence is not None and found.confidence > 0.5


def test_white_noise_has_no_memory_and_gets_the_default() -> None:
    found = lookback([session(np.random.default_rng(11).normal(size=3000))])
    assert found.fallback is None or "default" in found.fallback
    assert found.value is not None and 5 <= found.value <= 20


def test_calm_and_wild_spells_show_in_the_size_of_returns() -> None:
    rng = np.random.default_rng(6)
    spells = np.repeat(rng.choice([0.2, 2.0], size=200), 20)
    found = lookback([session(rng.normal(size=4000) * spells)])
    assert found.detail["size"] >= 8 > found.detail["signed"]
    assert found.value == found.detail["size"]


@pytest.mark.parametrize("returns", [[], [np.zeros(50)], [np.zeros(5000)]])
def test_too_few_or_still_returns_get_the_default_and_say_so(returns: list[np.ndarray]) -> None:
    found = lookback([session(one) for one in returns])
    assert found.value == 20 and found.fallback is not None and "default" in found.fallback


# -- regimes ---------------------------------------------------------------------------------------------------------------


def planted(vols: list[float], seed: int) -> np.ndarray:
    """Returns whose yearly volatility changes every hour between `vols`."""
    rng = np.random.default_rng(seed)
    hourly = np.repeat(rng.permutation(np.resize(vols, 26)), 60)
    return rng.normal(size=len(hourly)) * hourly / np.sqrt(252 * 390)


def test_two_planted_volatilities_are_found_calm_first() -> None:
    returns = planted([0.1, 0.6], 1)
    found = vol_regimes([session(returns)], opened, seed=7)
    assert found.value == 2
    assert [state["vol"] for state in found.detail["states"]] == pytest.approx([0.1, 0.6], rel=0.1)
    assert [state["weight"] for state in found.detail["states"]] == pytest.approx([0.5, 0.5], abs=0.1)
    (bound,) = found.detail["bounds_vol"]
    assert 0.12 < bound < 0.45
    assert found.confidence is not None and found.confidence > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_one_volatility_is_one_state(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(size=1560) * 0.2 / np.sqrt(252 * 390)
    found = vol_regimes([session(returns)], opened, seed=7)
    assert found.value == 1 and found.confidence is not None and found.confidence > 0.5 and found.detail["bounds_vol"] == []
    assert found.detail["states"][0]["vol"] == pytest.approx(0.2, rel=0.05)


def shaped(rng: np.random.Generator, vols: list[float]) -> list[SessionReturns]:
    """Sessions whose volatility is twice as high at the open as at noon, every day; each of `vols` holds a session long."""
    x = np.linspace(0.0, 1.0, 390)
    shape = np.exp(1.1 * (x - 0.55) ** 2 * 2)
    days = [rng.normal(size=390) * vol * shape / shape.mean() / np.sqrt(252 * 390) for vol in vols]
    return [session(day, OPEN + i * 1440 * MINUTE) for i, day in enumerate(days)]


@pytest.mark.parametrize("seed", range(6))
def test_the_shape_of_every_day_is_no_state(seed: int) -> None:
    assert vol_regimes(shaped(np.random.default_rng(seed), [0.2] * 4), opened, seed=7).value == 1


def test_a_wild_day_among_shaped_days_is_a_state() -> None:
    found = vol_regimes(shaped(np.random.default_rng(3), [0.1, 0.1, 0.5, 0.1]), opened, seed=7)
    assert found.value == 2
    assert [state["weight"] for state in found.detail["states"]] == pytest.approx([0.75, 0.25], abs=0.05)


def chain(rng: np.random.Generator, stay: tuple[float, float], n: int) -> np.ndarray:
    """States of a two-state Markov chain."""
    states = [0]
    for draw in rng.random(n - 1):
        states.append(states[-1] if draw < stay[states[-1]] else 1 - states[-1])
    return np.array(states)


def test_the_filter_learns_how_states_follow_and_tells_the_present_one() -> None:
    # given five-minute windows whose state changes by a chain with known odds
    rng = np.random.default_rng(12)
    stay, vols, days, windows = (0.96, 0.85), np.array([0.12, 0.5]), 12, 78
    states = chain(rng, stay, days * windows).reshape(days, windows)
    returns = [rng.normal(size=390) * np.repeat(vols[day], 5) / np.sqrt(252 * 390) for day in states]
    found = vol_regimes([session(day, OPEN + i * 1440 * MINUTE) for i, day in enumerate(returns)], opened, seed=7)
    live = found.detail["filter"]
    matrix = np.array(live["transitions"])
    # then the odds are found within three standard errors of such a count, and rows are probabilities
    visits = [(states[:, :-1] == state).sum() for state in (0, 1)]
    errors = [3 * np.sqrt(p * (1 - p) / n) + 0.02 for p, n in zip(stay, visits, strict=True)]
    assert np.abs(np.diag(matrix) - stay) == pytest.approx(np.zeros(2), abs=max(errors))
    assert matrix.sum(axis=1) == pytest.approx(np.ones(2), abs=1e-5) and matrix.min() > 0.0
    # and run forward, with nothing of the future, the filter is right more often than each window by itself
    means, spreads = np.array(live["means"]), np.sqrt(live["variances"])
    right = alone = 0
    for day, truth in zip(returns, states, strict=True):
        belief = np.array(live["first"])
        for w, state in enumerate(truth):
            x = min(w * 5 / 390, 1.0)
            shape = np.exp(np.dot(live["day_shape"], [1.0, x, x * x]))
            root = np.cbrt((day[w * 5 : w * 5 + 5] ** 2).mean() * 252 * 390) / shape
            alone += int(np.argmax(densities(np.array([root]), means, spreads)[0]) == state)
            belief = forward(belief, root, means, spreads, matrix)
            right += int(np.argmax(belief) == state)
    assert belief.sum() == pytest.approx(1.0)
    assert right > alone and right / states.size > 0.95


def test_transitions_are_those_of_counting_where_states_are_plain() -> None:
    # given states so far apart that each window tells its own: then the odds are counts, with one more window of each row
    states = chain(np.random.default_rng(5), (0.9, 0.7), 400)
    points = np.where(states == 0, 1.0, 5.0)
    found = transitions([points], np.array([1.0, 5.0]), np.array([0.1, 0.1]), np.array([0.5, 0.5]))
    counts = np.full((2, 2), 0.5)
    np.add.at(counts, (states[:-1], states[1:]), 1.0)
    assert found == pytest.approx(counts / counts.sum(axis=1, keepdims=True), abs=1e-6)


def test_too_few_windows_are_no_regimes() -> None:
    found = vol_regimes([session(np.full(5 * 59, 0.001))], opened, seed=7)
    assert found.value is None and found.n == 59 and found.fallback is not None


# -- correlation -----------------------------------------------------------------------------------------------------------


def test_the_nearest_correlation_matrix_is_highams_and_no_worse_than_statsmodels() -> None:
    # given the example of Higham's paper of 2002, whose nearest matrix it prints
    broken = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    found = nearest(broken)
    assert found == pytest.approx(np.array([[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]]), abs=1e-4)
    # and indefinite matrices of twenty symbols: definite after rounding too, and not farther off than the library's
    for seed in range(5):
        draw = np.random.default_rng(seed)
        other = draw.uniform(-1, 1, (20, 20))
        other = np.triu(other, 1) + np.triu(other, 1).T + np.eye(20)
        found = nearest(other)
        assert np.linalg.eigvalsh(other)[0] < -1 and np.linalg.eigvalsh(np.round(found, 6))[0] >= 0
        assert np.abs(np.diag(found) - 1).max() < 1e-12 and np.abs(found).max() <= 1 + 1e-12
        theirs = corr_nearest(other, threshold=1e-15, n_fact=200)
        assert np.linalg.norm(found - other) <= np.linalg.norm(theirs - other) * (1 + 1e-4)
    # while one that is a correlation matrix stays as it is
    assert (nearest(np.array([[1.0, 0.5], [0.5, 1.0]])) == np.array([[1.0, 0.5], [0.5, 1.0]])).all()


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
    found = profiles_of(books)
    assert found.value == 3 and found.fallback is None
    profiles = found.detail["profiles"]
    assert profiles["CDRG"]["presence"] == 1.0 and profiles["CDRG"]["alone_at_best"] == 1.0
    assert profiles["CDRG"]["two_sided"] == 1.0 and profiles["CDRG"]["mean_size"] == 300.0
    assert profiles["NITE"]["presence"] == 0.0
    assert profiles["JNST"]["presence"] == 0.0 and profiles["JNST"]["two_sided"] == 0.0
    assert profiles["CDRG"]["refreshes_a_second"] < 0.01


def test_several_at_one_price_are_told_apart_and_a_gap_is_not_watched_time() -> None:
    # given books whose best bid is two makers', consolidated as the feed does it, with half an hour's hole in the middle
    parts = (Part("NASDAQ", 300.0, "CDRG"), Part("NASDAQ", 100.0, "NITE"))
    shared = (Level(100.0, 400.0, "NASDAQ", "CDRG,NITE", parts),)
    asks = (Level(100.01, 200.0, "NASDAQ", "CDRG"),)
    instants = [*range(1000), *range(2800, 3800)]
    found = profiles_of(BookEvent(1, OPEN + s * 10**9, OPEN, True, shared, asks, 0, 0) for s in instants)
    # then each has a profile of its own, nobody is alone at the bid, and the hole counts as a feed gone quiet: five seconds
    profiles = found.detail["profiles"]
    assert set(profiles) == {"CDRG", "NITE"}
    assert profiles["CDRG"] == profiles["CDRG"] | {"presence": 1.0, "mean_size": 250.0, "alone_at_best": 0.5}
    assert profiles["NITE"] == profiles["NITE"] | {"presence": 0.0, "mean_size": 100.0, "two_sided": 0.0}
    assert found.detail["seconds"] == 999 + 999 + 5
    assert (found.from_ns, found.to_ns) == (OPEN, OPEN + 3799 * 10**9)


def test_the_sample_ends_with_its_last_book_where_a_gap_follows_it() -> None:
    tally = MakerTally()
    for second in range(1900):
        tally.add(book(second, [(100.0, 300.0, "CDRG")], [(100.01, 300.0, "CDRG")]))
    tally.broken()
    found = tally.profiles()
    assert (found.from_ns, found.to_ns) == (OPEN, OPEN + 1899 * 10**9)


def test_under_half_an_hour_of_depth_there_is_no_profile() -> None:
    short = [book(i, [(100.0, 1.0, "CDRG")], [(100.1, 1.0, "CDRG")]) for i in range(600)]
    found = profiles_of(short)
    assert found.value is None and found.fallback is not None and "10 min of" in found.fallback
    assert profiles_of([]).value is None


# -- small parts ------------------------------------------------------------------------------------------------------------


def test_returns_leave_out_the_night_bad_prices_and_what_goes_over_missing_bars() -> None:
    series = bars_of(np.full(20, 0.01), per_session=10)
    broken = [*series[:3], Bar(series[3].ts_ns, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0), *series[4:]]
    assert [len(part.returns) for part in returns_by_session(series)] == [9, 9]
    assert [len(part.returns) for part in returns_by_session(broken)] == [7, 9]


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
