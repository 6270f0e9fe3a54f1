"""The Alpha Vantage client against the stand-in: what arrives, and each fault of the vendor told apart."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from alphatrader.clients.alphavantage import (
    AlphaVantageError,
    BadAnswerError,
    LimitedError,
    OutageError,
    RefusedError,
)
from tests.support.alphavantage import KEY, client
from tests.support.http import Answers, send
from tests.support.vendors import MONDAY_TEN_NS, Running, running_vendors


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vendors(tmp_path_factory.mktemp("vendors")) as running:
        yield running


@pytest.fixture
def vendors(stand_in: Running) -> Running:
    requests.delete(f"{stand_in.url}/sandbox/faults", timeout=5)
    return stand_in


def test_a_chain_arrives_typed_with_missing_prices_as_none(vendors: Running) -> None:
    answer = client(f"{vendors.url}/alphavantage").chain("SPY")
    assert answer.rows and not answer.dropped
    assert {row.right for row in answer.rows} == {"C", "P"}
    assert all(row.expiry.isdigit() and len(row.expiry) == 8 and row.bid != 0.0 for row in answer.rows)
    assert answer.as_of.isoformat() == "2026-11-23"


def test_news_arrive_with_the_scores_of_the_symbol_asked_for(server: Answers) -> None:
    ticker = {"ticker": "SPY", "relevance_score": "0.5", "ticker_sentiment_score": "-0.2", "ticker_sentiment_label": "x"}
    other = {**ticker, "ticker": "QQQ", "ticker_sentiment_score": "0.9"}
    good = {"title": "Calm", "time_published": "20261123T143000", "ticker_sentiment": [other, ticker]}
    bad = {**good, "ticker_sentiment": [{**ticker, "relevance_score": "NaN"}]}
    undated = {**good, "time_published": "yesterday"}
    server.answer = lambda handler: send(handler, json.dumps({"items": "3", "feed": [good, bad, undated]}).encode())
    answer = client(server.url).news("SPY", MONDAY_TEN_NS)
    assert [(story.score, story.relevance) for story in answer.stories] == [(-0.2, 0.5)]
    assert answer.dropped == {"ticker_sentiment.relevance_score": 1, "time_published": 1}
    # and an empty feed is an answer: nobody wrote
    server.answer = lambda handler: send(handler, b'{"items": "0", "feed": []}')
    assert client(server.url).news("SPY", MONDAY_TEN_NS).stories == ()


def test_a_key_without_entitlement_gets_no_invented_rows(vendors: Running) -> None:
    with pytest.raises(RefusedError) as refused:
        client(f"{vendors.url}/alphavantage", vendors.credentials.alphavantage_unentitled_key).chain("SPY")
    assert (refused.value.reason, refused.value.field) == ("not_entitled", "message")


def test_a_wrong_key_is_refused_and_never_repeated_in_the_error(vendors: Running) -> None:
    with pytest.raises(RefusedError) as refused:
        client(f"{vendors.url}/alphavantage", "NOT-THE-KEY").chain("SPY")
    assert refused.value.reason == "demo_key"
    assert "NOT-THE-KEY" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "more", "error", "reason", "calls"),
    [
        ("status", {"status": 500}, OutageError, "http_5xx", 2),
        ("status", {"status": 503}, OutageError, "http_5xx", 2),
        ("status", {"status": 429}, LimitedError, "vendor_limit", 1),
        ("html", {"status": 502}, OutageError, "http_5xx", 2),
        ("html", {"status": 200}, OutageError, "html", 1),
        ("truncate", {}, OutageError, "truncated", 2),
        ("drop_after_accept", {}, OutageError, "connection", 2),
        ("garbage", {}, BadAnswerError, "not_json", 1),
        ("gzip_bomb", {}, BadAnswerError, "too_large", 1),
        ("timeout", {"seconds": 3}, OutageError, "timeout", 1),
    ],
)
def test_each_fault_of_the_vendor_is_told_apart(
    vendors: Running, kind: str, more: dict[str, Any], error: type[AlphaVantageError], reason: str, calls: int
) -> None:
    # given a fault that stays
    vendors.fault("alphavantage", kind, count=5, **more)
    asked = client(f"{vendors.url}/alphavantage", timeout_seconds=0.4 if kind == "timeout" else 10.0)
    # when a chain is asked for
    with pytest.raises(error) as refused:
        asked.chain("SPY")
    # then the error names it, it is counted, and only what broke off was tried once more
    assert refused.value.reason == reason
    assert asked.refused == {reason: 1}
    left = requests.get(f"{vendors.url}/sandbox/faults", timeout=5).json()["pending"][0]["count"]
    assert 5 - left == calls
    assert KEY not in "".join(traceback.format_exception(refused.value))


def test_one_broken_connection_is_mended_by_the_second_try(vendors: Running) -> None:
    vendors.fault("alphavantage", "drop_after_accept", count=1)
    assert client(f"{vendors.url}/alphavantage").chain("SPY").rows
