"""TelegramSender through python-telegram-bot against the stand-in, and the check of updates before the library reads them."""

from __future__ import annotations

import json
import time

import pytest

from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.clients.telegram import TelegramSender, checked_updates
from alphatrader.contract.settings.people import Vendors
from tests.support.servers import free_port
from tests.support.vendors import CREDENTIALS, running_vendors

TOKEN = CREDENTIALS.telegram_token


@pytest.fixture
def vendors(tmp_path):
    with running_vendors(tmp_path) as running:
        yield running


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


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "seconds": 7}, LimitedError),
        ({"kind": "status", "status": 503}, LimitedError),
        ({"kind": "status", "status": 403}, RefusedError),
        ({"kind": "status", "status": 400}, RefusedError),
        ({"kind": "status", "status": 500}, LostAnswerError),
        ({"kind": "html"}, LostAnswerError),
        ({"kind": "timeout", "seconds": 3}, LostAnswerError),
        ({"kind": "drop_after_accept"}, LostAnswerError),
        ({"kind": "truncate"}, LostAnswerError),
        ({"kind": "garbage"}, LostAnswerError),
    ],
)
def test_each_bad_answer_is_one_of_four_kinds_and_tells_no_secret(vendors, fault, kind):
    vendors.fault("telegram", fault.pop("kind"), **fault)

    with pytest.raises(SendError) as caught:
        sender(vendors.url).send(77, "text")

    assert type(caught.value) is kind
    assert TOKEN not in repr(caught.value)
    if fault.get("status") == 429:
        assert caught.value.wait_seconds == 7


def test_who_blocked_the_bot_is_a_refusal_and_so_is_a_wrong_token(vendors):
    vendors.post("/telegram/sandbox/block", user_id=77)
    with pytest.raises(RefusedError, match="blocked"):
        sender(vendors.url).send(77, "text")
    with pytest.raises(RefusedError) as caught:
        sender(vendors.url, "4242:wrong-secret").send(77, "text")
    assert "wrong-secret" not in str(caught.value)


def test_nobody_listening_means_that_nothing_left():
    with pytest.raises(UnreachableError):
        sender(f"http://127.0.0.1:{free_port()}").send(77, "text")


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
