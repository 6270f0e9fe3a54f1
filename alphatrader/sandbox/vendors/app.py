"""The Flask application of all stand-ins and its server: routing, faults, wire log.

Started by the sandbox process: `VendorServer(create_app(world), "127.0.0.1", 8200).start()`; `.stop()` ends the long polls,
the deliveries and the server. Every call to a vendor passes here once on its way in (stamp, fault) and once out (log).
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

from flask import Flask, Response, g, redirect, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from alphatrader.sandbox.vendors import faults as fault_kinds
from alphatrader.sandbox.vendors.alphavantage import AlphaVantage
from alphatrader.sandbox.vendors.discord import Discord
from alphatrader.sandbox.vendors.exchange import StandIn, answer
from alphatrader.sandbox.vendors.faults import FaultBoard
from alphatrader.sandbox.vendors.openai import OpenAI
from alphatrader.sandbox.vendors.outbox import outbox_blueprint
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.stripe_api import Stripe
from alphatrader.sandbox.vendors.telegram import Telegram
from alphatrader.sandbox.vendors.wirelog import LONG_ANSWER_BYTES, LONG_REQUEST_BYTES, WireLog, decoded
from alphatrader.sandbox.vendors.world import VendorWorld
from alphatrader.sandbox.vendors.x import X

log = logging.getLogger(__name__)

VENDORS = ("alphavantage", "stripe", "telegram", "discord", "x", "openai")
MAX_BODY_BYTES = 8 * 1024 * 1024
CREDENTIAL_IN_PATH = re.compile(r"(/telegram/(?:file/)?bot)[^/]+|(/discord/api(?:/v\d+)?/webhooks/\d+/)[^/?]+")
CREDENTIAL_FIELDS = frozenset({"apikey", "client_secret", "secret_token"})


class Running:
    """The parts of the application with a life of their own."""

    def __init__(self, world: VendorWorld, wire: WireLog, store: Store, stripe: Stripe) -> None:
        self.world, self.wire, self.store, self.stripe = world, wire, store, stripe
        self._ended = True

    def start(self) -> None:
        self.stripe.webhooks.start()

    def stop(self) -> None:
        """Ends what waits and delivers. What a delivery in flight still needs stays open; it is in the store either way."""
        self.world.stopping.set()
        self._ended = self.stripe.webhooks.stop()

    def close(self) -> None:
        if self._ended:
            self.wire.close()
            self.store.close()


def create_app(world: VendorWorld) -> Flask:
    """The application; nothing runs until a `VendorServer` (or a test) starts it."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    wire = WireLog(world)
    store = Store(world.data_dir / "vendors.sqlite3")
    board = FaultBoard(VENDORS)
    stripe = Stripe(world, store, wire)
    stand_ins: dict[str, StandIn] = {
        one.name: one
        for one in (
            AlphaVantage(world),
            stripe,
            Telegram(world, store, wire),
            Discord(world, store),
            X(world, store),
            OpenAI(world),
        )
    }
    for one in stand_ins.values():
        app.register_blueprint(one.blueprint(), url_prefix=f"/{one.name}")
    app.register_blueprint(outbox_blueprint(world, wire))
    app.extensions["vendors"] = Running(world, wire, store, stripe)

    @app.get("/")
    def index() -> Any:
        return redirect("/outbox")

    @app.get("/healthz")
    def healthz() -> Response:
        return answer({"status": "ok", "vendors": list(VENDORS)})

    @app.get("/sandbox/faults")
    def list_faults() -> Response:
        return answer({"pending": board.pending()})

    @app.delete("/sandbox/faults")
    def clear_faults() -> Response:
        board.clear()
        return answer({"pending": []})

    @app.post("/sandbox/faults")
    def add_fault() -> Response:
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict):
            return answer({"error": "the body must be a JSON object with vendor and kind"}, 400)
        try:
            board.add(wanted)
        except ValueError as error:
            return answer({"error": str(error)}, 400)
        return answer({"pending": board.pending()})

    @app.before_request
    def arrive() -> Response | None:
        g.vendor = request.path.split("/", 2)[1]
        if g.vendor not in stand_ins:
            g.vendor = ""
            return None
        g.received = (world.machine_ns(), world.now_ns())
        g.told, g.accepted, g.fault, g.body = None, True, None, None
        g.body = request.get_data(cache=True)  # read now: a handler that refuses early must not leave it in the socket
        g.fault = None if "/sandbox/" in request.path else board.take(g.vendor, request.path)
        return _meet(g.fault, board, stand_ins[g.vendor], world) if g.fault else None

    @app.after_request
    def leave(response: Response) -> Response:
        if not g.get("vendor") or "/sandbox/" in request.path:
            return response
        kind = g.fault.kind if g.fault else None
        silent = kind in ("timeout", "drop_after_accept")
        succeeded = response.status_code < 400 and g.accepted
        wire.write(
            {
                "vendor": g.vendor,
                "direction": "in",
                "method": request.method,
                "path": _shown_path(),
                "query": _hidden(request.args.to_dict()),
                "request": _request_body(),
                "status": None if silent else response.status_code,
                "answer": None if silent else decoded(response.get_data(), LONG_ANSWER_BYTES),
                "fault": kind,
                "accepted": succeeded,
                "received_machine_ns": g.received[0],
                "answered_machine_ns": world.machine_ns(),
                "received_market_ns": g.received[1],
                "answered_market_ns": world.now_ns(),
                "told": g.told if succeeded else None,
            }
        )
        if kind == "drop_after_accept":
            return fault_kinds.cut_connection()
        return fault_kinds.half_of(response) if kind == "truncate" else response

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            code = error.code or 500
            return stand_ins[g.vendor].error(code, 1.0) if g.get("vendor") else error
        log.exception("stand-in failed on %s %s", request.method, _shown_path())
        return stand_ins[g.vendor].error(500, 1.0) if g.get("vendor") else answer({"error": "internal"}, 500)

    return app


