"""The Alpha Vantage stand-in: rows as the vendor writes them, refusals in a 200, the limit of a minute."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from alphatrader.sandbox.market import SimulatedMarket
from tests.support.fixed_market import FixedMarket
from tests.support.gateway import sessions_around
from tests.support.vendors import MONDAY_TEN_NS, NS, HandClock, Running, running_vendors

ROW_FIELDS = [
    "contractID",
    "symbol",
    "expiration",
    "strike",
    "type",
    "last",
    "mark",
    "bid",
    "bid_size",
    "ask",
    "ask_size",
    "volume",
]
ROW_FIELDS += ["open_interest", "date"]
GREEKS = ["implied_volatility", "delta", "gamma", "theta", "vega", "rho"]
SAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/alphavantage"


class NewsMarket(FixedMarket):
    """Two headlines for AAPL, one of them about SPY too."""

    def news(self, symbol: str, limit: int) -> list[tuple[int, str, float, float]]:
        shared = (MONDAY_TEN_NS - 3600 * NS, "Markets calm before the open", 0.1, 0.4)
        own = (MONDAY_TEN_NS - 60 * NS, "Apple raises its outlook", 0.62, 0.9)
        later = (MONDAY_TEN_NS + 60 * NS, "Not yet published", -0.9, 0.9)
        return {"AAPL": [later, own, shared], "SPY": [shared]}.get(symbol, [])[:limit]


@pytest.fixture
def vendors(tmp_path):
    with running_vendors(tmp_path, market=NewsMarket(MONDAY_TEN_NS)) as running:
        yield running


def ask(vendors: Running, **params):
    params = {"apikey": vendors.credentials.alphavantage_key, **params}
    reply = requests.get(f"{vendors.url}/alphavantage/query", params=params, timeout=5)
    assert reply.status_code == 200
    return reply.json()


def chain(vendors: Running, **params):
    answer = ask(vendors, function="REALTIME_OPTIONS", symbol="SPY", **params)
    assert (answer["endpoint"], answer["message"]) == ("Realtime Options", "success")
    return answer["data"]


def test_a_chain_has_every_listed_contract_and_every_field_is_a_string(vendors):
    rows = chain(vendors, require_greeks="true")

    assert len(rows) == len(vendors.market.chain("SPY"))
    assert all(list(row) == ROW_FIELDS + GREEKS for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row.values())
    row = next(row for row in rows if row["contractID"] == "SPY261218C00600000")
    assert (row["expiration"], row["strike"], row["type"], row["date"]) == ("2026-12-18", "600.00", "call", "2026-11-23")
    assert (row["bid"], row["mark"], row["ask"], row["open_interest"]) == ("3.95", "4.00", "4.05", "1000")


def test_greeks_come_only_when_they_are_asked_for(vendors):
    assert all(list(row) == ROW_FIELDS for row in chain(vendors))


def test_greeks_follow_the_vendors_convention(vendors):
    """25 days of 365, no dividends: what an independent calculation of the same formula gives."""
    pytest.importorskip("scipy")
    from math import exp, log, sqrt

    from scipy.stats import norm

    row = chain(vendors, require_greeks="true", contract="SPY261218P00605000")[0]

    vol, t, s, k, r = float(row["implied_volatility"]), 25 / 365, 600.0, 605.0, 0.04
    assert vol == pytest.approx(0.15, abs=0.005)  # the vendor's coarse grid
    d1 = (log(s / k) + (r + vol**2 / 2) * t) / (vol * sqrt(t))
    d2 = d1 - vol * sqrt(t)
    assert float(row["delta"]) == pytest.approx(norm.cdf(d1) - 1, abs=2e-5)
    assert float(row["gamma"]) == pytest.approx(norm.pdf(d1) / (s * vol * sqrt(t)), abs=2e-5)
    assert float(row["vega"]) == pytest.approx(s * norm.pdf(d1) * sqrt(t) / 100, abs=2e-5)
    theta = (-s * norm.pdf(d1) * vol / (2 * sqrt(t)) + r * k * exp(-r * t) * norm.cdf(-d2)) / 365
    assert float(row["theta"]) == pytest.approx(theta, abs=2e-5)
    assert float(row["rho"]) == pytest.approx(-k * t * exp(-r * t) * norm.cdf(-d2) / 100, abs=2e-5)


def test_an_option_that_expires_today_counts_one_day(vendors):
    row = chain(vendors, require_greeks="true", contract="SPY261123C00600000")[0]

    assert row["expiration"] == row["date"]
    assert 0.4 < float(row["delta"]) < 0.6


def test_a_side_without_a_quote_is_zero_as_the_vendor_writes_it(vendors):
    option = vendors.market.option(590.0, "P")
    vendors.market.quote_set(option.con_id, bid=None, bid_size=0)

    row = chain(vendors, contract="SPY261218P00590000")[0]

    assert (row["bid"], row["bid_size"]) == ("0.00", "0")
    assert row["ask"] != "0.00"


def test_a_chain_is_built_once_a_second(vendors):
    option = vendors.market.option()
    before = chain(vendors, contract="SPY261218C00600000")
    vendors.market.quote_set(option.con_id, bid=9.0, ask=9.1)

    assert chain(vendors, contract="SPY261218C00600000") == before
    vendors.clock.advance(1.01)
    assert chain(vendors, contract="SPY261218C00600000")[0]["bid"] == "9.00"


def test_unknown_symbol_function_and_missing_symbol(vendors):
    assert ask(vendors, function="REALTIME_OPTIONS", symbol="NOPE")["data"] == []
    assert "Invalid API call" in ask(vendors, function="REALTIME_OPTIONS")["Error Message"]
    assert "TIME_TRAVEL" in ask(vendors, function="TIME_TRAVEL")["Error Message"]


def test_a_wrong_key_gets_information_and_no_data(vendors):
    for key in ("", "wrong"):
        answer = ask(vendors, function="REALTIME_OPTIONS", symbol="SPY", apikey=key)
        assert list(answer) == ["Information"]


def test_a_key_without_entitlement_gets_the_artificial_row(vendors):
    key = vendors.credentials.alphavantage_unentitled_key
    answer = ask(vendors, function="REALTIME_OPTIONS", symbol="SPY", apikey=key)

    assert answer["data"][0]["symbol"] == "XXYYZZ" and "ARTIFICIAL" in answer["message"]
    sample = SAMPLES / "realtime_options_not_entitled.json"
    if not sample.exists():
        pytest.skip("../shared/data/alphavantage is not on this machine")
    assert answer == json.loads(sample.read_text())


def test_six_hundred_calls_in_any_sixty_seconds(tmp_path):
    clock = HandClock()
    with running_vendors(tmp_path, clock=clock) as vendors:
        answers = []
        for call in range(600):
            if call == 300:
                clock.advance(30)
            answers.append(ask(vendors, function="NEWS_SENTIMENT", tickers="SPY"))
        assert all("feed" in answer for answer in answers)

        assert "rate limit" in ask(vendors, function="NEWS_SENTIMENT", tickers="SPY")["Information"]
        clock.advance(30.01)  # the first three hundred leave the window
        assert "feed" in ask(vendors, function="NEWS_SENTIMENT", tickers="SPY")


def test_news_has_the_vendors_shape_and_nothing_from_the_future(vendors):
    answer = ask(vendors, function="NEWS_SENTIMENT", tickers="AAPL", limit="50")

    assert answer["items"] == "2"
    first, second = answer["feed"]
    assert first["title"] == "Apple raises its outlook"
    assert first["time_published"] == "20261123T145900"  # UTC
    assert isinstance(first["overall_sentiment_score"], float) and first["overall_sentiment_label"] == "Bullish"
    ticker = first["ticker_sentiment"][0]
    assert {name: type(value) for name, value in ticker.items()} == dict.fromkeys(ticker, str)
    assert second["overall_sentiment_label"] == "Neutral"


def test_several_tickers_mean_articles_about_all_of_them(vendors):
    answer = ask(vendors, function="NEWS_SENTIMENT", tickers="AAPL,SPY")

    assert [item["title"] for item in answer["feed"]] == ["Markets calm before the open"]
    assert {one["ticker"] for one in answer["feed"][0]["ticker_sentiment"]} == {"AAPL", "SPY"}


def test_news_honours_time_order_and_limit(vendors):
    late = ask(vendors, function="NEWS_SENTIMENT", tickers="AAPL", time_from="20261123T1430")
    early = ask(vendors, function="NEWS_SENTIMENT", tickers="AAPL", sort="EARLIEST", limit="1")

    assert [item["title"] for item in late["feed"]] == ["Apple raises its outlook"]
    assert [item["title"] for item in early["feed"]] == ["Markets calm before the open"]
    assert "Information" in ask(vendors, function="NEWS_SENTIMENT", tickers="AAPL", time_from="yesterday")


def test_a_large_chain_comes_whole(tmp_path):
    market = FixedMarket(MONDAY_TEN_NS)
    base = market.option()
    for number in range(500):
        contract = replace(base, con_id=900_000 + number, strike=400.0 + number)
        market._contracts[contract.con_id] = contract
        market._quotes[contract.con_id] = replace(market._quotes[base.con_id], con_id=contract.con_id)
    with running_vendors(tmp_path, market=market) as vendors:
        assert len(chain(vendors, require_greeks="true")) == 520


def test_keys_never_reach_the_wire_log(vendors):
    chain(vendors)
    ask(vendors, function="REALTIME_OPTIONS", symbol="SPY", apikey="somebody-elses-key")

    text = (vendors.data_dir / "vendors.jsonl").read_text()
    assert vendors.credentials.alphavantage_key not in text and "somebody-elses-key" not in text
    assert vendors.wire(vendor="alphavantage")[0]["query"]["apikey"] == "***"


def test_on_the_simulated_market_the_chain_agrees_with_what_the_gateway_would_quote(tmp_path):
    market = SimulatedMarket(seed=11, start_ns=MONDAY_TEN_NS, sessions=sessions_around(MONDAY_TEN_NS))
    with running_vendors(tmp_path, market=market) as vendors:
        rows = chain(vendors, require_greeks="true")
        news = ask(vendors, function="NEWS_SENTIMENT", tickers="SPY")

    quotes = {}
    for quote in market.chain("SPY"):
        contract = market.contract(quote.con_id)
        quotes[f"SPY{contract.expiry[2:]}{contract.right}{round(contract.strike * 1000):08d}"] = quote
    assert len(rows) == len(quotes) > 100
    for row in rows:
        quote = quotes[row["contractID"]]
        assert (row["bid"], row["ask"]) == (f"{quote.bid or 0:.2f}", f"{quote.ask or 0:.2f}")
        if row["expiration"] > row["date"]:  # on its last day the vendor counts one whole day more than is left
            assert float(row["delta"]) == pytest.approx(quote.delta, abs=0.06)
    assert int(news["items"]) == len(news["feed"])
    assert all(item["time_published"] <= "20261123T150000" for item in news["feed"])
