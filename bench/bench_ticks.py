"""A tick on the gateway's socket until `metrics:*` shows it in Redis: the product beside raw sockets and hiredis.

Real processes: the stand-in gateway, `ibkr`, `analytics`, a data server; for the reference a like server, two bare processes.
Both take turns under the same rates, beside the same background: the whole Procfile, every module on the sandbox's twenty
instruments, on servers of its own. `--background none` measures them alone. "Visible": the observer has read a
`metrics:{symbol}:vpin` whose source sequence is at or past the tick's; it is woken by the server's invalidation push, the
same way for both.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import hiredis
from interleaved import title, verdict

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import Discovered, Parameter
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.secrets import PASSWORD_VARIABLE
from alphatrader.runtime.store import decode

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent))
from tests.flow.system import System, system_in, wait_for  # noqa: E402
from tests.support.servers import Servers, running_servers  # noqa: E402

DAY = date(2026, 11, 18)
SYMBOLS = ("SPY", "AAPL", "ES")
BUCKET = 1000
SECONDS = {2_000: 3.0, 20_000: 1.5}
ROUNDS = 3
SETTLE_SECONDS = 30.0
UP_SECONDS = 120.0
MODULES = (Module.IBKR, Module.ANALYTICS, Module.SIGNALS, Module.RISK, Module.EXECUTION, Module.POSITIONS, Module.DISTRIBUTION)
"""Of the background, those that must be ready before anything is measured."""


class Observer(threading.Thread):
    """Reads each symbol's vpin metric as soon as the server says it changed; notes (source sequence, instant)."""

    def __init__(self, port: int, user: str, password: str) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._names = {k.METRICS_VPIN.at(symbol=symbol).name.encode(): symbol for symbol in SYMBOLS}
        self.seen: dict[str, list[tuple[int, int]]] = {symbol: [] for symbol in SYMBOLS}
        prefixes = [part for name in self._names for part in ("PREFIX", name.decode())]
        for command in (("HELLO", "3", "AUTH", user, password), ("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)):
            self._socket.sendall(hiredis.pack_command(command))
        self.stopping = False

    def run(self) -> None:
        waiting: list[str] = []
        while not self.stopping:
            self._reader.feed(self._socket.recv(1 << 20))
            now = time.monotonic_ns()
            ask = b""
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, Exception):
                    raise reply
                if isinstance(reply, hiredis.PushNotification):
                    for name in reply[1] or ():
                        if name in self._names:
                            waiting.append(self._names[name])
                            ask += hiredis.pack_command(("GET", name))
                elif isinstance(reply, bytes) and waiting:
                    symbol = waiting.pop(0)
                    seq = decode(k.METRICS_VPIN, reply).source_seq
                    if seq is not None:
                        self.seen[symbol].append((seq, now))
            if ask:
                self._socket.sendall(ask)


class Feeder:
    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._process = started(stack, ["-u", str(BENCH / "tick_feeder.py")], log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports = json.loads(self._process.stdout.readline())

    def send(self, who: str, rate: int, seconds: float) -> list[int]:
        self._process.stdin.write(f"{who} {rate} {seconds}\n".encode())
        self._process.stdin.flush()
        sent: list[int] = json.loads(self._process.stdout.readline())
        return sent


def started(stack: ExitStack, arguments: list[str], log: Path, **pipes: Any) -> Any:
    pipes.setdefault("stdout", subprocess.DEVNULL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, *arguments], stderr=log.open("ab"), env=environment, **pipes)

    def stop() -> None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


def cpu_seconds(process: Any) -> float:
    import psutil

    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


class Side:
    """One contestant: its processes, and how a run of it is measured."""

    def __init__(self, name: str, servers: Servers, feeder: Feeder, processes: dict[str, Any]) -> None:
        self.name, self._feeder, self.processes = name, feeder, processes
        self._store = servers.store(Module.OPERATOR)
        self._observed = servers
        self.late: dict[int, list[tuple[float, float, float]]] = {}
        self.cpu: dict[int, list[float]] = {}
        self.achieved: dict[int, list[float]] = {}
        """Ticks a second the feeder really sent: on a busy machine it may fall short of the rate."""

    def newest(self, symbol: str) -> int:
        events = self._store.latest(k.EVENTS_MARKET.at(symbol=symbol))
        return events[0].seq if events else 0

    def run(self, rate: int) -> None:
        seconds = SECONDS[rate]
        before = {symbol: self.newest(symbol) for symbol in SYMBOLS}
        observer = Observer(
            self._observed.settings.servers.data.port, Module.REDIS, self._observed.vault.redis_password(Module.REDIS)
        )
        observer.start()
        cpu = sum(map(cpu_seconds, self.processes.values()))
        sent = self._feeder.send("raw" if self.name == "raw" else "product", rate, seconds)
        self._settle(observer, {s: before[s] + len(sent[number :: len(SYMBOLS)]) for number, s in enumerate(SYMBOLS)})
        cpu = sum(map(cpu_seconds, self.processes.values())) - cpu
        observer.stopping = True
        self.achieved.setdefault(rate, []).append((len(sent) - 1) * 1e9 / (sent[-1] - sent[0]))
        late, lost = [], 0
        for number, symbol in enumerate(SYMBOLS):
            stamps = sent[number :: len(SYMBOLS)]
            events = self._store.latest(k.EVENTS_MARKET.at(symbol=symbol), 25_000)
            prints = sorted(e.seq for e in events if type(e).__name__ == "Trade" and e.seq > before[symbol])
            seen = observer.seen[symbol]
            newest = [seq for seq, _ in seen]
            if len(prints) != len(stamps):
                raise SystemExit(f"{self.name}: {len(prints)} prints of {symbol} in Redis for {len(stamps)} sent at {rate}/s")
            for seq, stamp in zip(prints, stamps, strict=True):
                at = bisect.bisect_left(newest, seq)
                if at == len(seen):
                    lost += 1
                else:
                    late.append((seen[at][1] - stamp) / 1e6)
        late.sort()
        if not late or lost > len(sent) // 100:
            print(f"   {self.name} at {rate}/s: {lost} of {len(sent)} ticks never became visible")
        if late:
            self.late.setdefault(rate, []).append((late[len(late) // 2], late[len(late) * 99 // 100], late[-1]))
            self.cpu.setdefault(rate, []).append(cpu / len(sent) * 1e6)

    def _settle(self, observer: Observer, until_seq: dict[str, int]) -> None:
        """Waits until everything that was sent has come through: a backlog may stand before Redis."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            if all(observer.seen[s] and observer.seen[s][-1][0] >= seq for s, seq in until_seq.items()):
                return
            time.sleep(0.05)


def children(stack: ExitStack, servers: Servers, feeder: Feeder, log: Path, which: str) -> dict[str, Any]:
    market_start, machine_start = exchange_instant(DAY, "10:00"), time.time_ns()
    if which == "product":
        gateways = json.dumps([{"host": "127.0.0.1", "port": feeder.ports["gateway"]}])
        told = {
            **servers.environment,
            "ALPHATRADER_BROKER__GATEWAYS": gateways,
            "ALPHATRADER_MARKET__TICK_SLOTS": "20",
            "ALPHATRADER_MARKET__DEPTH_SLOTS": "20",
            "log": str(log),
            "market_start_ns": str(market_start),
            "machine_start_ns": str(machine_start),
            "password_variable": PASSWORD_VARIABLE,
        }
        return {
            module: started(
                stack,
                [
                    str(BENCH / "tick_product.py"),
                    json.dumps(told | {"module": module, "password": servers.vault.redis_password(module)}),
                ],
                log,
            )
            for module in (Module.ANALYTICS, Module.IBKR)
        }
    told_raw = {
        "symbols": SYMBOLS,
        "raw": feeder.ports["raw"],
        "redis": servers.settings.servers.data.port,
        "market_start_ns": market_start,
        "machine_start_ns": machine_start,
        "session": [exchange_instant(DAY, at) for at in ("09:30", "16:00")],
        "bucket": BUCKET,
        "from": "$",
        "environment": servers.environment,
    }
    found = {}
    for what, module in (("metrics", Module.ANALYTICS), ("feed", Module.IBKR)):
        mine = told_raw | {"user": module, "password": servers.vault.redis_password(module)}
        mine["from"] = "0"
        process = started(stack, [str(BENCH / "tick_reference.py"), what, json.dumps(mine)], log, stdout=subprocess.PIPE)
        process.stdout.readline()
        found[what] = process
    return found


def background(stack: ExitStack, folder: Path) -> System:
    """The Procfile as it stands, in a folder of its own, up and fed."""
    folder.mkdir()
    system = stack.enter_context(system_in(folder))
    system.start()
    for module in MODULES:
        wait_for(f"the background's {module} is ready", lambda module=module: system.ready(module), UP_SECONDS)  # type: ignore[misc]
    return system


def system_cpu(system: System) -> float:
    """CPU seconds of its living processes."""
    from tests.flow.processes import of_system

    return sum(sum(process.cpu_times()[:2]) for process in of_system(system.folder))


def prepared(servers: Servers) -> None:
    store = servers.store(Module.DISCOVERY)
    batch = store.batch()
    parameters = {symbol: Parameter(float(BUCKET), 1000, None, None) for symbol in SYMBOLS}
    batch.put(k.DISCOVERED_VPIN_BUCKET_SIZE.at(), Discovered(0, 0, parameters))
    store.commit(batch)
    store.close()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rates", type=int, nargs="*", default=[2_000, 20_000])
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--background", choices=("all", "none"), default="all")
    options = arguments.parse_args()
    title(
        "tick on the gateway's socket -> metrics visible in Redis, prints over SPY, AAPL and ES",
        f"beside both: {'the whole Procfile on 20 instruments' if options.background == 'all' else 'nothing'}",
        "all share this machine's cores, so p99 is mostly the scheduler's",
        "the reference folds and measures with the product's core: the ratio is that of sockets, event loop and Redis client",
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        system = background(stack, Path(folder) / "background") if options.background == "all" else None
        sides = []
        log = Path(os.environ.get("BENCH_LOG") or Path(folder) / "processes.log")
        for name in ("product", "raw"):
            base = Path(folder) / name
            base.mkdir()
            servers = stack.enter_context(running_servers(base))
            prepared(servers)
            feeder = Feeder(stack, log)
            sides.append(Side(name, servers, feeder, children(stack, servers, feeder, log, name)))
        try:
            for side in sides:
                side._feeder.send("raw" if side.name == "raw" else "product", 200, 0.5)
            time.sleep(2.0)
            begun, spent = time.monotonic(), system_cpu(system) if system else 0.0
            for rate in options.rates:
                for _ in range(options.rounds):
                    for side in sides:
                        side.run(rate)
            if system is not None:
                load = (system_cpu(system) - spent) / (time.monotonic() - begun)
                print(f"   the background took {load:.2f} of this machine's {os.cpu_count()} cores meanwhile")
            report(sides, options.rates)
        finally:
            if log.stat().st_size and os.environ.get("BENCH_LOG"):
                print(log.read_text()[-6000:])


def report(sides: list[Side], rates: list[int]) -> None:
    product, raw = sides
    for rate in rates:
        for side in sides:
            if not side.late.get(rate):
                print(f"   {side.name} at {rate}/s: nothing became visible")
                continue
            p50, p99, most = (median(values) for values in zip(*side.late[rate], strict=True))
            cpu = median(side.cpu[rate])
            print(
                f"   {side.name:<8} {rate:>6}/s  p50 {p50:8.2f} ms  p99 {p99:8.2f}  most {most:8.2f}  CPU {cpu:6.1f} us a tick"
                f"  (sent {median(side.achieved[rate]):.0f}/s)"
            )
        if product.late.get(rate) and raw.late.get(rate):
            pairs = list(zip(product.late[rate], raw.late[rate], strict=False))
            verdict(f"tick -> metrics at {rate}/s, p50 over raw", median(p[0] / r[0] for p, r in pairs), 1.25, at_most=True)
            if rate < 10_000:
                verdict(f"tick -> metrics at {rate}/s, p99 over raw", median(p[1] / r[1] for p, r in pairs), 2.0, at_most=True)
            else:
                verdict(f"tick -> metrics at {rate}/s, p99 ms", median(p[1] for p, _ in pairs), 10.0, at_most=True)


if __name__ == "__main__":
    main()
