"""Settings of what people see and pay: distribution, vendors, billing, web, routines."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from alphatrader.contract.settings.system import Clock, Port, Seconds, Section, Url


class Distribution(Section, frozen=True):
    basic_delay_seconds: Annotated[
        float, Meta(ge=60, le=86_400, description="Basic subscribers are told this much later; never less than 60.")
    ] = 60.0
    free_delay_seconds: Annotated[
        float, Meta(ge=300, le=86_400, description="Free followers are told this much later; never less than 300.")
    ] = 300.0
    free_per_day: Annotated[int, Meta(ge=0, description="Signals a day in the free tier.")] = 3
    late_after_seconds: Annotated[Seconds, Meta(description="Later than this past due, a signal is sent as a late notice.")] = (
        900.0
    )
    max_attempts: Annotated[int, Meta(ge=1, le=20, description="Tries before a delivery is given up and shown.")] = 6
    disclaimer: Annotated[str, Meta(min_length=10, description="Ends every message and page.")] = (
        "Not investment advice. Options can lose all of their value. Past results do not foretell future ones."
    )

    def __post_init__(self) -> None:
        if self.basic_delay_seconds > self.free_delay_seconds:
            late, free = f"{self.basic_delay_seconds:g}", f"{self.free_delay_seconds:g}"
            raise ValueError(f"basic_delay_seconds: {late}, but who pays nothing is told after {free}")


class Vendors(Section, frozen=True):
    discord_url: Annotated[Url, Meta(description="Base of the webhook URLs whose secrets are `id/token`.")] = (
        "https://discord.com/api/webhooks"
    )
    telegram_url: Annotated[Url, Meta(description="Telegram's Bot API.")] = "https://api.telegram.org"
    x_url: Annotated[Url, Meta(description="X's API.")] = "https://api.twitter.com"
    stripe_url: Annotated[Url, Meta(description="Stripe's API.")] = "https://api.stripe.com"
    openai_url: Annotated[Url, Meta(description="OpenAI's API.")] = "https://api.openai.com/v1"
    openai_model: Annotated[str, Meta(min_length=1, description="Model of the morning note.")] = "gpt-4o"
    timeout_seconds: Annotated[Seconds, Meta(description="Longest wait for any vendor.")] = 10.0
    breaker_failures: Annotated[int, Meta(ge=1, description="Failures in a row that open a vendor's circuit breaker.")] = 5
    breaker_reset_seconds: Annotated[Seconds, Meta(description="How long an open breaker waits before it tries again.")] = 10.0
    telegram_public_channel: Annotated[str, Meta(description="Chat id of the public channel; empty: none.")] = ""
    telegram_basic_channel: Annotated[str, Meta(description="Chat id of the basic channel; empty: none.")] = ""
    telegram_premium_channel: Annotated[str, Meta(description="Chat id of the premium channel; empty: none.")] = ""
    telegram_operators: Annotated[tuple[int, ...], Meta(description="Telegram users who may halt, resume, flatten.")] = ()


class Billing(Section, frozen=True):
    premium_usd: Annotated[int, Meta(ge=1, description="Monthly price of premium.")] = 149
    basic_usd: Annotated[int, Meta(ge=1, description="Monthly price of basic.")] = 49
    webhook_tolerance_seconds: Annotated[int, Meta(ge=1, le=300, description="Oldest signature accepted.")] = 300
    poll_seconds: Annotated[Seconds, Meta(description="How often subscriptions are read from Stripe itself.")] = 300.0
    live_events: Annotated[bool, Meta(description="Whether events carry livemode; others are refused.")] = False
    past_due_days: Annotated[
        float, Meta(ge=0, le=30, description="How long access stays while Stripe retries a renewal, from the period's start.")
    ] = 7.0


class Web(Section, frozen=True):
    dashboard_port: Annotated[Port, Meta(description="The operator's dashboard, on 127.0.0.1.")] = 8000
    pages_port: Annotated[Port, Meta(description="The subscribers' pages and Stripe's webhook.")] = 8001
    pages_host: Annotated[str, Meta(description="Where the pages listen; a proxy stands before them.")] = "127.0.0.1"
    pages_url: Annotated[Url, Meta(description="How the world reaches the pages.")] = "http://127.0.0.1:8001"
    pages_proxies: Annotated[
        int, Meta(ge=0, le=5, description="Proxies before the pages whose X-Forwarded-For is believed; 0: none stands there.")
    ] = 0
    flower_port: Annotated[Port, Meta(description="Flower, on 127.0.0.1.")] = 5555
    session_hours: Annotated[float, Meta(gt=0, le=168, description="How long a login lasts.")] = 12.0
    fresh_seconds: Annotated[Seconds, Meta(description="Clearing a halt needs a login younger than this.")] = 300.0


class Routines(Section, frozen=True):
    morning: Annotated[Clock, Meta(description="Analysis.")] = "08:00"
    open: Annotated[Clock, Meta(description="Opening checks.")] = "09:30"
    midday: Annotated[Clock, Meta(description="Performance so far.")] = "12:00"
    close: Annotated[Clock, Meta(description="Daily summary.")] = "16:00"
    evening: Annotated[Clock, Meta(description="Next day's preview.")] = "18:00"
