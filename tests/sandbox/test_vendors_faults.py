"""Faults on demand: what a client of any vendor sees, and what the wire log says of it."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.vendors import Running, running_vendors

VENDORS = ("alphavantage", "stripe", "telegram", "discord", "x", "openai")


def post(vendors: Running, text: str = "hello", timeout: float = 5.0) -> requests.Response:
    webhook, token = vendors.credentials.discord_webhooks["premium"]
    address = f"{vendors.url}/discord/api/webhooks/{webhook}/{token}?wait=true"
    return requests.post(address, json={"content": text}, timeout=timeout)


def last_line(vendors: Running) -> dict:
    return vendors.wire(vendor="discord")[-1]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", [500, 503])
def test_every_vendor_fails_in_its_own_words_without_acting(standing, vendor, status):
    standing.fault(vendor, "status", status=status)

    reply = requests.get(f"{standing.url}/{vendor}/anything", timeout=5)

    assert reply.status_code == status and reply.content
    line = standing.wire(vendor=vendor)[-1]
    assert (line["fault"], line["status"], line["accepted"]) == ("status", status, False)


def test_a_fault_lasts_for_its_count_and_meets_only_its_path(vendors):
    vendors.fault("discord", "status", status=500, count=2, match="/1001/")

    assert [post(vendors).status_code for _ in range(3)] == [500, 500, 200]
    vendors.fault("discord", "status", match="/1002/")
    assert post(vendors).status_code == 200
    assert len(requests.get(f"{vendors.url}/sandbox/faults", timeout=5).json()["pending"]) == 1
    requests.delete(f"{vendors.url}/sandbox/faults", timeout=5)
    assert requests.get(f"{vendors.url}/sandbox/faults", timeout=5).json()["pending"] == []


def test_an_answer_lost_after_the_post_was_made(vendors):
    vendors.fault("discord", "drop_after_accept")

    with pytest.raises(requests.ConnectionError):
        post(vendors, "made, but unanswered")

    told = vendors.told(vendor="discord")
    assert [(item["text"], item["answer_reached"]) for item in told] == [("made, but unanswered", False)]
    assert (last_line(vendors)["status"], last_line(vendors)["accepted"]) == (None, True)


def test_a_time_out_makes_nothing(vendors):
    vendors.fault("discord", "timeout", seconds=0.5)

    with pytest.raises(requests.ReadTimeout):
        post(vendors, timeout=0.1)
    wait_for_line(vendors)

    assert vendors.told() == []
    assert (last_line(vendors)["fault"], last_line(vendors)["status"], last_line(vendors)["accepted"]) == ("timeout", None, False)


def test_a_time_out_closes_without_an_answer(vendors):
    vendors.fault("discord", "timeout", seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        post(vendors)


def test_a_slow_answer_is_still_an_answer(vendors):
    vendors.fault("discord", "slow", seconds=0.3)
    started = time.monotonic()

    assert post(vendors).status_code == 200
    assert time.monotonic() - started >= 0.3
    assert len(vendors.told()) == 1


def test_a_proxys_page_instead_of_json(vendors):
    vendors.fault("discord", "html")
    reply = post(vendors)

    assert reply.status_code == 502 and reply.headers["Content-Type"].startswith("text/html")
    vendors.fault("discord", "html", status=200)
    with pytest.raises(requests.JSONDecodeError):
        post(vendors).json()
    assert vendors.told() == []


def test_half_an_answer(vendors):
    vendors.fault("discord", "truncate")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        post(vendors)
    assert len(vendors.told()) == 1  # the post was made


def test_bytes_that_are_no_json(vendors):
    vendors.fault("discord", "garbage")
    reply = post(vendors)

    assert reply.status_code == 200
    with pytest.raises((requests.JSONDecodeError, UnicodeDecodeError)):
        reply.json()


def test_a_small_body_that_unpacks_to_a_large_one(vendors):
    vendors.fault("alphavantage", "gzip_bomb")
    place = urlsplit(vendors.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    connection.request("GET", "/alphavantage/query", headers={"Accept-Encoding": "gzip"})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()

    assert reply.getheader("Content-Encoding") == "gzip" and len(body) < 200_000
    assert len(gzip.decompress(body)) == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ({"kind": "status"}, "vendor"),
        ({"vendor": "discord"}, "kind"),
        ({"vendor": "discord", "kind": "explode"}, "explode"),
        ({"vendor": "discord", "kind": "status", "status": 9999}, "status"),
        ({"vendor": "discord", "kind": "status", "count": 0}, "count"),
        ({"vendor": "discord", "kind": "slow", "seconds": "long"}, "seconds"),
        ({"vendor": "discord", "kind": "slow", "seconds": 1e9}, "seconds"),
    ],
)
def test_a_wrong_wish_is_named(standing, wish, word):
    reply = requests.post(f"{standing.url}/sandbox/faults", json=wish, timeout=5)
    assert reply.status_code == 400 and word in reply.json()["error"]


def test_stopping_does_not_wait_for_those_who_wait(tmp_path):
    import threading

    with running_vendors(tmp_path) as vendors:
        vendors.fault("discord", "timeout", seconds=60)
        seen: list[type] = []

        def ask() -> None:
            try:
                post(vendors, timeout=30)
            except requests.RequestException as error:
                seen.append(type(error))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: not requests.get(f"{vendors.url}/sandbox/faults", timeout=5).json()["pending"])
        started = time.monotonic()
    assert time.monotonic() - started < 3
    asking.join(5)
    assert seen == [requests.ConnectionError]


def test_a_broken_body_is_refused_by_every_vendor_and_stops_none(vendors):
    keys = vendors.credentials
    calls = [
        (f"/telegram/bot{keys.telegram_token}/sendMessage", {}),
        ("/discord/api/webhooks/1001/premium-token-secret", {}),
        ("/openai/v1/chat/completions", {"Authorization": f"Bearer {keys.openai_key}"}),
        ("/openai/v1/responses", {"Authorization": f"Bearer {keys.openai_key}"}),
        ("/stripe/v1/checkout/sessions", {"Authorization": f"Bearer {keys.stripe_secret_key}"}),
        ("/x/2/tweets", {}),
    ]
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe\x00",
        b'{"messages": [1]}',
        b'{"chat_id": [], "text": {}}',
        b"a[b=c&a=d",
    ]
    for path, headers in calls:
        for body in bodies:
            for kind in ("application/json", "application/x-www-form-urlencoded"):
                reply = requests.post(f"{vendors.url}{path}", data=body, headers={**headers, "Content-Type": kind}, timeout=5)
                assert 400 <= reply.status_code < 500, (path, body, kind, reply.status_code, reply.text)
    assert vendors.told() == []
    assert requests.get(f"{vendors.url}/healthz", timeout=5).status_code == 200


def test_a_body_that_is_too_large_is_refused(vendors):
    webhook, token = vendors.credentials.discord_webhooks["premium"]
    address = f"{vendors.url}/discord/api/webhooks/{webhook}/{token}"
    try:
        reply = requests.post(address, data=json.dumps({"content": "x" * 9_000_000}), timeout=5)
    except requests.ConnectionError:
        return  # refused before it was read to its end
    assert reply.status_code in (400, 413)


def wait_for_line(vendors: Running) -> None:
    wait_until(lambda: (vendors.data_dir / "vendors.jsonl").exists() and bool(vendors.wire(vendor="discord")))


def wait_until(holds, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.02)
