"""How the watchdog reaches the operator: Discord and Telegram directly, each on its own, without Redis or Celery.

`tell` returns what went wrong on each channel; one that fails does not hold the other. `Teller` does it in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import requests
from discord_webhook import DiscordWebhook
from telegram import Bot
from telegram.error import TelegramError

AGAIN_SECONDS = 15.0
"""What no channel took is told again after this: what cuts off the broker often cuts off the channels, too."""
MOST_UNTOLD = 100
_LONGEST = 1900
"""Both vendors allow about 2,000 characters a message."""


def messages(text: str, longest: int = _LONGEST) -> list[str]:
    """The text in as few messages as hold its lines; only a line that is too long by itself is cut."""
    found = [""]
    for line in text.splitlines():
        line = line if len(line) <= longest else line[: longest - 1] + "…"
        together = f"{found[-1]}\n{line}" if found[-1] else line
        if len(together) <= longest:
            found[-1] = together
        else:
            found.append(line)
    return found


@dataclass(frozen=True)
class OperatorChannels:
    discord_url: str | None
    """The whole webhook URL."""
    telegram_token: str | None
    telegram_chat: str | None
    telegram_base_url: str
    timeout_seconds: float

    def tell(self, text: str) -> dict[str, str | None]:
        """Channel -> what went wrong, None where it was taken. Empty: no channel is configured."""
        ways = {}
        if self.discord_url:
            ways["discord"] = self._discord
        if self.telegram_token and self.telegram_chat:
            ways["telegram"] = self._telegram
        with ThreadPoolExecutor(max_workers=2) as pool:
            pending = {channel: pool.submit(send, messages(text)) for channel, send in ways.items()}
            return {channel: sent.result() for channel, sent in pending.items()}

    def _discord(self, texts: list[str]) -> str | None:
        for text in texts:
            message = DiscordWebhook(
                url=str(self.discord_url), content=text, timeout=self.timeout_seconds, allowed_mentions={"parse": []}
            )
            try:
                # Not execute(): it reads the answer's body as JSON, which a failing vendor does not send.
                answer = message.api_post_request()
            except requests.RequestException as error:
                return type(error).__name__
            if answer.status_code not in (200, 204):
                return f"HTTP {answer.status_code}"
        return None

    def _telegram(self, texts: list[str]) -> str | None:
        async def send() -> None:
            async with Bot(str(self.telegram_token), base_url=f"{self.telegram_base_url}/bot") as bot:
                for text in texts:
                    await bot.send_message(str(self.telegram_chat), text, read_timeout=self.timeout_seconds)

        try:
            asyncio.run(send())
        except TelegramError as error:
            return type(error).__name__
        return None


class Teller:
    """A vendor that hangs must not keep the watchdog from looking. What no channel takes is kept, with its time."""

    def __init__(
        self, channels: OperatorChannels, *, title: str, stamp: Callable[[], str], heard: Callable[[str, str | None], None]
    ) -> None:
        """`stamp`: the time to show; `heard` is told what went wrong on a channel, None where it took a message."""
        self._channels = channels
        self._title, self._stamp, self._heard = title, stamp, heard
        self._changed = threading.Condition()
        self._new: list[tuple[str, str]] = []
        threading.Thread(target=self._run, name="teller", daemon=True).start()

    def say(self, texts: list[str]) -> None:
        """Returns at once."""
        if texts:
            with self._changed:
                self._new += [(text, self._stamp()) for text in texts]
                self._changed.notify()

    def _run(self) -> None:
        untold: list[str] = []
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._new, AGAIN_SECONDS if untold else None)
                new, self._new = self._new, []
            answers = self._channels.tell("\n".join([f"{self._title}, {self._stamp()}", *untold, *(text for text, _ in new)]))
            for channel, wrong in answers.items():
                self._heard(channel, wrong)
            failed = bool(answers) and all(answers.values())
            untold = [*untold, *(f"{text} [{stamp}]" for text, stamp in new)][-MOST_UNTOLD:] if failed else []


def ping(url: str, timeout_seconds: float) -> str | None:
    """Asks for a page, to tell an outside watcher that all is well or to see whether it answers; what went wrong, or None."""
    try:
        requests.get(url, timeout=timeout_seconds).raise_for_status()
    except requests.RequestException as error:
        return type(error).__name__
    return None
