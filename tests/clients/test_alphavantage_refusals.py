"""Every answer that is not data, over HTTP: refused by name, or its bad rows lost alone and counted."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from alphatrader.clients.alphavantage import (
    AlphaVantageError,
    BadAnswerError,
    LimitedError,
    OutageError,
    RefusedError,
)
from tests.support.alphavantage import KEY, ROW, client, envelope
from tests.support.http import Answers, send

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/data/alphavantage"


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
