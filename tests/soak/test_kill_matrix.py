"""Each module is killed with SIGKILL, one at a time, in a running system that holds a position; the system is whole again within
30 s, positions equal to the broker's, nothing sent twice. Then a faster day, and both servers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.store import StoreError
from tests.flow.processes import of_system
from tests.flow.system import System, system_in, wait_for

pytestmark = pytest.mark.soak
WHOLE_SECONDS = 30.0
LINES = [str(line.module) for line in AlphaTrader.LINES]
BEATING = [str(line.module) for line in AlphaTrader.LINES if line.heartbeat]


def promise(text: str) -> None:
    """A line a person reads: what was checked, and that it held."""
    sys.stdout.write(f"HELD  {text}\n")
    sys.stdout.flush()


def main_process(system: System, module: str) -> psutil.Process:
    """The module's main process: the child of its line."""
    lines = _parents(system, module)
    for process in of_system(system.folder):
        if process.ppid() in lines:
            return process
    raise AssertionError(f"no process of {module} is running")


def _parents(system: System, module: str) -> set[int]:
    """Processes of the line itself, so that a forked worker is not taken for its main process."""
    return {process.pid for process in of_system(system.folder) if process.cmdline()[-2:] == ["run", module]}


def whole(system: System, since_ns: int) -> str | None:
    """What is not yet right after the instant `since_ns`; None when the system is whole."""
    try:
        store = system.store()
        for module in BEATING:
            health = store.get(k.HEALTH.at(module=module))
            if health is None or health.machine_ns < since_ns or health.state != "ready":
                return f"{module}: {health.state if health else 'no heartbeat'} {health.reason if health else ''}"
        if store.get(k.MARKET_LAST.at(symbol="SPY")) is None:
            return "SPY has no quote"
        summary = store.get(k.POSITIONS_SUMMARY.at())
        if summary is None or not summary.reconciled:
            return f"positions are not reconciled: {summary.differences if summary else 'no summary'}"
        lease = store.get(k.LEASE.at())
        if lease is None or not lease.granted:
            return f"the lease is not granted: {lease.reason if lease else 'absent'}"
    except StoreError as error:
        return f"a server is away: {type(error).__name__}"
    return None


def wait_whole(system: System, what: str, since_ns: int, began: float | None = None) -> float:
    """Seconds from `began` (monotonic; now where not given) until the system was whole with words later than `since_ns`."""
    began = time.monotonic() if began is None else began
    wrong: str | None = "not looked at"
    while time.monotonic() - began < WHOLE_SECONDS:
        wrong = whole(system, since_ns)
        if wrong is None:
            return time.monotonic() - began
        time.sleep(0.2)
    raise AssertionError(f"{what}: not whole within {WHOLE_SECONDS:g} s: {wrong}\n{system.tail()}")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system_in(tmp_path_factory.mktemp("soak"), SANDBOX__SPEED="1") as system:
        system.start()
        for module in BEATING:
            wait_for(f"{module} is ready", lambda module=module: system.ready(module), 90)
        wait_for("a position", lambda: (s := system.store().get(k.POSITIONS_SUMMARY.at())) and s.open and s, 300)
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
    assert system.command("halt", "--reason", "end of the soak").returncode == 0
    wait_for("nothing is on its way", lambda: not list(system.store().scan(k.ORDERS_PENDING)), 30)
    system.check()
    promise("wire logs, ledgers and logs: every invariant held through all kills")


def test_a_second_executor_does_not_trade(system: System) -> None:
    """A second instance of the order module waits for the lock and places nothing (fault 4)."""
    before = main_process(system, "execution").pid
    environment = {**os.environ, **system.environment, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    import subprocess

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
