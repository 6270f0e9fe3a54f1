"""The hedging signal: known answers, an independent calculation, and flows that lead, follow by chance, or not at all."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from alphatrader.contract.messages.market import Trade
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.flow import FlowWindow
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from alphatrader.core.analytics.symbol import VERSION, checkpoint, restored
from alphatrader.core.market.hedging import (
    LEAST_SECONDS,
    REACH_SECONDS,
    SECOND_NS,
    WINDOW_SECONDS,
    Hedging,
    Reading,
    correlated,
    delta_flow,
)

START = 1_800_000_000 * SECOND_NS
STEP = 5
HOURS = START - 3600 * SECOND_NS, START + 3600 * SECOND_NS


def row(
    strike: float, right: str, last: float | None, volume: int, delta: float | None, bid: float = 1.0, ask: float = 1.1
) -> OptionRow:
    return OptionRow("20261118", strike, right, bid, ask, last, None, volume, 0, None, delta, None, None, None)  # type: ignore[arg-type]


def chain(second: int, *rows: OptionRow, stale: bool = False) -> Chain:
    return Chain("SPY", START + second * SECOND_NS, 0, 1.0, stale, None, 0, rows)


# -- what traded between two chains --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "shares"),
    [
        (row(600, "C", 1.0, 10, 0.5), row(600, "C", 1.1, 14, 0.5), 4 * 0.5 * 100),  # calls bought
        (row(600, "C", 1.1, 10, 0.5), row(600, "C", 1.0, 14, 0.5), -4 * 0.5 * 100),  # calls sold
        (row(600, "P", 1.0, 10, -0.4), row(600, "P", 1.1, 13, -0.4), -3 * 0.4 * 100),  # puts bought: delta is sold
        (row(600, "C", 1.0, 10, 0.5), row(600, "C", 1.05, 14, 0.5), 0),  # at the middle: nobody's
        (row(600, "C", 1.1, 10, 0.5), row(600, "C", 1.1, 14, 0.5), 0),  # an old price tells no side
        (row(600, "C", 1.0, 10, 0.5), row(600, "C", 1.1, 10, 0.5), 0),  # nothing traded
        (row(600, "C", 1.0, 90, 0.5), row(600, "C", 1.1, 10, 0.5), 0),  # another day
        (row(600, "C", 1.0, 10, None), row(600, "C", 1.1, 14, None), 0),  # no delta
        (row(600, "C", 1.0, 10, 0.5), row(600, "C", None, 14, 0.5), 0),  # no last
        (row(605, "C", 1.0, 10, 0.5), row(600, "C", 1.1, 14, 0.5), 0),  # a contract that was not there
    ],
)
def test_what_traded_is_signed_by_its_last_price_at_the_quotes(before: OptionRow, after: OptionRow, shares: float) -> None:
    assert delta_flow((before,), (after,)) == pytest.approx(shares)


def test_a_trade_is_not_signed_by_where_the_quotes_went_after_it() -> None:
    # bought at 1.10 of 1.00 to 1.10; then the stock rose, and its quotes stand above the trade
    before, after = row(600, "C", 1.0, 10, 0.5), row(600, "C", 1.1, 14, 0.5, bid=1.2, ask=1.3)
    assert delta_flow((before,), (after,)) == 0


# -- correlation and its p-value -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_where_one_of_them_does_not_remember_itself_it_is_pearsons(seed: int) -> None:
    draw = np.random.default_rng(seed)
    forgets, drifts = draw.normal(size=40) * np.tile([1.0, -1.0], 20), np.linspace(0.0, 3.0, 40) + draw.normal(size=40)
    forgets += 0.8 * drifts * np.tile([1.0, -1.0], 20)  # remembers the opposite
    assert np.corrcoef(forgets[1:], forgets[:-1])[0, 1] < 0 < np.corrcoef(drifts[1:], drifts[:-1])[0, 1]
    expected = stats.pearsonr(forgets, drifts)
    assert correlated(forgets, drifts) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))


def test_two_that_remember_themselves_are_as_short_as_bartlett_says() -> None:
    x = np.repeat([1.0, -1.0] * 5, 4)
    y = 0.3 * x + np.repeat([1.0, -1.0, -1.0, 1.0, -1.0], 8)
    memory = [float((s - s.mean())[1:] @ (s - s.mean())[:-1] / ((s - s.mean()) @ (s - s.mean()))) for s in (x, y)]
    product = memory[0] * memory[1]
    assert product > 0.2
    length = 40 * (1 - product) / (1 + product)
    r = stats.pearsonr(x, y).statistic
    t = r * ((length - 2) / (1 - r * r)) ** 0.5
    assert correlated(x, y)[1] == pytest.approx(2 * stats.t.sf(t, length - 2))


def test_what_remembers_itself_says_less() -> None:
    slow = np.repeat([1.0, -1.0, 1.0, -1.0], 10)
    r, p = correlated(slow, slow + np.tile([0.5, -0.5], 20))
    assert r is not None and p is not None
    assert p > 10 * stats.pearsonr(slow, slow + np.tile([0.5, -0.5], 20)).pvalue


# -- the signal ----------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """The signal and the flow window it reads, as analytics' state holds them."""

    hedging: Hedging = field(default_factory=Hedging)
    stock: FlowWindow = field(default_factory=lambda: FlowWindow(REACH_SECONDS))

    def chains(self, before: Chain | None, after: Chain) -> Reading:
        self.hedging.options(before, after, self.stock.slots, self.stock.since_ns)
        return self.hedging.reading


