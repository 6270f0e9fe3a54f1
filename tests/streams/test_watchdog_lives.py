"""What tells of every fault outlives the small ones around it: a taken port, a channel that hangs."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog

from alphatrader.clients.alerts import OperatorChannels, Teller
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.secrets import Secrets
from alphatrader.streams.watchdog import Watchdog
from tests.support.servers import Servers


def test_a_watchdog_without_its_metrics_port_looks_on_and_takes_it_when_it_is_free(servers: Servers, tmp_path: Path) -> None:
    secrets = Secrets(Module.WATCHDOG, servers.vault.environment_for(Module.WATCHDOG))
    reader = servers.store(Module.OPERATOR)

    def said() -> tuple[str, str | None]:
        beat = reader.get(k.HEALTH.at(module=Module.WATCHDOG))
        assert beat is not None
        return beat.state, beat.reason

    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        limits = msgspec.structs.replace(servers.settings.watchdog, prometheus_port=port)
        settings = msgspec.structs.replace(servers.settings, watchdog=limits)
        watchdog = Watchdog(Context(Module.WATCHDOG, settings, secrets, Clock(), nyse(), structlog.get_logger(), tmp_path))
        watchdog.turn()
        assert said() == ("degraded", f"no metrics on 127.0.0.1:{port}: Address already in use")
    watchdog.turn()
    watchdog.turn()
    assert said() == ("ready", None)
    socket.create_connection(("127.0.0.1", port), 5).close()
    reader.close()


def test_a_channel_that_hangs_holds_up_no_look_and_loses_no_line() -> None:
    heard: list[tuple[str, str | None]] = []
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/hook"
        channels = OperatorChannels(url, None, None, "", timeout_seconds=1.0)
        teller = Teller(channels, title="t", stamp=lambda: "10:00", heard=lambda *what: heard.append(what))
        deaf.settimeout(10)
        teller.say(["ALARM one"])
        first = connected(deaf)
        began = time.monotonic()
        teller.say(["ALARM two"])
        assert time.monotonic() - began < 0.5 and not heard, "it hangs still"
        # what was said meanwhile is tried as soon as it gave up, with what nobody took
        second = connected(deaf)
        texts = [received(first), received(second)]
    assert "ALARM one" in texts[0] and "ALARM one [10:00]" in texts[1] and "ALARM two" in texts[1]
    assert heard[0] == ("discord", "ReadTimeout")


def connected(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    connection.settimeout(5)
    return connection


def received(connection: socket.socket) -> str:
    """What the client sent, without an answer."""
    content: Any = b""
    while b"allowed_mentions" not in content:
        content += connection.recv(65536)
    connection.close()
    return str(content.decode())
