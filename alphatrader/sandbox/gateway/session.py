"""One client connection: handshake, framing, pacing, and a buffer that leaves in one write a turn.

Made by the gateway's listeners. Requests go to the gateway's handlers by name; a request that cannot be read is
answered with error 320 and the connection stays, a stream that cannot be framed is closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from alphatrader.sandbox.gateway import hours, layouts, requests
from alphatrader.sandbox.gateway.ledger import Order
from alphatrader.sandbox.gateway.limits import RateMeter
from alphatrader.sandbox.gateway.wire import Fields, FrameBuffer, FrameError, decode_fields, encode_field, encode_frame

if TYPE_CHECKING:
    from alphatrader.sandbox.gateway.gateway import Gateway

MIN_VERSION = 157
CLIENT_VERSIONS = re.compile(r"v(\d+)(?:\.\.(\d+))?(?: .*)?\Z")


class Session(asyncio.Protocol):
    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port
        self.version = 0  # 0 until the handshake is done
        self.client_id: int | None = None  # None until startApi
        self.untransmitted: dict[int, Order] = {}  # orders placed with transmit off, by orderId; they end with the session
        self._input = FrameBuffer()
        self._hailed = False
        self._output = bytearray()
        self._rate = RateMeter(gateway.limits)
        self._transport: asyncio.Transport | None = None

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.gateway.sessions.append(self)

    def data_received(self, data: bytes) -> None:
        arrived = self.gateway.machine_ns()
        try:
            if not self._hailed:
                self._input.add(data)
                if not self._input.take_prefix(b"API\0"):
                    return
                self._hailed, data = True, b""
            for payload in self._input.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                self._receive(payload, arrived)
        except FrameError as error:
            self.gateway.refused(self, str(error))
            self.close(f"unreadable stream: {error}")
        self.gateway.settle()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.gateway.sessions:
            self.gateway.forget(self, "peer closed" if exc is None else str(exc))
        self._transport = None

    # --- in

    def _receive(self, payload: bytes, arrived: int) -> None:
        if not self.version:
            self._shake_hands(payload)
            return
        fields = decode_fields(payload)
        if not self._rate.allow(arrived):
            self.error(
                -1, 100, f"Max rate of messages per second has been exceeded:max={self.gateway.limits.messages_per_second}"
            )
            if self._rate.abusive:
                self.close("message rate")
            return
        try:
            request = requests.decode(fields, self.version)
        except requests.BadRequest as error:
            self.gateway.refused(self, str(error))
            self.error(error.req_id, 320, f"Error reading request. {error}")
            return
        if self.client_id is None:
            if request.name != "startApi":
                self.close(f"{request.name} before startApi")
                return
            self._start(request.values)
            return
        self.gateway.dispatch(self, request, fields, arrived)

    def _shake_hands(self, payload: bytes) -> None:
        match = CLIENT_VERSIONS.match(payload.decode("ascii", "replace"))
        if match is None:
            raise FrameError(f"handshake {payload[:40]!r} is not a version range")
        low = int(match[1])
        version = min(self.gateway.max_server_version, int(match[2] or low))
        if version < max(low, MIN_VERSION):
            self.close(f"client speaks {match[0]}, this gateway {MIN_VERSION}..{self.gateway.max_server_version}")
            return
        self.version = version
        now = hours.new_york(self.gateway.now_ns())
        self.send(layouts.handshake(version, f"{now:%Y%m%d %H:%M:%S} {now.tzname()}"))

    def _start(self, values: Mapping[str, Any]) -> None:
        client_id = values["clientId"]
        taken = client_id in self.gateway.taken_client_ids
        if taken or any(other.client_id == client_id for other in self.gateway.sessions):
            self.error(-1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
            self.close(f"client id {client_id} in use")
            return
        self.client_id = client_id
        self.gateway.welcome(self)

    # --- out

    def send(self, fields: Fields) -> None:
        self._output += encode_frame(fields)
        if self.gateway.wire_log.log_all:
            self.gateway.wire_log.write(
                "raw", client=self.client_id, port=self.port, dir="out", fields=[*map(encode_field, fields)]
            )

    def send_order_traffic(self, message: str, fields: Fields, values: Mapping[str, Any], *, reply: bool = False) -> None:
        """Send, and write down what was said."""
        self._output += encode_frame(fields)
        extra = {"reply": True} if reply else {}
        self.gateway.wire_log.write(
            "frame", client=self.client_id, port=self.port, dir="out", message=message, fields=dict(values), **extra
        )

    def error(self, req_id: int, code: int, text: str) -> None:
        fields = layouts.error(req_id, code, text, self.version)
        self.send_order_traffic("error", fields, {"id": req_id, "code": code, "text": text})

    def send_bytes(self, data: bytes) -> None:
        """Bytes as they are, for injected garbage."""
        self._output += data

    def listen(self, reads: bool) -> None:
        """Injected: read nothing of the client (its bytes pile up on its side), or read on."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.resume_reading if reads else self._transport.pause_reading)()

    def flush(self) -> None:
        if self._transport is None or not self._output:
            return
        self._transport.write(bytes(self._output))
        self._output.clear()
        if self._transport.get_write_buffer_size() > self.gateway.limits.buffered_bytes:
            self.close("client does not read")
            self._transport.abort()

    def close(self, reason: str, *, abort: bool = False) -> None:
        """End the connection after what is buffered has left (at once, by reset, with `abort`)."""
        if self._transport is None:
            return
        if abort:
            self._transport.abort()
        else:
            if self._output:
                self._transport.write(bytes(self._output))
                self._output.clear()
            self._transport.close()
        if self in self.gateway.sessions:
            self.gateway.forget(self, reason)
