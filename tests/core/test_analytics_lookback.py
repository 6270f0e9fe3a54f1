"""How far the regime looks back: discovery's number where it may be used, else the default and why."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from alphatrader.contract.messages.market import Trade
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.lookback import Lookback, lookback_of
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.minutes import MINUTE_NS
from alphatrader.core.discovery.bars import SessionReturns
from alphatrader.core.discovery.lookback import lookback

OPEN_NS = 1_795_012_200 * 10**9  # 2026-11-18 09:30 New York
SESSION = (OPEN_NS, OPEN_NS + 390 * MINUTE_NS)


def found(value: float | None = 9.0, confidence: float | None = 0.67, fallback: str | None = None) -> Parameter:
    return Parameter(value=value, n=461, confidence=confidence, fallback=fallback)


@pytest.mark.parametrize(
    ("parameter", "bars", "reason"),
    [
        (found(), 9, None),
        (found(confidence=0.5), 9, None),
        (found(fallback="kept from an earlier run; 12 returns, 200 are needed"), 9, None),
        (None, 20, "discovered:lookback_bars is not there"),
        (found(20.0, None, "no lag stands out: the default of 20 bars"), 20, "no lag stands out: the default of 20 bars"),
        (found(None, None, None), 20, "not discovered: no value"),
        (found(confidence=0.49), 20, "found 9 bars at a confidence of 0.49, 0.5 is needed"),
        (found(confidence=None), 20, "found 9 bars at a confidence of unknown, 0.5 is needed"),
        (found(4.0), 20, "cannot be read: 4 is no number of bars from 5 to 120"),
        (found(121.0), 20, "cannot be read: 121 is no number of bars from 5 to 120"),
        (found(9.5), 20, "cannot be read: 9.5 is no number of bars from 5 to 120"),
        (found(math.nan), 20, "cannot be read"),
    ],
)
def test_what_discovery_found_is_used_or_the_reason_is_told(parameter: Parameter | None, bars: int, reason: str | None) -> None:
    told = lookback_of(parameter)
    assert told.bars == bars and (told.reason is None) == (reason is None)
    assert reason is None or reason in (told.reason or "")


def regime(meter: Meter, now_ns: int) -> dict[str, Any]:
    made = {one.metric: one for one in meter.metrics(now_ns, now_ns, lambda ns: 0.0, "20261118")}
    return {"ready": made["regime"].ready, "reason": made["regime"].reason, "n": made["regime"].n, **made["regime"].components}


def test_the_regime_looks_back_as_far_as_discovery_measured() -> None:
    # given returns whose size is remembered for some minutes, and what discovery itself finds in them
    draw = np.random.default_rng(5)
    sessions = []
    for day in range(8):
        size = np.exp(np.convolve(draw.normal(0, 1.2, 400), np.ones(12) / 12**0.5, "same"))[:390]
        start = OPEN_NS - (9 - day) * 86_400 * 10**9
        times = start + MINUTE_NS * np.arange(390, dtype=np.int64)
        sessions.append(SessionReturns(times, draw.normal(0, 1, 390) * size * 0.0004))
    measured = msgspec.json.decode(msgspec.json.encode(lookback(sessions)), type=Parameter)  # as it comes out of Redis
    assert measured.value is not None and measured.fallback is None and (measured.confidence or 0) >= 0.5
    bars = round(measured.value)
    assert 5 < bars < 20, "the test needs a number that is neither a bound nor the default"
    # when as many minutes and one more have been printed
    meter = Meter("SPY", Analytics(), None, 5.0, 14)
    price = 600.0
    for i in range(bars + 2):
        price *= math.exp(draw.normal(0, 0.0004))
        at = OPEN_NS + i * MINUTE_NS
        meter.fold(Trade(i + 1, at, at, price, 100, "ARCA", "", "buy", True, True, True), SESSION)
    now = OPEN_NS + (bars + 1) * MINUTE_NS
    # then by the default there are too few, and the metric says by what it looks and why
    before = regime(meter, now)
    assert not before["ready"] and before["reason"] == f"{bars} of 20 one-minute changes of this session"
    assert (before["lookback_bars"], before["lookback_reason"]) == (20, Lookback().reason)
    # and by what was discovered there are enough, at once
    meter.take_lookback(measured)
    after = regime(meter, now + 2 * 10**9)
    assert after["ready"] and (after["n"], after["lookback_bars"], after["lookback_reason"]) == (bars, bars, None)
    assert after["slope_t"] is not None and after["drift_t"] is not None
    # and where the key lapses, the default is looked back over again
    meter.take_lookback(None)
    assert regime(meter, now + 4 * 10**9)["lookback_bars"] == 20
