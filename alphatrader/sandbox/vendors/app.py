"""The Flask application of all stand-ins, and its server.

Started by the sandbox process: `VendorServer(create_app(world), "127.0.0.1", 8200).start()`; `.stop()` ends the long polls,
the deliveries and the server. What happens to every call on its way in and out is in `passage.py`.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from flask import Blueprint, Flask, Response, redirect, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from alphatrader.sandbox.vendors.alphavantage import AlphaVantage
from alphatrader.sandbox.vendors.discord import Discord
from alphatrader.sandbox.vendors.exchange import StandIn, answer
from alphatrader.sandbox.vendors.faults import FaultBoard
from alphatrader.sandbox.vendors.openai import OpenAI
from alphatrader.sandbox.vendors.outbox import outbox_blueprint
from alphatrader.sandbox.vendors.passage import Passage
from alphatrader.sandbox.vendors.store import Store
from alphatrader.sandbox.vendors.stripe_api import Stripe
from alphatrader.sandbox.vendors.telegram import Telegram
from alphatrader.sandbox.vendors.wirelog import WireLog
from alphatrader.sandbox.vendors.world import VendorWorld
from alphatrader.sandbox.vendors.x import X

log = logging.getLogger(__name__)

VENDORS = ("alphavantage", "stripe", "telegram", "discord", "x", "openai")
MAX_BODY_BYTES = 8 * 1024 * 1024


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
    stand_ins: tuple[StandIn, ...] = (
        AlphaVantage(world),
        stripe,
        Telegram(world, store, wire),
        Discord(world, store),
        X(world, store),
        OpenAI(world),
    )
    for one in stand_ins:
        app.register_blueprint(one.blueprint(), url_prefix=f"/{one.name}")
    app.register_blueprint(outbox_blueprint(world, wire))
    app.register_blueprint(_sandbox_calls(board))
    app.extensions["vendors"] = Running(world, wire, store, stripe)
    Passage(world, wire, board, {one.name: one for one in stand_ins}).attach(app)
    return app


def _sandbox_calls(board: FaultBoard) -> Blueprint:
    """What belongs to no vendor: the way to the outbox, health, and the faults that shall be met."""
    routes = Blueprint("sandbox", __name__)

    @routes.get("/")
    def index() -> Any:
        return redirect("/outbox")

    @routes.get("/healthz")
    def healthz() -> Response:
        return answer({"status": "ok", "vendors": list(VENDORS)})

    @routes.get("/sandbox/faults")
    def list_faults() -> Response:
        return answer({"pending": board.pending()})

    @routes.delete("/sandbox/faults")
    def clear_faults() -> Response:
        board.clear()
        return answer({"pending": []})

    @routes.post("/sandbox/faults")
    def add_fault() -> Response:
        wanted = request.get_json(silent=True)
        if not isinstance(wanted, dict):
            return answer({"error": "the body must be a JSON object with vendor and kind"}, 400)
        try:
            board.add(wanted)
        except ValueError as error:
            return answer({"error": str(error)}, 400)
        return answer({"pending": board.pending()})

    return routes


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
