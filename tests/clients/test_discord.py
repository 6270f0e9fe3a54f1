"""DiscordBot through discord-webhook against the stand-in: what each answer means for the message."""

from __future__ import annotations

import time

import pytest

from alphatrader.clients.discord import DiscordBot
from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.contract.settings.people import Vendors
from tests.support.servers import free_port
from tests.support.vendors import CREDENTIALS, running_vendors

WEBHOOK = "/".join(CREDENTIALS.discord_webhooks["premium"])
EMBED = {"title": "SPY", "description": "said", "fields": [], "footer": {"text": "ref 1"}}


@pytest.fixture
def vendors(tmp_path):
    with running_vendors(tmp_path) as running:
        yield running


def bot(url: str, **settings) -> DiscordBot:
    return DiscordBot(Vendors(**{"discord_url": f"{url}/discord/api/webhooks", "timeout_seconds": 1.0} | settings), time.time_ns)


def test_an_embed_reaches_the_channel_and_its_id_comes_back(vendors):
    message = bot(vendors.url).send(WEBHOOK, EMBED)

    line = vendors.wire(vendor="discord")[0]
    assert line["answer"]["id"] == message and line["told"]["channel"] == "premium"
    assert line["request"]["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "seconds": 7}, LimitedError),
        ({"kind": "status", "status": 503}, LimitedError),
        ({"kind": "status", "status": 404}, RefusedError),
        ({"kind": "status", "status": 500}, LostAnswerError),
        ({"kind": "html"}, LostAnswerError),
        ({"kind": "timeout", "seconds": 3}, LostAnswerError),
        ({"kind": "drop_after_accept"}, LostAnswerError),
        ({"kind": "truncate"}, LostAnswerError),
        ({"kind": "garbage"}, LostAnswerError),
    ],
)
def test_each_bad_answer_is_one_of_four_kinds_and_tells_no_secret(vendors, fault, kind):
    vendors.fault("discord", fault.pop("kind"), **fault)

    with pytest.raises(SendError) as caught:
        bot(vendors.url).send(WEBHOOK, EMBED)

    assert type(caught.value) is kind
    assert "token-secret" not in repr(caught.value) and caught.value.__cause__ is None
    if fault.get("status") == 429:
        assert caught.value.wait_seconds == 7


def test_a_wrong_webhook_is_refused(vendors):
    with pytest.raises(RefusedError):
        bot(vendors.url).send("1001/wrong", EMBED)


def test_nobody_listening_means_that_nothing_left():
    with pytest.raises(UnreachableError):
        bot(f"http://127.0.0.1:{free_port()}").send(WEBHOOK, EMBED)


def test_the_breaker_opens_after_failures_in_a_row_and_closes_by_one_good_call(vendors):
    client = bot(vendors.url, breaker_failures=2, breaker_reset_seconds=0.2)
    vendors.fault("discord", "status", status=500, count=2)
    for _ in range(2):
        with pytest.raises(LostAnswerError):
            client.send(WEBHOOK, EMBED)

    assert client.breaker.state == "open" and not client.breaker.ready()
    with pytest.raises(UnreachableError, match="breaker"):
        client.send(WEBHOOK, EMBED)
    assert len(vendors.wire(vendor="discord")) == 2

    deadline = time.monotonic() + 2
    while not client.breaker.ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.send(WEBHOOK, EMBED) and client.breaker.state == "closed"


def test_a_refusal_says_that_the_vendor_is_there(vendors):
    client = bot(vendors.url, breaker_failures=1)
    with pytest.raises(RefusedError):
        client.send("1001/wrong", EMBED)
    assert client.breaker.state == "closed"
