"""Chains held to no-arbitrage bounds, our own greeks, flow and unusual activity. Pure functions."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from alphatrader.contract.messages.options import Chain, OptionRow, Traded
from alphatrader.contract.messages.signals import Gate
from alphatrader.contract.settings.market import Options
from alphatrader.core.options import greeks as bs
from alphatrader.core.options.assessment import Assessed, assess
from alphatrader.core.signals.decision import Limits, Situation, decide
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import RULES, StrategyRule
from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.settings import load

DAY = date(2026, 11, 23)
NOW = exchange_instant(DAY, "10:00")
SPOT, RATE, VOL = 600.0, 0.04, 0.2
SETTINGS = Options(base_url="x", risk_free_rate=RATE)
EXPIRIES = (DAY, DAY + timedelta(days=14), DAY + timedelta(days=60))


def close_of(expiry: str) -> int | None:
    day = date(int(expiry[:4]), int(expiry[4:6]), int(expiry[6:8]))
    return exchange_instant(day, "16:00") if day.weekday() < 5 else None


def row(expiry: date, strike: float, right: str, **changes: object) -> OptionRow:
    name = f"{expiry:%Y%m%d}"
    years = float(bs.years_to_expiry(NOW, close_of(name) or 0))
    found = bs.greeks(SPOT, strike, years, VOL, right == "C", RATE)
    mid = max(float(found.price), 0.05)
    values: dict[str, object] = {
        "expiry": name,
        "strike": strike,
        "right": right,
        "bid": round(mid - 0.02, 4),
        "ask": round(mid + 0.02, 4),
        "last": round(mid, 4),
        "mark": round(mid, 4),
        "volume": 100,
        "open_interest": 1000,
        "implied_vol": VOL,
        "delta": float(found.delta),
        "gamma": float(found.gamma),
        "theta": float(found.theta_day),
        "vega": float(found.vega_point),
    }
    return OptionRow(**{**values, **changes})  # type: ignore[arg-type]


def good_chain() -> list[OptionRow]:
    return [row(expiry, strike, right) for expiry in EXPIRIES for strike in range(570, 631, 5) for right in "CP"]


def assessed(
    rows: list[OptionRow], dropped: dict[str, int] | None = None, spot: float | None = SPOT, fund: bool = True
) -> Assessed:
    return assess(
        "SPY",
        rows,
        dropped or {},
        spot=spot,
        ts_ns=NOW,
        machine_ns=1,
        close_of=close_of,
        settings=SETTINGS,
        fund=fund,
    )


def chain_gate(rule: StrategyRule, chain: Chain) -> Gate:
    """What the decision says of a chain in a situation that has nothing else; no proposal comes of it."""
    situation = Situation(
        inputs=Inputs("SPY", NOW), machine_ns=1, clock="10:00:00", window_ns=None, session_open=True, spot=SPOT, chain=chain,
        expiry=f"{EXPIRIES[1]:%Y%m%d}", candidates={}, con_id=lambda _: None, quote=lambda _: None, last_signal_ns=None,
        alive=None, equity=None, equity_age_seconds=None,
    )  # fmt: skip
    settings = load({})
    decision = decide(rule, rule.window(settings.strategies), situation, Limits(settings.signals, SETTINGS.min_quality, 60.0))
    assert decision.proposal is None
    return next(gate for gate in decision.gates if gate.name == "chain")


def test_a_chain_priced_without_arbitrage_has_full_quality() -> None:
    result = assessed(good_chain())
    assert result.chain.quality == 1.0
    assert result.chain.reason is None and not result.chain.stale
    assert len(result.chain.rows) == len(EXPIRIES) * 13 * 2


def test_greeks_are_ours_by_the_real_time_to_expiry() -> None:
    # given vendor greeks of whole days, which on the last day are wrong
    rows = [replace(r, gamma=0.001) for r in good_chain()]
    result = assessed(rows)
    assert result.greeks is not None
    # then ours are those of six hours, not of the vendor
    delta, gamma, theta, vega, vol = result.greeks.greeks["SPY261123C00600000"]
    want = bs.greeks(SPOT, 600.0, 6 / 24 / 365, VOL, True, RATE)
    assert vol == pytest.approx(VOL, abs=2e-3)
    assert (delta, gamma) == (pytest.approx(float(want.delta), abs=1e-3), pytest.approx(float(want.gamma), rel=0.02))
    assert (theta, vega) == (pytest.approx(float(want.theta_day), rel=0.02), pytest.approx(float(want.vega_point), rel=0.02))


@pytest.mark.parametrize(
    ("name", "index", "changes", "failing"),
    [
        ("crossed", 0, {"bid": 50.0, "ask": 30.0, "mark": 40.0}, "crossed"),
        ("no ask", 0, {"ask": None}, "no ask"),
        ("mark", 0, {"mark": 99.0}, "mark outside"),
        ("vol", 0, {"implied_vol": 6.0}, "vol"),
        ("vega", 0, {"vega": -0.1}, "vega"),
        ("call with a put's delta", 40, {"delta": -0.4}, "delta sign"),
        ("gamma", 0, {"gamma": -0.01}, "gamma"),
        ("delta of another volatility", 30, {"delta": 0.01}, "delta recomputed"),
        ("gamma of another volatility", 38, {"gamma": 0.05}, "gamma recomputed"),
        ("volatility of another price", 38, {"implied_vol": 0.25}, "vol of another price"),
        ("call over spot", 0, {"bid": 700.0, "ask": 701.0, "mark": 700.5}, "bounds"),
        ("call under intrinsic", 0, {"bid": 1.0, "ask": 1.1, "mark": 1.05}, "bounds"),
        ("call dearer than the lower strike", 24, {"bid": 45.0, "ask": 45.1, "mark": 45.05}, "not monotone"),
        ("parity", 26, {"bid": 60.0, "ask": 60.1, "mark": 60.05}, "parity"),
    ],
)
def test_each_check_finds_its_violation(name: str, index: int, changes: dict[str, object], failing: str) -> None:
    rows = good_chain()
    rows[index] = replace(rows[index], **changes)
    result = assessed(rows)
    assert result.chain.quality < 1.0, name
    assert result.chain.reason is not None and failing in result.chain.reason


def test_a_chain_of_a_moved_underlying_is_not_good_enough_to_trade() -> None:
    # given a chain whose underlying has moved by three per cent meanwhile
    result = assessed(good_chain(), spot=SPOT * 1.03)
    assert result.chain.quality < SETTINGS.min_quality


def test_the_vendors_coarse_volatility_passes_and_its_last_day_is_not_held_against_it() -> None:
    # given volatilities half a step off, and greeks of the last day by a whole day
    rows = [replace(r, implied_vol=VOL + 0.0049) for r in good_chain()]
    rows = [replace(r, gamma=0.001, delta=0.5 if r.right == "C" else -0.5) if r.expiry == f"{DAY:%Y%m%d}" else r for r in rows]
    assert assessed(rows).chain.quality == 1.0


def test_greeks_of_another_volatility_make_a_chain_that_no_signal_uses() -> None:
    # given a chain whose greeks and volatilities are of twice its prices' volatility
    def doubled(r: OptionRow) -> OptionRow:
        years = float(bs.years_to_expiry(NOW, close_of(r.expiry) or 0))
        found = bs.greeks(SPOT, r.strike, years, 2 * VOL, r.right == "C", RATE)
        return replace(r, implied_vol=2 * VOL, delta=float(found.delta), gamma=float(found.gamma), vega=float(found.vega_point))

    result = assessed([doubled(r) for r in good_chain()])
    assert result.chain.quality < SETTINGS.min_quality
    assert result.chain.reason is not None and "vol of another price" in result.chain.reason
    # the decision of every strategy stops at its gate, and without the fault it does not
    for rule in RULES:
        assert not chain_gate(rule, result.chain).passed
        assert chain_gate(rule, assessed(good_chain()).chain).passed
        assert not chain_gate(rule, replace(assessed(good_chain()).chain, stale=True)).passed


def test_dead_contracts_leave_quietly_and_broken_rows_cost_quality() -> None:
    yesterday = DAY - timedelta(days=3)
    saturday = date(2026, 11, 28)
    rows = good_chain()
    n = len(rows)
    expired = replace(rows[0], expiry=f"{yesterday:%Y%m%d}")
    quiet = assessed([*rows, expired], {"contractID": 2})
    assert (quiet.chain.quality, quiet.chain.dropped) == (1.0, 3)
    broken = assessed([*rows, rows[0], replace(rows[0], expiry=f"{saturday:%Y%m%d}")], {"gamma": 8})
    assert broken.chain.dropped == 10
    assert broken.chain.quality == pytest.approx(n / (n + 10), abs=1e-4)
    assert broken.chain.reason is not None
    assert "gamma 8" in broken.chain.reason and "twice 1" in broken.chain.reason and "without session 1" in broken.chain.reason


def test_without_a_spot_there_are_no_greeks_and_it_says_so() -> None:
    result = assessed(good_chain(), spot=None)
    assert result.greeks is not None and result.greeks.spot is None and result.greeks.greeks == {}
    assert result.chain.reason is not None and "no spot" in result.chain.reason


def test_a_chain_of_nothing_but_dead_contracts_is_worth_nothing() -> None:
    result = assessed([replace(good_chain()[0], expiry="20261120")])
    assert (result.chain.quality, result.chain.rows) == (0.0, ())


def test_a_row_without_two_sides_takes_the_vendors_vol_but_not_on_the_last_day() -> None:
    rows = [replace(r, bid=None, mark=None) for r in good_chain()]
    result = assessed(rows)
    assert result.greeks is not None
    assert "SPY261207C00600000" in result.greeks.greeks
    assert "SPY261123C00600000" not in result.greeks.greeks
    assert all(np.isfinite(values).all() for values in result.greeks.greeks.values())


def test_flow_adds_up_volume_and_premium() -> None:
    near, far = f"{EXPIRIES[0]:%Y%m%d}", f"{EXPIRIES[1]:%Y%m%d}"
    rows = [
        row(EXPIRIES[0], 600.0, "C", bid=2.0, ask=2.2, volume=10),
        row(EXPIRIES[0], 600.0, "P", bid=1.0, ask=1.2, volume=30),
        row(EXPIRIES[1], 600.0, "C", bid=None, ask=None, mark=5.0, volume=4),
    ]
    flow = assessed(rows).flow
    assert flow is not None
    assert (flow.call_volume, flow.put_volume) == (14, 30)
    assert flow.call_premium_usd == pytest.approx(10 * 2.1 * 100 + 4 * 5.0 * 100)
    assert flow.put_premium_usd == pytest.approx(30 * 1.1 * 100)
    assert flow.put_call_ratio == pytest.approx(30 / 14)
    assert flow.by_expiry == {
        near: Traded(10, 30, pytest.approx(10 * 2.1 * 100), pytest.approx(30 * 1.1 * 100), 3.0),
        far: Traded(4, 0, pytest.approx(4 * 5.0 * 100), 0.0, 0.0),
    }


def test_no_call_volume_leaves_the_ratio_unknown() -> None:
    flow = assessed([row(EXPIRIES[0], 600.0, "P", volume=30)]).flow
    assert flow is not None and flow.put_call_ratio is None


@pytest.mark.parametrize(
    ("changes", "fund", "is_unusual"),
    [
        ({}, True, True),
        ({"volume": 2900}, True, False),  # under three times the open interest
        ({"open_interest": 49, "volume": 2000}, True, False),  # too little open interest to compare with
        ({"open_interest": 0}, True, True),  # a new strike
        ({"volume": 99, "open_interest": 0, "bid": 99.0, "ask": 99.2, "last": 99.2}, True, False),  # too few contracts
        ({"last": 2.1}, True, False),  # traded towards the bid
        ({"last": None}, True, False),  # unknown is not the ask side
        ({"bid": 0.7, "ask": 0.8, "last": 0.8, "volume": 3000}, True, False),  # $225,000 in a fund
        ({"bid": 0.7, "ask": 0.8, "last": 0.8, "volume": 3000}, False, True),  # the same in a single name
        ({"bid": 0.1, "ask": 0.12, "last": 0.12}, False, False),  # $35,200
    ],
)
def test_unusual_activity_by_every_threshold(changes: dict[str, object], fund: bool, is_unusual: bool) -> None:
    values = {"bid": 2.0, "ask": 2.4, "last": 2.3, "volume": 3200, "open_interest": 1000, **changes}
    unusual = assessed([row(EXPIRIES[0], 600.0, "C", **values)], fund=fund).unusual
    assert unusual is not None and unusual.approximate
    assert [item.occ for item in unusual.items] == (["SPY261123C00600000"] if is_unusual else [])


def test_an_unusual_contract_says_why_and_the_largest_comes_first() -> None:
    common = {"bid": 2.0, "ask": 2.4, "last": 2.3, "open_interest": 1000}
    rows = [row(EXPIRIES[0], 600.0, "C", volume=3200, **common), row(EXPIRIES[0], 605.0, "P", volume=9000, **common)]
    unusual = assessed(rows).unusual
    assert unusual is not None
    put, call = unusual.items
    assert put.premium_usd == pytest.approx(9000 * 2.2 * 100)
    assert "9.0 x its open interest 1,000" in put.why and "bearish: puts bought" in put.why
    assert "75% towards the ask (approximate" in call.why and "bullish" in call.why
    assert call.ask_side == pytest.approx(0.75)
