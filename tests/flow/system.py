"""The whole system for a flow test: the real Procfile under honcho, on free ports, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import ROOT, data_path, load, log_path
from alphatrader.runtime.store import Store, StoreError
from tests.invariants import TRADED, violations
from tests.invariants.evidence import Evidence, Line, read_lines
from tests.invariants.gather import gather
from tests.support.servers import free_port

T = TypeVar("T")
PORTS = (
    "SERVERS__DATA__PORT",
    "SERVERS__STATE__PORT",
    "SANDBOX__HTTP_PORT",
    "WEB__DASHBOARD_PORT",
    "WEB__PAGES_PORT",
    "WEB__FLOWER_PORT",
    "WATCHDOG__PROMETHEUS_PORT",
)


@dataclass
class System:
    folder: Path
    environment: dict[str, str]
    settings: Settings
    honcho: subprocess.Popen[bytes] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.folder / "honcho.log"

    # -- life

    def start(self, lines: Sequence[str] = ()) -> None:
        """Starts the Procfile, or only the named lines of it."""
        environment = {**os.environ, **self.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        with self.output.open("ab") as output:
            self.honcho = subprocess.Popen(
                [sys.executable, "-m", "honcho", "start", "-e", os.devnull, *lines],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        """Ctrl-C."""
        if self.honcho is not None and self.honcho.poll() is None:
            self.honcho.send_signal(signal.SIGINT)
            self.honcho.wait(15)

    # -- looking

    @property
    def data(self) -> Path:
        return data_path(self.settings)

    @property
    def vault(self) -> Vault:
        return Vault(self.data, self.settings.mode, {})

    def store(self, module: Module = Module.OPERATOR) -> Store:
        return Store(module, self.settings, self.vault.redis_password(module))

    def wire(self) -> list[Line]:
        return read_lines(self.data / "broker" / "wire.jsonl")

    def vendors(self) -> list[Line]:
        return read_lines(self.data / "vendors" / "vendors.jsonl")

    def pid(self, module: str) -> int:
        """The main process of a module, from its heartbeat."""
        health = self.store().get(k.HEALTH.at(module=module))
        assert health is not None, f"{module} has no heartbeat"
        return health.pid

    def ready(self, module: str) -> bool:
        try:
            health = self.store().get(k.HEALTH.at(module=module))
        except StoreError:
            return False
        return health is not None and health.state == "ready"

    def gateway_fault(self, **what: Any) -> None:
        """One of the gateway's faults, such as do="drop"."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.settings.sandbox.http_port}/sandbox/gateway",
            data=json.dumps(what).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def command(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """`alphatrader ...` as the operator runs it."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            [sys.executable, "-c", "from alphatrader.cli import main; main()", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def evidence(self, *, settled: bool) -> Evidence:
        return gather(self.settings, self.vault, self.data, log_path(self.settings), settled=settled)

    def check(self, *, settled: bool = True) -> None:
        """Every invariant held, and those of a system that has traded had something to judge."""
        found = violations(self.evidence(settled=settled), need=TRADED)
        assert not found, "\n".join(found)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])


def wait_for(what: str, look: Callable[[], T | None], seconds: float) -> T:
    """The first true answer of `look`, asked ten times a second; fails with `what` when the limit passes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            found = look()
        except (StoreError, OSError):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@contextmanager
def system_in(folder: Path, **overrides: str) -> Iterator[System]:
    """A system that is not started yet; whatever of it still runs at the end is stopped."""
    environment = {f"ALPHATRADER_{name}": str(free_port()) for name in PORTS}
    environment["ALPHATRADER_SANDBOX__GATEWAY_PORTS"] = f"[{free_port()}, {free_port()}]"
    environment["ALPHATRADER_DATA_DIR"] = str(folder / "data")
    environment["ALPHATRADER_LOG_DIR"] = str(folder / "logs")
    environment |= {f"ALPHATRADER_{name}": value for name, value in overrides.items()}
    system = System(folder, environment, load(environment))
    try:
        yield system
    finally:
        system.stop()
