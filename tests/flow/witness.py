"""What the state server is told, command by command: some keys live only for the moment between a signal and its verdict."""

from __future__ import annotations

import threading

from redis import Redis
from redis.exceptions import RedisError

from alphatrader.contract.keys import find
from alphatrader.contract.modules import Module
from tests.flow.system import System


class Witness:
    """Listens with MONITOR, as the server's own user, from its making on."""

    def __init__(self, system: System) -> None:
        address = system.settings.servers.state
        user = str(Module.STATE)
        self._client = Redis(
            host=address.host, port=address.port, username=user, password=system.vault.redis_password(Module.STATE)
        )
        self.ttl_ms: dict[str, int | None] = {}
        """Pattern -> the lifetime it was last written with; None without one."""
        self._begun, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._listen, name="witness", daemon=True).start()
        assert self._begun.wait(10), "MONITOR did not begin"

    def leave(self) -> None:
        """Nothing more is to be seen: reading every command costs the machine a good part of a core."""
        self._done.set()

    def _listen(self) -> None:
        try:
            with self._client.monitor() as monitor:
                self._begun.set()
                for command in monitor.listen():
                    if self._done.is_set():
                        return
                    self._see(command["command"].split(" "))
        except (RedisError, OSError, ValueError):
            return  # the server stops

    def _see(self, words: list[str]) -> None:
        if words[0].upper() in ("SET", "ZADD", "HSET", "XADD") and len(words) > 2:
            key = find(words[1])
            if key is not None:
                lifetime = words[-2:] if words[0].upper() == "SET" else []
                self.ttl_ms[key.pattern] = int(lifetime[1]) if lifetime and lifetime[0] == "PX" else None
