"""The watchdog as a real process: a dead heartbeat and a stopped state server each reach the operator's channels within 30 s.

Its limits are those of production, save that it does not wait for the others to start.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.distribution import DeliveryRecord
from alphatrader.contract.messages.operations import RUNNING, Health, RoutineRun
from alphatrader.contract.messages.risk import Halt
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Epoch
from alphatrader.runtime.settings import ROOT
from alphatrader.runtime.store import StoreError
from tests.support.http import running_answers
from tests.support.servers import Servers, free_port, running_servers
from tests.support.vendors import CREDENTIALS, Running, running_vendors

PROMISED_SECONDS = 30.0
SATURDAY_NS = 1_795_273_200 * 1_000_000_000  # 2026-11-21: out of a session no feed has to be fresh
WATCHED = [line.module for line in AlphaTrader.LINES if line.heartbeat and line.module != Module.WATCHDOG]
AT_ONCE = "import alphatrader.streams.watchdog as watchdog; watchdog.GRACE_SECONDS = 1.0; watchdog.main()"


def wait_for(what: str, holds: Callable[[], Any], until: float) -> None:
    while not holds():
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.1)


class Modules:
    """The heartbeats of all modules but the dead, and the clock's stamp, as long as the test runs."""

    def __init__(self, servers: Servers) -> None:
        self._stores = {module: servers.store(module) for module in WATCHED}
        self._clock = Epoch(servers.folder, start_ns=SATURDAY_NS, speed=1.0, resume_at=lambda last: SATURDAY_NS)
        self.dead: set[Module] = set()
        self.restarting: set[Module] = set()
        """Who comes back with each heartbeat."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        batch = self._stores[Module.EMERGENCY].batch()
        batch.put(k.HALT.at(), Halt(halted=False, epoch=1, flatten=False, by="test", reason="", machine_ns=1, ts_ns=1))
        self._stores[Module.EMERGENCY].commit(batch)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(5)
        for store in self._stores.values():
            store.close()

    def _run(self) -> None:
        sweeps, started = 0, time.time_ns()
        while not self._ended.wait(0.5):
            sweeps += 1
            self._clock.stamp()
            for module, store in self._stores.items():
                if module not in self.dead:
                    now = time.time_ns()
                    batch = store.batch()
                    begun = now if module in self.restarting else started
                    health = Health(module, "ready", None, 1, begun, now, now, {"ran delivery.sweep": sweeps}, {})
                    batch.put(k.HEALTH.at(module=module), health)
                    with suppress(StoreError):  # the server may be what was stopped
                        store.commit(batch)


@dataclass
class Watched:
    """A whole system, as far as the watchdog sees it, and the watchdog."""

    servers: Servers
    modules: Modules
    vendors: Running
    pings: list[str]
    metrics_url: str

    def told(self, what: str) -> set[str]:
        """The vendors that were told it."""
        return {item["vendor"] for item in self.vendors.told() if what in str(item)}

    def kill_state_server(self) -> None:
        info = self.servers.store(Module.STATE).raw(Server.STATE, "INFO", "server")
        os.kill(int(info["process_id"]), signal.SIGKILL)


@contextmanager
def running_watchdog(folder: Path) -> Iterator[Watched]:
    webhooks = {"operator": ("1009", "operator-token-secret")}
    (folder / "vendors").mkdir(parents=True)
    with ExitStack() as stack:
        servers = stack.enter_context(running_servers(folder))
        vendors = stack.enter_context(running_vendors(folder / "vendors", discord_webhooks=webhooks))
        outside = stack.enter_context(running_answers())
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(5)]
        modules = Modules(servers)
        stack.callback(modules.stop)
        metrics = free_port()
        environment = {
            **os.environ,
            **servers.environment,
            **servers.vault.environment_for(Module.WATCHDOG),
            "DISCORD_OPERATOR_WEBHOOK": "1009/operator-token-secret",
            "TELEGRAM_BOT_TOKEN": CREDENTIALS.telegram_token,
            "TELEGRAM_OPERATOR_CHAT": "900001",
            "ALPHATRADER_VENDORS__DISCORD_URL": f"{vendors.url}/discord/api/webhooks",
            "ALPHATRADER_VENDORS__TELEGRAM_URL": f"{vendors.url}/telegram",
            "ALPHATRADER_WEB__DASHBOARD_PORT": str(ports[0]),
            "ALPHATRADER_WEB__PAGES_PORT": str(ports[1]),
            "ALPHATRADER_WEB__FLOWER_PORT": str(ports[2]),
            "ALPHATRADER_SANDBOX__HTTP_PORT": vendors.url.rpartition(":")[2],
            "ALPHATRADER_SANDBOX__GATEWAY_PORTS": f"[{ports[3]}, {ports[4]}]",
            "ALPHATRADER_WATCHDOG__PING_URL": f"{outside.url}/alive",
            "ALPHATRADER_WATCHDOG__PROMETHEUS_PORT": str(metrics),
        }
        log = folder / "watchdog.log"
        with log.open("wb") as output:
            process = subprocess.Popen([sys.executable, "-c", AT_ONCE], cwd=ROOT, env=environment, stdout=output, stderr=output)
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_for(f"a ping, which says that all is well: {log.read_text()}", lambda: outside.asked, time.monotonic() + 20)
        yield Watched(servers, modules, vendors, outside.asked, f"http://127.0.0.1:{metrics}/metrics")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watched, Watched]]:
    """Two systems, in which one thing each goes wrong at the same time: waiting once is enough."""
    folder = tmp_path_factory.mktemp("watchdog")
    with running_watchdog(folder / "first") as first, running_watchdog(folder / "second") as second:
        yield first, second


def test_a_dead_module_and_a_stopped_state_server_reach_the_operator_in_time(pair: tuple[Watched, Watched]) -> None:
    without_signals, without_state = pair
    assert not without_signals.vendors.told() and not without_state.vendors.told()  # all was well
    without_signals.modules.dead.add(Module.SIGNALS)
    without_state.kill_state_server()
    until = time.monotonic() + PROMISED_SECONDS
    pings = len(without_state.pings)
    both = {"discord", "telegram"}

    wait_for("the server's alarm", lambda: without_state.told("ALARM The state server does not work") == both, until)
    wait_for("the module's alarm", lambda: without_signals.told("ALARM signals: ") == both, until)

    assert len(without_state.pings) <= pings + 1  # the outside watcher hears nothing more
    assert requests.get(without_state.metrics_url, timeout=5).status_code == 200
    page = requests.get(without_signals.metrics_url, timeout=5).text
    assert 'alphatrader_module_up{module="signals"} 0.0' in page and 'alphatrader_module_up{module="risk"} 1.0' in page
    observed = without_signals.servers.store(Module.OPERATOR).get(k.OBSERVED.at())
    assert observed is not None and any(alert.text.startswith("signals:") for alert in observed.alerts)


def test_its_end_is_told_once_and_no_token_with_it(pair: tuple[Watched, Watched]) -> None:
    watched, _ = pair
    watched.modules.dead.clear()
    wait_for("the end", lambda: watched.told("OVER module signals") == {"discord", "telegram"}, time.monotonic() + 15)
    texts = [str(item) for item in watched.vendors.told(vendor="discord")]
    assert sum("ALARM signals" in text for text in texts) == 1
    assert not any("token-secret" in text for text in texts)


def test_what_no_channel_took_is_told_when_one_does(pair: tuple[Watched, Watched]) -> None:
    """What cuts off the broker often cuts off the operator's channels, too: the alarm must not be lost with the first try."""
    watched, _ = pair
    for vendor, path in (("discord", ""), ("telegram", "sendMessage")):
        watched.vendors.fault(vendor, "status", status=502, count=1, match=path)
    watched.modules.dead.add(Module.POSITIONS)
    until = time.monotonic() + PROMISED_SECONDS + 15
    wait_for("the alarm", lambda: watched.told("ALARM positions: ") == {"discord", "telegram"}, until)


