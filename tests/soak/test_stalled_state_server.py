"""Redis stalled for 20 s: the state server stops answering, its connections up, in a running system that
holds a position. Opening ends with the lease, closing does not, the operator hears of it, and all is whole again after it."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

import pytest

from alphatrader.contract import keys as k
from tests.flow.system import System, wait_for
from tests.soak.whole import bring_to_rest, holding_a_position, main_process, promise, wait_whole

pytestmark = pytest.mark.soak
STALL_SECONDS = 20.0
DETECTED_SECONDS = 10.0
LEASE_NS = 3_000_000_000
HALT_NS = 500_000_000
MONEY_AND_PEOPLE = ("signals", "risk", "execution", "positions", "emergency", "distribution", "telegram", "watchdog", "dashboard")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with holding_a_position(tmp_path_factory.mktemp("stalled")) as system:
        yield system


def openings(system: System, since_ns: int) -> list[str]:
    frames = [line for line in system.wire() if line.get("message") == "placeOrder" and line["machine_ns"] > since_ns]
    return [frame["fields"]["orderRef"] for frame in frames if frame["fields"]["action"] == "BUY"]


def held(system: System) -> dict[int, int]:
    """conId -> contracts, by the gateway's own record of every fill."""
    net: Counter[int] = Counter()
    for line in system.wire():
        if line.get("what") == "fill":
            net[line["con_id"]] += line["shares"] if line["side"] == "BOT" else -line["shares"]
    return {con_id: quantity for con_id, quantity in net.items() if quantity}


def alarms(system: System, since_ns: int) -> list[str]:
    """What the operator was told of the state server since that instant, machine time."""
    told = (str(line) for line in system.vendors() if line["received_machine_ns"] >= since_ns)
    return [line for line in told if "state server does not work" in line]


def dashboard_answers(system: System) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{system.settings.web.dashboard_port}/login", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code < 500


def test_stalled_and_whole_again(system: System) -> None:
    server = main_process(system, "state")
    before = {name: main_process(system, name).pid for name in MONEY_AND_PEOPLE}
    assert held(system)
    stopped_ns, stopped = time.time_ns(), time.monotonic()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        # told by a way without Redis
        wait_for("the operator is told", lambda: alarms(system, stopped_ns), STALL_SECONDS - 1)
        seconds = time.monotonic() - stopped
        assert seconds <= DETECTED_SECONDS
        promise(f"state server stalled: the operator was told after {seconds:.1f} s")
        # closing works: the command finds emergency's own door
        flatten = system.command("flatten", "--wait", "0", timeout=60.0)
        assert flatten.returncode == 0, flatten.stderr
        assert "emergency" in flatten.stderr
        wait_for("nothing is held at the broker", lambda: not held(system), 30.0)
        promise(f"state server stalled: flat at the broker {time.monotonic() - stopped:.1f} s after it stopped")
        assert dashboard_answers(system)
        promise("state server stalled: the dashboard still answers")
        time.sleep(max(0.0, stopped + STALL_SECONDS - time.monotonic()))
    finally:
        os.kill(server.pid, signal.SIGCONT)
        woken_ns = time.time_ns()
    assert openings(system, stopped_ns + LEASE_NS + HALT_NS) == []
    promise("state server stalled: no opening order left after the lease had lapsed")
    # it comes back halted, as it was told at the door; a person allows opening again
    wait_for("the halt is told", lambda: (h := system.store().get(k.HALT.at())) and h.halted and not h.flatten, 30.0)
    wait_for("resumed", lambda: system.command("resume", "--yes", timeout=60.0).returncode == 0, 60.0)
    seconds = wait_whole(system, "state server stalled", woken_ns + 2_000_000_000)
    for name in MONEY_AND_PEOPLE:
        same = "the same process" if main_process(system, name).pid == before[name] else "a new process"
        promise(f"state server stalled: {name} whole again, {same}")
    promise(f"state server stalled for {STALL_SECONDS:g} s: whole again {seconds:.1f} s after the person's word")


def test_nothing_was_done_twice(system: System) -> None:
    bring_to_rest(system)
    system.check()
    promise("state server stalled: wire logs, ledgers and deliveries hold every invariant")
