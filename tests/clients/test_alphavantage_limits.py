"""The budget, the back-off of all processes, the last guard and the circuit breaker of the Alpha Vantage client."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from alphatrader.clients.alphavantage import (
    AlphaVantageError,
    BadAnswerError,
    LimitedError,
    OutageError,
)
from alphatrader.contract.settings.people import Vendors
from tests.support.alphavantage import ROW, Granted, Purse, client, envelope
from tests.support.http import Answers, send
from tests.support.people import until


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


@pytest.mark.parametrize("refuses", ["breaker", "budget"])
def test_a_second_try_that_we_refuse_ourselves_hides_not_what_broke_the_first(server: Answers, refuses: str) -> None:
    # given a vendor that fails, and no second call: the breaker opens at once, or the budget is used up meanwhile
    class Last(Purse):
        def take(self) -> Granted:
            return Granted(wait_ms=900) if refuses == "budget" and self.arrivals else self.grant

    server.answer = lambda handler: send(handler, b"", status=503)
    opens_after = 1 if refuses == "breaker" else 5
    purse, vendors = Last(), msgspec.structs.replace(Vendors(), breaker_failures=opens_after)
    asked = client(server.url, purse=purse, vendors=vendors)
    # then it is the vendor's failure that is told, counted, and makes all processes pause
    with pytest.raises(OutageError, match="http_5xx"):
        asked.chain("SPY")
    assert (len(server.asked), asked.refused, purse.heard) == (1, {"http_5xx": 1}, ["failed"])


def test_the_breaker_opens_after_failures_in_a_row_and_closes_when_the_vendor_is_back(server: Answers) -> None:
    # given a vendor that fails
    server.answer = lambda handler: send(handler, b"", status=500)
    asked = client(server.url, vendors=msgspec.structs.replace(Vendors(), breaker_failures=4, breaker_reset_seconds=1.0))
    for _ in range(2):
        with pytest.raises(OutageError):
            asked.chain("SPY")
    assert asked.breaker.state == "open"
    # when it is asked again at once, then no call is made
    calls = len(server.asked)
    with pytest.raises(LimitedError, match="breaker_open") as refused:
        asked.chain("SPY")
    assert len(server.asked) == calls and refused.value.after == "http_5xx"
    # when the pause is over and it still fails, one call is made and it stays open
    until(asked.breaker.ready)
    with pytest.raises(OutageError):
        asked.chain("SPY")
    assert len(server.asked) == calls + 1
    assert asked.breaker.state == "open"
    # and when it answers after the next pause, it closes
    server.answer = lambda handler: send(handler, envelope(ROW))
    until(asked.breaker.ready)
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
