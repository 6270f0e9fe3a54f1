"""Who may use the dashboard: the operator, by password or by a one-time link of `alphatrader login`.

A session lasts `web.session_hours` from the login, whatever happens in between, and ends for good at signing out. Clearing a halt
asks for a login younger than `web.fresh_seconds`: giving the password again renews it. Times are machine time.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any, Final

from flask import Blueprint, Request, current_app, flash, jsonify, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_login import LoginManager, UserMixin, login_required, login_user, logout_user
from itsdangerous import BadData

from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.links import LOGIN_SECONDS, login_links
from alphatrader.web.dashboard.marks import Marks

_USER: Final = "operator"
_TRIES: Final = "5 per minute; 30 per hour"


class Operator(UserMixin):
    id = _USER


class Gate:
    """Opens and judges sessions."""

    def __init__(self, context: Context) -> None:
        web = context.settings.web
        self._clock = context.clock
        self._password = context.secrets.require("operator_password")
        self._links = login_links(context.secrets.require("session_key"))
        folder = context.data_dir / "dashboard"
        self._used_links = Marks(folder / "used-links", context.clock, LOGIN_SECONDS * 2)
        self._ended = Marks(folder / "ended-sessions", context.clock, web.session_hours * 3600)
        self._life_ns = int(web.session_hours * 3600 * SECOND)
        self._fresh_ns = int(web.fresh_seconds * SECOND)

    def right_password(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._password.encode())

    def right_link(self, token: str) -> bool:
        """True once for a link younger than ten minutes."""
        try:
            self._links.loads(token, max_age=LOGIN_SECONDS)
        except BadData:
            return False
        return self._used_links.make(token)

    def open_session(self) -> None:
        session.clear()
        session.permanent = True
        now = self._clock.machine_ns()
        session.update(opened_ns=now, proved_ns=now, sid=secrets.token_hex(8))
        login_user(Operator())

    def prove_again(self) -> None:
        session["proved_ns"] = self._clock.machine_ns()

    def end_session(self) -> None:
        if "sid" in session:
            self._ended.make(session["sid"])
        logout_user()
        session.clear()

    def session_open(self, content: Any) -> bool:
        """Whether this session's content is of a login that still holds."""
        opened, sid = content.get("opened_ns"), content.get("sid")
        if not isinstance(opened, int) or not isinstance(sid, str) or content.get("_user_id") != _USER:
            return False
        return self._clock.machine_ns() - opened < self._life_ns and not self._ended.has(sid)

    def fresh(self) -> bool:
        return self._clock.machine_ns() - int(session.get("proved_ns", 0)) < self._fresh_ns


def make_manager(gate: Gate) -> LoginManager:
    manager = LoginManager()
    manager.session_protection = None

    @manager.user_loader
    def load(user_id: str) -> Operator | None:
        return Operator() if user_id == _USER and gate.session_open(session) else None

    @manager.unauthorized_handler
    def refuse() -> ResponseReturnValue:
        if wants_page(request):
            return redirect(url_for("login.show"))
        return jsonify(error="signed out: sign in first"), 401

    return manager


def wants_page(asked: Request) -> bool:
    """Whether a browser shows the answer, rather than a script reading it."""
    return asked.accept_mimetypes.best_match(["text/html", "application/json"]) == "text/html"


def make_routes(gate: Gate, limiter: Limiter) -> Blueprint:
    routes = Blueprint("login", __name__)

    @routes.get("/login")
    @limiter.limit("30 per minute")
    def show() -> ResponseReturnValue:
        token = request.args.get("link")
        if token is None:
            return render_template("login.html")
        if gate.right_link(token):
            gate.open_session()
            return redirect(url_for("page.show"))
        current_app.logger.warning("a login link was refused")
        flash("This link was used already, or is older than ten minutes. Make another: alphatrader login")
        return render_template("login.html"), 403

    @routes.post("/login")
    @limiter.limit(_TRIES)
    def enter() -> ResponseReturnValue:
        if gate.right_password(request.form.get("password", "")):
            gate.open_session()
            return redirect(url_for("page.show"))
        current_app.logger.warning("a password was refused")
        flash("This is not the password.")
        return render_template("login.html"), 403

    @routes.post("/login/again")
    @login_required
    @limiter.limit(_TRIES)
    def again() -> ResponseReturnValue:
        """The password once more, for what needs a fresh login."""
        if not gate.right_password(request.form.get("password", "")):
            return jsonify(error="this is not the password"), 403
        gate.prove_again()
        return jsonify(fresh=True)

    @routes.post("/logout")
    @login_required
    def leave() -> ResponseReturnValue:
        gate.end_session()
        return redirect(url_for("login.show"))

    return routes
