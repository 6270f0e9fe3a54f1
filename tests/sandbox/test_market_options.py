"""Option chains: what is listed, what it costs, and that nothing in it is free money."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from math import exp

import pytest

from alphatrader.sandbox.market.options import RATE, price, years_to
from alphatrader.sandbox.market.types import Contract, Quote
from tests.support.market_world import RULES, SPY, at, market_at

EQUITIES = ("SPY", "QQQ", "IWM", "AAPL", "TSLA", "NVDA", "AMD", "GOOGL", "META", "AMZN", "MSFT", "VXX")
MARKET = market_at(at(11, 20))


def rows(symbol: str) -> list[tuple[Contract, Quote]]:
    found = []
    for quote in MARKET.chain(symbol):
        contract = MARKET.contract(quote.con_id)
        assert contract is not None
        found.append((contract, quote))
    return found


@pytest.mark.parametrize("symbol", EQUITIES)
def test_listed_expiries_and_strikes(symbol: str) -> None:
    today = date(2026, 11, 18)
    expiries = [date.fromisoformat(e) for e in MARKET.expiries(symbol)]
    if symbol in ("SPY", "QQQ", "IWM"):
        assert expiries[:2] == [today, today + timedelta(days=1)]
    else:
        assert expiries[:2] == [date(2026, 11, 20), date(2026, 11, 27)]
    assert any(10 <= (e - today).days <= 18 for e in expiries) and (expiries[-1] - today).days >= 42
    assert date(2026, 11, 26) not in expiries  # Thanksgiving
    assert 200 <= len(MARKET.chain(symbol)) <= 600
    spot = MARKET.chain(symbol)[0].under_price
    assert spot is not None
    for expiry in MARKET.expiries(symbol):
        strikes = [c.strike for c in MARKET.contracts(symbol=symbol, sec_type="OPT", expiry=expiry, right="P")]
        assert min(strikes) < spot * 0.97 and max(strikes) > spot * 1.03
        assert min(abs(k / spot - 1) for k in strikes) < 0.011


@pytest.mark.parametrize("symbol", EQUITIES)
def test_greeks_are_in_range_and_quotes_are_ordered(symbol: str) -> None:
    for contract, quote in rows(symbol):
        assert quote.ask is not None and (quote.bid is None or 0 < quote.bid < quote.ask)
        assert quote.implied_vol is not None and 0.01 < quote.implied_vol < 5
        assert quote.delta is not None and quote.gamma is not None and quote.theta is not None and quote.vega is not None
        assert (0 <= quote.delta <= 1) if contract.right == "C" else (-1 <= quote.delta <= 0)
        assert quote.gamma >= 0 and quote.vega >= 0 and quote.theta <= RATE * contract.strike / 365
        assert quote.open_interest is not None and quote.open_interest >= 0 and quote.volume >= 0


@pytest.mark.parametrize("symbol", EQUITIES)
def test_no_arbitrage_in_strike_and_parity_within_the_spreads(symbol: str) -> None:
    by_terms = {(c.expiry, c.strike, c.right): q for c, q in rows(symbol)}
    for expiry in MARKET.expiries(symbol):
        strikes = sorted({k for e, k, _ in by_terms if e == expiry})
        for low, high in itertools.pairwise(strikes):
            for right, cheaper, dearer in (("C", high, low), ("P", low, high)):
                sold, bought = by_terms[expiry, cheaper, right], by_terms[expiry, dearer, right]
                assert (sold.bid or 0) <= (bought.ask or 0), (expiry, low, high, right)
        years = years_to(RULES.on(date.fromisoformat(expiry)).close_ns, MARKET.now_ns)
        for strike in strikes:
            call, put = by_terms[expiry, strike, "C"], by_terms[expiry, strike, "P"]
            assert call.ask is not None and put.ask is not None and call.under_price is not None
            forward = call.under_price - strike * exp(-RATE * years)
            early_exercise = strike * (1 - exp(-RATE * years))
            spreads = call.ask - (call.bid or 0) + put.ask - (put.bid or 0)
            parity = (call.ask + (call.bid or 0)) / 2 - (put.ask + (put.bid or 0)) / 2
            assert abs(parity - forward) <= spreads + early_exercise + 1e-9


def test_greeks_are_the_slopes_of_the_quoted_price() -> None:
    for contract, quote in rows("SPY"):
        spot, vol = quote.under_price, quote.implied_vol
        assert spot is not None and vol is not None and quote.ask is not None and quote.delta is not None
        if quote.bid is None or not 0.15 < abs(quote.delta) < 0.85:
            continue
        if contract.right == "P" and quote.ask <= contract.strike - spot + 0.25:
            continue  # lifted to intrinsic value: the greeks stay European, as the vendor's are
        expiry = date.fromisoformat(contract.expiry)
        years = years_to(RULES.on(expiry).close_ns, MARKET.now_ns)
        up, down = (price(spot + h, contract.strike, years, vol, contract.right) for h in (0.01, -0.01))
        assert (up - down) / 0.02 == pytest.approx(quote.delta, abs=2e-3)
        mid = (quote.bid + quote.ask) / 2
        assert price(spot, contract.strike, years, vol, contract.right) == pytest.approx(mid, abs=0.0051)


def test_spreads_near_the_money_are_tradable_and_gamma_has_walls_and_a_flip() -> None:
    spy = rows("SPY")
    near = [q for c, q in spy if c.expiry == "20261118" and q.delta is not None and 0.3 <= abs(q.delta) <= 0.55]
    assert near and all(q.ask is not None and q.bid is not None and q.ask - q.bid <= max(0.05, 0.1 * q.ask) for q in near)
    assert all((q.open_interest or 0) >= 100 for q in near)
    walls: dict[str, dict[float, float]] = {"C": {}, "P": {}}
    for contract, quote in spy:
        side = walls[contract.right]
        side[contract.strike] = side.get(contract.strike, 0.0) + (quote.gamma or 0.0) * (quote.open_interest or 0)
    call_wall, put_wall = (max(side, key=side.__getitem__) for side in walls.values())
    assert put_wall <= call_wall and call_wall % 5 == 0 and put_wall % 5 == 0


def test_an_option_moves_with_its_underlying_and_its_volume_grows() -> None:
    market = market_at(at(10))
    contract = market.contracts(symbol="SPY", sec_type="OPT", expiry="20261118", right="C")[14]
    seen, repriced = [], 0
    for i in range(0, 240, 4):
        step = market.step(at(10, i // 60, i % 60))
        quote = market.quote(contract.con_id)
        assert quote is not None and quote.bid is not None and quote.ask is not None and quote.under_price is not None
        seen.append((quote.under_price, (quote.bid + quote.ask) / 2, quote.volume))
        repriced += "SPY" in step.repriced
    assert [v for _, _, v in seen] == sorted(v for _, _, v in seen) and seen[-1][2] > seen[0][2]
    assert repriced > 45
    rising = [(b[1] - a[1]) * (b[0] - a[0]) for a, b in itertools.pairwise(seen) if abs(b[0] - a[0]) > 0.05]
    assert rising and all(move >= -0.002 for move in rising)


def test_expired_options_stay_known_and_are_worth_their_intrinsic_value() -> None:
    market = market_at(at(15, 59, 50))
    contract = market.contracts(symbol="SPY", sec_type="OPT", expiry="20261118", right="C")[0]
    market.step(at(16, 0, 5))
    quote, spot = market.quote(contract.con_id), market.quote(SPY)
    assert "20261118" not in market.expiries("SPY") and market.contract(contract.con_id) == contract
    assert quote is not None and spot is not None and spot.bid is not None and spot.ask is not None
    assert (quote.bid, quote.ask) == (None, None)
    assert quote.last == pytest.approx((spot.bid + spot.ask) / 2 - contract.strike, abs=0.01)


def test_con_ids_are_unique() -> None:
    ids = [c.con_id for c in MARKET.contracts()]
    assert len(ids) == len(set(ids)) and all(0 < i < 1 << 31 for i in ids)
