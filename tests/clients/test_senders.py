"""What Discord, Telegram and X have in common: each end of a message is one of four kinds, and a breaker stands before each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from alphatrader.clients.breaker import Breaker
from alphatrader.clients.discord import DiscordBot
from alphatrader.clients.sending import LimitedError, LostAnswerError, RefusedError, SendError, UnreachableError
from alphatrader.clients.telegram import TelegramSender
from alphatrader.clients.twitter import XKeys, XPoster
from alphatrader.contract.settings.people import Vendors
from tests.support.servers import free_port
from tests.support.vendors import CREDENTIALS, Running

EMBED = {"title": "SPY", "description": "said", "fields": [], "footer": {"text": "ref 1"}}
X_KEYS = XKeys(
    CREDENTIALS.x_consumer_key, CREDENTIALS.x_consumer_secret, CREDENTIALS.x_access_token, CREDENTIALS.x_access_token_secret
)


@dataclass
class Sender:
    send: Callable[[str], str]
    """Sends a text; the message's id."""
    breaker: Breaker


def sender(vendor: str, url: str, **settings: Any) -> Sender:
    given = Vendors(
        **{"discord_url": f"{url}/discord/api/webhooks", "telegram_url": f"{url}/telegram", "x_url": f"{url}/x"}
        | {"timeout_seconds": 1.0}
        | settings
    )
    if vendor == "discord":
        bot, webhook = DiscordBot(given, time.time_ns), "/".join(CREDENTIALS.discord_webhooks["premium"])
        return Sender(lambda text: bot.send(webhook, EMBED | {"description": text}), bot.breaker)
    if vendor == "telegram":
        telegram = TelegramSender(given, CREDENTIALS.telegram_token, time.time_ns)
        return Sender(lambda text: telegram.send(77, text), telegram.breaker)
    poster = XPoster(given, X_KEYS, time.time_ns)
    return Sender(poster.post, poster.breaker)


@pytest.fixture(params=["discord", "telegram", "x"])
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def secrets_of(vendor: str) -> list[str]:
    return {
        "discord": [CREDENTIALS.discord_webhooks["premium"][1]],
        "telegram": [CREDENTIALS.telegram_token],
        "x": [X_KEYS.consumer_key, X_KEYS.consumer_secret, X_KEYS.access_token, X_KEYS.access_secret],
    }[vendor]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "seconds": 400}, LimitedError),
        ({"kind": "status", "status": 503}, LimitedError),
        ({"kind": "status", "status": 403}, RefusedError),
        ({"kind": "status", "status": 404}, RefusedError),
        ({"kind": "status", "status": 500}, LostAnswerError),
        ({"kind": "html"}, LostAnswerError),
        ({"kind": "timeout", "seconds": 3}, LostAnswerError),
        ({"kind": "drop_after_accept"}, LostAnswerError),
        ({"kind": "truncate"}, LostAnswerError),
        ({"kind": "garbage"}, LostAnswerError),
    ],
)
def test_each_bad_answer_is_one_of_four_kinds_and_tells_no_secret(
    standing: Running, vendor: str, fault: dict[str, Any], kind: type[SendError]
) -> None:
    fault = dict(fault)
    standing.fault(vendor, fault.pop("kind"), **fault)

    with pytest.raises(SendError) as caught:
        sender(vendor, standing.url).send("text")

    assert type(caught.value) is kind
    assert not [secret for secret in secrets_of(vendor) if secret in repr(caught.value)]
    if fault.get("status") == 429:
        assert 200 < caught.value.wait_seconds <= 401  # X names an instant, which comes nearer meanwhile; the others a span


def test_nobody_listening_means_that_nothing_left(vendor: str) -> None:
    with pytest.raises(UnreachableError):
        sender(vendor, f"http://127.0.0.1:{free_port()}").send("text")


def test_the_breaker_opens_after_failures_in_a_row_and_closes_by_one_good_call(vendors: Running, vendor: str) -> None:
    client = sender(vendor, vendors.url, breaker_failures=2, breaker_reset_seconds=0.2)
    vendors.fault(vendor, "status", status=500, count=2)
    for _ in range(2):
        with pytest.raises(LostAnswerError):
            client.send("text")

    assert client.breaker.state == "open" and not client.breaker.ready()
    with pytest.raises(UnreachableError, match="breaker"):
        client.send("text")
    assert len(vendors.wire(vendor=vendor)) == 2

    deadline = time.monotonic() + 2
    while not client.breaker.ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.send("text") and client.breaker.state == "closed"


def test_a_refusal_says_that_the_vendor_is_there(vendors: Running, vendor: str) -> None:
    client = sender(vendor, vendors.url, breaker_failures=1)
    vendors.fault(vendor, "status", status=403, count=1)
    with pytest.raises(RefusedError):
        client.send("text")
    assert client.breaker.state == "closed"