def run(lag: int, sign: int, seed: int, *, seconds: int = WINDOW_SECONDS, linked: bool = True) -> Watched:
    """Chains every five seconds; each step's flow is followed by the stock's, `lag` later, where they are linked."""
    draw, watched = random.Random(seed), Watched()
    flows = {at: draw.choice((-40, -20, 20, 40)) for at in range(0, seconds + STEP, STEP)}
    stock: dict[int, float] = {}
    for at, contracts in flows.items():
        for second in range(at + lag, at + lag + STEP):
            stock[second] = (
                stock.get(second, 0.0) + (sign * contracts if linked else draw.choice((-30, 30))) * 10 + draw.gauss(0, 60)
            )
    before, volume, last = None, 0, 1.0
    for now in range(seconds + STEP):
        if now in stock:
            watched.stock.add(START + now * SECOND_NS, abs(stock[now]), "buy" if stock[now] > 0 else "sell")
        if now % STEP == 0:
            traded = flows[now - STEP] if now else 0
            volume += abs(traded)
            last = 1.1 + 1e-6 * now if traded > 0 else 1.0 - 1e-6 * now
            after = chain(now, row(600, "C", last, volume, 0.5))
            watched.chains(before, after)
            before = after
    return watched


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("lag", [0, 10, 25])
def test_a_stock_that_follows_its_options_is_found_with_its_lag(lag: int, sign: int) -> None:
    reading = run(lag, sign, seed=3).hedging.reading
    assert reading.reason is None and reading.sign == sign
    assert reading.lag_seconds == lag and reading.p is not None and reading.p < 0.001


def test_a_stock_that_does_not_is_a_signal_in_one_of_twenty() -> None:
    readings = [run(10, 1, seed, linked=False).hedging.reading for seed in range(60)]
    assert all(reading.p is not None for reading in readings)
    signals = [reading for reading in readings if reading.sign]
    assert len(signals) <= 6, "3 of 60 are chance; 7 or more would be one of thirty"
    assert all(reading.reason and "needs 0.05" in reading.reason for reading in readings if not reading.sign)


def test_nothing_is_said_before_a_minute_of_both() -> None:
    reading = run(10, 1, seed=3, seconds=LEAST_SECONDS - STEP).hedging.reading
    assert reading.sign == 0 and reading.p is None and reading.reason and f"needs {LEAST_SECONDS}" in reading.reason


def test_while_the_chain_is_stale_there_is_no_signal_and_what_was_known_before_stands() -> None:
    watched, at = run(10, 1, seed=3), WINDOW_SECONDS
    good = chain(at, row(600, "C", 1.0, 1, 0.5))
    stale = chain(at, row(600, "C", 1.0, 1, 0.5), stale=True)  # the last good rows, of their time
    reading = watched.chains(good, stale)
    assert (reading.sign, reading.reason) == (0, "the chain is stale")
    reading = watched.chains(stale, chain(at + 12, row(600, "C", 1.1, 3, 0.5)))
    assert watched.hedging.steps[-1] == (START + at * SECOND_NS, START + (at + 12) * SECOND_NS, 2 * 0.5 * 100)
    assert reading.sign == 1


def test_chains_too_far_apart_are_no_step_and_a_hole_in_the_prints_begins_anew() -> None:
    watched, at = run(10, 1, seed=3), WINDOW_SECONDS
    known = list(watched.hedging.steps)
    watched.chains(chain(at, row(600, "C", 1.0, 1, 0.5)), chain(at + 60, row(600, "C", 1.1, 2, 0.5)))
    assert watched.hedging.steps == [step for step in known if step[0] >= START + 60 * SECOND_NS]
    watched.hedging.reset("gaps announced")
    assert (watched.hedging.steps, watched.hedging.reading.reason) == ([], "gaps announced")


def test_it_holds_no_more_than_its_window() -> None:
    watched = run(10, 1, seed=3, seconds=3 * WINDOW_SECONDS)
    assert len(watched.hedging.steps) == WINDOW_SECONDS // STEP
    assert len(watched.stock.slots) <= REACH_SECONDS


def test_analytics_tells_it_with_the_makers_also_where_no_feed_names_them_and_after_a_restart() -> None:
    settings = Analytics()
    meter = Meter("SPY", settings, OptionsView(0.04, 0.1), 5.0, 14)
    for second in range(0, LEAST_SECONDS + STEP + 1):
        now = START + second * SECOND_NS
        shares = 100.0 * (1 + second // STEP % 3)
        meter.fold(Trade(second, now, now, 600.0, shares, "ARCA", "", "buy" if second % 2 else "sell", True, True, True), HOURS)
        if second % STEP == 0:
            last = 1.1 + 1e-6 * second if second % 10 else 1.0 - 1e-6 * second
            meter.take_chain(chain(second, row(600, "C", last, second * 7, 0.5)), {"20261118": START + 3600 * SECOND_NS}, now)
    told = {metric.metric: metric for metric in meter.metrics(now, now, lambda instant: None, "20261118")}["makers"]
    assert not told.ready and told.components["makers"] == {}
    hedging = told.components["hedging"]
    reading = meter.state.hedging.reading
    assert len(meter.state.hedging.steps) == LEAST_SECONDS // STEP + 1
    assert hedging["p"] == reading.p is not None and (hedging["steps"], hedging["reason"]) == (reading.steps, reading.reason)
    again = restored(checkpoint(meter.state), VERSION, settings)
    assert again is not None and again.hedging == meter.state.hedging
