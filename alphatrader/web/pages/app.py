"""The Flask application of the pages: its parts, its limits, headers that keep foreign content out, errors without secrets."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Flask, Response, render_template
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix

from alphatrader.clients.stripe import StripeAccount
from alphatrader.runtime.beating import start_heartbeat
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import Store, StoreError
from alphatrader.web.pages.billing import Billing
from alphatrader.web.pages.keeper import Keeper
from alphatrader.web.pages.selling import make_routes
from alphatrader.web.pages.webhook import make_webhook

MOST_BYTES: Final = 64 * 1024
"""Of a request's body; Stripe's events are far smaller."""
_PER_VISITOR: Final = "120 per minute"
_STRIPE_PAGES: Final = ("https://checkout.stripe.com", "https://billing.stripe.com")
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # addresses carry signed links
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Cache-Control": "no-store",
}
_SAID: Final = {
    400: "This request could not be understood. If you came from a page of ours, load that page again.",
    404: "There is nothing at this address.",
    405: "This address cannot be used in this way.",
    413: "This request is too large.",
    429: "Too many requests. Wait a minute.",
}


def create_app(context: Context) -> Flask:
    app = Flask(__name__)
    app.config.update(_configuration(context))
    if context.settings.web.pages_proxies:
        n = context.settings.web.pages_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_host=0)  # type: ignore[method-assign]
    csrf = CSRFProtect(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", default_limits=[_PER_VISITOR])

    store = context.store()
    heartbeat = start_heartbeat(context, store)
    billing, keeper = _billing(context, store, heartbeat)
    webhook = make_webhook(context, billing, keeper, heartbeat)
    csrf.exempt(webhook)  # Stripe signs what it sends
    limiter.exempt(webhook)
    app.register_blueprint(webhook)
    app.register_blueprint(make_routes(context, store, billing, limiter))
    _guard(app, context)
    return app


def _billing(context: Context, store: Store, heartbeat: Heartbeat) -> tuple[Billing | None, Keeper | None]:
    """None where no Stripe key is configured: then nothing is sold, and the pages say so."""
    key = context.secrets.get("stripe_key")
    if key is None:
        heartbeat.fact("billing", "no STRIPE_SECRET_KEY: nothing is sold")
        heartbeat.ready()
        return None, None
    account = StripeAccount(key, context.settings.vendors, context.clock.machine_ns)
    billing = Billing(context, store, account, heartbeat)
    keeper = Keeper(context, billing, heartbeat)
    keeper.start()
    return billing, keeper


def _configuration(context: Context) -> dict[str, Any]:
    url = urlsplit(context.settings.web.pages_url)
    # The dashboard signs with the same session key: a key of our own, so that no cookie of ours opens its door.
    key = hmac.new(context.secrets.require("session_key").encode(), b"pages session", hashlib.sha256).digest()
    return {
        "SECRET_KEY": key,
        "SESSION_COOKIE_NAME": "alphatrader_pages",
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SECURE": url.scheme == "https",
        "TRUSTED_HOSTS": [str(url.hostname), "127.0.0.1", "localhost"],
        "MAX_CONTENT_LENGTH": MOST_BYTES,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the browser is open
        "WTF_CSRF_SSL_STRICT": False,  # asks for a Referer, and the pages send none
    }


def _guard(app: Flask, context: Context) -> None:
    stripe = urlsplit(context.settings.vendors.stripe_url)
    forms = " ".join(("'self'", *_STRIPE_PAGES, f"{stripe.scheme}://{stripe.netloc}"))
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self'",
            f"form-action {forms}",  # browsers hold a form's redirects to it, too
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = policy
        if app.config["SESSION_COOKIE_SECURE"]:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    @app.errorhandler(CSRFError)
    def without_token(_error: CSRFError) -> ResponseReturnValue:
        return render_template("told.html", title="Not done", text="This page was open too long. Go back and load it again."), 400

    @app.errorhandler(SecurityError)
    def foreign_host(_error: SecurityError) -> ResponseReturnValue:
        return "This address is not ours.\n", 400, {"Content-Type": "text/plain"}  # no template: links need a host we know

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> ResponseReturnValue:
        status = error.code or 500
        return render_template("told.html", title="Not done", text=_SAID.get(status, "Something is wrong on our side.")), status

    @app.errorhandler(StoreError)
    def without_store(error: StoreError) -> ResponseReturnValue:
        context.log.warning("redis_lost", error=type(error).__name__)
        text = "We cannot look that up at this moment. Try again in a minute; nothing has been charged."
        return render_template("told.html", title="Not done", text=text), 503

    @app.context_processor
    def known() -> dict[str, Any]:
        return {"mode": context.settings.mode, "disclaimer": context.settings.distribution.disclaimer}
