"""Who may see what, judged from Stripe's current state. Pure: subscriptions and the instant are arguments.

| Stripe has the subscription as | access |
|---|---|
| active, trialing | the tier of its price |
| the same, with an end set (`cancel_at`) | until that second exactly |
| past_due | while Stripe retries: `billing.past_due_days` from the start of the unpaid period, then none |
| canceled, unpaid, paused, incomplete, anything unknown | none |
| collection paused | none while it is |
| the running period's payment refunded whole | none, until a later period is paid (part of it refunded: access stays) |
| a payment disputed and not won | none by this subscription any more |
| of a price that is not ours | none, and the operator is told |
| several at once | the highest of them |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from alphatrader.contract.messages.billing import Price, Subscription
from alphatrader.contract.messages.distribution import Tier

PaidTier = Literal["premium", "basic"]
TIERS: Final[tuple[PaidTier, ...]] = ("premium", "basic")
_RANK: Final[Mapping[Tier, int]] = {"free": 0, "basic": 1, "premium": 2}
_LIVE: Final = ("active", "trialing", "past_due")
_OVER: Final = ("canceled", "incomplete", "incomplete_expired")
_OWED: Final = ("past_due", "unpaid", "paused")
_FOREVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Access:
    tier: Tier
    status: str
    """Why, in a word: Stripe's status, or refunded, disputed, paused, ended, unknown price, none."""
    until_s: int | None
    """When it ends by what is known now; None: no end is known."""
    of: Subscription | None
    """The subscription it comes from."""


NO_ACCESS: Final = Access("free", "none", None, None)


def offers(prices: Iterable[Price], usd: Mapping[PaidTier, int]) -> tuple[dict[PaidTier, Price], list[str]]:
    """What is sold, and what is wrong with the account's prices.

    A tier's price carries the tier's name as its lookup key; where none does, the only monthly price of the tier's amount is it.
    A price of another amount than the settings (and so the pages) say is not sold.
    """
    found: dict[PaidTier, Price] = {}
    wrong = []
    usable = [price for price in prices if price.active and price.monthly]
    for tier in TIERS:
        keyed = [price for price in usable if price.lookup_key == tier]
        fitting = keyed or [price for price in usable if price.lookup_key is None and price.cents == usd[tier] * 100]
        if len(fitting) != 1:
            wrong.append(f"Stripe has {len(fitting) or 'no'} monthly prices for {tier}: give one the lookup key `{tier}`")
        elif fitting[0].cents != usd[tier] * 100:
            wrong.append(f"Stripe's price of {tier} is not the ${usd[tier]} of billing.{tier}_usd")
        else:
            found[tier] = fitting[0]
    return found, wrong


def tier_of(subscription: Subscription, sold: Mapping[PaidTier, Price]) -> PaidTier | None:
    """The highest tier among its prices; None where no price is ours.

    A price is ours by its lookup key, its id, or (a former price of the same thing) a product that belongs to one tier only.
    """
    products = [price.product for price in sold.values()]
    for tier in TIERS:
        known = sold.get(tier)
        for price in subscription.prices:
            same_product = known is not None and price.product == known.product and products.count(known.product) == 1
            if price.lookup_key == tier or (known is not None and price.id == known.id) or same_product:
                return tier
    return None


def access(one: Subscription, sold: Mapping[PaidTier, Price], now_s: float, past_due_seconds: float) -> Access:
    """What one subscription gives at this instant."""
    if one.status not in _LIVE:
        return Access("free", one.status, None, one)
    if one.disputed:
        return Access("free", "disputed", None, one)
    if one.refunded_until_s is not None and one.refunded_until_s > one.period_start_s:
        return Access("free", "refunded", None, one)
    if one.collection_paused:
        return Access("free", "paused", None, one)
    tier = tier_of(one, sold)
    if tier is None:
        return Access("free", "unknown price", None, one)
    ends = [] if one.ends_at_s is None else [one.ends_at_s]
    if one.status == "past_due":
        ends.append(one.period_start_s + int(past_due_seconds))
    until = min(ends, default=None)
    if until is not None and now_s >= until:
        return Access("free", "past_due" if one.status == "past_due" else "ended", None, one)
    return Access(tier, one.status, until, one)


def may_charge(one: Subscription) -> bool:
    """Whether Stripe may charge for it again, access or not: another beside it would be paid twice."""
    return one.status in _OWED or (one.status not in _OVER and one.ends_at_s is None)


def standing(
    subscriptions: Sequence[Subscription], sold: Mapping[PaidTier, Price], now_s: float, past_due_seconds: float
) -> Access:
    """What a subscriber has: the highest of all; of equals the one that lasts longest. NO_ACCESS without any."""
    given = [access(one, sold, now_s, past_due_seconds) for one in subscriptions]
    return max(given, key=_order, default=NO_ACCESS)


def _order(had: Access) -> tuple[int, int, int]:
    lasts = _FOREVER if had.until_s is None else had.until_s
    return _RANK[had.tier], lasts, had.of.period_start_s if had.of else 0
