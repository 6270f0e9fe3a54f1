"""The pages a visitor sees: what is sold, the way to Checkout and back, the account, the note's preview."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from itsdangerous import BadData, URLSafeTimedSerializer

from alphatrader.clients.sending import RefusedError, SendError
from alphatrader.contract import keys as k
from alphatrader.core.billing import TIERS
from alphatrader.runtime.clock import SECOND, exchange_datetime
from alphatrader.runtime.context import Context
from alphatrader.runtime.store import Store
from alphatrader.web.pages.billing import Billing

LINK_SALT: Final = "telegram-link"
"""As the Telegram bot signs its links."""
LINK_SECONDS: Final = 86_400
_SESSION: Final = re.compile(r"cs_[A-Za-z0-9_]{1,200}\Z")
_BUYING: Final = "10 per minute; 60 per hour"
_NOT_SOLD: Final = "Subscriptions are not on sale at this moment."


def make_routes(context: Context, store: Store, billing: Billing | None, limiter: Limiter) -> Blueprint:
    routes = Blueprint("selling", __name__)
    settings = context.settings
    links = URLSafeTimedSerializer(context.secrets.require("session_key"), salt=LINK_SALT)
    url = settings.web.pages_url.rstrip("/")

    def told(title: str, text: str, status: int = 200) -> ResponseReturnValue:
        return render_template("told.html", title=title, text=text), status

    def visitor(token: str) -> int | None:
        """The Telegram user whom the bot signed this link for."""
        try:
            user = links.loads(token, max_age=LINK_SECONDS)
        except BadData:
            return None
        return user if isinstance(user, int) and not isinstance(user, bool) and 0 < user < 1 << 63 else None

    def unknown_visitor() -> ResponseReturnValue:
        text = "This link is not valid, or is older than a day. Send /subscribe to our Telegram bot: it answers with a new one."
        return told("Who are you?", text, 400)

    def stripe_failed(error: SendError) -> ResponseReturnValue:
        context.log.warning("stripe_not_reached", error=str(error))
        return told("Not done", "Stripe, which takes our payments, does not answer. Nothing has been charged. Try later.", 503)

    @routes.get("/")
    def home() -> ResponseReturnValue:
        return render_template("home.html", billing=settings.billing, told=settings.distribution)

    @routes.get("/subscribe")
    @routes.get("/account")
    def account() -> ResponseReturnValue:
        token = request.args.get("telegram", "")
        user = visitor(token)
        if user is None:
            return unknown_visitor()
        record = billing.record(user) if billing is not None else None
        ends = exchange_datetime(record.until_s * SECOND).strftime("%d %B %Y, %H:%M") if record and record.until_s else None
        return render_template(
            "account.html",
            token=token,
            record=record,
            ends=ends,
            sold=billing.sold if billing is not None else {},
            billing=settings.billing,
            told=settings.distribution,
        )

    @routes.post("/checkout")
    @limiter.limit(_BUYING)
    def checkout() -> ResponseReturnValue:
        token = request.form.get("telegram", "")
        user = visitor(token)
        if user is None:
            return unknown_visitor()
        tier = next((tier for tier in TIERS if tier == request.form.get("tier")), None)
        if tier is None:
            abort(400)
        if billing is None or tier not in billing.sold:
            return told("Not on sale", _NOT_SOLD, 503)
        try:
            back = billing.buy(user, tier, success_url=f"{url}/thanks?session={{CHECKOUT_SESSION_ID}}", back_url=f"{url}/")
        except SendError as error:
            return stripe_failed(error)
        return redirect(back, 303)

    @routes.post("/portal")
    @limiter.limit(_BUYING)
    def portal() -> ResponseReturnValue:
        user = visitor(request.form.get("telegram", ""))
        if user is None:
            return unknown_visitor()
        try:
            page = billing.portal(user, f"{url}/") if billing is not None else None
        except SendError as error:
            return stripe_failed(error)
        return told("Nothing here", "You have no subscription.", 404) if page is None else redirect(page, 303)

    @routes.get("/thanks")
    @limiter.limit(_BUYING)
    def thanks() -> ResponseReturnValue:
        session = request.args.get("session", "")
        if billing is None or not _SESSION.match(session):
            abort(404)
        try:
            paid = billing.returned(session)
        except RefusedError:
            return told("Unknown", "Stripe knows no such payment.", 404)
        except SendError as error:
            context.log.warning("stripe_not_reached", error=str(error))
            return told("Thank you", "Your payment is being confirmed. Your access begins as soon as it is: within minutes.")
        if not paid:
            return told("Not paid yet", "This payment has not been completed. Nothing has been charged.")
        return told("Thank you", "You are subscribed, and your access has begun. Send /status to our Telegram bot to see it.")

    @routes.get("/note")
    def note() -> ResponseReturnValue:
        return render_template("note.html", note=store.get(k.ANALYSIS_PREVIEW.at()))

    return routes
