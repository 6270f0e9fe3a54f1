"""The strategies' features, expiries and windows, early closes included."""

from __future__ import annotations

from datetime import date

import pytest

from alphatrader.contract.messages.market import Imbalance, Status
from alphatrader.contract.messages.metrics import Metric
from alphatrader.contract.messages.options import Sentiment, Unusual, UnusualItem
from alphatrader.core.strategies import fourteen_dte, moc, one_dte, zero_dte
from alphatrader.core.strategies.inputs import Inputs
from alphatrader.core.strategies.windows import RULES, trades
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import exchange_datetime, exchange_instant
from alphatrader.runtime.settings import load

SETTINGS = load({})
WEDNESDAY, THURSDAY, FRIDAY, MONDAY = date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 23)


def metric(name: str, value: float | None = 0.5, **components: object) -> Metric:
    return Metric(name, "SPY", 0, True, None, value, "", "", 1, dict(components), {})


def inputs(*metrics: Metric, **other: object) -> Inputs:
    return Inputs("SPY", 0, {m.metric: m for m in metrics}, **other)  # type: ignore[arg-type]


# -- windows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "opens", "closes"),
    [("0DTE", "09:45", "15:00"), ("1DTE", "14:00", "15:30"), ("14DTE", "09:30", "16:00"), ("MOC", "15:30", "15:50")],
)
def test_the_plans_windows_are_half_open_and_move_with_an_early_close(name: str, opens: str, closes: str) -> None:
    rule = next(rule for rule in RULES if rule.name == name)
    window = rule.window(SETTINGS.strategies)
    assert (window.opens, window.closes) == (opens, closes)
    # a normal day
    session = nyse().on(WEDNESDAY)
    assert session is not None
    assert session.window(opens, closes) == (exchange_instant(WEDNESDAY, opens), exchange_instant(WEDNESDAY, closes))
    # the day after Thanksgiving closes at 13:00: the ends stand as far from the close as ever
    early = nyse().on(date(2026, 11, 27))
    assert early is not None and early.early
    start, end = early.window(opens, closes)
    distance = session.close_ns - exchange_instant(WEDNESDAY, closes)
    assert early.close_ns - end == distance and early.open_ns <= start < end
    if opens < "12:00":
        assert f"{exchange_datetime(start):%H:%M}" == opens


def test_each_strategy_looks_at_its_own_symbols() -> None:
    zero, fourteen = SETTINGS.strategies.zero_dte, SETTINGS.strategies.fourteen_dte
    assert trades(zero, "SPY") and not trades(zero, "AAPL") and trades(fourteen, "AAPL")


# -- expiries ------------------------------------------------------------------------------------------------------------


def test_expiries_exist_in_the_listed_chain_or_there_is_none() -> None:
    listed = ("20261118", "20261119", "20261120", "20261123", "20261127", "20261202", "20261204", "20261218")
    assert zero_dte.expiry(listed, WEDNESDAY, THURSDAY) == "20261118"
    assert zero_dte.expiry(listed[1:], WEDNESDAY, THURSDAY) is None
    assert one_dte.expiry(listed, WEDNESDAY, THURSDAY) == "20261119"
    # on a Friday the next session's expiry is Monday's
    assert one_dte.expiry(listed, FRIDAY, MONDAY) == "20261123"
    assert fourteen_dte.expiry(listed, WEDNESDAY, THURSDAY) == "20261202"
    # nearest 14 within 10 to 18; of two equally near the earlier; outside none
    assert fourteen_dte.expiry(("20261130", "20261204"), WEDNESDAY, THURSDAY) == "20261130"
    assert fourteen_dte.expiry(("20261127", "20261218"), WEDNESDAY, THURSDAY) is None
    assert moc.expiry(listed, WEDNESDAY, THURSDAY) == "20261119"
    assert moc.expiry(("20261118",), WEDNESDAY, THURSDAY) is None


# -- features ------------------------------------------------------------------------------------------------------------


def test_0dte_follows_flow_book_and_trend_and_says_what_is_missing() -> None:
    full = inputs(
        metric("vpin", flow_60s=0.4), metric("sweep", 0.4), metric("obi", smoothed_20s=0.2),
        metric("regime", trend_60s=2.0, trend_180s=None),
        metric("gex", net_share=-0.5, spot=660.0, call_wall=670.0, put_wall=650.0),
    )  # fmt: skip
    found = zero_dte.features(full)
    assert found["flow"] == pytest.approx(1.25 * 0.4 + 0.1)
    assert found["book"] == pytest.approx(0.3)
    assert found["trend"] == pytest.approx(0.3808, abs=1e-4)  # tanh(1) / 2: the missing half counts nothing
    assert found["gamma"] == pytest.approx(0.5 * 0.3808, abs=1e-4)
    assert zero_dte.features(inputs()) == {"flow": None, "book": None, "trend": None, "gamma": None}
    # a NaN in a component is missing, not a number
    assert zero_dte.features(inputs(metric("vpin", flow_60s=float("nan"))))["flow"] is None
    # ... and a NaN or an infinity for a whole metric is no evidence, least of all the strongest
    for wrong in (float("nan"), float("inf")):
        broken = inputs(metric("vpin", flow_60s=0.4), metric("sweep", wrong), metric("regime", wrong))
        assert zero_dte.features(broken)["flow"] == pytest.approx(0.5)
        assert one_dte.features(broken)["trend"] is None
    assert zero_dte.reasons(full, found, True)[0].startswith("aggressive buyers")


