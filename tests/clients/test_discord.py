"""DiscordBot through discord-webhook against the stand-in: what each answer means for the message."""

from __future__ import annotations

import time

import pytest

from alphatrader.clients.discord import DiscordBot
from alphatrader.clients.sending import RefusedError
from alphatrader.contract.settings.people import Vendors
from tests.support.vendors import CREDENTIALS

WEBHOOK = "/".join(CREDENTIALS.discord_webhooks["premium"])
EMBED = {"title": "SPY", "description": "said", "fields": [], "footer": {"text": "ref 1"}}


def bot(url: str, **settings) -> DiscordBot:
    return DiscordBot(Vendors(**{"discord_url": f"{url}/discord/api/webhooks", "timeout_seconds": 1.0} | settings), time.time_ns)


def test_an_embed_reaches_the_channel_and_its_id_comes_back(vendors):
    message = bot(vendors.url).send(WEBHOOK, EMBED)

    line = vendors.wire(vendor="discord")[0]
    assert line["answer"]["id"] == message and line["told"]["channel"] == "premium"
    assert line["request"]["allowed_mentions"] == {"parse": []}


def test_a_wrong_webhook_is_refused(vendors):
    with pytest.raises(RefusedError):
        bot(vendors.url).send("1001/wrong", EMBED)
