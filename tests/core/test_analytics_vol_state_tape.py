"""The volatility state over whole tapes, against its definition recounted from all prints since the start, in 40 decimals.

The tapes: LOBSTER's with its clock slowed, and generated ones over an early close and a night, with minutes without a print and
prices that stand still (test_analytics_regime_tape.py). All goes through the meter as analytics runs it, and so does a restart
whose history fills a hole. The reference (sources.md §5, docs/metrics.md) begins at the session's first minute each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.market import Bar, MarketEvent, Trade
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.symbol import VERSION, checkpoint, restored
from tests.core.test_analytics_regime_tape import HOURS, MINUTE, NS, generated
from tests.core.test_analytics_tape import events, lobster, needs_sample

WINDOW = 5
YEAR = Decimal(252 * 390)


@dataclass
class Model:
    """What discovery published, as decimals."""

    means: list[str]
    variances: list[str]
    first: list[str]
    transitions: list[list[str]]
    shape: list[str]

    @property
    def parameter(self) -> Parameter:
        told: dict[str, Any] = {
            "means": [float(one) for one in self.means],
            "variances": [float(one) for one in self.variances],
            "first": [float(one) for one in self.first],
            "transitions": [[float(one) for one in row] for row in self.transitions],
            "day_shape": [float(one) for one in self.shape],
        }
        states = [{"vol": 0.1 * (n + 1)} for n in range(len(self.means))]
        return Parameter(float(len(states)), 500, 0.9, None, {"states": states, "window_minutes": WINDOW, "filter": told})


THREE = Model(
    ["0.25", "0.5", "0.9"], ["0.02", "0.05", "0.09"], ["0.5", "0.3", "0.2"],
    [["0.9", "0.08", "0.02"], ["0.1", "0.8", "0.1"], ["0.05", "0.15", "0.8"]], ["0.1", "-0.5", "0.4"],
)  # fmt: skip
TWO = Model(["0.4", "0.8"], ["0.08", "0.2"], ["0.6", "0.4"], [["0.7", "0.3"], ["0.35", "0.65"]], ["0", "0.2", "-0.1"])


@dataclass
class Told:
    state: int | None
    likely: list[Decimal]
    windows: int
    since_ns: int


def by_definition(closes: dict[int, Decimal], opened_ns: int, by: Model) -> Told:
    """`closes`: of the session's finished minutes. A change over a minute without a print is none; five changes are a window."""
    changes = [(at, (b / a).ln()) for (before, a), (at, b) in pairwise(sorted(closes.items())) if at - before == 1]
    told = Told(None, [], 0, 0)
    for first in range(0, len(changes) - WINDOW + 1, WINDOW):
        window = changes[first : first + WINDOW]
        square = sum((change * change for _, change in window), Decimal(0)) / WINDOW
        if not square:
            continue  # a price that stood still says nothing
        x = min(max((Decimal(window[0][0]) - Decimal(opened_ns) / MINUTE) / 390, Decimal(0)), Decimal(1))
        a, b, c = map(Decimal, by.shape)
        point = ((square * YEAR).ln() / 3 - (a + b * x + c * x * x)).exp()
        ahead = [Decimal(one) for one in by.first]
        if told.likely:
            ahead = [
                sum((p * Decimal(row[to]) for p, row in zip(told.likely, by.transitions, strict=True)), Decimal(0))
                for to in range(len(ahead))
            ]
        fit = [
            p * (-((point - Decimal(mean)) ** 2) / (2 * Decimal(variance))).exp() / Decimal(variance).sqrt()
            for p, mean, variance in zip(ahead, by.means, by.variances, strict=True)
        ]
        told.likely, told.windows = [one / sum(fit) for one in fit], told.windows + 1
        if told.state is not None and told.likely[told.state] >= Decimal("0.4"):
            continue
        sure = [n for n, one in enumerate(told.likely) if one >= Decimal("0.6")]
        state = sure[0] if sure else None
        if state != told.state:
            told.state, told.since_ns = state, (window[-1][0] + 1) * MINUTE
    return told


def compare(told: dict[str, Any], want: Told, now_ns: int) -> None:
    assert told["vol_state_probabilities"] == pytest.approx([float(one) for one in want.likely], rel=1e-9, abs=1e-15)
    assert (told["vol_state"], told["vol_state_windows"]) == (want.state, want.windows)
    if not want.likely:
        assert told["vol_state_reason"] == "no window of 5 minutes that moved in this session yet"
        assert told["evidence"]["vol_state"] is None and "vol_state" in told["missing"] and told["vol_state_age_s"] is None
        return
    place = sum((n * one for n, one in enumerate(want.likely)), Decimal(0)) / (len(want.likely) - 1)
    assert told["evidence"]["vol_state"] == pytest.approx(float(place), rel=1e-9)
    assert told["vol_state_reason"] == (None if want.state is not None else "no state is likelier than 0.6")
    assert told["vol_state_age_s"] == (None if want.state is None else pytest.approx((now_ns - want.since_ns) / NS))


def measured(meter: Meter, now_ns: int) -> dict[str, Any]:
    made = {one.metric: one for one in meter.metrics(now_ns, now_ns, lambda ns: None if ns is None else 0.0, "20260921")}
    return made["regime"].components if "regime" in made else {}


