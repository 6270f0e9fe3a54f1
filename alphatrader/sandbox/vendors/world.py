"""What the stand-ins stand in: the market they quote, the two clocks, their directory, the credentials they accept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from alphatrader.sandbox.market.types import Market

SANDBOX_PRICES: Mapping[str, tuple[str, int]] = {
    "price_sandbox_premium": ("AlphaTrader Premium", 14900),
    "price_sandbox_basic": ("AlphaTrader Basic", 4900),
}


@dataclass(frozen=True, slots=True)
class VendorCredentials:
    """What each stand-in accepts; anything else is refused as the vendor refuses it."""

    alphavantage_key: str
    discord_webhooks: Mapping[str, tuple[str, str]]  # channel name -> (webhook id, token)
    telegram_token: str
    x_consumer_key: str
    x_consumer_secret: str
    x_access_token: str
    x_access_token_secret: str
    stripe_secret_key: str
    stripe_webhook_secret: str
    stripe_webhook_url: str  # where signed events go; empty: they are only kept
    openai_key: str
    alphavantage_unentitled_key: str = ""  # a key that gets the vendor's artificial rows
    telegram_bot_username: str = "alphatrader_sandbox_bot"
    x_username: str = "alphatrader_sandbox"
    # monthly prices in cents that the Stripe account starts with; the lookup key is the last word of the id
    stripe_prices: Mapping[str, tuple[str, int]] = field(default_factory=lambda: dict(SANDBOX_PRICES))

    def secrets(self) -> tuple[str, ...]:
        """Every string that must not reach a log, longest first so that no part of a longer one stays."""
        named = [
            self.alphavantage_key,
            self.alphavantage_unentitled_key,
            *(token for _, token in self.discord_webhooks.values()),
            self.telegram_token,
            self.x_consumer_key,
            self.x_consumer_secret,
            self.x_access_token,
            self.x_access_token_secret,
            self.stripe_secret_key,
            self.stripe_webhook_secret,
            self.openai_key,
        ]
        return tuple(sorted({secret for secret in named if len(secret) >= 6}, key=len, reverse=True))


@dataclass(slots=True)
class VendorWorld:
    """Everything the stand-ins share. `market_lock` must be the lock under which the sandbox steps its market."""

    market: Market
    now_ns: Callable[[], int]  # market time, nanoseconds since the Unix epoch
    machine_s: Callable[[], float]  # machine time, seconds since the Unix epoch
    data_dir: Path
    credentials: VendorCredentials
    market_lock: AbstractContextManager = field(default_factory=threading.RLock)
    stopping: threading.Event = field(default_factory=threading.Event)  # wakes whatever waits (long polls, slow faults)

    def machine_ns(self) -> int:
        return int(self.machine_s() * 1_000_000_000)
