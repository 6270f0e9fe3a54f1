"""What every call to a stand-in passes: in, it is stamped and may meet a fault; out, it is written to the wire log.

Credentials are hidden in what is written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from alphatrader.sandbox.vendors import faults as fault_kinds
from alphatrader.sandbox.vendors.exchange import StandIn, answer
from alphatrader.sandbox.vendors.faults import Fault, FaultBoard
from alphatrader.sandbox.vendors.wirelog import LONG_ANSWER_BYTES, LONG_REQUEST_BYTES, WireLog, decoded
from alphatrader.sandbox.vendors.world import VendorWorld

log = logging.getLogger(__name__)

CREDENTIAL_IN_PATH = re.compile(r"(/telegram/(?:file/)?bot)[^/]+|(/discord/api(?:/v\d+)?/webhooks/\d+/)[^/?]+")
CREDENTIAL_FIELDS = frozenset({"apikey", "client_secret", "secret_token"})


class Passage:
    """`stand_ins` by the first part of their path. Calls of the sandbox's own pass untouched and unwritten."""

    def __init__(self, world: VendorWorld, wire: WireLog, board: FaultBoard, stand_ins: Mapping[str, StandIn]) -> None:
        self._world = world
        self._wire = wire
        self._board = board
        self._stand_ins = stand_ins

    def attach(self, app: Flask) -> None:
        app.before_request(self._arrive)
        app.after_request(self._leave)
        app.register_error_handler(Exception, self._failed)

    def _arrive(self) -> Response | None:
        g.vendor = request.path.split("/", 2)[1]
        if g.vendor not in self._stand_ins:
            g.vendor = ""
            return None
        g.received = (self._world.machine_ns(), self._world.now_ns())
        g.told, g.accepted, g.fault, g.body = None, True, None, None
        g.body = request.get_data(cache=True)  # read now: a handler that refuses early must not leave it in the socket
        g.fault = None if "/sandbox/" in request.path else self._board.take(g.vendor, request.path)
        return self._meet(g.fault, self._stand_ins[g.vendor]) if g.fault else None

    def _meet(self, fault: Fault, vendor: StandIn) -> Response | None:
        """The answer that a fault gives instead of the vendor; None when the vendor still acts."""
        if fault.kind == "slow":
            self._world.stopping.wait(fault.seconds)
        if fault.kind in ("slow", "drop_after_accept", "truncate"):
            return None
        g.accepted = False
        match fault.kind:
            case "status":
                return vendor.error(fault.status, fault.seconds)
            case "html":
                return fault_kinds.html_page(fault.status)
            case "gzip_bomb":
                return self._board.bomb()
            case "garbage":
                return fault_kinds.garbage()
        self._world.stopping.wait(fault.seconds)  # timeout
        return fault_kinds.cut_connection()

    def _leave(self, response: Response) -> Response:
        if not g.get("vendor") or "/sandbox/" in request.path:
            return response
        kind = g.fault.kind if g.fault else None
        silent = kind in ("timeout", "drop_after_accept")
        succeeded = response.status_code < 400 and g.accepted
        self._wire.write(
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
                "answered_machine_ns": self._world.machine_ns(),
                "received_market_ns": g.received[1],
                "answered_market_ns": self._world.now_ns(),
                "told": g.told if succeeded else None,
            }
        )
        if kind == "drop_after_accept":
            return fault_kinds.cut_connection()
        return fault_kinds.half_of(response) if kind == "truncate" else response

    def _failed(self, error: Exception) -> Response | HTTPException:
        """In the vendor's own words: an error of Flask's, and one of ours, which is logged."""
        vendor = self._stand_ins[g.vendor] if g.get("vendor") else None
        if isinstance(error, HTTPException):
            return vendor.error(error.code or 500, 1.0) if vendor else error
        log.exception("stand-in failed on %s %s", request.method, _shown_path())
        return vendor.error(500, 1.0) if vendor else answer({"error": "internal"}, 500)


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
