"""The watchdog: looks at everything every few seconds and tells the operator, without Redis or Celery in the path.

Reads heartbeats, servers, feeds, chains, queues, orders, routines, halt, and what listens. Writes `observed:watchdog` and its own
heartbeat. Serves Prometheus metrics on 127.0.0.1. Started by the line `watchdog`; of lines without a heartbeat (flower, the
sandbox) it sees whether they listen, and beat by the tasks that are done.
"""

from __future__ import annotations

import shutil
import signal
import socket
import threading
from dataclasses import replace
from datetime import date
from types import FrameType
from typing import Final

from msgspec import structs
from prometheus_client import Gauge, start_http_server

from alphatrader.clients.alerts import OperatorChannels, Teller, ping
from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.messages.operations import Alarm, Observed
from alphatrader.contract.modules import Module
from alphatrader.core.market.link import in_window
from alphatrader.core.watch.board import AlarmBoard
from alphatrader.core.watch.causes import STAND_INS, grouped
from alphatrader.core.watch.restarts import SECOND, Restarts
from alphatrader.core.watch.sight import Sight, alarms, missed, unseen
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.clock import ClockSteps, exchange_instant
from alphatrader.runtime.context import Context, process_context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.store import Store, StoreError

GRACE_SECONDS: Final = 25.0
"""After its own start: the others are starting, too."""
CONFIRM_SECONDS: Final = 3.0
"""How long an alarm stands before it is told: with the pause between looks a stalled server is told within 10 s."""
SETTLE_SECONDS: Final = 15.0
"""How long what a cause brought may take to mend itself after the cause's end, before it is told by itself."""
UNKNOWN_NS: Final = 3_600 * SECOND
"""How long a delivery of which the end is not known alarms: it is never resent, and `troubles` and the ledger keep it."""
STEP_SECONDS: Final = 60.0
"""How long an alarm stands of a clock that was set."""
_STORE_TIMEOUT: Final = 1.5
_QUEUES: Final = (k.PREMIUM_QUEUE, k.BASIC_QUEUE, k.FREE_QUEUE, k.TELEGRAM_ANALYSIS_QUEUE)
_SWEPT: Final = "ran delivery.sweep"

UP = Gauge("alphatrader_module_up", "1 while a module's heartbeat is fresh and it is ready", ["module"])
HEARTBEAT_AGE = Gauge("alphatrader_heartbeat_age_seconds", "Age of a module's heartbeat", ["module"])
QUEUE_LATE = Gauge("alphatrader_queue_late_seconds", "How overdue a queue's earliest message is", ["queue"])
MEMORY = Gauge("alphatrader_server_memory_share", "Share of a server's memory in use", ["server"])
ALARMS = Gauge("alphatrader_alarms", "Alarms that stand, without what they bring")


