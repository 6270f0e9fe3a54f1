"""Book imbalance: each measure against its formula in exact fractions or by hand, and the edges of books."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import msgspec
import pytest

from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics import imbalance as im

BIDS = [(99.99, 300.0), (99.98, 500.0), (99.97, 200.0), (99.96, 900.0)]
ASKS = [(100.01, 100.0), (100.02, 400.0), (100.03, 700.0), (100.05, 100.0)]


def test_volume_imbalance_weighs_levels_by_exponential_decay() -> None:
    # without decay it is a plain ratio, exactly
    assert im.volume_imbalance(BIDS, ASKS, 0.0, 10) == float(Fraction(1900 - 1300, 3200))
    assert im.volume_imbalance(BIDS, ASKS, 0.0, 1) == 0.5
    # with it, by the formula
    w = [math.exp(-0.5 * i) for i in range(4)]
    b, a = sum(x * s for x, (_, s) in zip(w, BIDS, strict=True)), sum(x * s for x, (_, s) in zip(w, ASKS, strict=True))
    assert im.volume_imbalance(BIDS, ASKS, 0.5, 10) == pytest.approx((b - a) / (b + a), abs=1e-15)


def test_an_empty_side_is_all_of_the_other_and_two_empty_sides_are_nothing() -> None:
    assert im.volume_imbalance(BIDS, [], 0.5, 10) == 1.0
    assert im.volume_imbalance([], ASKS, 0.5, 10) == -1.0
    assert im.volume_imbalance([], [], 0.5, 10) is None
    assert im.pressure(BIDS, [], 0.01, 10) is None
    assert im.microprice_lean([], ASKS) is None
    assert im.slope_imbalance(BIDS, [], 10) == (None, None)


def test_pressure_weighs_by_distance_from_mid() -> None:
    bids = [(Fraction(9999, 100), 300), (Fraction(9997, 100), 200)]
    asks = [(Fraction(10001, 100), 100), (Fraction(10004, 100), 500)]
    mid, tick = Fraction(100), Fraction(1, 100)
    b = sum(size / (abs(mid - price) + tick) for price, size in bids)
    a = sum(size / (abs(price - mid) + tick) for price, size in asks)
    ours = im.pressure([(float(p), s) for p, s in bids], [(float(p), s) for p, s in asks], 0.01, 10)
    assert ours == pytest.approx(float((b - a) / (b + a)), abs=1e-9)


def test_the_microprice_leans_to_the_thin_side_and_a_locked_book_has_none() -> None:
    # micro = (100.01*300 + 99.99*100) / 400 = 100.005: half way from mid to the ask
    assert im.microprice_lean(BIDS, ASKS) == pytest.approx(0.5, abs=1e-9)
    assert im.microprice_lean([(100.0, 1.0)], [(100.0, 1.0)]) is None
    assert im.microprice_lean([(100.01, 1.0)], [(100.0, 1.0)]) is None


def test_slope_is_the_papers_and_needs_three_levels() -> None:
    mid = 100.0
    levels = [(99.99, 100.0), (99.98, 200.0), (99.96, 300.0)]
    v = [math.log(100), math.log(300), math.log(600)]
    p = [100.0, 99.99, 99.98, 99.96]
    expected = (v[0] / abs(p[1] / p[0] - 1) + sum((v[i] / v[i - 1] - 1) / abs(p[i + 1] / p[i] - 1) for i in (1, 2))) / 3
    assert im.side_slope(levels, mid) == pytest.approx(expected, rel=1e-12)
    assert im.side_slope(levels[:2], mid) is None
    # mirrored books balance
    mirrored = [(200.0 - price, size) for price, size in levels]
    lean, _ = im.slope_imbalance(levels, mirrored, 10)
    assert lean == pytest.approx(0.0, abs=1e-3)


def ofi_by_definition(quotes: list[tuple[float, float, float, float]]) -> float:
    total = 0.0
    for (pb0, qb0, pa0, qa0), (pb, qb, pa, qa) in itertools.pairwise(quotes):
        total += (pb >= pb0) * qb - (pb <= pb0) * qb0 - (pa <= pa0) * qa + (pa >= pa0) * qa0
    return total


def test_order_flow_imbalance_over_random_quotes_is_the_sum_of_its_definition() -> None:
    draw = random.Random(5)
    quotes, bid = [], 10_000
    for _ in range(300):
        bid += draw.choice((-1, 0, 0, 0, 1))
        quotes.append((bid / 100, float(draw.randint(1, 9)), (bid + draw.randint(1, 2)) / 100, float(draw.randint(1, 9))))
    ofi = im.Ofi(10**15)
    for i, quote in enumerate(quotes):
        ofi.add(i, *quote)
    over_depth, share, n = ofi.value()
    assert over_depth is not None and share is not None
    depth = sum(d for _, _, d in ofi.events) / (2 * n * im.UNITS_A_SHARE)
    assert over_depth * depth == pytest.approx(ofi_by_definition(quotes), abs=1e-9)
    assert -1 <= share <= 1


def test_the_running_sums_are_those_of_the_window_after_a_hundred_thousand_quotes() -> None:
    draw, ofi = random.Random(9), im.Ofi(50)
    for i in range(100_000):
        bid = draw.randint(9_990, 10_010) / 100
        ofi.add(i, bid, draw.randint(1, 90_000) / 10, bid + 0.01, draw.randint(1, 90_000) / 10)
    assert len(ofi.events) == 50
    assert ofi.flow == sum(e for _, e, _ in ofi.events) and ofi.gross == sum(abs(e) for _, e, _ in ofi.events)
    assert ofi.depth == sum(d for _, _, d in ofi.events)


def test_the_window_forgets_and_a_reset_skips_one_event() -> None:
    ofi = im.Ofi(10)
    ofi.add(0, 100.0, 5.0, 100.1, 5.0)
    ofi.add(1, 100.0, 9.0, 100.1, 5.0)
    assert ofi.value()[1] == 1.0
    ofi.forget(11)
    assert ofi.value() == (None, None, 0)
    ofi.reset()
    ofi.add(12, 90.0, 5.0, 90.1, 5.0)
    assert ofi.value()[2] == 0


def test_the_blend_renormalises_over_what_is_there() -> None:
    weights = {"volume": 0.3, "pressure": 0.2, "slope": 0.1, "ofi": 0.25, "micro": 0.15}
    assert im.blend(dict.fromkeys(weights, 0.4), weights) == pytest.approx(0.4)
    assert im.blend({"volume": 1.0, "slope": None, "micro": -1.0}, weights) == pytest.approx((0.3 - 0.15) / 0.45)
    assert im.blend({"volume": None}, weights) is None
    assert im.blend({}, weights) is None


@pytest.mark.parametrize(
    "weights", [{"volume": 0.9}, {"volume": 1.5, "ofi": -0.5}, {"volume": 0.5, "depth": 0.5}, {"ofi": math.nan}]
)
def test_weights_that_do_not_add_up_or_name_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError, match="obi_weights"):
        msgspec.convert({"obi_weights": weights}, Analytics)
    assert msgspec.convert({"obi_weights": {"volume": 0.7, "ofi": 0.2, "micro": 0.1}}, Analytics).obi_weights["ofi"] == 0.2


def test_smoothing_forgets_after_a_long_silence() -> None:
    smoothed = im.Smoothed(1000)
    assert smoothed.add(0, 1.0) == 1.0
    assert smoothed.add(1000, 0.0) == pytest.approx(math.exp(-1))
    assert smoothed.add(9000, 0.25) == 0.25


def test_a_smoothed_value_is_taken_anew_only_after_more_than_five_time_constants() -> None:
    smoothed = im.Smoothed(10)
    assert [smoothed.add(ts_ns, value) for ts_ns, value in ((0, 1.0), (50, 0.0), (101, 0.5))] == [
        1.0,
        pytest.approx(math.exp(-5)),
        0.5,
    ]
    assert smoothed.add(90, 9.0) == 0.5  # an older instant changes nothing
