"""Each module is killed with SIGKILL, one at a time, in a running system that holds a position; the system is whole again within
30 s, positions equal to the broker's, nothing sent twice. Then both servers at once, and all the gateway's connections.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from tests.flow.system import System, wait_for
from tests.soak.whole import WHOLE_SECONDS, bring_to_rest, holding_a_position, main_process, promise, wait_whole

pytestmark = pytest.mark.soak
LINES = [str(line.module) for line in AlphaTrader.LINES]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with holding_a_position(tmp_path_factory.mktemp("soak")) as system:
        yield system


@pytest.mark.parametrize("module", LINES)
def test_killed_and_whole_again(system: System, module: str) -> None:
    victim = main_process(system, module)
    killed_ns, killed = time.time_ns(), time.monotonic()
    os.kill(victim.pid, signal.SIGKILL)
    wait_for(f"{module} runs again", lambda: main_process_or_none(system, module, victim.pid), WHOLE_SECONDS)
    seconds = wait_whole(system, f"{module} killed", max(killed_ns, time.time_ns() - 2_000_000_000), killed)
    promise(f"{module} killed: whole again after {seconds:.1f} s")


def main_process_or_none(system: System, module: str, old: int) -> psutil.Process | None:
    try:
        process = main_process(system, module)
    except (AssertionError, psutil.NoSuchProcess):  # not there yet, or one ended while it was looked at
        return None
    return process if process.pid != old else None


def test_both_servers_killed_together(system: System) -> None:
    killed_ns = time.time_ns()
    for module in ("redis", "state"):
        os.kill(main_process(system, module).pid, signal.SIGKILL)
    seconds = wait_whole(system, "both servers killed", killed_ns + 1_000_000_000)
    promise(f"both servers killed together: whole again after {seconds:.1f} s")


def test_the_gateway_dropped_every_connection(system: System) -> None:
    dropped_ns = time.time_ns()
    system.gateway_fault(do="drop")
    seconds = wait_whole(system, "all gateway connections dropped", dropped_ns + 2_000_000_000)
    promise(f"all gateway connections dropped: whole again after {seconds:.1f} s")


def test_everything_held(system: System) -> None:
    """Judged at rest: halted, so that nothing is on its way."""
    bring_to_rest(system)
    system.check()
    promise("wire logs, ledgers and logs: every invariant held through all kills")


def test_a_second_executor_does_not_trade(system: System) -> None:
    """A second instance of the order module waits for the lock and places nothing (fault 4)."""
    before = main_process(system, "execution").pid
    environment = {**os.environ, **system.environment, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    second = subprocess.Popen(
        [sys.executable, "-c", "from alphatrader.cli import main; main()", "run", "execution"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        until = time.monotonic() + 20
        while "another_instance_runs" not in said and time.monotonic() < until:
            said += second.stdout.readline() if second.stdout else ""
        assert "another_instance_runs" in said
        health = system.store().get(k.HEALTH.at(module=Module.EXECUTION))
        assert health is not None
        assert health.pid == before
    finally:
        second.terminate()
        second.wait(10)
    promise("a second executor waits for the lock, says so, and does not trade")
