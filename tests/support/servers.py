"""Two real servers on free ports with the contract's users, for one test session."""

from __future__ import annotations

import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime import servers
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_path, load
from alphatrader.runtime.store import AsyncStore, Store

_given: deque[int] = deque(maxlen=100)


def free_port() -> int:
    """A port nobody listens on at this moment, and none of those that were given last: the system names one again until it is
    taken, and a whole system asks for a dozen before it takes the first."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.append(port)
            return port


@dataclass
class Servers:
    settings: Settings
    folder: Path
    vault: Vault
    environment: dict[str, str]
    """Overrides that make a process use these servers and this folder."""
    processes: dict[Module, subprocess.Popen[bytes]]
    """Line -> its server."""

    def store(self, module: Module) -> Store:
        return Store(module, self.settings, self.vault.redis_password(module))

    def async_store(self, module: Module) -> AsyncStore:
        """Make it inside the event loop that uses it."""
        return AsyncStore(module, self.settings, self.vault.redis_password(module))

    def flush(self) -> None:
        """Empties both servers, their stamps aside."""
        for line, server in servers.LINES.items():
            store = self.store(line)
            store.raw(server, "FLUSHALL")
            store.close()
            servers.ServerDoor(line, self.settings, self.vault).wait_ready(5.0)


@contextmanager
def running_servers(base: Path, **overrides: str) -> Iterator[Servers]:
    """Both servers, in `base`; `overrides` are settings as environment variables without their prefix."""
    environment = {
        "ALPHATRADER_DATA_DIR": str(base / "data"),
        "ALPHATRADER_LOG_DIR": str(base / "logs"),
        "ALPHATRADER_SERVERS__DATA__PORT": str(free_port()),
        "ALPHATRADER_SERVERS__STATE__PORT": str(free_port()),
        **{f"ALPHATRADER_{name.upper()}": value for name, value in overrides.items()},
    }
    settings = load(environment)
    folder = data_path(settings)
    vault = Vault(folder, settings.mode, {})
    processes: dict[Module, subprocess.Popen[bytes]] = {}
    try:
        for line in servers.LINES:
            processes[line] = subprocess.Popen(
                servers.command(line, settings, folder, vault), stdout=subprocess.DEVNULL, restore_signals=False
            )
        for line in servers.LINES:
            assert servers.ServerDoor(line, settings, vault).wait_ready(15.0), f"{line} did not start"
        yield Servers(settings, folder, vault, environment, processes)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


__all__ = ["Server", "Servers", "free_port", "running_servers"]
