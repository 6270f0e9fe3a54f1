"""What goes wrong on purpose: `POST /sandbox/faults {vendor, kind, status, count, seconds, match}`.

A fault meets the next `count` calls of the vendor whose path contains `match` (empty: any). Kinds:

    status              answers `status` (default 500) in the vendor's own error shape; 429 asks to wait `seconds`. Not accepted
    timeout             says nothing for `seconds` (default 30), then closes. Not accepted
    drop_after_accept   does what was asked, then closes without an answer
    html                a proxy's HTML page with `status` (default 502). Not accepted
    truncate            does what was asked, then sends half of the answer and closes
    slow                waits `seconds` (default 5), then does what was asked
    gzip_bomb           answers 200 with 64 MB of zeros, compressed. Not accepted
    garbage             answers 200 with bytes that are no JSON. Not accepted
"""

from __future__ import annotations

import contextlib
import gzip
import random
import socket
import threading
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from flask import Response, request

Kind = Literal["status", "timeout", "drop_after_accept", "html", "truncate", "slow", "gzip_bomb", "garbage"]
KINDS: tuple[str, ...] = get_args(Kind)
BOMB_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 600.0


@dataclass(slots=True)
class Fault:
    vendor: str
    kind: str
    status: int
    count: int
    seconds: float
    match: str


class FaultBoard:
    def __init__(self, vendors: tuple[str, ...]) -> None:
        self._vendors = vendors
        self._lock = threading.Lock()
        self._pending: list[Fault] = []
        self._bomb: bytes | None = None

    def add(self, wanted: dict[str, Any]) -> Fault:
        """Raises ValueError naming the field that is wrong."""
        kind, vendor = wanted.get("kind"), wanted.get("vendor")
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is none of {', '.join(KINDS)}")
        if vendor not in self._vendors:
            raise ValueError(f"vendor: {vendor!r} is none of {', '.join(self._vendors)}")
        default_status = 502 if kind == "html" else 500
        default_seconds = {"timeout": 30.0, "slow": 5.0}.get(kind, 1.0)
        try:
            fault = Fault(
                vendor=vendor,
                kind=kind,
                status=int(wanted.get("status", default_status)),
                count=int(wanted.get("count", 1)),
                seconds=float(wanted.get("seconds", default_seconds)),
                match=str(wanted.get("match", "")),
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"status, count and seconds are numbers: {error}") from error
        if not 100 <= fault.status <= 599:
            raise ValueError(f"status: {fault.status} is no HTTP status")
        if not 1 <= fault.count <= 100_000:
            raise ValueError(f"count: {fault.count} is not in 1..100000")
        if not 0 <= fault.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds: {fault.seconds} is not in 0..{MAX_SECONDS:g}")
        with self._lock:
            self._pending.append(fault)
        return fault

    def take(self, vendor: str, path: str) -> Fault | None:
        """The fault that meets this call, counted down."""
        with self._lock:
            for fault in self._pending:
                if fault.vendor == vendor and fault.match in path:
                    fault.count -= 1
                    if fault.count == 0:
                        self._pending.remove(fault)
                    return fault
        return None

    def pending(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(fault) for fault in self._pending]

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def bomb(self) -> Response:
        if self._bomb is None:
            self._bomb = gzip.compress(bytes(BOMB_BYTES // 64), 9) * 64  # members of one stream: made in no time
        return Response(self._bomb, 200, {"Content-Type": "application/json", "Content-Encoding": "gzip"})


def html_page(status: int) -> Response:
    page = f"<html><head><title>{status} Bad Gateway</title></head><body><h1>{status}</h1><p>cloudflare</p></body></html>"
    return Response(page, status, {"Content-Type": "text/html; charset=utf-8"})


def garbage() -> Response:
    return Response(b"\x00\xff" + random.Random(7).randbytes(512), 200, {"Content-Type": "application/json"})  # noqa: S311


def cut_connection() -> Response:
    """Close the client's connection so that no byte of an answer reaches it."""
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):  # the client may have gone already, which is what was wanted
            connection.shutdown(socket.SHUT_RDWR)
    return Response(b"", 200)


def half_of(answer: Response) -> Response:
    """The first half of an answer under the length of the whole."""
    body = answer.get_data()
    half = Response(body[: len(body) // 2], answer.status_code, answer.headers)
    half.headers["Content-Length"] = str(len(body))  # after the body, which sets its own
    return half
