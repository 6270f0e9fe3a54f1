"""Halt, resume, flatten: each is a ControlRequest in `control:dashboard`, which risk, execution and emergency obey at once.

Halting is one click and is never refused for being asked often: requests within a second of one that was written are
answered with it. It has its own connection with a short time-out, so that nothing slow stands before it.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any, Final, Literal

from flask import Blueprint, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required

from alphatrader.contract import keys as k
from alphatrader.contract.messages.risk import ControlRequest
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.store import Store, StoreError
from alphatrader.web.dashboard.login import Gate, wants_page

BY: Final = "operator on the dashboard"
_TIMEOUT_SECONDS: Final = 1.5
_SAME_SECONDS: Final = 1.0
Kind = Literal["halt", "resume", "flatten"]


class Requests:
    """Writes requests, and remembers the newest of each kind."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[float, ControlRequest]] = {}

    def ask(self, kind: Kind, reason: str) -> ControlRequest:
        """Raises StoreError when the state server does not take it."""
        with self._lock:
            known = self._newest.get(kind)
        if known and self._clock.monotonic() - known[0] < _SAME_SECONDS:
            return known[1]
        wanted = ControlRequest(
            id=secrets.token_hex(8),
            kind=kind,
            by=BY,
            reason=reason,
            machine_ns=self._clock.machine_ns(),
            ts_ns=self._clock.market_ns(),
        )
        batch = self._store.batch()
        batch.append(k.CONTROL.at(module=Module.DASHBOARD), wanted)
        self._store.commit(batch)
        with self._lock:
            self._newest = {kind: (self._clock.monotonic(), wanted)}
        return wanted


def make_routes(context: Context, gate: Gate) -> Blueprint:
    store = Store(context.module, context.settings, context.secrets.redis_password, timeout_seconds=_TIMEOUT_SECONDS)
    requests = Requests(store, context.clock)
    routes = Blueprint("control", __name__, url_prefix="/control")

    def ask(kind: Kind) -> ResponseReturnValue:
        reason = request.form.get("reason", "").strip()[:200] or f"{kind} button"
        try:
            wanted = requests.ask(kind, reason)
        except StoreError as error:
            context.log.error("control_request_not_written", kind=kind, error=str(error))
            return jsonify(error=_UNWRITTEN[kind]), 503
        context.log.warning("control_request", kind=kind, id=wanted.id, reason=reason)
        if wants_page(request):
            return redirect(url_for("page.show"))
        answer: dict[str, Any] = {"id": wanted.id, "kind": kind, "machine_ms": wanted.machine_ns // 1_000_000}
        return jsonify(answer), 202

    @routes.post("/halt")
    @login_required
    def halt() -> ResponseReturnValue:
        return ask("halt")

    @routes.post("/resume")
    @login_required
    def resume() -> ResponseReturnValue:
        if not gate.fresh():
            return jsonify(error="clearing a halt needs your password again", needs="password"), 403
        return ask("resume")

    @routes.post("/flatten")
    @login_required
    def flatten() -> ResponseReturnValue:
        return ask("flatten")

    return routes


_NO_ANSWER: Final = "The state server did not take the request. "
_UNWRITTEN: Final[dict[str, str]] = {
    "halt": _NO_ANSWER + "Without it the lease lapses within 3 s and nothing new opens; stops stand at the broker. "
    "To be sure: `alphatrader halt` in a terminal.",
    "flatten": _NO_ANSWER + "Use `alphatrader flatten` in a terminal: it reaches emergency and the gateway without the server.",
    "resume": _NO_ANSWER + "Trading stays halted.",
}
