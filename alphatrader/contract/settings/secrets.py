"""The secrets: where each comes from and which modules may see it. Values live in the environment only.

`made` secrets are ours: a first start makes them in `data/<mode>/secrets.json`, mode 0600. In sandbox mode the vendors'
are made there too, since the stand-ins accept whatever they were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from alphatrader.contract.modules import Module as M


@dataclass(frozen=True, slots=True)
class Secret:
    name: str
    variable: str
    """The environment variable that carries it, in our environment and in the module's."""
    modules: tuple[M, ...]
    about: str
    made: bool = False
    """Ours to make, in every mode."""
    sandbox_form: str = "{hex}"
    """How a made value looks: `{hex}` is random; the vendor's client may insist on a form."""


_ALERTS = (M.WATCHDOG,)
SECRETS: Final = (
    Secret("session_key", "ALPHATRADER_SESSION_KEY", (M.DASHBOARD, M.PAGES, M.TELEGRAM, M.CLI), "Signs logins", made=True),
    Secret("operator_password", "ALPHATRADER_OPERATOR_PASSWORD", (M.DASHBOARD,), "Dashboard password", made=True),
    Secret("flower_password", "ALPHATRADER_FLOWER_PASSWORD", (M.FLOWER,), "Flower's password, user `operator`", made=True),
    Secret("emergency_token", "ALPHATRADER_EMERGENCY_TOKEN", (M.EMERGENCY, M.CLI), "Emergency socket", made=True),
    Secret("alphavantage_key", "ALPHAVANTAGE_API_KEY", (M.PULLS, M.SANDBOX), "Alpha Vantage key"),
    Secret(
        "discord_premium", "DISCORD_PREMIUM_WEBHOOK", (M.DELIVERY, M.SANDBOX), "Premium channel, `id/token`",
        sandbox_form="100000000000000001/premium-{hex}",
    ),
    Secret(
        "discord_basic", "DISCORD_BASIC_WEBHOOK", (M.DELIVERY, M.SANDBOX), "Basic channel, `id/token`",
        sandbox_form="100000000000000002/basic-{hex}",
    ),
    Secret(
        "discord_free", "DISCORD_FREE_WEBHOOK", (M.DELIVERY, M.SANDBOX), "Free channel, `id/token`",
        sandbox_form="100000000000000003/free-{hex}",
    ),
    Secret(
        "discord_operator", "DISCORD_OPERATOR_WEBHOOK", (M.DELIVERY, M.SANDBOX, *_ALERTS), "The operator's channel, `id/token`",
        sandbox_form="100000000000000004/operator-{hex}",
    ),
    Secret(
        "telegram_token", "TELEGRAM_BOT_TOKEN", (M.TELEGRAM, M.DELIVERY, M.SANDBOX, *_ALERTS), "The bot's token",
        sandbox_form="7000000001:{hex}",
    ),
    Secret("telegram_operator_chat", "TELEGRAM_OPERATOR_CHAT", _ALERTS, "Chat id for alarms", sandbox_form="900001"),
    Secret("x_consumer_key", "X_CONSUMER_KEY", (M.DELIVERY, M.SANDBOX), "X app key"),
    Secret("x_consumer_secret", "X_CONSUMER_SECRET", (M.DELIVERY, M.SANDBOX), "X app secret"),
    Secret("x_access_token", "X_ACCESS_TOKEN", (M.DELIVERY, M.SANDBOX), "X user token", sandbox_form="1-{hex}"),
    Secret("x_access_secret", "X_ACCESS_SECRET", (M.DELIVERY, M.SANDBOX), "X user secret"),
    Secret("stripe_key", "STRIPE_SECRET_KEY", (M.PAGES, M.SANDBOX), "Stripe secret key", sandbox_form="sk_test_{hex}"),
    Secret("stripe_webhook_secret", "STRIPE_WEBHOOK_SECRET", (M.PAGES, M.SANDBOX), "Signs webhooks", sandbox_form="whsec_{hex}"),
    Secret("openai_key", "OPENAI_API_KEY", (M.ROUTINES, M.SANDBOX), "OpenAI key", sandbox_form="sk-{hex}"),
)  # fmt: skip


def declared(module: M) -> tuple[Secret, ...]:
    """The secrets that `module` may see."""
    return tuple(secret for secret in SECRETS if module in secret.modules)
