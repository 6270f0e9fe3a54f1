"""What soaks of a running system share: when it is whole, which process is a module's, the line that tells of a promise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from alphatrader.contract import keys as k
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.store import StoreError
from tests.flow.processes import of_system
from tests.flow.system import System, system_in, wait_for

WHOLE_SECONDS = 30.0
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


@contextmanager
def holding_a_position(folder: Path) -> Iterator[System]:
    """The whole system at the market's own speed, every module ready, something bought."""
    with system_in(folder, SANDBOX__SPEED="1") as system:
        system.start()
        for module in BEATING:
            wait_for(f"{module} is ready", lambda module=module: system.ready(module), 120)
        wait_for("a position", lambda: (s := system.store().get(k.POSITIONS_SUMMARY.at())) and s.open and s, 300)
        yield system


def bring_to_rest(system: System) -> None:
    """Halted, and nothing on its way: only then must ledgers and broker be equal."""
    assert system.command("halt", "--reason", "end of the soak").returncode == 0
    wait_for("nothing is on its way", lambda: not list(system.store().scan(k.ORDERS_PENDING)), 30)