def test_dealer_gamma_follows_or_fades_the_move_and_a_wall_ahead_fades_more() -> None:
    def gamma(net: float, trend: float, call_wall: float = 690.0, put_wall: float = 630.0) -> float:
        found = zero_dte.gamma(inputs(metric("gex", net_share=net, spot=660.0, call_wall=call_wall, put_wall=put_wall)), trend)
        assert found is not None
        return found

    assert gamma(-0.4, 0.5) > 0 > gamma(0.4, 0.5)
    assert gamma(-0.4, -0.5) < 0 < gamma(0.4, -0.5)
    assert gamma(0.4, 0.5, call_wall=661.0) < gamma(0.4, 0.5)
    assert gamma(0.4, 0.5, call_wall=659.0) == gamma(0.4, 0.5)  # behind us
    assert gamma(0.4, -0.5, put_wall=659.0) > gamma(0.4, -0.5)
    assert gamma(-0.4, 0.5, call_wall=661.0) == gamma(-0.4, 0.5)  # short gamma: no wall
    assert zero_dte.gamma(inputs(metric("gex", net_share=0.1, spot=660.0)), None) is None


def item(occ: str, premium: float, side: float | None) -> UnusualItem:
    return UnusualItem(occ, 1000, 100, premium, side, "volume over open interest")


def test_unusual_premium_is_signed_by_right_and_side_and_unknown_sides_count_nothing() -> None:
    call, put = "SPY261202C00660000", "SPY261202P00660000"

    def side(*items: UnusualItem) -> float | None:
        return fourteen_dte.unusual_side(Unusual("SPY", 0, True, items))

    assert side(item(call, 1e6, 1.0)) == 1.0
    assert side(item(put, 1e6, 1.0)) == -1.0
    assert side(item(put, 1e6, 0.0)) == 1.0
    assert side(item(call, 3e6, 1.0), item(put, 1e6, 1.0)) == 0.5
    assert side(item(call, 1e6, 0.5)) == 0.0
    assert side(item(call, 1e6, None)) is None and side() is None
    assert fourteen_dte.unusual_side(None) is None
    news = Sentiment("SPY", 0, 0.7, 3, ())
    assert fourteen_dte.features(inputs(metric("regime", 0.3), sentiment=news)) == {
        "unusual": None,
        "sentiment": 1.0,
        "trend": 0.3,
    }


def test_moc_uses_the_auction_where_it_is_published_and_says_when_it_runs_on_proxies() -> None:
    published = Imbalance("ARCA", "data", 0, 0, shares=-300.0, paired=700.0)
    auction = Status("SPY", 0, False, 0, auction_imbalance=-300.0, auction_volume=700.0, closing=published)
    found = moc.features(inputs(metric("vpin", flow_180s=-0.2), status=auction))
    assert found == {"imbalance": -0.3, "flow": -0.25}
    proxies = inputs(metric("vpin", flow_180s=-0.2), status=Status("SPY", 0, False, 0))
    without = moc.features(proxies)
    assert without["imbalance"] is None and "proxies" in moc.reasons(proxies, without, False)[0]
    # what stands from the opening auction, before the exchange publishes, is no closing imbalance
    opening = Status("QQQ", 0, False, 0, auction_imbalance=9e4, auction_volume=1e5, closing=Imbalance("NASDAQ", "proxies", 0, 0))
    assert moc.features(inputs(metric("vpin", flow_180s=-0.2), status=opening))["imbalance"] is None


def test_1dte_weighs_the_sessions_trend() -> None:
    found = one_dte.features(inputs(metric("regime", -0.6), metric("vpin", flow_180s=-0.4), metric("obi", smoothed_20s=0.0)))
    assert found == {"flow": -0.5, "book": 0.0, "trend": -0.6}
    assert "down" in one_dte.reasons(inputs(), found, False)[0]


def test_every_weight_of_the_settings_is_a_feature_of_its_strategy() -> None:
    for rule in RULES:
        window = rule.window(SETTINGS.strategies)
        assert set(window.weights) == set(rule.features(inputs())), rule.name
        assert sum(window.weights.values()) == pytest.approx(1.0)
