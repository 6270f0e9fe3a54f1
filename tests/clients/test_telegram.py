"""TelegramSender through python-telegram-bot against the stand-in, and the check of updates before the library reads them."""

from __future__ import annotations

import json
import time

import pytest

from alphatrader.clients.sending import RefusedError
from alphatrader.clients.telegram import TelegramSender, checked_updates
from alphatrader.contract.settings.people import Vendors
from tests.support.vendors import CREDENTIALS

TOKEN = CREDENTIALS.telegram_token


def sender(url: str, token: str = TOKEN) -> TelegramSender:
    return TelegramSender(Vendors(telegram_url=f"{url}/telegram", timeout_seconds=1.0), token, time.time_ns)


def test_a_text_reaches_a_user_and_a_channel(vendors):
    client = sender(vendors.url)

    assert client.send(77, "to a user") and client.send(-1001, "to a channel") and client.send("@named", "by name")
    assert [(one["channel"], one["text"]) for one in vendors.told(vendor="telegram")] == [
        ("77", "to a user"),
        ("-1001", "to a channel"),
        ("@named", "by name"),
    ]


def test_who_blocked_the_bot_is_a_refusal_and_so_is_a_wrong_token(vendors):
    vendors.post("/telegram/sandbox/block", user_id=77)
    with pytest.raises(RefusedError, match="blocked"):
        sender(vendors.url).send(77, "text")
    with pytest.raises(RefusedError) as caught:
        sender(vendors.url, "4242:wrong-secret").send(77, "text")
    assert "wrong-secret" not in str(caught.value)


# -- updates


GOOD = {
    "update_id": 5,
    "message": {"message_id": 1, "date": 1795446000, "chat": {"id": 7, "type": "private"}, "text": "/status"},
}


def check(*updates) -> tuple[list, list[str]]:
    refused: list[str] = []
    body = json.dumps({"ok": True, "result": list(updates)}).encode()
    return json.loads(checked_updates(body, refused.append))["result"], refused


def test_a_good_update_passes_untouched():
    assert check(GOOD) == ([GOOD], [])


@pytest.mark.parametrize(
    "bad",
    [
        {"update_id": 4, "message": {"text": "no chat, no date"}},
        {"update_id": 4, "message": "a string"},
        {"update_id": 4, "message": {**GOOD["message"], "date": "yesterday"}},
        {"update_id": 4, "callback_query": {"id": 1}},
    ],
)
def test_an_update_the_library_cannot_read_is_counted_and_passed_over(bad):
    passed, refused = check(bad, GOOD)

    assert passed == [{"update_id": 4}, GOOD]
    assert len(refused) == 1 and "4" in refused[0]


@pytest.mark.parametrize("bad", [None, "text", 3, {"message": {}}, {"update_id": "x"}])
def test_an_update_without_a_number_is_left_out(bad):
    assert check(bad, GOOD) == ([GOOD], ["update_id: not a number"])


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"[]", b'{"ok": true}', b'{"result": 3}'])
def test_an_answer_of_another_shape_is_left_to_the_library(body):
    assert checked_updates(body, lambda reason: pytest.fail(reason)) == body