def check(tape: Iterator[tuple[MarketEvent, tuple[int, int]]], by: Model) -> list[int | None]:
    meter, prints, stood, minutes = Meter("AAPL", Analytics(), None, 5.0, 14), list[tuple[int, str]](), list[int | None](), 0
    meter.take_vol_states(by.parameter)
    for event, hours in tape:
        meter.fold(event, hours)
        if isinstance(event, Trade) and event.counts_for_last and hours[0] <= event.ts_ns < hours[1]:
            over = prints and event.ts_ns // MINUTE < prints[-1][0] // MINUTE
            if not over and event.ts_ns - event.received_ns <= MINUTE:  # what comes late, or is stamped ahead, is in no minute
                prints.append((event.ts_ns, str(event.price)))
        now_ns = event.received_ns + 2 * NS  # type: ignore[union-attr]
        if len({ns // MINUTE for ns, _ in prints}) == minutes or not (told := measured(meter, now_ns)):
            continue
        minutes = len({ns // MINUTE for ns, _ in prints})
        running = max(ns // MINUTE for ns, _ in prints)
        with localcontext(prec=40):
            closes = {ns // MINUTE: Decimal(price) for ns, price in prints if ns >= hours[0] and ns // MINUTE < running}
            compare(told, by_definition(closes, hours[0], by), now_ns)
        stood.append(told["vol_state"])
    return stood


@needs_sample
def test_the_real_tape_slowed_gives_the_state_that_the_definition_gives() -> None:
    def slowed() -> Iterator[tuple[MarketEvent, tuple[int, int]]]:
        at = HOURS[0]
        for _, event in events([step for step, _ in lobster()]):
            at += 25 * NS if isinstance(event, Trade) else NS // 1000
            yield replace(event, ts_ns=at, received_ns=at), HOURS

    assert len(set(check(slowed(), TWO))) > 1


@pytest.mark.parametrize("seed", range(6))
def test_a_generated_tape_gives_the_state_that_the_definition_gives(seed: int) -> None:
    assert len(set(check(generated(seed), THREE if seed % 2 else TWO))) > 1


def test_the_first_minute_of_a_session_tells_nothing_of_the_day_before() -> None:
    """Neither its volatility state nor its trend: today has no change yet, though its prints and quotes come."""
    meter, day = Meter("AAPL", Analytics(), None, 5.0, 14), 86_400 * NS
    meter.take_vol_states(TWO.parameter)
    starts = [HOURS[0] + minute * MINUTE for minute in range(60)]

    def told(at: int, seq: int, hours: tuple[int, int]) -> Any:
        meter.fold(Trade(seq, at, at, 100 + seq * seq % 7 / 100, 100.0, "ARCA", "", "buy", True, True, True), hours)
        return {one.metric: one for one in meter.metrics(at, at, lambda ns: 0.0, "20260921")}["regime"]

    for seq, at in enumerate(starts, 1):
        made = told(at, seq, HOURS)
    assert made.ready and made.components["vol_state_windows"] == 11
    # when the next day's first print comes, and its second minute's
    today = (HOURS[0] + day, HOURS[1] + day)
    for seq, at in ((61, today[0] + 1), (62, today[0] + MINUTE)):
        made = told(at, seq, today)
        assert (made.ready, made.n, made.reason) == (False, 0, "0 of 20 one-minute changes of this session")
        assert made.components["vol_state_probabilities"] == [] and made.components["adx"] is None
        assert made.components["minute_sigma"] is not None and made.components["atr_1m"] is not None  # of the day before


def test_a_hole_that_history_fills_after_a_restart_is_folded_as_if_it_had_never_been() -> None:
    """Given a feed that was away for three minutes, and a module that is started anew later: the broker has those minutes."""
    prices = [100 + n * n % 11 / 100 for n in range(60)]
    whole, holed = (Meter("AAPL", Analytics(), None, 5.0, 14) for _ in range(2))
    starts = [(HOURS[0] // MINUTE + minute) * MINUTE for minute in range(1, 61)]
    for meter in (whole, holed):
        meter.take_vol_states(TWO.parameter)
    for seq, (at, price) in enumerate(zip(starts[:40], prices, strict=False), 1):
        event = Trade(seq, at, at, price, 100.0, "ARCA", "", "buy", True, True, True)
        whole.fold(event, HOURS)
        if not 11 <= seq <= 13:
            holed.fold(event, HOURS)
        now_ns = at + NS
        before = [measured(meter, now_ns)["vol_state_windows"] for meter in (whole, holed)]
    assert before == [7, 6]
    # when it is started anew, and told the minutes
    again = Meter("AAPL", Analytics(), None, 5.0, 14)
    state = restored(msgspec.json.decode(msgspec.json.encode(checkpoint(holed.state))), VERSION, Analytics())
    assert state is not None
    again.state = state
    again.take_vol_states(TWO.parameter)
    again.warm_up([Bar(at, p, p, p, p, 100.0, p, 1) for at, p in zip(starts[:39], prices, strict=False)])
    # then from there on it tells what one tells that was never away
    for seq, (at, price) in enumerate(zip(starts[40:], prices[40:], strict=True), 41):
        for meter in (whole, again):
            meter.fold(Trade(seq, at, at, price, 100.0, "ARCA", "", "buy", True, True, True), HOURS)
        told, want = measured(again, at + NS), measured(whole, at + NS)
        assert {**told, "class_age_s": None} == {
            **want,
            "class_age_s": None,
        }  # the class was entered when twenty minutes were known
