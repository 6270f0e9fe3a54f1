"""Eight worker processes against the stand-in for three minutes under demand; midway one is killed and the server restarts.

Judged by the limiter's own grants and by the stand-in's own wire log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.runtime import servers as server_lines
from alphatrader.runtime.settings import ROOT
from alphatrader.runtime.store import StoreError
from alphatrader.sandbox.vendors.alphavantage import CALLS_PER_MINUTE
from tests.soak.whole import promise
from tests.support.servers import Servers, running_servers
from tests.support.vendors import CREDENTIALS, MONDAY_TEN_NS, Running, running_vendors

pytestmark = pytest.mark.soak
WORKERS = 8
HALF_SECONDS = 90.0
WINDOW = 60.0
BUDGET = 590
WORKER = """
import random, sys, time
from alphatrader.clients.alphavantage import AlphaVantage, AlphaVantageError, LimitedError
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.budget import CallBudget
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import load
from alphatrader.runtime.store import Store, StoreError
password, key, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
settings = load()
budget = CallBudget(Store(Module.PULLS, settings, password), k.AV_BUDGET.at(), k.AV_PAUSE.at(), settings.options.calls_per_minute)
client = AlphaVantage(settings.options, settings.vendors, key, budget=budget, clock=Clock(), rng=random.Random(seed))
while True:
    try:
        client.chain("SPY")
    except LimitedError as error:
        time.sleep(min(error.wait_seconds or 0.05, 0.25))
    except (AlphaVantageError, StoreError):
        time.sleep(0.05)
"""


class RealClock:
    def machine_s(self) -> float:
        return time.time()

    def now_ns(self) -> int:
        return MONDAY_TEN_NS


@dataclass
class GrantLog:
    """Every grant the limiter made, by the server's own time: read from its window before it forgets."""

    servers: Servers
    grants: dict[str, float] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.done.wait(2.0):
            self.look()

    def look(self) -> None:
        store = self.servers.store(Module.DASHBOARD)
        try:
            flat = store.raw(Server.STATE, "ZRANGE", k.AV_BUDGET.at().name, 0, -1, "WITHSCORES")
        except StoreError:
            return
        finally:
            store.close()
        pairs = flat if flat and isinstance(flat[0], list | tuple) else zip(flat[::2], flat[1::2], strict=True)
        self.grants |= {member.decode(): float(score) / 1e6 for member, score in pairs}

    def stamps(self) -> list[float]:
        return sorted(self.grants.values())


def most_in_a_window(stamps: list[float]) -> int:
    return max(i + 1 - bisect_right(stamps, stamp - WINDOW) for i, stamp in enumerate(stamps))


def use(stamps: list[float], begin: float, end: float) -> list[float]:
    """Share of the budget used in each window that lies between two instants, one a quarter of a second."""
    shares = []
    start = begin
    while start + WINDOW <= end:
        shares.append((bisect_left(stamps, start + WINDOW) - bisect_left(stamps, start)) / BUDGET)
        start += 0.25
    return shares


@contextmanager
def workers(servers: Servers) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [start_worker(servers, number) for number in range(WORKERS)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def start_worker(servers: Servers, number: int) -> subprocess.Popen[bytes]:
    password = servers.vault.redis_password(Module.PULLS)
    arguments = [sys.executable, "-c", WORKER, password, CREDENTIALS.alphavantage_key, str(number)]
    return subprocess.Popen(arguments, env={"PATH": "/usr/bin:/bin", **servers.environment}, cwd=ROOT)


def restart_state(servers: Servers) -> None:
    servers.processes[Module.STATE].kill()
    servers.processes[Module.STATE].wait()
    command = server_lines.command(Module.STATE, servers.settings, servers.folder, servers.vault)
    servers.processes[Module.STATE] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    assert server_lines.ServerDoor(Module.STATE, servers.settings, servers.vault).wait_ready(15.0)


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Running]:
    with running_vendors(tmp_path, clock=RealClock()) as running:  # type: ignore[arg-type] the same two readings
        yield running


def test_eight_workers_use_the_budget_and_never_more(stand_in: Running, tmp_path: Path) -> None:
    with running_servers(tmp_path / "servers", options__base_url=f"{stand_in.url}/alphavantage") as servers:
        log = GrantLog(servers)
        watcher = threading.Thread(target=log.watch, daemon=True)
        watcher.start()
        with workers(servers) as running:
            began = time.time()
            time.sleep(HALF_SECONDS)  # the demand of one and a half windows
            killed = time.time()
            os.kill(running[0].pid, signal.SIGKILL)
            running[0].wait()
            restart_state(servers)
            running[0] = start_worker(servers, WORKERS)
            back = time.time()
            time.sleep(HALF_SECONDS)
            ended = time.time()
            log.look()
        log.done.set()
        watcher.join(5)
    stamps = log.stamps()
    assert stamps[0] < began + 15.0, "the workers did not come up"
    arrived = sorted(line["received_machine_ns"] / 1e9 for line in stand_in.wire(vendor="alphavantage"))
    limited = [line for line in stand_in.wire(vendor="alphavantage") if "Information" in (line["answer"] or {})]
    ours, theirs = most_in_a_window(stamps), most_in_a_window(arrived)
    before, after = use(stamps, stamps[0], killed), use(stamps, back + 2.0, ended)
    mean = sum(before + after) / len(before + after)
    sys.stdout.write(
        f"\n{len(stamps)} grants in {ended - began:.0f} s by {WORKERS} workers, one killed, the state server away "
        f"{back - killed:.1f} s\nmost grants in any 60 s by the limiter's log: {ours}\nmost calls in any 60 s by the stand-in's "
        f"log: {theirs}, refused by it: {len(limited)}\nuse outside the restart: mean {mean:.2%}, least window "
        f"{min(before + after):.2%}\n"
    )
    assert ours <= BUDGET
    assert theirs <= CALLS_PER_MINUTE and not limited
    assert mean >= 0.995
    promise(f"the budget: {ours} of {BUDGET} in the fullest minute, {theirs} by the vendor's count, {mean:.2%} used under demand")
