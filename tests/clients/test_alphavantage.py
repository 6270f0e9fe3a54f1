"""The Alpha Vantage client against the stand-in, and against every answer that is not data."""

from __future__ import annotations

import json
import random
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import requests

from alphatrader.clients.alphavantage import (
    AlphaVantage,
    AlphaVantageError,
    BadAnswerError,
    LimitedError,
    OutageError,
    RefusedError,
)
from alphatrader.contract.settings.market import Options
from alphatrader.contract.settings.people import Vendors
from alphatrader.runtime.clock import Clock
from tests.support.http import Answers, running_answers, send
from tests.support.vendors import MONDAY_TEN_NS, Running, running_vendors

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/alphavantage"
KEY = "AVKEY-SECRET-1"
ROW = {
    "contractID": "SPY261218C00600000",
    "symbol": "SPY",
    "expiration": "2026-12-18",
    "strike": "600.00",
    "type": "call",
    "last": "11.65",
    "mark": "11.72",
    "bid": "11.70",
    "bid_size": "10",
    "ask": "11.74",
    "ask_size": "12",
    "volume": "18",
    "open_interest": "517",
    "date": "2026-11-23",
    "implied_volatility": "0.19",
    "delta": "0.52",
    "gamma": "0.01",
    "theta": "-0.16",
    "vega": "0.60",
    "rho": "0.2",
}


class Granted(NamedTuple):
    wait_ms: int = 0
    failures: int = 0
    token: str = "a call"


@dataclass
class Purse:
    """A budget that grants what it is told to, and remembers what it heard."""

    grant: Granted = field(default_factory=Granted)
    heard: list[str] = field(default_factory=list)
    arrivals: int = 0

    def take(self) -> Granted:
        return self.grant

    def arrived(self, grant: Granted) -> None:
        assert grant is self.grant
        self.arrivals += 1

    def failed(self, stretch: float) -> None:
        assert 0.5 < stretch < 1.5
        self.heard.append("failed")

    def answered(self) -> None:
        self.heard.append("answered")


def client(
    url: str, key: str = KEY, *, vendors: Vendors | None = None, purse: Purse | None = None, **options: Any
) -> AlphaVantage:
    settings = Options(base_url=url, **options)
    return AlphaVantage(settings, vendors or Vendors(), key, budget=purse or Purse(), clock=Clock(), rng=random.Random(7))


def envelope(*rows: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({"endpoint": "Realtime Options", "message": "success", "data": list(rows), **changes}).encode()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vendors(tmp_path_factory.mktemp("vendors")) as running:
        yield running


@pytest.fixture
def vendors(stand_in: Running) -> Running:
    requests.delete(f"{stand_in.url}/sandbox/faults", timeout=5)
    return stand_in


@pytest.fixture(scope="module")
def one_server() -> Iterator[Answers]:
    with running_answers() as running:
        yield running


@pytest.fixture
def server(one_server: Answers) -> Answers:
    one_server.asked.clear()
    return one_server


# -- the stand-in --------------------------------------------------------------------------------------------------------


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


# -- answers that are not data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        (b"{}", BadAnswerError, "wrong_endpoint"),
        (b"[]", BadAnswerError, "wrong_shape"),
        (b"", BadAnswerError, "not_json"),
        (b"\xff\xfe", BadAnswerError, "not_json"),
        (b'{"Note": "Our standard API call frequency is 5 calls per minute."}', LimitedError, "vendor_limit"),
        (b'{"Information": "our standard API rate limit is 25 requests per day."}', LimitedError, "vendor_limit"),
        (b'{"Information": "This is a premium endpoint."}', RefusedError, "not_entitled"),
        (b'{"Error Message": "Invalid API call."}', RefusedError, "bad_call"),
        (envelope(ROW, endpoint="Realtime Options FMV"), BadAnswerError, "wrong_endpoint"),
        (envelope(ROW, message="delayed by 15 minutes"), BadAnswerError, "no_success"),
        (envelope(), BadAnswerError, "empty"),
        (envelope(data="none"), BadAnswerError, "wrong_shape"),
        (envelope(ROW, {**ROW, "symbol": "QQQ"}), BadAnswerError, "foreign_symbol"),
        (envelope({**ROW, "expiration": "2099-99-99"}), BadAnswerError, "empty"),
        (b'{"endpoint": "Realtime Options", "message": "success", "data": [' + b"[" * 100_000 + b"}", BadAnswerError, "not_json"),
    ],
)
def test_what_is_not_data_is_refused_by_name(server: Answers, body: bytes, error: type[AlphaVantageError], reason: str) -> None:
    server.answer = lambda handler: send(handler, body)
    with pytest.raises(error) as refused:
        client(server.url).chain("SPY")
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bid", "NaN"),
        ("ask", "inf"),
        ("last", "-1.00"),
        ("mark", "1e400"),
        ("strike", "0.00"),
        ("volume", "-5"),
        ("open_interest", "many"),
        ("implied_volatility", "-0.2"),
        ("delta", "1.5"),
        ("delta", "nan"),
        ("gamma", "-0.01"),
        ("type", "straddle"),
        ("expiration", "18.12.2026"),
        ("date", "2049-99-99"),
        ("contractID", "SPY1261218C00600000"),
    ],
)
def test_a_bad_row_is_lost_alone_and_counted_under_its_field(server: Answers, field: str, value: str) -> None:
    good = {**ROW, "contractID": "SPY261218C00601000", "strike": "601.00"}
    server.answer = lambda handler: send(handler, envelope({**ROW, field: value}, good))
    answer = client(server.url).chain("SPY")
    assert [row.strike for row in answer.rows] == [601.0]
    assert answer.dropped == {field: 1}