class Watchdog:
    def __init__(self, context: Context) -> None:
        settings = context.settings
        self._context = context
        self._limits = settings.watchdog
        self._store = Store(Module.WATCHDOG, settings, context.secrets.redis_password, timeout_seconds=_STORE_TIMEOUT)
        self._heartbeat = Heartbeat(Module.WATCHDOG, context.clock)
        self._board = AlarmBoard(
            confirm_seconds=CONFIRM_SECONDS, repeat_seconds=self._limits.repeat_seconds, settle_seconds=SETTLE_SECONDS
        )
        webhook = context.secrets.get("discord_operator")
        channels = OperatorChannels(
            discord_url=f"{settings.vendors.discord_url}/{webhook}" if webhook else None,
            telegram_token=context.secrets.get("telegram_token"),
            telegram_chat=context.secrets.get("telegram_operator_chat"),
            telegram_base_url=settings.vendors.telegram_url,
            timeout_seconds=settings.vendors.timeout_seconds,
        )
        self._teller = Teller(
            channels,
            title=f"AlphaTrader {settings.mode}",
            stamp=lambda: context.clock.market_datetime().strftime("%H:%M:%S ET"),
            heard=self._heard,
        )
        lines = (line for line in AlphaTrader.LINES if line.heartbeat and settings.mode in line.modes)
        self._watched = [instance for line in lines for instance in line.instances(settings)]
        self._restarts = Restarts()
        self._swept = (-1, context.clock.monotonic())
        self._started = context.clock.monotonic()
        self._since_ns = context.clock.market_ns()
        self._steps = ClockSteps(context.clock)
        self._step = (0.0, self._started)
        """How far the clock was set when it last was, and when."""
        self._metrics_problem: str | None = None
        self._serve_metrics()

    # -- looking

    def look(self) -> Sight:
        clock, broker = self._context.clock, self._context.settings.broker
        servers: dict[str, str | None] = {}
        memory: dict[str, float] = {}
        for server in Server:
            try:
                memory[str(server)] = self._server(server)
                servers[str(server)] = None
            except StoreError as error:
                servers[str(server)] = f"{type(error).__name__}"
            except ServerIllError as error:
                servers[str(server)] = str(error)
        sight = Sight(
            machine_ns=clock.machine_ns(),
            in_session=self._context.calendar.at(clock.market_ns()) is not None,
            servers=servers,
            memory_share=memory,
            clock_set_seconds=self._clock_step(),
            closed_ports=self._closed_ports(),
            disk_free_bytes=self._disk_free(),
            resetting=in_window(f"{clock.market_datetime():%H:%M}", broker.reset_from, broker.reset_until),
        )
        for server, look in ((Server.DATA, self._look_at_data), (Server.STATE, self._look_at_state)):
            if servers[str(server)] is None:
                try:
                    sight = look(sight)
                except StoreError as error:
                    sight = replace(sight, servers={**sight.servers, str(server): type(error).__name__})
        return sight

    def _look_at_data(self, sight: Sight) -> Sight:
        store, equities = self._store, self._context.settings.market.equities[:3]
        return replace(
            sight,
            feeds={symbol: store.get(k.MARKET_TIMESTAMP.at(symbol=symbol)) for symbol in equities},
            chains={symbol: store.get(k.OPTIONS_CHAIN.at(symbol=symbol)) for symbol in equities},
        )

    def _look_at_state(self, sight: Sight) -> Sight:
        store, clock = self._store, self._context.clock
        now = clock.market_ns()
        late = {}
        for queue in _QUEUES:
            due = store.next_due_ns(queue.at())
            late[queue.pattern] = max(0.0, -clock.machine_seconds_until(due)) if due is not None and due < now else 0.0
        health = {instance: store.get(k.HEALTH.at(module=instance)) for instance in self._watched}
        account = store.latest(k.EVENTS_ACCOUNT.at())
        session = self._context.calendar.current(now).name
        due_ns = {
            name: exchange_instant(date.fromisoformat(session), at)
            for name, at in structs.asdict(self._context.settings.routines).items()
        }
        runs = store.fields(k.LEDGER_ROUTINES.at(), [f"{name}|{session}" for name in due_ns])
        pending = [store.get(bound) for bound in store.scan(k.ORDERS_PENDING)]
        limit = self._context.settings.orders.unconfirmed_alarm_seconds * SECOND
        return replace(
            sight,
            health=health,
            restarting=self._restarts.see(health, sight.machine_ns),
            late_seconds=late,
            beat_silent_seconds=self._beat_silence(health.get(str(Module.DELIVERY))),
            halt=store.get(k.HALT.at()),
            lease=store.get(k.LEASE.at()),
            unknown_orders=account[0].unknown_orders if account else 0,
            unconfirmed_orders=tuple(r.id for r in pending if r and sight.machine_ns - r.machine_ns > limit),
            deliveries_unknown=sum(
                record.state == "unknown" and sight.machine_ns - record.machine_ns < UNKNOWN_NS
                for record in store.fields(k.LEDGER_DELIVERY.at()).values()
            ),
            routines=tuple(runs.values()),
            routines_missed=missed(due_ns, {run.name for run in runs.values()}, self._since_ns, now),
        )

    def _clock_step(self) -> float:
        now = self._context.clock.monotonic()
        if step := self._steps.look():
            self._step = (step, now)
        return self._step[0] if now - self._step[1] < STEP_SECONDS else 0.0

    def _beat_silence(self, delivery: object) -> float:
        """Seconds since the sweep that beat sends every 5 s was last done."""
        counts = getattr(delivery, "counts", {})
        done, now = counts.get(_SWEPT, 0), self._context.clock.monotonic()
        if done != self._swept[0]:
            self._swept = (done, now)
        return now - self._swept[1]

    def _server(self, server: Server) -> float:
        """The share of its memory in use. Raises StoreError or ServerIllError."""
        info = self._store.raw(server, "INFO", "memory", "persistence")
        if not isinstance(info, dict):
            rows = (row.partition(":") for row in info.decode().splitlines() if ":" in row)
            info = {name: value for name, _, value in rows}
        if str(info.get("aof_last_write_status", "ok")) != "ok":
            raise ServerIllError("its log cannot be written (disk full?)")
        return int(info["used_memory"]) / max(int(info["maxmemory"]), 1)

    def _disk_free(self) -> int | None:
        try:
            return shutil.disk_usage(self._context.data_dir).free
        except OSError:
            return None

    def _closed_ports(self) -> tuple[str, ...]:
        settings = self._context.settings
        wanted = {
            "dashboard": ("127.0.0.1", settings.web.dashboard_port),
            "pages": (settings.web.pages_host, settings.web.pages_port),
            "flower": ("127.0.0.1", settings.web.flower_port),
        }
        wanted |= {f"gateway {gateway.host}:{gateway.port}": (gateway.host, gateway.port) for gateway in settings.broker.gateways}
        closed = [name for name, address in wanted.items() if not _listens(address)]
        if settings.mode in AlphaTrader.line(STAND_INS).modes and not _answers(settings.sandbox.http_port):
            closed.append(STAND_INS)
        return tuple(closed)

    # -- telling

    def turn(self) -> None:
        clock = self._context.clock
        sight = self.look()
        found = alarms(sight, self._limits)
        if self._metrics_problem is not None:
            self._serve_metrics()
        if clock.monotonic() - self._started > GRACE_SECONDS:
            new = self._board.see(found, clock.monotonic(), unseen(sight))
            for text in new:
                self._context.log.warning("told_operator", what=text.replace("\n ", ";"))
            self._teller.say(new)
        self._measure(sight)
        self._write(sight, found)
        if self._limits.ping_url and not found:
            wrong = ping(self._limits.ping_url, _STORE_TIMEOUT)
            if wrong:
                self._context.log.warning("ping_failed", error=wrong)

    def _heard(self, channel: str, wrong: str | None) -> None:
        self._heartbeat.count(f"told {channel}" if wrong is None else f"failed {channel}")
        if wrong:
            self._context.log.error("operator_not_reached", channel=channel, error=wrong)

    def _serve_metrics(self) -> None:
        """Who tells of every fault must not end because a port is taken; it is tried again with each look."""
        port = self._limits.prometheus_port
        try:
            start_http_server(port, addr="127.0.0.1")
            self._metrics_problem = None
        except OSError as error:
            self._metrics_problem = f"no metrics on 127.0.0.1:{port}: {error.strerror}"

    def _measure(self, sight: Sight) -> None:
        for module, health in (sight.health or {}).items():
            age = (sight.machine_ns - health.machine_ns) / SECOND if health else float("inf")
            UP.labels(module).set(health is not None and health.state == "ready" and age <= self._limits.stalled_after_seconds)
            HEARTBEAT_AGE.labels(module).set(age)
        for queue, late in sight.late_seconds.items():
            QUEUE_LATE.labels(queue).set(late)
        for server, share in sight.memory_share.items():
            MEMORY.labels(server).set(share)
        ALARMS.set(len(grouped(self._board.standing)))

    def _write(self, sight: Sight, found: dict[str, Alarm]) -> None:
        if sight.health is None:
            return
        states = {server: wrong or "ok" for server, wrong in sight.servers.items()}
        states |= dict.fromkeys(sight.closed_ports, "closed")
        # What the lines without a heartbeat show of themselves.
        gateways = [name for name in sight.closed_ports if name.startswith("gateway")]
        states["beat"] = found["beat"].text if "beat" in found else "ok"
        states["flower"] = "does not listen" if "flower" in sight.closed_ports else "ok"
        closed = ["does not answer"] if STAND_INS in sight.closed_ports else [f"{name} closed" for name in gateways]
        states["sandbox"] = ", ".join(closed) or "ok"
        states["redis"], states["state"] = (sight.servers[str(server)] or "ok" for server in (Server.DATA, Server.STATE))
        if self._metrics_problem is None:
            self._heartbeat.ready()
        else:
            self._heartbeat.degraded(self._metrics_problem)
        batch = self._store.batch()
        stamp = Observed(sight.machine_ns, self._context.clock.market_ns(), states, self._board.standing)
        batch.put(k.OBSERVED.at(), stamp)
        self._heartbeat.add_to(batch, self._store.refused)
        try:
            self._store.commit(batch)
        except StoreError as error:
            self._context.log.warning("redis_lost", error=type(error).__name__)


class ServerIllError(RuntimeError):
    """A server answers, but something in it is wrong."""


def _listens(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=0.5):
            return True
    except OSError:
        return False


def _answers(port: int) -> bool:
    """Whether the stand-ins do: a stopped process still takes connections."""
    return ping(f"http://127.0.0.1:{port}/healthz", _STORE_TIMEOUT) is None


def main() -> None:
    context = process_context(Module.WATCHDOG)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    watchdog = Watchdog(context)
    context.log.info("starting", mode=context.settings.mode)
    while not stopping.is_set():
        watchdog.turn()
        stopping.wait(context.settings.watchdog.interval_seconds)
    context.log.info("stopped")
