"""Connecting as clients connect: handshake, start-up answers, duplicate ids, pacing, bad frames, two gateways."""

import asyncio
import struct

import pytest
from ib_insync import IB, Stock

from alphatrader.sandbox.gateway import Limits
from alphatrader.sandbox.gateway.wire import FrameBuffer, decode_fields, encode_frame
from tests.support.fixed_market import SPY
from tests.support.gateway import client, running_gateway
from tests.support.waiting import until


def run(story):
    asyncio.run(asyncio.wait_for(story, 15))


class Raw:
    """A client that writes its own bytes."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.buffer, self.frames = reader, writer, FrameBuffer(), []

    @classmethod
    async def open(cls, port, versions="v157..176"):
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.writer.write(b"API\0" + struct.pack(">I", len(versions)) + versions.encode())
        return raw

    async def start(self, client_id):
        await self.until(lambda frame: len(frame) == 2)
        self.send(71, 2, client_id, "")
        await self.until(lambda frame: frame[0] == "9")

    def send(self, *fields):
        self.writer.write(encode_frame(fields))

    async def until(self, wanted):
        """The first frame that is wanted; None when the gateway has closed."""
        while True:
            for index, frame in enumerate(self.frames):
                if wanted(frame):
                    del self.frames[: index + 1]
                    return frame
            data = await asyncio.wait_for(self.reader.read(1 << 16), 3)
            if not data:
                return None
            self.frames += [decode_fields(payload) for payload in self.buffer.feed(data)]


@pytest.mark.parametrize(
    ("versions", "agreed"), [("v157..176", "176"), ("v157..178", "176"), ("v100..157", "157"), ("v157..176 +PACEAPI", "176")]
)
def test_the_highest_version_both_speak_is_agreed(tmp_path, versions, agreed):
    async def story():
        async with running_gateway(tmp_path) as running:
            raw = await Raw.open(running.port, versions)
            assert (await raw.until(lambda frame: True))[0] == agreed
            raw.writer.close()

    run(story())


@pytest.mark.parametrize("versions", ["v100..156", "v177..210", "hello"])
def test_a_version_out_of_range_is_refused(tmp_path, versions):
    async def story():
        async with running_gateway(tmp_path) as running:
            raw = await Raw.open(running.port, versions)
            assert await raw.until(lambda frame: True) is None

    run(story())


def test_the_handshake_may_arrive_byte_by_byte(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            for byte in b"API\0" + struct.pack(">I", 9) + b"v157..176":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.001)
            raw = Raw(reader, writer)
            assert (await raw.until(lambda frame: True))[0] == "176"
            writer.close()

    run(story())


def test_ib_insync_connects_and_every_start_up_request_is_answered(tmp_path, caplog):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 0) as ib:
            assert ib.client.serverVersion() == 176
            assert ib.managedAccounts() == ["DUSIM0001"]
            assert {v.tag: v.value for v in ib.accountValues()}["NetLiquidation"] == "100000.00"
            assert (ib.positions(), ib.openTrades(), ib.fills()) == ([], [], [])
            assert (await ib.reqCurrentTimeAsync()).isoformat() == "2026-11-23T15:00:00+00:00"

    run(story())
    assert "timed out" not in caplog.text


def test_the_oldest_version_works_for_a_whole_session(tmp_path):
    async def story():
        async with running_gateway(tmp_path, max_server_version=157) as running, client(running) as ib:
            assert ib.client.serverVersion() == 157
            (spy,) = await ib.qualifyContractsAsync(Stock("SPY", "SMART", "USD"))
            assert spy.conId == SPY

    run(story())


def test_a_client_id_in_use_is_told_326_and_closed(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 5):
            second, errors = IB(), []
            second.errorEvent += lambda req_id, code, *_: errors.append(code)
            with pytest.raises((asyncio.TimeoutError, ConnectionError)):
                await second.connectAsync("127.0.0.1", running.second_port, clientId=5, timeout=0.5)
            assert 326 in errors

    run(story())


def test_both_ports_serve_one_account_and_one_can_go_down(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 1) as first:
            running.gateway.inject("down", index=0)
            await until(lambda: not first.isConnected())
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", running.port)
            async with client(running, 1, port=running.second_port) as again:
                assert again.managedAccounts() == ["DUSIM0001"]
            running.gateway.inject("up", index=0)
            await until(lambda: running.gateway._listeners[0] is not None)
            async with client(running, 2) as back:
                assert back.isConnected()

    run(story())


def test_a_frame_that_cannot_be_read_is_answered_and_the_connection_stays(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running:
            raw = await Raw.open(running.port)
            await raw.start(3)
            raw.send(10, 5, 77, "not a conId", "SPY")
            frame = await raw.until(lambda f: f[0] == "4" and f[3] == "320")
            assert frame[2] == "77" and "reqMktDepth: field conId" in frame[4]
            raw.send(49, 1)
            assert (await raw.until(lambda f: f[0] == "49")) is not None
            assert running.gateway.refused_frames == 1
            raw.writer.close()

    run(story())


def test_an_impossible_length_closes_only_that_connection(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running, 1) as ib:
            raw = await Raw.open(running.port)
            await raw.start(3)
            raw.writer.write(b"\xff\xff\xff\xff")
            assert await raw.until(lambda f: False) is None
            assert ib.isConnected()

    run(story())


def test_too_many_messages_are_told_100_and_repeated_abuse_disconnects(tmp_path):
    async def story():
        async with running_gateway(tmp_path, limits=Limits(messages_per_second=10, rate_violations=2)) as running:
            raw = await Raw.open(running.port)
            await raw.start(3)
            for _ in range(11):
                raw.send(49, 1)
            assert await raw.until(lambda f: f[0] == "4" and f[3] == "100")
            await asyncio.sleep(1.05)  # the limit is per second of machine time
            for _ in range(12):
                raw.send(49, 1)
            assert await raw.until(lambda f: False) is None
            assert [line["reason"] for line in running.wire() if line["kind"] == "disconnect"] == ["message rate"]

    run(story())


def test_ib_insyncs_own_throttle_stays_under_the_limit(tmp_path):
    async def story():
        async with running_gateway(tmp_path) as running, client(running) as ib:
            errors = []
            ib.errorEvent += lambda req_id, code, *_: errors.append(code)
            for _ in range(80):
                ib.client.reqCurrentTime()
            await asyncio.sleep(1.3)  # the client itself spreads them over more than a second
            assert 100 not in errors

    run(story())
