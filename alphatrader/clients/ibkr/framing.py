"""The broker's frames, cut from what a read of the socket brings: four bytes of length, then fields that each end with a zero.

ib_insync copies the rest of its buffer for each message, takes it apart a second time to see how long it is, and does so even
where nobody listens. `frame` puts a loop of our own in the library's place on one connection, from when its handshake is over:
the same messages go to the same decoder in the same order, at half the cost (decision 160). What is begun and not whole stays in
the library's own buffer, so that either can go on where the other stopped.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from ib_insync import IB

HEADER: Final = 4
_length: Final = Struct(">I").unpack_from
_NUMBERS: Final = {str(number): number for number in range(128)}
"""The numbers of messages, by how the wire writes them."""


def cut(content: bytes) -> tuple[list[bytes], bytes]:
    """Every whole frame without its length, and what is left of the last one."""
    frames, at, end = [], 0, len(content)
    while end - at > HEADER:
        stop = at + HEADER + _length(content, at)[0]
        if stop > end:
            break
        frames.append(content[at + HEADER : stop])
        at = stop
    return frames, content[at:]


def fields_of(frame_: bytes) -> list[str]:
    """What is no letter stays as an escape."""
    fields = frame_.decode("utf-8", "backslashreplace").split("\0")
    fields.pop()
    return fields


def frame(ib: IB) -> None:
    """Cuts this IB's frames from now on, and emits its `updateEvent` after each read. To be called before `wiretap.tap`, which
    listens first. The library's tickers are not kept: nobody asks for one on such a connection."""
    client: Any = ib.client
    decoder, library, read = client.decoder, client._onSocketHasData, ib.updateEvent.emit
    handlers = decoder.handlers

    def data_received(data: bytes) -> None:
        if not client._apiReady:
            library(data)
            return
        frames, client._data = cut(client._data + data if client._data else data)
        client._numBytesRecv += len(data)
        client._numMsgRecv += len(frames)
        for one in frames:
            fields = fields_of(one)
            try:
                handlers[_NUMBERS[fields[0]]](fields)
            except Exception:  # the library passes over whatever a handler raises, and so must its stand-in: one frame is lost
                decoder.logger.exception(f"Error handling fields: {fields}")
        read()

    client.conn.data_received = data_received
