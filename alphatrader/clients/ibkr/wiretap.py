"""What passes over one broker connection, byte by byte: told to a recorder as it comes, and cut into messages again afterwards.

`tap` wraps four methods of one IB's own connection object (the library itself stays as it is): give it to `BrokerConnection` as
`prepare`. What is received is told before it is decoded, so that an answer never stands before its question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from ib_insync import IB

GREETING = b"API\0"
"""Stands once before the first message a client sends."""


class Recorder(Protocol):
    def opened(self, peer: str) -> None: ...

    def received(self, data: bytes) -> None: ...

    def sent(self, data: bytes) -> None: ...

    def closed(self, reason: str) -> None: ...


class Piece(Protocol):
    """A record of the audit log, by what is read of it."""

    @property
    def kind(self) -> str: ...

    @property
    def data(self) -> bytes: ...


class Message(NamedTuple):
    direction: str
    """`received` or `sent`."""
    fields: tuple[str, ...]


def tap(ib: IB, recorder: Recorder) -> None:
    """Tells the recorder everything of this IB's connection from now on."""
    client: Any = ib.client
    connection = client.conn
    made, got, send, lost = connection.connection_made, connection.data_received, connection.sendMsg, connection.connection_lost

    def connection_made(transport: Any) -> None:
        host, port, *_ = transport.get_extra_info("peername") or ("?", 0)
        recorder.opened(f"{host}:{port} client {client.clientId}")
        made(transport)

    def data_received(data: bytes) -> None:
        recorder.received(data)
        got(data)

    def send_message(data: bytes) -> None:
        if connection.transport is not None:  # without one, nothing is sent
            recorder.sent(data)
        send(data)

    def connection_lost(error: Exception | None) -> None:
        recorder.closed(str(error) if error else "")
        lost(error)

    connection.connection_made = connection_made
    connection.data_received = data_received
    connection.sendMsg = send_message
    connection.connection_lost = connection_lost


def messages(pieces: Iterable[Piece]) -> Iterator[Message]:
    """The messages of a recorded connection, in order of their last byte. After a hole nothing is certain until the next
    connection opens, and what comes until then is passed over."""
    rests: dict[str, bytes] = {}
    for piece in pieces:
        if piece.kind == "opened":
            rests = {"received": b"", "sent": b""}
        elif piece.kind in ("closed", "dropped", "hole", "begun"):
            rests = {}
        elif piece.kind in rests:
            data = rests[piece.kind] + piece.data
            if piece.kind == "sent" and data.startswith(GREETING):
                data = data[len(GREETING) :]
            at = 0
            while len(data) - at >= 4 and len(data) - at >= 4 + (size := int.from_bytes(data[at : at + 4], "big")):
                text = data[at + 4 : at + 4 + size].decode(errors="backslashreplace")
                yield Message(piece.kind, tuple(text.removesuffix("\0").split("\0")))
                at += 4 + size
            rests[piece.kind] = data[at:]
