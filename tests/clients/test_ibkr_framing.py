"""Frames cut by our own loop against the library's: the same messages whatever the reads, and no frame takes others with it."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ib_insync import IB

from alphatrader.clients.ibkr.framing import cut, fields_of, frame

letters = st.binary(max_size=12).map(lambda text: text.replace(b"\0", b""))
contents = st.one_of(
    st.just(b""), st.lists(letters, min_size=1, max_size=6).map(lambda fields: b"\0".join([b"13", *fields, b""]))
)
streams = st.lists(contents, max_size=8).map(lambda all_: b"".join(len(one).to_bytes(4, "big") + one for one in all_))


class Heard:
    """A connection whose decoder writes down what it is given."""

    def __init__(self, *, own: bool) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        ib = IB()
        self.client: Any = ib.client
        self.messages: list[list[str]] = []
        self.reads = 0
        self.client.decoder.handlers[13] = self.messages.append
        self.client._serverVersion, self.client._apiReady = 176, True
        ib.updateEvent += self._read
        if own:
            frame(ib)

    def _read(self) -> None:
        self.reads += 1


@given(streams, st.lists(st.integers(0, 200), max_size=6))
def test_any_reads_of_any_stream_give_the_librarys_messages(stream: bytes, cuts: list[int]) -> None:
    logging.getLogger("ib_insync.Decoder").disabled = True  # an empty message is an error to both
    ours, library = Heard(own=True), Heard(own=False)
    bounds = [0, *sorted(min(at, len(stream)) for at in cuts), len(stream)]
    for start, end in pairwise(bounds):
        for heard in (ours, library):
            heard.client.conn.data_received(stream[start:end])
        assert ours.messages == library.messages
        assert ours.client._data == library.client._data
        assert ours.reads == library.reads
    assert ours.client._numMsgRecv == library.client._numMsgRecv
    assert ours.client._numBytesRecv == library.client._numBytesRecv == len(stream)


def test_what_is_begun_waits_for_its_end() -> None:
    whole = b"\0\0\0\x05" + b"13\x007\0"
    assert cut(whole + whole[:6]) == ([whole[4:]], whole[:6])
    assert fields_of(whole[4:]) == ["13", "7"]
    assert cut(whole[:4]) == ([], whole[:4])
    assert cut(b"") == ([], b"")


@pytest.mark.parametrize("wrong", [b"x\0", b"\0", b"", b"127\x001\0", b"14\0"])
def test_a_frame_nobody_can_take_is_told_and_the_next_is_taken(wrong: bytes, caplog: pytest.LogCaptureFixture) -> None:
    def fails(fields: list[str]) -> None:
        raise ZeroDivisionError

    heard = Heard(own=True)
    heard.client.decoder.handlers[14] = fails
    logging.getLogger("ib_insync.Decoder").disabled = False
    read = b"".join(len(one).to_bytes(4, "big") + one for one in (wrong, b"13\x007\0"))
    with caplog.at_level(logging.ERROR, logger="ib_insync.Decoder"):
        heard.client.conn.data_received(read)
    assert heard.messages == [["13", "7"]]
    assert len(caplog.records) == 1 and "Error handling fields" in caplog.records[0].message


def test_the_handshake_is_the_librarys() -> None:
    heard = Heard(own=True)
    heard.client._apiReady = False
    heard.client._hasReqId = heard.client._accounts = None
    answers = b"".join(len(one).to_bytes(4, "big") + one for one in (b"15\x001\0DU1\0", b"9\x001\x0042\0", b"13\x007\0"))
    heard.client.conn.data_received(answers)
    assert heard.client.isReady() and heard.client.getAccounts() == ["DU1"]
    assert heard.messages == [["13", "7"]]
    heard.client.conn.data_received(b"\0\0\0\x05" + b"13\x008\0")
    assert heard.messages == [["13", "7"], ["13", "8"]]