def test_a_missing_field_is_named(server: Answers) -> None:
    server.answer = lambda handler: send(handler, envelope({k: v for k, v in ROW.items() if k != "strike"}, ROW))
    assert client(server.url).chain("SPY").dropped == {"strike": 1}


def test_fifty_thousand_rows_are_refused_within_bounded_time(server: Answers) -> None:
    body = envelope(*[ROW] * 50_000)
    server.answer = lambda handler: send(handler, body)
    began = time.monotonic()
    with pytest.raises(BadAnswerError) as refused:
        client(server.url).chain("SPY")
    assert refused.value.reason == "too_many_rows"
    assert time.monotonic() - began < 3.0


def test_an_answer_that_trickles_is_cut_off(server: Answers) -> None:
    done = threading.Event()

    def trickle(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not done.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    server.answer = trickle
    began = time.monotonic()
    with pytest.raises(OutageError) as refused:
        client(server.url, timeout_seconds=0.4).chain("SPY")
    done.set()
    assert refused.value.reason == "timeout"
    assert time.monotonic() - began < 2.0


def test_a_head_that_trickles_is_cut_off(server: Answers) -> None:
    done = threading.Event()

    def trickle(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        handler.wfile.flush()
        with suppress(OSError):
            while not done.wait(0.05):
                handler.wfile.write(b"a")
                handler.wfile.flush()

    server.answer = trickle
    asked = client(server.url, timeout_seconds=0.4)
    failures: list[AlphaVantageError] = []

    def ask() -> None:
        try:
            asked.chain("SPY")
        except AlphaVantageError as error:
            failures.append(error)

    # when each byte of the head comes well within the time-out of a read
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    done.set()
    # then the whole is cut off all the same, as a time-out, and not tried again
    assert [failure.reason for failure in failures] == ["timeout"]
    assert len(server.asked) == 1
    # and the next call goes well
    server.answer = lambda handler: send(handler, envelope(ROW))
    assert asked.chain("SPY").rows


def test_an_answer_shorter_than_it_promised_is_an_outage(server: Answers) -> None:
    def cut_short(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(envelope(ROW))
        handler.close_connection = True

    server.answer = cut_short
    with pytest.raises(OutageError, match="truncated"):
        client(server.url).chain("SPY")


def test_a_redirect_is_not_followed_and_nobody_listening_is_an_outage(server: Answers) -> None:
    server.answer = lambda handler: send(handler, b"", status=302, Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(RefusedError, match="HTTP 302"):
        client(server.url).chain("SPY")
    with pytest.raises(OutageError, match="connection"):
        client("http://127.0.0.1:1").chain("SPY")


def test_a_refusal_that_repeats_the_key_is_struck(server: Answers) -> None:
    text = f"We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day."
    server.answer = lambda handler: send(handler, json.dumps({"Information": text}).encode())
    with pytest.raises(LimitedError) as refused:
        client(server.url).chain("SPY")
    assert KEY not in str(refused.value) and "[key]" in str(refused.value)


def test_the_samples_of_the_vendor_are_refused_as_it_means_them(server: Answers) -> None:
    if not SAMPLES.exists():
        pytest.skip("../shared/data/alphavantage is absent")
    artificial = (SAMPLES / "realtime_options_not_entitled.json").read_bytes()
    cases = [(artificial, RefusedError)]
    decision = {"rate limit: back off": LimitedError, "permanent error for this request": RefusedError}
    for sample in json.loads((SAMPLES / "error_payloads.json").read_bytes()):
        expected = RefusedError if "demo" in json.dumps(sample) else decision.get(sample["expect"], BadAnswerError)
        cases.append((json.dumps(sample["payload"]).encode(), expected))
    assert len(cases) == 9
    for body, expected in cases:
        server.answer = lambda handler, body=body: send(handler, body)
        with pytest.raises(expected):
            client(server.url).chain("IBM")


# -- limits and the breaker --------------------------------------------------------------------------------------------------


def test_without_budget_no_call_is_made(server: Answers) -> None:
    purse = Purse(Granted(wait_ms=1500))
    asked = client(server.url, purse=purse)
    with pytest.raises(LimitedError) as refused:
        asked.chain("SPY")
    assert (refused.value.reason, refused.value.wait_seconds) == ("own_budget", 1.5)
    assert (server.asked, purse.heard, asked.breaker.state) == ([], [], "closed")
    # and while all pause, the reason says so
    purse.grant = Granted(wait_ms=700, failures=3)
    with pytest.raises(LimitedError, match=r"own_pause: after 3 failures") as refused:
        asked.chain("SPY")
    assert refused.value.wait_seconds == 0.7
    assert (server.asked, purse.heard, asked.breaker.state) == ([], [], "closed")


@pytest.mark.parametrize(
    ("body", "status", "content_type", "heard"),
    [
        (b'{"Note": "Our standard API call frequency is 5 calls per minute."}', 200, "application/json", ["failed"]),
        (b'{"Information": "our standard API rate limit is 25 requests per day."}', 200, "application/json", ["failed"]),
        (b'{"Information": "This is a premium endpoint."}', 200, "application/json", ["failed"]),
        (b"", 429, "application/json", ["failed"]),
        (b"", 503, "application/json", ["failed"]),
        (b"<html><title>502</title></html>", 200, "text/html; charset=utf-8", ["failed"]),
        (b"<html><title>502</title></html>", 200, "application/json", ["failed"]),
        (b'{"Error Message": "Invalid API call."}', 200, "application/json", ["answered"]),
        (envelope(), 200, "application/json", ["answered"]),
        (envelope(ROW), 200, "application/json", ["answered"]),
    ],
)
def test_what_makes_all_processes_back_off_and_what_ends_it(
    server: Answers, body: bytes, status: int, content_type: str, heard: list[str]
) -> None:
    # given a pause that is over: this call is the one that tries
    purse = Purse(Granted(failures=2))
    server.answer = lambda handler: send(handler, body, status, content_type)
    with suppress(AlphaVantageError):
        client(server.url, purse=purse).chain("SPY")
    # then it is one call, and what came of it is told
    assert (purse.heard, len(server.asked)) == (heard, 1)


def test_a_time_out_and_a_broken_connection_back_off_too(server: Answers) -> None:
    for asked in (client("http://127.0.0.1:1", purse=(purse := Purse())), client(server.url, purse=purse, timeout_seconds=0.2)):
        server.answer = lambda handler: time.sleep(0.6)
        with pytest.raises(OutageError):
            asked.chain("SPY")
    assert purse.heard == ["failed", "failed"]
    assert purse.arrivals == 3  # the broken connection was tried twice; each may have been counted until its end


def test_an_answer_without_a_pause_before_it_tells_nobody(server: Answers) -> None:
    purse = Purse()
    server.answer = lambda handler: send(handler, envelope(ROW))
    client(server.url, purse=purse).chain("SPY")
    assert (purse.heard, purse.arrivals) == ([], 1)


def test_a_budget_that_cannot_be_asked_means_no_call_and_says_nothing_of_the_vendor(server: Answers) -> None:
    class Lost(Purse):
        def take(self) -> Granted:
            raise ConnectionError("the state server is away")

    asked = client(server.url, purse=Lost(), vendors=msgspec.structs.replace(Vendors(), breaker_failures=1))
    for _ in range(3):
        with pytest.raises(ConnectionError):
            asked.chain("SPY")
    assert (server.asked, asked.breaker.state) == ([], "closed")


@pytest.mark.parametrize("content_type", ["text/csv", "image/png", "application/octet-stream", "multipart/form-data"])
def test_another_content_type_is_refused_unread(server: Answers, content_type: str) -> None:
    server.answer = lambda handler: send(handler, envelope(ROW), content_type=content_type)
    with pytest.raises(BadAnswerError, match=f"content_type .*{content_type}"):
        client(server.url).chain("SPY")


def test_the_last_guard_holds_in_the_process(server: Answers) -> None:
    server.answer = lambda handler: send(handler, envelope(ROW))
    asked = client(server.url, calls_per_minute=3)
    for _ in range(3):
        asked.chain("SPY")
    with pytest.raises(LimitedError, match="own_limit"):
        asked.chain("SPY")
    assert len(server.asked) == 3


def test_the_breaker_opens_after_failures_in_a_row_and_closes_when_the_vendor_is_back(server: Answers) -> None:
    # given a vendor that fails
    server.answer = lambda handler: send(handler, b"", status=500)
    asked = client(server.url, vendors=msgspec.structs.replace(Vendors(), breaker_failures=4, breaker_reset_seconds=0.3))
    for _ in range(2):
        with pytest.raises(OutageError):
            asked.chain("SPY")
    assert asked.breaker.state == "open"
    # when it is asked again at once, then no call is made
    calls = len(server.asked)
    with pytest.raises(LimitedError, match="breaker_open"):
        asked.chain("SPY")
    assert len(server.asked) == calls
    # when the pause is over and it still fails, one call is made and it stays open
    time.sleep(0.35)  # the breaker's own pause on machine time
    with pytest.raises((OutageError, LimitedError)):
        asked.chain("SPY")
    assert len(server.asked) == calls + 1
    assert asked.breaker.state == "open"
    # and when it answers after the next pause, it closes
    server.answer = lambda handler: send(handler, envelope(ROW))
    time.sleep(0.35)
    assert asked.chain("SPY").rows
    assert asked.breaker.state == "closed"


def test_odd_answers_do_not_open_the_breaker(server: Answers) -> None:
    server.answer = lambda handler: send(handler, envelope())
    asked = client(server.url, vendors=msgspec.structs.replace(Vendors(), breaker_failures=2))
    for _ in range(4):
        with pytest.raises(BadAnswerError):
            asked.chain("SPY")
    assert asked.breaker.state == "closed"


def test_a_slow_call_holds_no_other(server: Answers) -> None:
    # given one symbol whose answer hangs
    hang, asked_for = threading.Event(), threading.Event()

    def answer(handler: Any) -> None:
        if "symbol=QQQ" in handler.path:
            asked_for.set()
            hang.wait(5)
        send(handler, envelope(ROW))

    def ask_for_qqq() -> None:
        with pytest.raises(BadAnswerError):
            asked.chain("QQQ")

    server.answer = answer
    asked = client(server.url)
    slow = threading.Thread(target=ask_for_qqq)
    slow.start()
    assert asked_for.wait(2)
    # when another is asked for, then it answers meanwhile
    assert asked.chain("SPY").rows
    assert slow.is_alive()
    hang.set()
    slow.join(3)
