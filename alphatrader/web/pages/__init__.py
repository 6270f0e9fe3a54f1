"""Billing's face: what is sold, Stripe Checkout and its portal, Stripe's webhook, the morning note's preview.

Faces the internet and sees no order, position or signal: its Redis user reads the notes and writes subscribers and tiers, no
more. Flask under gunicorn, started by the Procfile line `pages`. Who buys is known by a link that the Telegram bot signed; there
is no password, and nothing of a card passes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from alphatrader.runtime.context import Context


def create_app(context: Context) -> Flask:
    from alphatrader.web.pages.app import create_app as make

    return make(context)
