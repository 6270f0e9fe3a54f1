"""The Discord stand-in through discord-webhook, held to Discord's own specification."""

from __future__ import annotations

import pytest
import requests
from discord_webhook import DiscordEmbed, DiscordWebhook

from tests.support.specs import OpenApi
from tests.support.vendors import Running, running_vendors


def address(vendors: Running, channel: str = "premium") -> str:
    webhook, token = vendors.credentials.discord_webhooks[channel]
    return f"{vendors.url}/discord/api/webhooks/{webhook}/{token}"


def signal(vendors: Running, channel: str = "premium", **more) -> DiscordWebhook:
    hook = DiscordWebhook(url=address(vendors, channel), content="SPY 600C", username="AlphaTrader", timeout=5, **more)
    embed = DiscordEmbed(title="Long SPY 600C", description="VPIN 0.62", color="03b2f8")
    embed.add_embed_field(name="Entry", value="4.05")
    embed.set_footer(text="Not investment advice.")
    hook.add_embed(embed)
    return hook


def test_a_post_is_answered_with_the_message_and_told_in_the_outbox(vendors):
    reply = signal(vendors).execute()

    assert reply.status_code == 200
    message = reply.json()
    assert message["content"] == "SPY 600C" and message["embeds"][0]["fields"][0]["value"] == "4.05"
    told = vendors.told(vendor="discord", channel="premium")
    assert len(told) == 1 and "Not investment advice." in told[0]["text"]
    assert told[0]["market_time"] == "Mon 23 Nov 2026, 10:00:00 ET"


def test_requests_and_answers_fit_the_specification(vendors):
    api = OpenApi("discord/openapi.reduced.json")
    message = signal(vendors).execute().json()

    line = vendors.wire(vendor="discord")[0]
    api.check_any(line["request"], "IncomingWebhookRequestPartial", "IncomingWebhookUpdateRequestPartial")
    api.check(message, "MessageResponse")
    api.check(requests.get(address(vendors), timeout=5).json(), "GuildIncomingWebhookResponse")
    refused = requests.post(address(vendors), json={"content": "x" * 2001}, timeout=5)
    assert refused.status_code == 400
    api.check(requests.get(address(vendors) + "wrong", timeout=5).json(), "ErrorResponse")


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds"),
        ({"embeds": [{"title": "t" * 257}]}, "embeds.0.title"),
        ({"embeds": [{"description": "d" * 4097}]}, "embeds.0.description"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [{"name": "n", "value": "v" * 1025}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{"name": "n"}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"footer": {"text": "f" * 2049}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"description": "d" * 4000}, {"description": "d" * 2001}]}, "embeds"),
        ({"content": "hello", "username": ""}, "username"),
    ],
)
def test_what_breaks_a_limit_is_refused_by_field(standing, payload, place):
    standing.clock.advance(1)  # within the rate limit
    reply = requests.post(address(standing), json=payload, timeout=5)

    assert reply.status_code == 400 and reply.json()["code"] == 50035
    node = reply.json()["errors"]
    for part in place.split("."):
        node = node[part]
    assert node["_errors"]
    assert standing.told() == []


@pytest.mark.parametrize(
    "body", ["[]", "no json", '{"content": ""}', "{}", '{"embeds": ["text"]}', '{"embeds": [{"footer": "text"}]}']
)
def test_an_empty_or_broken_message_is_refused(standing, body):
    standing.clock.advance(1)
    reply = requests.post(address(standing), data=body, headers={"Content-Type": "application/json"}, timeout=5)

    assert reply.status_code == 400
    assert standing.told() == []


def test_unknown_webhook_or_token(vendors):
    reply = requests.post(address(vendors) + "x", json={"content": "hello"}, timeout=5)

    assert (reply.status_code, reply.json()["code"]) == (404, 10015)


def test_the_sixth_post_in_two_seconds_waits_and_the_client_can_read_for_how_long(vendors):
    api = OpenApi("discord/openapi.reduced.json")
    replies = [requests.post(address(vendors), json={"content": str(n)}, timeout=5) for n in range(6)]

    assert [reply.status_code for reply in replies] == [204] * 5 + [429]
    limited = replies[-1]
    assert limited.headers["Via"] == "1.1 google" and limited.json()["retry_after"] == pytest.approx(2.0, abs=0.01)
    api.check(limited.json(), "RatelimitedResponse")
    assert requests.post(address(vendors, "basic"), json={"content": "x"}, timeout=5).status_code == 204  # its own limit
    vendors.clock.advance(2.0)
    assert requests.post(address(vendors), json={"content": "6"}, timeout=5).status_code == 204


def test_the_clients_own_retry_gets_through_a_limit(vendors):
    vendors.fault("discord", "status", status=429, seconds=0.05)

    reply = signal(vendors, rate_limit_retry=True).execute()

    assert reply.status_code == 200
    assert [line["status"] for line in vendors.wire(vendor="discord")] == [429, 200]


def test_a_message_can_be_edited_and_deleted(vendors):
    hook = signal(vendors)
    hook.execute()
    hook.content = "closed"
    assert hook.edit().json()["content"] == "closed"
    assert hook.delete().status_code in (200, 204)

    again = requests.get(f"{address(vendors)}/messages/{hook.id}", timeout=5)
    assert (again.status_code, again.json()["code"]) == (404, 10008)


def test_tokens_stay_out_of_the_log_and_the_outbox_outlives_a_restart(tmp_path):
    with running_vendors(tmp_path) as vendors:
        signal(vendors).execute()
        signal(vendors, "basic").execute()
        requests.post(f"{vendors.url}/discord/api/webhooks/1001/a-guessed-token", json={"content": "x"}, timeout=5)
    text = (tmp_path / "vendors.jsonl").read_text()
    assert "token-secret" not in text and "a-guessed-token" not in text

    with running_vendors(tmp_path) as vendors:
        told = vendors.told(vendor="discord")
        assert [item["channel"] for item in told] == ["premium", "basic"]
        signal(vendors).execute()
        numbers = [line["n"] for line in vendors.wire()]
        assert numbers == sorted(set(numbers)) and len(vendors.told()) == 3
