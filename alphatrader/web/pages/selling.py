"""The pages a visitor sees: what is sold, the way to Checkout and back, the account, the note's preview."""

from __future__ import annotations

import re
from typing import Final

from flask import Blueprint, abort, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from itsdangerous import BadData

from alphatrader.clients.sending import RefusedError, SendError
from alphatrader.contract import keys as k
from alphatrader.core.billing import TIERS
from alphatrader.runtime.clock import SECOND, exchange_datetime
from alphatrader.runtime.context import Context
from alphatrader.runtime.links import VISITOR_SECONDS, visitor_links
from alphatrader.runtime.store import Store
from alphatrader.web.pages.billing import Billing

_SESSION: Final = re.compile(r"cs_[A-Za-z0-9_]{1,200}\Z")
_BUYING: Final = "10 per minute; 60 per hour"
_NOT_SOLD: Final = "Subscriptions are not on sale at this moment."


def make_routes(context: Context, store: Store, billing: Billing | None, limiter: Limiter) -> Blueprint:
    routes = Blueprint("selling", __name__)
    pages = _Pages(context, store, billing)
    routes.add_url_rule("/", view_func=pages.home)
    routes.add_url_rule("/subscribe", view_func=pages.account)
    routes.add_url_rule("/account", view_func=pages.account)
    routes.add_url_rule("/note", view_func=pages.note)
    bought = limiter.limit(_BUYING)
    routes.add_url_rule("/checkout", view_func=bought(pages.checkout), methods=["POST"])
    routes.add_url_rule("/portal", view_func=bought(pages.portal), methods=["POST"])
    routes.add_url_rule("/thanks", view_func=bought(pages.thanks))
    return routes


class _Pages:
    """One method a page. `billing` None: nothing is sold, and the pages say so."""

    def __init__(self, context: Context, store: Store, billing: Billing | None) -> None:
        self._settings = context.settings
        self._log = context.log
        self._store = store
        self._billing = billing
        self._links = visitor_links(context.secrets.require("session_key"))
        self._url = context.settings.web.pages_url.rstrip("/")

    def home(self) -> ResponseReturnValue:
        return render_template("home.html", billing=self._settings.billing, told=self._settings.distribution)

    def account(self) -> ResponseReturnValue:
        token = request.args.get("telegram", "")
        user = self._visitor(token)
        if user is None:
            return _unknown_visitor()
        record = self._billing.record(user) if self._billing is not None else None
        ends = exchange_datetime(record.until_s * SECOND).strftime("%d %B %Y, %H:%M") if record and record.until_s else None
        return render_template(
            "account.html",
            token=token,
            record=record,
            ends=ends,
            sold=self._billing.sold if self._billing is not None else {},
            billing=self._settings.billing,
            told=self._settings.distribution,
        )

    def checkout(self) -> ResponseReturnValue:
        user = self._visitor(request.form.get("telegram", ""))
        if user is None:
            return _unknown_visitor()
        tier = next((tier for tier in TIERS if tier == request.form.get("tier")), None)
        if tier is None:
            abort(400)
        if self._billing is None or tier not in self._billing.sold:
            return _told("Not on sale", _NOT_SOLD, 503)
        paid_url = f"{self._url}/thanks?session={{CHECKOUT_SESSION_ID}}"
        try:
            stripe_url = self._billing.buy(user, tier, success_url=paid_url, back_url=f"{self._url}/")
        except SendError as error:
            return self._stripe_failed(error)
        return redirect(stripe_url, 303)

    def portal(self) -> ResponseReturnValue:
        user = self._visitor(request.form.get("telegram", ""))
        if user is None:
            return _unknown_visitor()
        try:
            stripe_url = self._billing.portal(user, f"{self._url}/") if self._billing is not None else None
        except SendError as error:
            return self._stripe_failed(error)
        return _told("Nothing here", "You have no subscription.", 404) if stripe_url is None else redirect(stripe_url, 303)

    def thanks(self) -> ResponseReturnValue:
        session = request.args.get("session", "")
        if self._billing is None or not _SESSION.match(session):
            abort(404)
        try:
            paid = self._billing.returned(session)
        except RefusedError:
            return _told("Unknown", "Stripe knows no such payment.", 404)
        except SendError as error:
            self._log.warning("stripe_not_reached", error=str(error))
            return _told("Thank you", "Your payment is being confirmed. Your access begins as soon as it is: within minutes.")
        if not paid:
            return _told("Not paid yet", "This payment has not been completed. Nothing has been charged.")
        return _told("Thank you", "You are subscribed, and your access has begun. Send /status to our Telegram bot to see it.")

    def note(self) -> ResponseReturnValue:
        return render_template("note.html", note=self._store.get(k.ANALYSIS_PREVIEW.at()))

    def _visitor(self, token: str) -> int | None:
        """The Telegram user whom the bot signed this link for."""
        try:
            user = self._links.loads(token, max_age=VISITOR_SECONDS)
        except BadData:
            return None
        return user if isinstance(user, int) and not isinstance(user, bool) and 0 < user < 1 << 63 else None

    def _stripe_failed(self, error: SendError) -> ResponseReturnValue:
        self._log.warning("stripe_not_reached", error=str(error))
        return _told("Not done", "Stripe, which takes our payments, does not answer. Nothing has been charged. Try later.", 503)


def _told(title: str, text: str, status: int = 200) -> ResponseReturnValue:
    return render_template("told.html", title=title, text=text), status


def _unknown_visitor() -> ResponseReturnValue:
    text = "This link is not valid, or is older than a day. Send /subscribe to our Telegram bot: it answers with a new one."
    return _told("Who are you?", text, 400)
