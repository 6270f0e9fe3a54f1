"""POST /stripe/webhook: takes what Stripe signed, refuses anything else with 400 and without effect.

200 means applied (or applied before); 503 asks Stripe to send it again, and the keeper tries by itself meanwhile.
"""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from alphatrader.clients.sending import SendError
from alphatrader.clients.stripe import BadEventError, ForgedError, StripeEvent, verified
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import StoreError
from alphatrader.web.pages.billing import Billing
from alphatrader.web.pages.keeper import Keeper


def make_webhook(context: Context, billing: Billing | None, keeper: Keeper | None, heartbeat: Heartbeat) -> Blueprint:
    routes = Blueprint("webhook", __name__)
    settings, log = context.settings.billing, context.log
    secret = context.secrets.get("stripe_webhook_secret")

    def event_in_request() -> StripeEvent:
        try:
            body = request.get_data(cache=False)
        except RequestEntityTooLarge as error:
            raise BadEventError("the body is too large") from error
        except ClientDisconnected as error:
            raise BadEventError("the body is shorter than said") from error
        event = verified(body, request.headers.get("Stripe-Signature"), secret or "", settings.webhook_tolerance_seconds)
        if event.livemode is not settings.live_events:
            raise BadEventError(f"livemode is {event.livemode}, wanted are events of {settings.live_events}")
        return event

    @routes.post("/stripe/webhook")
    def take() -> ResponseReturnValue:
        try:
            event = event_in_request()
        except (ForgedError, BadEventError) as error:
            heartbeat.count("webhooks refused")
            log.warning("webhook_refused", reason=str(error), source=request.remote_addr)
            return jsonify(error=str(error)), 400
        if billing is None or keeper is None:
            return jsonify(error="billing is not configured"), 503
        try:
            billing.apply(event)
        except (SendError, StoreError) as error:
            keeper.failed(event.customer)
            heartbeat.count("webhooks put off")
            reason = str(error) if isinstance(error, SendError) else "Redis does not answer"
            log.warning("webhook_put_off", webhook=event.id, type=event.type, reason=reason)
            return jsonify(error="not applied yet: send it again"), 503
        return jsonify(received=True)

    return routes
