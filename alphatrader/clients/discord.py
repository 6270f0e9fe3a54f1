"""DiscordBot: one message through a webhook, through discord-webhook, and what became of it.

Used by tasks/delivery.py for the tiers' channels. The webhook's address is its secret: it stands in no error and no log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests
from discord_webhook import DiscordWebhook

from alphatrader.clients.sending import LostAnswerError, SendError, breaker, of_requests, of_status, seconds
from alphatrader.contract.settings.people import Vendors

USERNAME = "AlphaTrader"


class DiscordBot:
    """Posts to webhooks. Raises one of the four SendErrors."""

    def __init__(self, vendors: Vendors, machine_ns: Callable[[], int]) -> None:
        self._base = vendors.discord_url.rstrip("/")
        self._timeout = vendors.timeout_seconds
        self.breaker = breaker(vendors, machine_ns)

    def send(self, webhook: str, embed: dict[str, Any]) -> str:
        """Posts one embed to `id/token`; the message's id."""
        return self.breaker.call(lambda: _post(f"{self._base}/{webhook}", self._timeout, embed))


def _post(url: str, timeout: float, embed: dict[str, Any]) -> str:
    message = DiscordWebhook(
        url=url, username=USERNAME, timeout=timeout, rate_limit_retry=False, allowed_mentions={"parse": []}, embeds=[embed]
    )
    try:
        # Not execute(): it logs the vendor's body and raises on a body that is no JSON, after the message was taken.
        reply = message.api_post_request()
    except requests.RequestException as error:
        raise of_requests(error) from None  # its text holds the address
    if reply.status_code == 204:
        return ""  # taken, and not asked to show it
    if reply.status_code != 200:
        raise _failure(reply)
    try:
        return str(reply.json()["id"])
    except (ValueError, KeyError, TypeError):
        raise LostAnswerError("an answer that is no message") from None


def _failure(reply: requests.Response) -> SendError:
    try:
        wait = seconds(reply.json().get("retry_after"))
    except (ValueError, AttributeError):
        wait = seconds(reply.headers.get("Retry-After"))
    return of_status(reply.status_code, wait)
