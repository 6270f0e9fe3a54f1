"""`SentimentIngestion`, from the stand-in's HTTP to the keys on real servers."""

from __future__ import annotations

import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.tasks.alphavantage import SentimentIngestion
from tests.support.pulls import Desk, desk_of
from tests.support.servers import free_port
from tests.support.vendors import Running


def test_news_become_a_score_for_every_symbol_once(desk: Desk, vendors: Running) -> None:
    news = SentimentIngestion(desk.servers.store(Module.PULLS), desk.client(), desk.settings, desk.clock(), desk.log)
    before = len(vendors.wire(vendor="alphavantage"))
    news.pull_all()
    for symbol in desk.settings.market.equities:
        found = desk.seen(k.SENTIMENT, symbol)
        assert (found.n, found.score) == (1, pytest.approx(0.4))
        assert 290_000 < (desk.servers.store(Module.DASHBOARD).ttl_ms(k.SENTIMENT.at(symbol=symbol)) or 0) <= 300_000
    assert len(vendors.wire(vendor="alphavantage")) == before + 12
    news.pull_all()
    assert len(vendors.wire(vendor="alphavantage")) == before + 12


def test_a_refused_symbol_costs_only_itself_and_a_limit_ends_the_round(desk: Desk, vendors: Running) -> None:
    news = SentimentIngestion(desk.servers.store(Module.PULLS), desk.client(), desk.settings, desk.clock(), desk.log)
    vendors.fault("alphavantage", "garbage", count=1)
    news.pull_all()
    first, *others = desk.settings.market.equities
    assert desk.seen(k.SENTIMENT, first) is None
    assert all(desk.seen(k.SENTIMENT, symbol) for symbol in others)
    vendors.fault("alphavantage", "status", status=429, count=5)
    asked = len(vendors.wire(vendor="alphavantage"))
    news.pull_all()
    assert len(vendors.wire(vendor="alphavantage")) == asked + 1


def test_where_nobody_listens_the_round_ends_and_says_so_once(desk: Desk) -> None:
    away = desk_of(desk.servers, f"http://127.0.0.1:{free_port()}")
    with capture_logs() as said:
        news = SentimentIngestion(desk.servers.store(Module.PULLS), away.client(), away.settings, away.clock(), get_logger())
        news.pull_all()
        news.pull_all()
    # the second round meets the pause that the first one's failure began
    assert [(line["event"], line["reason"], line.get("after")) for line in said] == [
        ("news_refused", "connection", None),
        ("news_limited", "own_pause", "connection"),
    ]
