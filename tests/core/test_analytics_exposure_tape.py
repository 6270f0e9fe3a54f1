"""GEX and DEX along whole tapes: at every spot of LOBSTER's and of generated ones, against each contract's greeks summed alone.

The reference prices every contract anew at each spot with `math.erf` (sources.md §4), and seeks the flip where its own sum of
gammas changes its sign; it knows no columns, no series and no search.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from alphatrader.contract.messages.market import BookEvent, MarketEvent, QuoteEvent
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.meter import Meter
from alphatrader.core.analytics.options_view import OptionsView
from tests.core.test_analytics_tape import HOURS, NS, Step, events, generated, lobster, needs_sample

RATE, TODAY = 0.04, "20260921"
CLOSES = {TODAY: HOURS[1], "20260922": HOURS[1] + 86_400 * NS, "20261016": HOURS[1] + 25 * 86_400 * NS}


def chain(around: float, seed: int) -> list[OptionRow]:
    """Every strike of 2.5 for 40 to both sides, calls above and puts below weighing more; some have no interest."""
    draw = random.Random(seed)
    base = round(around / 2.5) * 2.5
    rows = []
    for expiry in CLOSES:
        for step in range(-16, 17):
            for right in "CP":
                more = 3 if (step > 0) == (right == "C") else 1
                interest = draw.choice((0, draw.randint(1, 4000) * more))
                vol = draw.uniform(0.15, 0.45)
                strike, unknown = base + 2.5 * step, (None,) * 4
                rows.append(OptionRow(expiry, strike, right, 1.0, 1.1, None, None, 10, interest, vol, *unknown))  # type: ignore[arg-type]
    return rows


def greeks(row: OptionRow, spot: float, now_ns: int, closes: Mapping[str, int] = CLOSES) -> tuple[float, float]:
    """(gamma, delta), by Black and Scholes."""
    assert row.implied_vol is not None
    years = max(closes[row.expiry] - now_ns, 60 * NS) / (365 * 86_400 * NS)
    deviation = row.implied_vol * math.sqrt(years)
    d1 = (math.log(spot / row.strike) + (RATE + row.implied_vol**2 / 2) * years) / deviation
    below = (1 + math.erf(d1 / math.sqrt(2))) / 2
    gamma = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi) / (spot * deviation)
    return gamma, below if row.right == "C" else below - 1


def net_gamma(rows: list[OptionRow], spot: float, now_ns: int) -> float:
    return math.fsum((1 if r.right == "C" else -1) * greeks(r, spot, now_ns)[0] * r.open_interest for r in rows)


def compare(rows: list[OptionRow], gex: Metric, dex: Metric, spot: float, now_ns: int) -> None:
    """`now_ns`: the whole second that time to expiry is of."""
    told: dict[str, Any] = gex.components
    gamma: dict[tuple[str, Any], float] = defaultdict(float)
    delta: dict[tuple[str, Any], float] = defaultdict(float)
    for r in rows:
        sign = 1 if r.right == "C" else -1
        per_share, hedge = greeks(r, spot, now_ns)
        one_pct, usd = sign * per_share * r.open_interest * 100 * spot**2 * 0.01, hedge * r.open_interest * 100 * spot
        for key in (("all", ""), ("expiry", r.expiry), (r.right, r.strike)):
            gamma[key] += one_pct
            delta[key] += usd
        gamma["gross", ""] += abs(one_pct)
        delta["dealer", ""] += sign * usd
        delta["strike", r.strike] += usd

    def near(value: float) -> Any:
        return pytest.approx(value, rel=1e-9, abs=1e-9 * gamma["gross", ""])

    assert gex.ready and dex.ready and gex.n == dex.n == len(rows) and told["spot"] == spot
    assert gex.value == near(gamma["all", ""]) and told["gex_1usd"] == near(gamma["all", ""] / spot / 0.01)
    assert told["by_expiry"] == {expiry: near(gamma["expiry", expiry]) for expiry in CLOSES}
    assert told["zero_dte_1pct"] == near(gamma["expiry", TODAY])
    assert told["without_zero_dte_1pct"] == near(gamma["all", ""] - gamma["expiry", TODAY])
    assert told["call_by_strike"] == [near(gamma["C", strike]) for strike in told["strikes"]]
    assert told["put_by_strike"] == [near(gamma["P", strike]) for strike in told["strikes"]]
    strikes = sorted({r.strike for r in rows})
    assert told["strikes"] == strikes  # 33: all of them are in the chart
    assert told["call_wall"] == max(strikes, key=lambda strike: gamma["C", strike])
    assert told["put_wall"] == min(strikes, key=lambda strike: gamma["P", strike])
    told = dex.components
    assert dex.value == told["dex_net"] == near(delta["all", ""]) and told["dex_dealer"] == near(delta["dealer", ""])
    assert told["by_expiry"] == {expiry: near(delta["expiry", expiry]) for expiry in CLOSES}
    assert told["dex_zero_dte"] == near(delta["expiry", TODAY])
    assert told["dex_without_zero_dte"] == near(delta["all", ""] - delta["expiry", TODAY])
    assert told["net_by_strike"] == [near(delta["strike", strike]) for strike in strikes]


def flips(rows: list[OptionRow], spot: float, now_ns: int) -> list[float]:
    """Where the sum changes its sign within 10 % of the spot, by halving what a fine scan brackets."""
    trials = [spot * (0.9 + 0.2 * n / 1_000) for n in range(1_001)]
    found = []
    for (low, at_low), (high, at_high) in pairwise([(at, net_gamma(rows, at, now_ns)) for at in trials]):
        if at_low * at_high >= 0:
            continue
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if net_gamma(rows, middle, now_ns) * at_low > 0 else (low, middle)
        found.append(low)
    return found


def check(tape: Iterator[tuple[Step, MarketEvent]], around: float, seed: int, *, every: int) -> tuple[int, Metric]:
    """Compares at the events that moved the spot, each `every`th; (how many were compared, the newest GEX)."""
    rows, view = chain(around, seed), OptionsView(RATE, 0.1)
    meter = Meter("AAPL", Analytics(), view, 5.0, 14)
    meter.take_chain(Chain("AAPL", HOURS[0], 0, 1.0, False, None, 0, tuple(rows)), CLOSES, HOURS[0])
    compared, moved, gex, at = 0, 0, None, 0
    for step, event in tape:
        meter.fold(event, step.hours)
        # every metric is made once a second; between, exposure alone where the spot has moved
        made = {m.metric: m for m in meter.metrics(step.ns, step.ns, lambda ns: None if ns is None else 0.0, TODAY)}
        if "gex" not in made or meter.state.spot is None or not isinstance(event, BookEvent):
            continue
        gex, at, moved = made["gex"], step.ns, moved + 1
        if moved % every == 0:
            compare(rows, gex, made["dex"], meter.state.spot, step.ns - step.ns % NS)
            compared += 1
    assert gex is not None and meter.state.spot is not None and view.flip_ns is not None
    spot = view.exposure.spot if view.exposure else 0.0
    found = flips(rows, spot, view.flip_ns)
    nearest = min(found, key=lambda flip: abs(flip - spot)) if found else None
    assert view.flip == (None if nearest is None else pytest.approx(nearest, rel=1e-6)), at
    return compared, gex


@needs_sample
def test_along_the_real_tape_exposure_is_the_sum_of_its_contracts() -> None:
    compared, gex = check(events([step for step, _ in lobster()]), 585.0, 1, every=4)
    assert compared > 40 and gex.components["flip"] is not None


@pytest.mark.parametrize("seed", range(3))
def test_along_a_generated_tape_exposure_is_the_sum_of_its_contracts(seed: int) -> None:
    compared, _ = check(events(generated(seed, 300)), 100.0, seed, every=3)
    assert compared > 10


def test_over_an_early_close_and_refreshed_chains_exposure_is_that_of_the_rows_that_live() -> None:
    """Given a day that closes at 13:00, prices from three minutes before until two after, and a chain told anew each minute, with
    rows that are none. Today's expiry is a minute away to the last, and gone with the close."""
    draw, close = random.Random(4), HOURS[0] + 210 * 60 * NS
    closes = CLOSES | {TODAY: close}
    meter = Meter("AAPL", Analytics(), OptionsView(RATE, 0.1), 5.0, 14)
    bad = [
        OptionRow(TODAY, 100.0, "C", 1.0, 1.1, None, None, 10, 99, 0.2, None, -0.01, None, None),
        OptionRow("20260922", 100.0, "P", 1.0, 1.1, None, None, 10, 99, None, None, None, None, None),
        OptionRow("20260923", 100.0, "P", 1.0, 1.1, None, None, 10, 99, 0.2, None, None, None, None),
    ]
    spot, rows, taken_ns, gone = 100.0, list[OptionRow](), 0, 0
    for number, at in enumerate(range(close - 180 * NS, close + 120 * NS, 7 * NS), 1):
        if number % 9 == 1:
            rows, taken_ns = chain(100.0, number), at
            meter.take_chain(Chain("AAPL", at, 0, 1.0, False, None, 0, (*rows, *bad)), closes, at)
        spot = round(spot + draw.choice((-0.5, -0.02, 0.01, 0.01, 0.3)), 2)
        meter.fold(QuoteEvent(number, at, at, spot - 0.01, 5.0, spot + 0.01, 5.0), (HOURS[0], close))
        made = {m.metric: m for m in meter.metrics(at, at, lambda ns: None if ns is None else 0.0, TODAY)}
        gex, dex, spot = made["gex"], made["dex"], meter.state.spot or 0.0
        # then the sums are over the rows that had not closed by then
        alive = [row for row in rows if closes[row.expiry] > at]
        known = [row for row in rows if closes[row.expiry] > taken_ns]  # what had closed before the chain came is in no strike
        found = [(row, *greeks(row, spot, at, closes)) for row in alive]
        sign = {"C": 1, "P": -1}
        one_pct = {id(row): sign[row.right] * gamma * row.open_interest * spot**2 for row, gamma, _ in found}  # type: ignore[operator]
        usd = {id(row): delta * row.open_interest * 100 * spot for row, _, delta in found}  # type: ignore[operator]
        gross = math.fsum(map(abs, one_pct.values()))

        def near(value: float, gross: float = gross) -> Any:
            return pytest.approx(value, rel=1e-9, abs=1e-9 * gross)

        by_expiry = {
            e: math.fsum(one_pct.get(id(row), 0.0) for row in known if row.expiry == e) for e in {r.expiry for r in known}
        }
        assert gex.value == near(math.fsum(one_pct.values())) and dex.value == near(math.fsum(usd.values()))
        assert gex.components["by_expiry"] == {e: near(one) for e, one in by_expiry.items()}
        assert gex.components["zero_dte_1pct"] == near(by_expiry.get(TODAY, 0.0))
        assert gex.components["gross_1pct"] == near(gross) and (gex.n, dex.n) == (len(alive), len(alive))
        assert gex.components["expired"] == len(known) - len(alive)
        gone += gex.components["expired"]
        dropped = {"impossible greeks": 1, "no usable implied volatility": 1, "expiry is no session": 1}
        if taken_ns >= close:
            dropped = dropped | {"expired": len(rows) - len(known) + 1}
            del dropped["impossible greeks"]
        assert gex.components["dropped"] == dropped
        strikes = sorted({row.strike for row in known})
        calls, puts = (
            {k: math.fsum(one_pct[id(row)] for row in alive if row.strike == k and row.right == right) for k in strikes}
            for right in "CP"
        )
        assert gex.components["call_by_strike"] == [near(calls[k]) for k in strikes]
        assert gex.components["call_wall"] == max(calls, key=calls.__getitem__)
        assert gex.components["put_wall"] == min(puts, key=puts.__getitem__)
    assert gone > 0
