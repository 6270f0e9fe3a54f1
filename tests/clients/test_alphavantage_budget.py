"""The budget of calls and the back-off: one sliding window and one pause over all processes, on the state server's time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.runtime import servers as server_lines
from alphatrader.runtime.budget import CallBudget
from alphatrader.runtime.store import Store, StoreError
from tests.support.servers import Servers, running_servers

ROOT = Path(__file__).resolve().parents[2]
CALLS, WINDOW = 25, 0.8
HAMMER = """
import sys, time
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.budget import CallBudget
from alphatrader.runtime.settings import load
from alphatrader.runtime.store import Store
password, calls, window, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
budget = CallBudget(Store(Module.PULLS, load(), password), k.AV_BUDGET.at(), k.AV_PAUSE.at(), calls, window)
end = time.monotonic() + seconds
while time.monotonic() < end:
    before = time.monotonic_ns()
    if budget.take().wait_ms == 0:
        print(before, time.monotonic_ns())
    else:
        time.sleep(0.001)
"""


def budget(servers: Servers, calls: int, window: float) -> CallBudget:
    return CallBudget(servers.store(Module.PULLS), k.AV_BUDGET.at(), k.AV_PAUSE.at(), calls, window)


def passes(servers: Servers, seconds: float) -> None:
    """As if so much time had passed at the server: whatever it has stamped is that much older."""
    store, ago = servers.store(Module.PULLS), seconds * 1e6
    granted, pause = k.AV_BUDGET.at().name, k.AV_PAUSE.at().name
    for member in store.raw(Server.STATE, "ZRANGE", granted, 0, -1):
        store.raw(Server.STATE, "ZINCRBY", granted, -ago, member)
    for field in ("until_us", "trial_us"):
        if (ends := store.raw(Server.STATE, "HGET", pause, field)) is not None:
            store.raw(Server.STATE, "HSET", pause, field, f"{float(ends) - ago:.0f}")


def test_three_processes_never_exceed_the_budget_in_any_window(servers: Servers) -> None:
    # given three processes that take all they can for three windows
    arguments = [servers.vault.redis_password(Module.PULLS), str(CALLS), str(WINDOW), str(WINDOW * 3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, *arguments],
            env={"PATH": "/usr/bin:/bin", **servers.environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    # when every grant is placed between the instants before and after its call, on the one monotonic clock of the machine
    grants = sorted((int(a), int(b)) for output in outputs for a, b in (line.split() for line in output.splitlines()))
    assert len(grants) >= 2 * CALLS
    # then no window holds more grants that lie wholly inside it than the budget allows
    for begin, _ in grants:
        inside = [after for before, after in grants if before >= begin and after < begin + WINDOW * 1e9]
        assert len(inside) <= CALLS


def test_the_wait_it_names_is_enough_and_grants_are_trimmed(servers: Servers) -> None:
    taking = budget(servers, 2, 60.0)
    assert [taking.take().wait_ms, taking.take().wait_ms] == [0, 0]
    wait_ms = taking.take().wait_ms
    assert 50_000 < wait_ms <= 60_000
    # ten seconds before its end it is not over, at its end it is
    passes(servers, wait_ms / 1000 - 10)
    assert 0 < taking.take().wait_ms <= 10_000
    passes(servers, 10)
    assert taking.take().wait_ms == 0
    assert servers.store(Module.PULLS).length(k.AV_BUDGET.at()) <= 2


def test_a_call_that_was_long_on_its_way_keeps_its_place_a_window_from_its_arrival(servers: Servers) -> None:
    # given a grant whose answer began half a window later
    taking = budget(servers, 1, 60.0)
    slow = taking.take()
    assert slow.wait_ms == 0
    passes(servers, 30)
    taking.arrived(slow)
    # then the vendor may have counted it as late as now: its place is not free a window from the grant
    assert 50_000 < taking.take().wait_ms <= 60_000
    # and the end of a call that has left the window takes no place
    passes(servers, 61)
    following = taking.take()
    assert following.wait_ms == 0
    taking.arrived(slow)
    assert servers.store(Module.PULLS).length(k.AV_BUDGET.at()) == 1


def test_a_restart_and_a_lowered_limit_remember_what_was_granted(servers: Servers) -> None:
    for _ in range(5):
        assert budget(servers, 5, 60.0).take().wait_ms == 0
    # a new process, and one with a smaller limit, find the window used
    assert budget(servers, 5, 60.0).take().wait_ms > 0
    wait_ms = budget(servers, 2, 60.0).take().wait_ms
    assert 50_000 < wait_ms <= 60_000


def test_a_server_clock_that_was_set_back_blocks_for_one_window_at_most(servers: Servers) -> None:
    # given a grant stamped an hour ahead of the server's time
    store = servers.store(Module.PULLS)
    ahead = (time.time() + 3600) * 1e6
    store.raw(Server.STATE, "ZADD", k.AV_BUDGET.at().name, ahead, "from the future")
    # then it counts as made now
    wait_ms = budget(servers, 1, 60.0).take().wait_ms
    assert 50_000 < wait_ms <= 60_000


def test_no_other_module_may_spend_it(servers: Servers) -> None:
    spending = CallBudget(servers.store(Module.DELIVERY), k.AV_BUDGET.at(), k.AV_PAUSE.at(), 5)
    with pytest.raises(StoreError):
        spending.take()


def test_failures_pause_everybody_twice_as_long_each_time_and_one_call_tries(servers: Servers) -> None:
    # given a call that failed in one process
    one, other = budget(servers, 100, 60.0), budget(servers, 100, 60.0)
    one.failed(10.0)
    # then no process may call, and nothing of the budget is used
    wait = other.take()
    assert 0 < wait.wait_ms <= 5_000 and wait.failures == 1
    assert servers.store(Module.PULLS).length(k.AV_BUDGET.at()) == 0
    # and what fails meanwhile was sent before the pause and adds nothing
    one.failed(10.0)
    assert other.take().failures == 1
    # when the pause is over, one call tries, and the others wait for it
    passes(servers, wait.wait_ms / 1000)
    assert one.take()[:2] == (0, 1)
    assert other.take().wait_ms > 5_000
    # when it fails too, the pause is twice as long
    one.failed(10.0)
    wait = other.take()
    assert 5_000 < wait.wait_ms <= 10_000 and wait.failures == 2
    # when it is answered, all go on
    one.answered()
    assert other.take()[:2] == (0, 0)


def test_a_pause_is_never_longer_than_its_bound_even_when_the_clock_was_set_back(servers: Servers) -> None:
    here = budget(servers, 100, 60.0)
    ahead = (time.time() + 3600) * 1e6
    servers.store(Module.PULLS).raw(Server.STATE, "HSET", k.AV_PAUSE.at().name, "failures", 40, "until_us", f"{ahead:.0f}")
    assert here.take()[:2] == (0, 40)
    here.failed(1.25)
    assert 14_000 < here.take().wait_ms <= 15_000


def test_the_grants_outlive_a_killed_server_and_a_lost_one_grants_nothing(tmp_path: Path) -> None:
    with running_servers(tmp_path) as servers:
        # given a window that is used up
        here = budget(servers, 3, 60.0)
        assert [here.take().wait_ms for _ in range(3)] == [0, 0, 0]
        store = servers.store(Module.PULLS)
        until = time.monotonic() + 20
        while b"aof_pending_bio_fsync:0" not in _persistence(store) and time.monotonic() < until:
            time.sleep(0.05)
        # when the server is killed, then nothing is granted
        servers.processes[Module.STATE].kill()
        servers.processes[Module.STATE].wait()
        with pytest.raises(StoreError):
            here.take()
        # and when it is back, the window is still used up
        command = server_lines.command(Module.STATE, servers.settings, servers.folder, servers.vault)
        servers.processes[Module.STATE] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        assert server_lines.ServerDoor(Module.STATE, servers.settings, servers.vault).wait_ready(15.0)
        assert budget(servers, 3, 60.0).take().wait_ms > 30_000


def _persistence(store: Store) -> bytes:
    reply = store.raw(Server.STATE, "INFO", "persistence")
    return reply if isinstance(reply, bytes) else b"".join(f"{name}:{value}\n".encode() for name, value in reply.items())