def test_a_routine_whose_worker_died_in_it_is_told(pair: tuple[Watched, Watched]) -> None:
    watched, _ = pair
    store, now_ns = watched.servers.store(Module.ROUTINES), time.time_ns()
    left = RoutineRun("evening", nyse().current(SATURDAY_NS).name, SATURDAY_NS, RUNNING, now_ns - 60 * 10**9)
    batch = store.batch()
    batch.put_field(k.LEDGER_ROUTINES.at(), left.field, left)
    store.commit(batch)
    both = {"discord", "telegram"}
    wait_for("the alarm", lambda: watched.told("ALARM The routine evening began") == both, time.monotonic() + PROMISED_SECONDS)
    # and once it was done in another worker, it is over
    batch = store.batch()
    batch.put_field(k.LEDGER_ROUTINES.at(), left.field, replace(left, outcome="next session 2026-11-23"))
    store.commit(batch)
    wait_for("its end", lambda: watched.told("OVER routine evening") == both, time.monotonic() + PROMISED_SECONDS)
    store.close()


def test_a_delivery_whose_end_is_not_known_alarms_for_an_hour_and_then_lets_the_outside_watcher_be_pinged(
    pair: tuple[Watched, Watched],
) -> None:
    watched, _ = pair
    store, now_ns = watched.servers.store(Module.DELIVERY), time.time_ns()

    def lost(seconds_ago: float) -> None:
        at_ns = now_ns - int(seconds_ago * 1e9)
        record = DeliveryRecord("d-1", "discord:premium", "unknown", 1, at_ns, at_ns, at_ns, None, "no answer")
        batch = store.batch()
        batch.put_field(k.LEDGER_DELIVERY.at(), "d-1|discord:premium", record)
        store.commit(batch)

    lost(10)
    wait_for("the alarm", lambda: watched.told("ALARM 1 deliveries have an unknown end"), time.monotonic() + PROMISED_SECONDS)
    lost(3_700)
    watched.modules.dead.clear()
    pings = len(watched.pings)
    wait_for("a ping", lambda: len(watched.pings) > pings, time.monotonic() + PROMISED_SECONDS)
    store.close()


def test_a_module_that_comes_back_again_and_again_is_told(pair: tuple[Watched, Watched]) -> None:
    """The last of these stories: it stands until the module has run for ten minutes."""
    watched, _ = pair
    watched.modules.restarting.add(Module.DISCOVERY)
    until = time.monotonic() + PROMISED_SECONDS
    # not asked of Discord: its stand-in takes five messages in two seconds of a clock that stands still here
    wait_for("the alarm", lambda: "telegram" in watched.told("ALARM discovery has come back 3 times"), until)
