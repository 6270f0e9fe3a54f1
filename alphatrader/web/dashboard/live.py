"""Socket.IO: each client gets the board once, then what changed, at most four times a second.

A client gets its next update only after it has acknowledged the last one, so one that does not read costs one message and no
more: what it missed is conflated on the board. Websocket only; a connection without the operator's session is refused before
the upgrade.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from flask import Flask, Request, request, session
from flask_socketio import ConnectionRefusedError, SocketIO

from alphatrader.runtime.context import Context
from alphatrader.web.dashboard.board import Board, Changes
from alphatrader.web.dashboard.login import Gate

UPDATE_SECONDS: Final = 0.25
MOST_CLIENTS: Final = 50
"""Each holds one of the server's threads; the rest stay free for the buttons."""
LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")
_HEARTBEAT: Final = (10, 10)


@dataclass(slots=True)
class _Client:
    symbol: str
    content: dict[str, Any]
    """Of its session, to see when that ends."""
    version: int = 0
    unread: bool = False


class Clients:
    """Who is connected, and what each has seen."""

    def __init__(self, board: Board, gate: Gate, symbols: tuple[str, ...]) -> None:
        self._board = board
        self._gate = gate
        self._symbols = symbols
        self._lock = threading.Lock()
        self._clients: dict[str, _Client] = {}

    def add(self, sid: str, content: dict[str, Any]) -> bool:
        with self._lock:
            if len(self._clients) >= MOST_CLIENTS:
                return False
            self._clients[sid] = _Client(self._symbols[0], content)
            return True

    def remove(self, sid: str) -> None:
        with self._lock:
            self._clients.pop(sid, None)

    def choose(self, sid: str, symbol: Any) -> bool:
        with self._lock:
            client = self._clients.get(sid)
            if client is None or symbol not in self._symbols:
                return False
            client.symbol, client.version = symbol, 0
            return True

    def chosen(self) -> set[str]:
        """Symbols that somebody looks at; the first one always, for the next to come."""
        with self._lock:
            return {self._symbols[0]} | {client.symbol for client in self._clients.values()}

    def __len__(self) -> int:
        return len(self._clients)

    def send(self, socketio: SocketIO) -> None:
        """Sends each client that has read its last update what changed since."""
        with self._lock:
            current = list(self._clients.items())
        found: dict[tuple[int, str], Changes] = {}
        for sid, client in current:
            if not self._gate.session_open(client.content):
                socketio.server.disconnect(sid)
                continue
            if client.unread:
                continue
            symbol, since = client.symbol, client.version
            if (changes := found.get((since, symbol))) is None:
                changes = found[since, symbol] = self._board.changes(since, symbol)
            if not changes.values:
                continue
            client.unread = True
            with self._lock:
                if client.symbol == symbol and client.version == since:
                    client.version = changes.version
            message = {"whole": changes.whole, "symbol": symbol, "values": changes.values}
            socketio.emit("update", message, to=sid, callback=_Read(client))


class _Read:
    """Called with the client's acknowledgement."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def __call__(self, *_: Any) -> None:
        self._client.unread = False


class _Doorkeeper:
    """WSGI: answers only to names of this machine (DNS rebinding), and lets only the operator's browser reach Socket.IO."""

    def __init__(self, app: Flask, gate: Gate, inner: Any) -> None:
        self._app = app
        self._gate = gate
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        name, _, port = environ.get("HTTP_HOST", "").rpartition(":")
        if (name if port.isdigit() else environ.get("HTTP_HOST")) not in LOCAL_HOSTS:
            return _refused("400 Bad Request", b"not a name of this machine", start_response)
        if environ.get("PATH_INFO", "").startswith("/socket.io"):
            content = self._app.session_interface.open_session(self._app, Request(environ))
            if content is None or not self._gate.session_open(content):
                return _refused("401 Unauthorized", b"signed out", start_response)
        return self._inner(environ, start_response)


def _refused(status: str, text: bytes, start_response: Any) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
    return [text]


def attach(app: Flask, context: Context, gate: Gate, board: Board, clients: Clients) -> SocketIO:
    """Adds Socket.IO to the application and starts its sender."""
    socketio = SocketIO(
        app,
        async_mode="threading",
        transports=["websocket"],
        cors_allowed_origins=None,  # same origin only
        ping_interval=_HEARTBEAT[0],
        ping_timeout=_HEARTBEAT[1],
        max_http_buffer_size=10_000,
        manage_session=False,
    )
    app.wsgi_app = _Doorkeeper(app, gate, app.wsgi_app)  # type: ignore[method-assign]

    @socketio.on("connect")
    def connect(_auth: Any = None) -> None:
        content = dict(session)
        if not gate.session_open(content):
            raise ConnectionRefusedError("signed out")
        if not clients.add(request.sid, content):  # type: ignore[attr-defined]
            raise ConnectionRefusedError(f"{MOST_CLIENTS} pages are open already: close one")

    @socketio.on("disconnect")
    def disconnect(_reason: Any = None) -> None:
        clients.remove(request.sid)  # type: ignore[attr-defined]

    @socketio.on("choose")
    def choose(symbol: Any) -> dict[str, Any]:
        return {"chosen": clients.choose(request.sid, symbol)}  # type: ignore[attr-defined]

    def keep_sending() -> None:
        """As soon as the quotes were read, if it is time: what a page is told is not as old again as the time between."""
        sent = 0.0
        while True:
            board.wait_for_market(UPDATE_SECONDS)
            now = context.clock.monotonic()
            if now - sent >= UPDATE_SECONDS:
                sent = now
                clients.send(socketio)

    threading.Thread(target=keep_sending, name="sender", daemon=True).start()
    return socketio
