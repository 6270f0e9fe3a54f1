"""A jump waits for a second night or a yes; everything else takes effect at once, and each change says why."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.found import Found, Matrix
from alphatrader.core.discovery.jumps import Limits, accept, candidates, settle

LIMITS = Limits(share=0.5, correlation=0.3)
MONDAY, TUESDAY, WEDNESDAY = "2026-11-23", "2026-11-24", "2026-11-25"


def measured(value: float, **more: object) -> Parameter:
    return Parameter(value=value, n=5000, confidence=0.8, fallback=None, **more)  # type: ignore[arg-type]


def matrix(rho: float, *, symbols: tuple[str, ...] = ("SPY", "QQQ"), fallback: str | None = None) -> Matrix:
    rows = tuple(tuple(1.0 if a == b else rho for b in symbols) for a in symbols)
    return Matrix(symbols, rows, 150, fallback, 0.9, None if fallback == "seed" else 1, None if fallback == "seed" else 2)


def found(size: Parameter, *, regimes: Parameter | None = None, rho: Matrix | None = None) -> Found:
    return Found(
        as_of_ns=1,
        with_history=("SPY",),
        vpin_bucket_size={"SPY": size},
        lookback_bars={},
        mm_profiles={},
        vol_regimes={"SPY": regimes} if regimes else {},
        correlation_matrix=rho or matrix(0.5),
    )


def size(what: Found) -> float | None:
    return what.vpin_bucket_size["SPY"].value


def test_a_small_change_takes_effect_at_once_and_says_why() -> None:
    settled, (change,) = settle(found(measured(1000)), found(measured(1400)), LIMITS, MONDAY)
    assert size(settled) == 1400 and settled.waiting == ()
    assert change.took_effect
    assert (change.before, change.after, change.why) == ("1,000 a bucket", "1,400 a bucket", "from 5,000 data, confidence 0.80")


def test_a_jump_waits_and_a_second_night_that_finds_it_again_lets_it_through() -> None:
    # given a size in effect, and a night that finds another by far
    first, (held,) = settle(found(measured(1000)), found(measured(4000)), LIMITS, MONDAY)
    assert size(first) == 1000 and not held.took_effect and "4.00 times what it was" in held.why
    (shown,) = candidates(first).waiting
    assert (shown.symbol, shown.night, shown.now_in_effect, shown.found) == ("SPY", MONDAY, "1,000 a bucket", "4,000 a bucket")
    # when the same night is computed once more, then it still waits; and the next night, about the same, lets it through
    again, _ = settle(first, found(measured(4100)), LIMITS, MONDAY)
    assert size(again) == 1000 and again.waiting[0].night == MONDAY
    second, (took,) = settle(again, found(measured(4200)), LIMITS, TUESDAY)
    assert size(second) == 4200 and second.waiting == ()
    assert took.took_effect and f"found on {MONDAY}, too" in took.why


def test_a_jump_elsewhere_begins_to_wait_anew_and_one_that_was_a_mistake_is_forgotten() -> None:
    first, _ = settle(found(measured(1000)), found(measured(4000)), LIMITS, MONDAY)
    elsewhere, _ = settle(first, found(measured(100)), LIMITS, TUESDAY)
    assert size(elsewhere) == 1000 and (elsewhere.waiting[0].night, elsewhere.waiting[0].value.value) == (TUESDAY, 100)
    back, _ = settle(elsewhere, found(measured(1010)), LIMITS, WEDNESDAY)
    assert size(back) == 1010 and back.waiting == ()


def test_a_night_without_data_keeps_the_value_and_what_waits() -> None:
    first, _ = settle(found(measured(1000)), found(measured(4000)), LIMITS, MONDAY)
    short = Parameter(value=None, n=3, confidence=None, fallback="3 trades")
    night, changes = settle(first, found(short), LIMITS, TUESDAY)
    assert size(night) == 1000 and len(night.waiting) == 1 and changes == ()
    third, _ = settle(night, found(measured(4000)), LIMITS, WEDNESDAY)
    assert size(third) == 4000


@pytest.mark.parametrize("before", ["seed", "2 trades, 1000 are needed: a 50th of the average day"])
def test_what_was_never_measured_is_no_yesterday(before: str) -> None:
    old = Parameter(value=1000, n=0, confidence=None, fallback=before)
    settled, (change,) = settle(found(old), found(measured(9000)), LIMITS, MONDAY)
    assert size(settled) == 9000 and change.why == "measured for the first time"


def test_another_number_of_states_or_a_wilder_state_is_a_jump() -> None:
    def states(*vols: float) -> Parameter:
        return measured(len(vols), detail={"states": [{"vol": vol} for vol in vols]})

    calm = found(measured(1), regimes=states(0.1, 0.3))
    for other, why in ((states(0.1), "2 states became 1"), (states(0.1, 0.6), "2.00 times")):
        settled, (change,) = settle(calm, found(measured(1), regimes=other), LIMITS, MONDAY)
        assert settled.vol_regimes == calm.vol_regimes and why in change.why
    settled, (change,) = settle(calm, found(measured(1), regimes=states(0.12, 0.35)), LIMITS, MONDAY)
    assert settled.vol_regimes["SPY"].detail["states"][1]["vol"] == 0.35 and change.after == "2 states (12%, 35% a year)"


def test_a_correlation_that_moved_far_waits_with_the_whole_matrix() -> None:
    one = measured(1)
    held, (change,) = settle(found(one), found(one, rho=matrix(0.9)), LIMITS, MONDAY)
    assert held.correlation_matrix == matrix(0.5) and "SPY" in change.why and "from 0.50 to 0.90" in change.why
    took, _ = settle(held, found(one, rho=matrix(0.88)), LIMITS, TUESDAY)
    assert took.correlation_matrix == matrix(0.88) and took.waiting == ()
    # a symbol must not drop out overnight either, and a first measurement after the seed is no jump
    lost, (change,) = settle(found(one), found(one, rho=matrix(0.5, symbols=("SPY",))), LIMITS, MONDAY)
    assert len(lost.correlation_matrix.symbols) == 2 and "QQQ would be lost" in change.why
    first, _ = settle(found(one, rho=matrix(0.1, fallback="seed")), found(one, rho=matrix(0.9)), LIMITS, MONDAY)
    assert first.correlation_matrix == matrix(0.9)


def test_a_yes_lets_one_symbol_or_all_through_and_the_file_keeps_what_waits() -> None:
    first, _ = settle(found(measured(1000)), found(measured(4000), rho=matrix(0.9)), LIMITS, MONDAY)
    assert files.parse(files.render(first)) == first
    one, (change,) = accept(first, "SPY")
    assert size(one) == 4000 and [waits.parameter for waits in one.waiting] == ["correlation_matrix"]
    assert change.took_effect and "accepted by a person" in change.why
    everything, changes = accept(first, None)
    assert everything.waiting == () and everything.correlation_matrix == matrix(0.9) and len(changes) == 2
    assert accept(everything, None) == (everything, ())


def test_a_run_of_one_symbol_leaves_the_others_and_what_they_wait_for() -> None:
    first, _ = settle(found(measured(1000)), found(measured(4000), rho=matrix(0.9)), LIMITS, MONDAY)
    tonight = msgspec.structs.replace(first, waiting=())
    settled, changes = settle(first, tonight, LIMITS, TUESDAY, frozenset({"QQQ"}))
    assert settled == first and changes == ()


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=12))
def test_whatever_the_nights_find_one_night_never_moves_a_value_further_than_the_limit(values: list[float]) -> None:
    present = found(measured(1000.0))
    for number, value in enumerate(values):
        before = size(present)
        waited = bool(present.waiting)
        present, _ = settle(present, found(measured(value)), LIMITS, f"2026-12-{number + 1:02d}")
        after = size(present)
        assert before is not None and after is not None
        if not waited:
            assert before / 1.5 - 1e-6 <= after <= before * 1.5 + 1e-6
        assert after in (before, value)
