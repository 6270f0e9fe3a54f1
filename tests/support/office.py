"""Processes as their parents start them (distribution, Celery's workers, beat, Flower), on a clock of a sandbox."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psutil

from alphatrader.contract import keys as k
from alphatrader.contract.messages.signals import Signal
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock, Epoch, ResumeRule
from alphatrader.runtime.settings import ROOT
from tests.support.people import MONDAY_TEN_NS, a_verdict, made, vendor_environment
from tests.support.servers import Servers, running_servers
from tests.support.vendors import Running

SPEED = 20.0


@dataclass
class Office:
    """Processes with everything around them; `start` names the module, and what runs it where that is not its own program."""

    servers: Servers
    clock: Clock
    log: Path
    vendors: Running | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, module: Module, main: str = "alphatrader.runtime.child", *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **self.servers.environment,
            **self.servers.vault.environment_for(module),
            **vendor_environment(),
            "ALPHATRADER_MODULE": module,
        }
        with self.log.open("ab") as output:
            command = [sys.executable, "-m", main, *(arguments or (module,))]
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kills what was started, and what that started."""
        for process in self.processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                child.kill()
            process.kill()
            process.wait()

    def ready(self, module: Module, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log.read_text()[-3000:]
        health = self.servers.store(Module.OPERATOR).get(k.HEALTH.at(module=module))
        return health is not None and health.pid == process.pid and health.state in ("ready", "degraded")

    def told(self, channel: str) -> list[dict]:
        assert self.vendors is not None
        return self.vendors.told(channel=channel)

    def about(self, signal: Signal, channel: str) -> list[dict]:
        """What a channel was told of the signal itself, not of its position."""
        return [one for one in self.told(channel) if signal.id in one["text"] and "position closed" not in one["text"]]

    def approve(self, signal: Signal) -> None:
        self.write(Module.SIGNALS, k.EVENTS_SIGNALS.at(), made(signal))
        self.write(Module.RISK, k.EVENTS_APPROVALS.at(), a_verdict(signal))

    def write(self, module: Module, bound, event) -> None:
        store = self.servers.store(module)
        batch = store.batch()
        batch.append(bound, event)
        store.commit(batch)
        store.close()


@contextlib.contextmanager
def running_clock(folder: Path, start_ns: int = MONDAY_TEN_NS) -> Iterator[Clock]:
    """The sandbox's clock at 20 market seconds in a second, stamped as the sandbox's parent stamps it."""
    sessions = [(session.open_ns, session.close_ns) for session in nyse().sessions]
    rule = ResumeRule(sessions, least_left=timedelta(minutes=30), begin_after_open=timedelta(0))
    epoch = Epoch(folder, start_ns=start_ns, speed=SPEED, resume_at=rule)
    done = threading.Event()

    def stamp() -> None:
        while not done.wait(0.5):
            epoch.stamp()

    thread = threading.Thread(target=stamp)
    thread.start()
    try:
        yield epoch.clock
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def running_office(servers: Servers, clock: Clock, log: Path, vendors: Running | None = None) -> Iterator[Office]:
    """Ends with everything that was started in it, and what that started."""
    office = Office(servers, clock, log, vendors)
    try:
        yield office
    finally:
        office.end()


@contextlib.contextmanager
def office_on(folder: Path, start_ns: int = MONDAY_TEN_NS, **settings: str) -> Iterator[Office]:
    """One with servers of its own and no vendors."""
    with (
        running_servers(folder, **settings) as servers,
        running_clock(servers.folder, start_ns) as clock,
        running_office(servers, clock, folder / "processes.log") as office,
    ):
        yield office