def _meet(fault: fault_kinds.Fault, board: FaultBoard, vendor: StandIn, world: VendorWorld) -> Response | None:
    """The answer that a fault gives instead of the vendor; None when the vendor still acts."""
    if fault.kind == "slow":
        world.stopping.wait(fault.seconds)
    if fault.kind in ("slow", "drop_after_accept", "truncate"):
        return None
    g.accepted = False
    match fault.kind:
        case "status":
            return vendor.error(fault.status, fault.seconds)
        case "html":
            return fault_kinds.html_page(fault.status)
        case "gzip_bomb":
            return board.bomb()
        case "garbage":
            return fault_kinds.garbage()
    world.stopping.wait(fault.seconds)  # timeout
    return fault_kinds.cut_connection()


def _shown_path() -> str:
    return CREDENTIAL_IN_PATH.sub(lambda found: (found[1] or found[2]) + "***", request.path)


def _hidden(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: "***" if key in CREDENTIAL_FIELDS else value for key, value in fields.items()}


def _request_body() -> Any:
    if g.body is None:
        return {"bytes": request.content_length, "head": ""}  # refused for its size, never read
    if request.mimetype == "multipart/form-data" or (request.form and request.mimetype.endswith("urlencoded")):
        return _hidden(request.form.to_dict())
    body = decoded(g.body, LONG_REQUEST_BYTES)
    return _hidden(body) if isinstance(body, dict) else body


class _Quiet(WSGIRequestHandler):
    """The wire log is the access log; the server's own would print tokens of paths."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug("vendors' server: %s", type)


class VendorServer:
    """The application served on loopback by a thread of this process. Port 0 takes a free one; `port` says which."""

    def __init__(self, app: Flask, host: str = "127.0.0.1", port: int = 8200) -> None:
        self._running: Running = app.extensions["vendors"]
        self._server: BaseWSGIServer = make_server(host, port, app, threaded=True, request_handler=_Quiet)
        self.host, self.port = host, self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="vendors", daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> VendorServer:
        self._thread.start()
        self._running.start()
        return self

    def stop(self) -> None:
        self._running.stop()
        self._server.shutdown()
        self._thread.join(timeout=3)
        self._server.server_close()
        self._running.close()
