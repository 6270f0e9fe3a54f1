"""The outbox page and list, the wire log behind them, and the market they quote in one piece."""

from __future__ import annotations

import json

import requests

from tests.support.vendors import Running, running_vendors

STAMPS = ("received_machine_ns", "answered_machine_ns", "received_market_ns", "answered_market_ns")
FIELDS = {
    "n",
    "vendor",
    "direction",
    "method",
    "path",
    "query",
    "request",
    "status",
    "answer",
    "fault",
    "accepted",
    "told",
    *STAMPS,
}


def post(vendors: Running, text: str, channel: str = "premium") -> None:
    webhook, token = vendors.credentials.discord_webhooks[channel]
    requests.post(f"{vendors.url}/discord/api/webhooks/{webhook}/{token}", json={"content": text}, timeout=5).raise_for_status()


def message(vendors: Running, text: str, chat: int = 7) -> None:
    address = f"{vendors.url}/telegram/bot{vendors.credentials.telegram_token}/sendMessage"
    requests.post(address, json={"chat_id": chat, "text": text}, timeout=5).raise_for_status()


def test_the_page_shows_what_was_told_newest_first_by_vendor_and_channel(vendors):
    post(vendors, "first <b>signal</b>")
    vendors.clock.advance(61)
    message(vendors, "second, for a user")
    post(vendors, "third, for basic", "basic")

    page = requests.get(f"{vendors.url}/outbox", timeout=5)
    assert page.status_code == 200 and page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.text.index("third, for basic") < page.text.index("second, for a user") < page.text.index("first &lt;b&gt;")
    assert "Mon 23 Nov 2026, 10:01:01 ET" in page.text
    assert "viewport" in page.text and "prefers-color-scheme: dark" in page.text
    assert "http://" not in page.text and "https://" not in page.text  # no asset from elsewhere

    only_basic = requests.get(f"{vendors.url}/outbox", params={"vendor": "discord", "channel": "basic"}, timeout=5).text
    assert "third, for basic" in only_basic and "second, for a user" not in only_basic


def test_an_empty_outbox_says_so(vendors):
    assert "Nothing yet" in requests.get(f"{vendors.url}/", timeout=5).text


def test_the_list_filters_by_vendor_and_number(vendors):
    post(vendors, "one")
    message(vendors, "two")
    post(vendors, "three")

    every = requests.get(f"{vendors.url}/outbox.json", timeout=5).json()
    assert [item["text"] for item in every["items"]] == ["one", "two", "three"] and every["last"] == 3
    assert [item["text"] for item in vendors.told(after=every["items"][0]["n"])] == ["two", "three"]
    assert [item["text"] for item in vendors.told(vendor="telegram")] == ["two"]
    assert vendors.told(after=every["last"]) == []
    assert requests.get(f"{vendors.url}/outbox.json?after=x", timeout=5).status_code == 400


def test_every_line_of_the_wire_log_has_the_documented_fields(vendors):
    post(vendors, "one")
    message(vendors, "two")
    requests.get(f"{vendors.url}/alphavantage/query", timeout=5)
    requests.get(f"{vendors.url}/stripe/v1/customers", timeout=5)
    requests.get(f"{vendors.url}/x/2/users/me", timeout=5)
    requests.get(f"{vendors.url}/openai/v1/models", timeout=5)

    lines = vendors.wire()
    assert [set(line) for line in lines] == [FIELDS] * 6
    assert [line["n"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert line["received_machine_ns"] <= line["answered_machine_ns"]
        assert line["received_market_ns"] == vendors.clock.now_ns()
    assert [line["status"] for line in lines] == [204, 200, 200, 401, 401, 401]


def test_a_torn_last_line_is_cut_off_and_the_numbers_go_on(tmp_path):
    with running_vendors(tmp_path) as vendors:
        post(vendors, "one")
    with (tmp_path / "vendors.jsonl").open("a") as file:
        file.write('{"n": 2, "vendor": "disc')
    with running_vendors(tmp_path) as vendors:
        assert [item["text"] for item in vendors.told()] == ["one"]
        message(vendors, "two")
        assert [line["n"] for line in vendors.wire()] == [1, 2]


def test_the_log_turns_over_and_the_outbox_remembers(tmp_path, monkeypatch):
    monkeypatch.setattr("alphatrader.sandbox.vendors.wirelog.TURN_OVER_BYTES", 3000)
    with running_vendors(tmp_path) as vendors:
        for number in range(6):
            message(vendors, f"message {number}")
        assert (tmp_path / "vendors.1.jsonl").exists()
        assert (tmp_path / "vendors.jsonl").stat().st_size <= 3000
    with running_vendors(tmp_path) as vendors:
        assert vendors.told()[-1]["text"] == "message 5"
        message(vendors, "message 6")
        assert vendors.wire()[-1]["n"] == 7


def test_a_long_answer_is_logged_by_its_size(vendors):
    requests.get(
        f"{vendors.url}/alphavantage/query",
        params={"apikey": vendors.credentials.alphavantage_key, "function": "REALTIME_OPTIONS", "symbol": "SPY"},
        timeout=5,
    )
    line = vendors.wire(vendor="alphavantage")[0]
    assert set(line["answer"]) == {"bytes", "head"} and line["answer"]["bytes"] > 4096
    assert len(json.dumps(line)) < 2000
