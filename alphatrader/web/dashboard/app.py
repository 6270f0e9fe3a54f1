"""The Flask application: page, snapshot, candles, health, and the headers that keep foreign content and foreign pages out."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Flask, Response, abort, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import login_required
from flask_wtf.csrf import CSRFError, CSRFProtect

from alphatrader.contract.key import Server
from alphatrader.runtime.beating import start_heartbeat
from alphatrader.runtime.context import Context
from alphatrader.runtime.store import Store, StoreError
from alphatrader.web.dashboard import control, login
from alphatrader.web.dashboard.board import Board
from alphatrader.web.dashboard.live import Clients, attach
from alphatrader.web.dashboard.readers import Readers

_WEB: Final = Path(__file__).parents[1]
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def create_app(context: Context) -> Flask:
    app = Flask(__name__, template_folder=str(_WEB / "templates"), static_folder=str(_WEB / "static"))
    app.config.update(_configuration(context))
    gate = login.Gate(context)
    login.make_manager(gate).init_app(app)
    CSRFProtect(app)
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")

    store = context.store()
    board = Board()
    instruments = context.settings.market.instruments
    clients = Clients(board, gate, instruments)
    heartbeat = start_heartbeat(context, store)
    readers = Readers(context, store, board, clients.chosen, instruments)
    readers.start(heartbeat)

    app.register_blueprint(login.make_routes(gate, limiter))
    app.register_blueprint(control.make_routes(context, gate))
    app.register_blueprint(_page(context, board, readers, instruments))
    _guard(app, context)
    attach(app, context, gate, board, clients)
    return app


def _configuration(context: Context) -> dict[str, Any]:
    # The pages sign with the same session key: a key of our own, so that no cookie of theirs opens this door.
    key = hmac.new(context.secrets.require("session_key").encode(), b"dashboard session", hashlib.sha256).digest()
    return {
        "SECRET_KEY": key,
        "SESSION_COOKIE_NAME": "alphatrader_dashboard",
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_HTTPONLY": True,
        "PERMANENT_SESSION_LIFETIME": int(context.settings.web.session_hours * 3600),
        "MAX_CONTENT_LENGTH": 16_384,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session: HALT must work on a page left open all day
        "SEND_FILE_MAX_AGE_DEFAULT": 0,
    }


def _guard(app: Flask, context: Context) -> None:
    @app.after_request
    def protect(response: Response) -> Response:
        policy = _POLICY | {"connect-src": f"'self' ws://{request.host}"}
        response.headers["Content-Security-Policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
        response.headers.update(_HEADERS)
        if not request.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(CSRFError)
    def without_token(error: CSRFError) -> ResponseReturnValue:
        return jsonify(error=f"refused: {error.description} Load the page again."), 400

    @app.errorhandler(429)
    def too_often(_error: Exception) -> ResponseReturnValue:
        text = "Too many tries. Wait a minute, or sign in with a link: alphatrader login"
        return (render_template("login.html", told=text), 429) if login.wants_page(request) else (jsonify(error=text), 429)

    @app.context_processor
    def known() -> dict[str, Any]:
        return {"mode": context.settings.mode}


def _page(context: Context, board: Board, readers: Readers, instruments: tuple[str, ...]) -> Blueprint:
    routes = Blueprint("page", __name__)
    pinger = Store(context.module, context.settings, context.secrets.redis_password, timeout_seconds=1.0)

    @routes.get("/")
    @login_required
    def show() -> ResponseReturnValue:
        return render_template("dashboard.html", instruments=instruments, disclaimer=context.settings.distribution.disclaimer)

    @routes.get("/api/snapshot")
    @login_required
    def snapshot() -> ResponseReturnValue:
        """The whole board as JSON, for one symbol."""
        symbol = request.args.get("symbol", instruments[0])
        if symbol not in instruments:
            abort(404)
        return jsonify(board.changes(0, symbol).values)

    @routes.get("/api/candles/<symbol>")
    @login_required
    def candles(symbol: str) -> ResponseReturnValue:
        """Minutes of a symbol, oldest first: [start in seconds, open, high, low, close, volume]."""
        if symbol not in instruments:
            abort(404)
        return jsonify(symbol=symbol, candles=readers.market.candles(symbol))

    @routes.get("/api/trail/<symbol>")
    @login_required
    def trail(symbol: str) -> ResponseReturnValue:
        """VPIN and OBI of a symbol, oldest first: [market seconds, vpin, obi]; null where not ready."""
        if symbol not in instruments:
            abort(404)
        return jsonify(symbol=symbol, trail=readers.market.trail(symbol))

    @routes.get("/healthz")
    def healthz() -> ResponseReturnValue:
        try:
            for server in Server:
                pinger.raw(server, "PING")
        except StoreError:
            return jsonify(ok=False), 503
        return jsonify(ok=True)

    return routes
