"""Subscribers and their tiers. Written by the pages."""

from __future__ import annotations

from alphatrader.contract.keys.declaring import HASH, STATE, VALUE, declare
from alphatrader.contract.messages import distribution as d
from alphatrader.contract.modules import Module as M

SUBSCRIBERS = declare(
    "subscribers",
    HASH,
    d.Subscriber,
    M.PAGES,
    (M.DELIVERY, M.DISTRIBUTION, M.TELEGRAM),
    "Customers, as Stripe's current state has them",
    server=STATE,
)
TELEGRAM_TIER = declare(
    "telegram:user:{id}:tier",
    VALUE,
    d.TelegramTier,
    M.PAGES,
    (M.TELEGRAM, M.DELIVERY),
    "A Telegram user's tier",
    server=STATE,
    plan=True,
)
STRIPE_EVENTS = declare("ledger:stripe", HASH, str, M.PAGES, (), "Stripe events already applied, by id", server=STATE)
