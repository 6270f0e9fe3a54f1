"""halt, resume and flatten: what they write, what they wait for, and where they turn when Redis is down."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal as D
from pathlib import Path

from alphatrader.clients.ibkr.wiretap import messages
from alphatrader.contract import keys as k
from alphatrader.contract.messages import positions as p
from alphatrader.contract.messages.risk import ControlRequest
from alphatrader.contract.modules import Module
from alphatrader.runtime.audit_file import read
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.emergency_socket import Answer, EmergencyDoor, Request
from tests.commands.conftest import Answer as Said
from tests.commands.conftest import Command
from tests.support.gateway import running_gateway
from tests.support.servers import Servers, free_port
from tests.web.desk import Desk


@contextmanager
def emergency(desk: Desk, *, flat_at_once: bool = True) -> Iterator[list[ControlRequest]]:
    """Records what is asked for, as emergency does, and notes the requests."""
    heard: list[ControlRequest] = []
    stopping = threading.Event()
    store = desk.servers.store(Module.EMERGENCY)
    cursor = Cursor.at_end([k.CONTROL.at(module=Module.CLI)])
    store.read(cursor)

    def listen() -> None:
        number = 10
        while not stopping.is_set():
            for entry in store.read(cursor, block_seconds=0.1):
                asked = entry.event
                heard.append(asked)
                number += 1
                kind = asked.kind
                desk.halt(halted=kind != "resume", flatten=kind == "flatten", number=number, reason=asked.reason, by=asked.by)
                if kind == "flatten" and flat_at_once:
                    number += 1
                    desk.halt(halted=True, flatten=False, number=number, reason="flattened", by=asked.by)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stopping.set()
        thread.join(2)
        store.close()


@contextmanager
def door(servers: Servers) -> Iterator[list[Request]]:
    """Emergency's own door, open while both servers are away."""
    heard: list[Request] = []

    async def answer(asked: Request) -> Answer:
        heard.append(asked)
        return Answer(True, 12, True, asked.kind == "flatten", f"{asked.kind} recorded on disk; Redis follows")

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = EmergencyDoor(servers.folder, servers.vault.get("emergency_token") or "", answer)
    asyncio.run_coroutine_threadsafe(opened.open(), loop).result(3)
    try:
        yield heard
    finally:
        loop.call_soon_threadsafe(opened.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(2)
        loop.close()


def away() -> dict[str, str]:
    """Settings under which both servers are somewhere else."""
    return {"servers__data__port": str(free_port()), "servers__state__port": str(free_port())}


def test_halt_is_asked_for_and_confirmed_with_its_epoch(desk: Desk, run: Command) -> None:
    with emergency(desk) as heard:
        answer = run("halt", "--reason", "news", "--json")

    assert answer.code == 0, answer.err
    assert answer.json() | {"detail": ""} == {"kind": "halt", "confirmed": True, "way": "redis", "epoch": 11, "detail": ""}
    assert [(one.kind, one.reason) for one in heard] == [("halt", "news")]
    assert heard[0].by.endswith("on the command line")


def test_a_halt_nobody_records_is_not_called_done(desk: Desk, run: Command) -> None:
    desk.halt(halted=False)

    answer = run("halt")

    assert answer.code == 1
    assert "NOT CONFIRMED" in answer.out and "emergency" in answer.err


def test_resume_asks_first(desk: Desk, run: Command) -> None:
    desk.halt(halted=True, number=4)
    with emergency(desk) as heard:
        assert run("resume", answer="no\n").code == 2
        assert heard == []
        assert run("resume", answer="resume\n").code == 0
        assert run("resume", "--yes", "--json").json()["confirmed"]
    assert [one.kind for one in heard] == ["resume", "resume"]


def test_flatten_waits_until_nothing_is_held(desk: Desk, run: Command) -> None:
    def summary(held: int) -> p.PositionsSummary:
        return p.PositionsSummary(desk.clock.market_ns(), held, {}, D(0), D(0), D(0), True, ())

    desk.write(Module.POSITIONS, lambda b: b.put(k.POSITIONS_SUMMARY.at(), summary(1)))
    with emergency(desk):
        still = run("flatten", "--wait", "0.5", "--json")
        desk.write(Module.POSITIONS, lambda b: b.put(k.POSITIONS_SUMMARY.at(), summary(0)))
        flat = run("flatten", "--wait", "5", "--json")

    assert (still.code, still.json()["held"]) == (1, 1)
    assert (flat.code, flat.json()["held"]) == (0, 0)


def test_without_redis_emergency_is_asked_at_its_door(servers: Servers, run: Command) -> None:
    with door(servers) as heard:
        answer = run("halt", "--json", **away())

    assert answer.code == 0, answer.err
    assert answer.json()["way"] == "door" and answer.json()["epoch"] == 12
    assert [one.kind for one in heard] == ["halt"]


def test_without_redis_and_emergency_a_halt_says_what_still_holds(servers: Servers, run: Command) -> None:
    answer = run("halt", **away())
    assert answer.code == 3
    assert "lease lapses" in answer.out


def test_without_redis_and_emergency_flatten_goes_to_the_gateway(servers: Servers, run: Command, tmp_path: Path) -> None:
    heard: list[list[str]] = []

    async def flatten() -> Said:
        async with running_gateway(tmp_path, log_all_frames=True) as gateway:
            ports = f"[{gateway.port}, {free_port()}]"
            said = await asyncio.to_thread(run, "flatten", "--json", sandbox__gateway_ports=ports, **away())
            heard.extend(line["fields"] for line in gateway.wire() if line["kind"] == "raw" and line["dir"] == "in")
            return said

    before = set((servers.folder / "audit").glob("flatten-*"))
    answer = asyncio.run(flatten())

    assert answer.code == 0, answer.err
    assert answer.json()["way"] == "gateway" and answer.json()["confirmed"]
    # and what passed over that connection is logged, both ways, to be read
    (path,) = set((servers.folder / "audit").glob("flatten-*")) - before
    told = list(messages(read(path)))
    sent = [list(message.fields) for message in told if message.direction == "sent"]
    assert sent[2:] == heard and "61" in {fields[0] for fields in heard}  # behind the handshake; 61 asks for positions
    assert {message.fields[0] for message in told if message.direction == "received"} >= {"9", "62"}  # order id, positions' end
    again = run("replay", str(path))
    assert again.code == 0 and "flatten: raw messages of its connection" in again.out


def test_flatten_without_any_gateway_says_at_once_what_it_tries_and_what_to_do(run: Command, tmp_path: Path) -> None:
    """Given that nothing answers, then the first lines say for how long it tries, and where positions can be closed by hand; an
    impatient Ctrl-C is no success."""
    port = free_port()
    options = away() | {"sandbox__gateway_ports": f"[{port}, {free_port()}]", "data_dir": str(tmp_path)}
    environment = dict(os.environ) | {f"ALPHATRADER_{name.upper()}": value for name, value in options.items()}
    command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "flatten"]
    flatten = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    said, tried = "", 0
    try:
        assert flatten.stderr is not None
        began = time.monotonic()
        while tried < 5:
            line = flatten.stderr.readline()
            assert line, f"it ended after {said}"
            said, tried = said + line, tried + ("broker_not_connected" in line)
        assert time.monotonic() - began < 20
    finally:
        flatten.send_signal(signal.SIGINT)
        rest = flatten.communicate(timeout=10)[1]
    assert f"going to the gateway itself (127.0.0.1:{port}, " in said and "for 68 s at most" in said
    assert "close by hand in TWS or through the broker's desk" in said
    assert max(float(seconds) for seconds in re.findall(r"retry_seconds=([\d.]+)", said)) <= 2
    assert flatten.returncode == 130 and rest.endswith("alphatrader flatten: stopped before it was done\n")


def test_a_disk_that_takes_no_log_keeps_nothing_from_being_flattened(servers: Servers, run: Command, tmp_path: Path) -> None:
    async def flatten() -> Said:
        async with running_gateway(tmp_path / "gateway") as gateway:
            options = away() | {"sandbox__gateway_ports": f"[{gateway.port}, {free_port()}]", "data_dir": str(tmp_path / "data")}
            return await asyncio.to_thread(run, "flatten", "--json", **options)

    (tmp_path / "gateway").mkdir()
    folder = tmp_path / "data" / "sandbox"
    folder.mkdir(parents=True)
    for kept in servers.folder.iterdir():
        if kept.is_file():
            (folder / kept.name).write_bytes(kept.read_bytes())
    (folder / "audit").write_text("no folder")
    answer = asyncio.run(flatten())
    assert answer.code == 0 and answer.json()["way"] == "gateway", answer.err
    assert "its messages are not all in the audit log" in answer.err
