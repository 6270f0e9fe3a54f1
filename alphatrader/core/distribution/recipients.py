"""Who is told: the channel of the tier, and the Telegram users whose tier entitles them.

A user is told once of a thing, whatever tier it was told under: who became premium between the two messages gets the basic one,
who was premium and got that does not get the basic one too. Free followers are told in the public channel only: they asked for
no private message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from alphatrader.contract.messages.distribution import Delivery, Tier
from alphatrader.contract.settings.people import Vendors


def telegram_channel(tier: Tier, vendors: Vendors) -> str:
    """Chat id of the tier's channel; empty where there is none."""
    return {
        "premium": vendors.telegram_premium_channel,
        "basic": vendors.telegram_basic_channel,
        "free": vendors.telegram_public_channel,
    }[tier]


def telegram_recipients(
    delivery: Delivery,
    vendors: Vendors,
    users: Mapping[str, Tier],
    was_told: Callable[[str, str], bool],
    waiting: Iterable[str],
) -> list[str]:
    """`telegram:{chat}` of everyone this delivery is for.

    `users` are the tiers as they are now, `was_told(delivery id, recipient)` asks the ledger, `waiting` are the ids of deliveries
    that are still in the queue.
    """
    channel = telegram_channel(delivery.tier, vendors)
    found = [f"telegram:{channel}"] if channel else []
    if delivery.tier == "free":
        return found
    entitled = [f"telegram:{user}" for user, tier in users.items() if tier == delivery.tier]
    if delivery.tier == "basic":
        above = f"{delivery.id.removesuffix(':basic')}:premium"
        entitled = [recipient for recipient in entitled if not was_told(above, recipient)]
        if above not in set(waiting):
            risen = [f"telegram:{user}" for user, tier in users.items() if tier == "premium"]
            entitled += [recipient for recipient in risen if not was_told(above, recipient)]
    return found + sorted(set(entitled))
