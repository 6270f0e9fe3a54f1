"""The state of volatility: the forward filter against a sum over all paths, its hysteresis, its reasons, and restarts."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import msgspec
import numpy as np
import pytest

from alphatrader.contract.messages.market import Bar, Trade
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.symbol import VERSION, checkpoint, restored
from alphatrader.core.analytics.vol_state import ENTER, LEAVE, MINUTE_NS, NOT_DISCOVERED, ONE_STATE, VolState, filter_of
from alphatrader.core.discovery.bars import returns_by_session
from alphatrader.core.discovery.regimes import vol_regimes

OPEN_NS = 1_795_012_200_000_000_000
CALM, WILD = 0.0003, 0.0012
DETAIL: dict[str, Any] = {
    "states": [{"vol": 0.1}, {"vol": 0.3}, {"vol": 0.6}],
    "window_minutes": 5,
    "filter": {
        "means": [0.2, 0.4, 0.65],
        "variances": [0.004, 0.01, 0.02],
        "first": [0.5, 0.3, 0.2],
        "transitions": [[0.9, 0.08, 0.02], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8]],
        "day_shape": [0.1, -0.5, 0.4],
    },
}


def parameter(detail: dict[str, Any] = DETAIL, value: float | None = 3.0) -> Parameter:
    return Parameter(value, 500, 0.9, None if value is not None else "12 five-minute windows, 60 are needed", detail)


def changed(**filter_: Any) -> Parameter:
    return parameter(DETAIL | {"filter": DETAIL["filter"] | filter_})


def minutes_of(sigmas: list[float], seed: int) -> list[tuple[int, float, float, float, float]]:
    """One finished minute more than there are sigmas: changes of these deviations."""
    draw = random.Random(seed)
    price, out = 600.0, [(OPEN_NS, 600.0, 600.0, 600.0, 600.0)]
    for i, sigma in enumerate(sigmas):
        price *= math.exp(draw.gauss(0.0, sigma))
        out.append((OPEN_NS + (i + 1) * MINUTE_NS, price, price, price, price))
    return out


def over_all_paths(bars: list[tuple[int, float, float, float, float]], detail: dict[str, Any]) -> list[float]:
    """P(state | all windows so far) from its definition: the weight of every path of states, none of them left out."""
    told, points = detail["filter"], []
    a, b, c = told["day_shape"]
    for first in range(0, len(bars) - 5, 5):
        changes = [math.log(bars[i + 1][4] / bars[i][4]) for i in range(first, first + 5)]
        x = (first + 1) / 390
        yearly = sum(change**2 for change in changes) / 5 * 252 * 390
        points.append(yearly ** (1 / 3) / math.exp(a + b * x + c * x**2))
    k = len(told["means"])
    ends = [0.0] * k
    for path in itertools.product(range(k), repeat=len(points)):
        weight = told["first"][path[0]]
        for before, after in itertools.pairwise(path):
            weight *= told["transitions"][before][after]
        for state, point in zip(path, points, strict=True):
            variance = told["variances"][state]
            weight *= math.exp(-((point - told["means"][state]) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        ends[path[-1]] += weight
    return [end / sum(ends) for end in ends]


@pytest.mark.parametrize("seed", range(6))
def test_the_filter_is_the_sum_over_every_path_of_states(seed: int) -> None:
    by, _ = filter_of(parameter())
    assert by is not None
    sigmas = [random.Random(seed + 100).choice((CALM, WILD)) for _ in range(8) for _ in range(5)]
    bars = minutes_of(sigmas, seed)
    for n in range(6, len(bars) + 1):
        # told minute by minute, or all at once after a start in the middle of the day
        held, late = VolState(), VolState()
        for upto in range(1, n + 1):
            held.advance(by, bars[:upto], OPEN_NS)
        late.advance(by, bars[:n], OPEN_NS)
        assert held.likely == late.likely == pytest.approx(over_all_paths(bars[:n], DETAIL), rel=1e-9)


def test_a_window_in_which_nothing_moved_says_nothing() -> None:
    by, _ = filter_of(parameter())
    assert by is not None
    moving, state, still = minutes_of([WILD] * 5, 1), VolState(), VolState()
    state.advance(by, moving, OPEN_NS)
    last = moving[-1]
    still.advance(by, moving + [(last[0] + (i + 1) * MINUTE_NS, *last[1:]) for i in range(5)], OPEN_NS)
    assert still.likely == state.likely and (still.windows, still.folded) == (1, 10)


def test_minutes_without_a_print_are_skipped_as_in_discovery() -> None:
    """The change over a halt belongs to no window; the windows are of the one-minute changes around it."""
    found, _ = filter_of(parameter())
    assert found is not None
    before = minutes_of([CALM] * 7, 1)
    after = [(start + 15 * MINUTE_NS, *(1.05 * price for price in prices)) for start, *prices in minutes_of([CALM] * 8, 2)]
    halted = VolState()
    halted.advance(found, [*before, *after], OPEN_NS)  # type: ignore[list-item]
    history = [Bar(bar[0], bar[4], bar[4], bar[4], bar[4], 1.0, bar[4], 1) for bar in (*before, *after)]
    (session,) = returns_by_session(history)
    assert halted.windows == 3 and len(session.returns) == 15 and float(np.abs(session.returns).max()) < 0.01
    likely = np.array(found.first)
    for i, square in enumerate((session.returns.reshape(3, 5) ** 2).mean(axis=1).tolist()):
        x = (int(session.stamps[5 * i]) - OPEN_NS) / MINUTE_NS / 390
        a, b, c = found.day_shape
        point = (square * 252 * 390) ** (1 / 3) / math.exp(a + b * x + c * x * x)
        variances = np.array(found.variances)
        likely = likely @ (np.array(found.transitions) if i else np.eye(3))
        likely = likely * np.exp(-((point - np.array(found.means)) ** 2) / (2 * variances)) / np.sqrt(variances)
        likely = likely / likely.sum()
    assert halted.likely == pytest.approx(likely.tolist())


def test_a_state_is_taken_at_sixty_and_left_under_forty_percent() -> None:
    by, _ = filter_of(parameter())
    assert by is not None
    bars = minutes_of([CALM] * 60 + [WILD] * 40 + [CALM] * 90, 3)
    state, seen, before = VolState(), [], None
    for n in range(1, len(bars) + 1):
        state.advance(by, bars[:n], OPEN_NS)
        if state.likely:
            if state.state != before:
                assert before is None or state.likely[before] < LEAVE
                assert state.state is None or state.likely[state.state] >= ENTER
                assert state.since_ns == bars[n - 1][0] + MINUTE_NS
            elif state.state is not None:
                assert state.likely[state.state] >= LEAVE
            before = state.state
            seen.append(state.state)
    assert 0 in seen and 2 in seen and len(seen) == 190 - 4


def test_sixty_percent_is_enough_to_be_taken_and_forty_to_stand() -> None:
    # given two states that every window fits alike: only the chain says which
    chain = {"means": [0.5, 0.5], "variances": [0.5, 0.5], "first": [0.6, 0.4], "transitions": [[0.4, 0.6], [0.4, 0.6]]}
    detail = {"states": [{"vol": 0.1}, {"vol": 0.3}], "window_minutes": 5, "filter": {**chain, "day_shape": [0.0, 0.0, 0.0]}}
    by, _ = filter_of(parameter(detail))
    assert by is not None
    bars, state = minutes_of([WILD] * 10, 7), VolState()
    state.advance(by, bars[:6], OPEN_NS)
    assert state.likely[0] == ENTER and (state.state, state.since_ns) == (0, OPEN_NS + 6 * MINUTE_NS)
    told = state.reading(by, None, OPEN_NS + 8 * MINUTE_NS).told
    assert told["vol_state_age_s"] == 120.0
    # when it is exactly as likely as it may be, then it stands, and for as long
    state.advance(by, bars, OPEN_NS)
    assert state.likely[0] == LEAVE and (state.state, state.since_ns) == (0, OPEN_NS + 6 * MINUTE_NS)


def test_each_session_begins_anew() -> None:
    by, _ = filter_of(parameter())
    assert by is not None
    bars, state, other = minutes_of([WILD] * 10, 5), VolState(), VolState()
    state.advance(by, minutes_of([CALM] * 30, 4), OPEN_NS - MINUTE_NS)
    moved = [(at + 86_400 * 10**9, *rest) for at, *rest in bars]
    # today has no minute yet
    state.advance(by, (), OPEN_NS + 86_400 * 10**9)
    assert state.likely == [] and state.reading(by, None, 0).reason == "no window of 5 minutes that moved in this session yet"
    state.advance(by, moved, OPEN_NS + 86_400 * 10**9)  # type: ignore[arg-type]
    other.advance(by, bars, OPEN_NS)
    assert state.likely == other.likely


def test_what_cannot_be_filtered_by_says_why() -> None:
    assert filter_of(None) == (None, NOT_DISCOVERED)
    assert filter_of(parameter(value=None))[1] == "not discovered: 12 five-minute windows, 60 are needed"
    broken = (
        parameter({}),
        changed(first=[0.5, 0.5]),
        changed(first=[0.9, 0.3, 0.2]),
        changed(means=[0.2, 0.4, float("nan")]),
        changed(variances=[0.0, 0.01, 0.02]),
        changed(transitions=[[1.0, 0.0, 0.0]]),
        changed(day_shape=[0.0, math.inf, 0.0]),
        changed(means="many"),
    )
    for one in broken:
        found, reason = filter_of(one)
        assert found is None and reason is not None and reason.startswith("discovered:vol_regimes cannot be read")
    one_state = parameter(
        {
            "states": [{"vol": 0.2}],
            "window_minutes": 5,
            "filter": {"means": [0.3], "variances": [0.01], "first": [1.0], "transitions": [[1.0]], "day_shape": [0.0, 0.0, 0.0]},
        }
    )
    by, _ = filter_of(one_state)
    assert by is not None
    state = VolState()
    state.advance(by, minutes_of([CALM] * 10, 1), OPEN_NS)
    told = state.reading(by, None, 0)
    assert (told.state, told.high, told.reason) == (0, None, ONE_STATE)


def prints(bars: list[tuple[int, float, float, float, float]]) -> list[Trade]:
    return [
        Trade(i + 1, at, at, price, 100, "ARCA", "", "buy", True, True, True) for i, (at, price, *_) in enumerate(bars)
    ]  # fmt: skip


def metric(meter: Meter, now_ns: int) -> dict[str, Any]:
    made = {one.metric: one for one in meter.metrics(now_ns, now_ns, lambda ns: 0.0, "20261118")}
    return made["regime"].components


def test_the_regime_filters_by_what_discovery_found_and_a_restart_does_not_jump() -> None:
    # given states that discovery itself found in sessions of calm and of wild stretches
    draw = np.random.default_rng(11)
    history = []
    for day in range(12):
        price, start = 100.0, OPEN_NS - (13 - day) * 86_400 * 10**9
        for i in range(390):
            price *= math.exp(draw.normal(0.0, WILD if (i // 65 + day) % 3 == 0 else CALM))
            history.append(Bar(start + i * MINUTE_NS, price, price, price, price, 100.0, price, 1))
    opened = {start: start for start in (OPEN_NS - (13 - day) * 86_400 * 10**9 for day in range(12))}
    found = vol_regimes(returns_by_session(history), lambda at: max(o for o in opened if o <= at), seed=7)
    assert found.value is not None and found.value >= 2
    found = msgspec.json.decode(msgspec.json.encode(found), type=Parameter)  # as it comes out of Redis
    # when a calm hour, then a wild one are printed
    bars = minutes_of([CALM] * 60 + [WILD] * 61, 8)
    session = (OPEN_NS, OPEN_NS + 390 * MINUTE_NS)
    meter = Meter("SPY", Analytics(), None, 5.0, 14)
    assert metric(meter, OPEN_NS)["vol_state_reason"] == NOT_DISCOVERED
    meter.take_vol_states(found)
    restarted: Meter | None = None
    for i, one in enumerate(prints(bars)):
        meter.fold(one, session)
        now = one.ts_ns + 1_000_000_000
        told = metric(meter, now)
        if i == 60:
            assert told["vol_state"] == 0 and told["evidence"]["vol_state"] < 0.2
            # and the module is started anew, in the middle, from its checkpoint
            plain = msgspec.json.decode(msgspec.json.encode(checkpoint(meter.state)))
            restarted = Meter("SPY", Analytics(), None, 5.0, 14)
            state = restored(plain, VERSION, Analytics())
            assert state is not None
            restarted.state = state
            restarted.take_vol_states(found)
        if restarted is not None:
            if i > 60:
                restarted.fold(one, session)
            assert metric(restarted, now) == told
    # then the wildest state stands, speaks for HIGH_VOL, and the restarted one has said the same all along
    assert told["vol_state"] == found.value - 1 and told["evidence"]["vol_state"] > 0.8
    assert "vol_state" not in told["missing"] and told["vol_state_reason"] is None
    assert sum(told["vol_state_probabilities"]) == pytest.approx(1.0)
