"""A tick on the gateway's socket until `market:*` and until `metrics:*` show it in Redis: the product beside raw sockets and
hiredis.

Real processes: the stand-in gateway, `ibkr`, `analytics`, a data server; for the reference a like server, two bare processes.
Both take turns under the same rates, beside the same background: the whole Procfile, every module on the sandbox's twenty
instruments, on servers of its own. `--background none` measures them alone. "Visible": the observer has read a
`metrics:{symbol}:vpin` whose source sequence is at or past the tick's; it is woken by the server's invalidation push, the
same way for both. Likewise of `market:{symbol}:trades`, which either writes every 50 ms at most. The reference reaches Redis over
TCP, as the floor was measured; the product takes the server's Unix socket. Both wait for the streams of every instrument, though
three speak: a blocking read costs the server by the stream. `--streams fed` lets the reference wait for those three alone.

It ends within `--budget` seconds: the background gets a share of them to come up, and is measured beside as it then stands; each
rate is measured once, and again while time is left.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import hiredis
from interleaved import title, verdict
from tick_feeder import LINES_SECONDS, MOST_TIMES, STUCK_SECONDS
from tick_reference import READ_BYTES

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key, Server
from alphatrader.contract.messages.metrics import Discovered, Parameter
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_instant
from alphatrader.runtime.secrets import PASSWORD_VARIABLE
from alphatrader.runtime.settings import server_socket

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH.parent))
from tests.flow.system import System, system_in  # noqa: E402
from tests.support.servers import Servers, running_servers  # noqa: E402

DAY = date(2026, 11, 18)
SYMBOLS = ("SPY", "AAPL", "ES")
BUCKET = 1000
SECONDS = {2_000: 3.0, 20_000: 1.5}
ROUNDS = 3
SETTLE_SECONDS = 15.0
BUDGET_SECONDS = 220.0
UP_SHARE = 0.5
MODULES = (Module.IBKR, Module.ANALYTICS, Module.SIGNALS, Module.RISK, Module.EXECUTION, Module.POSITIONS, Module.DISTRIBUTION)
"""Of the background, those that should be ready before anything is measured."""
SHOWN: dict[str, tuple[Key[Any], re.Pattern[bytes]]] = {
    "metrics": (k.METRICS_VPIN, re.compile(rb'"source_seq":(\d+)')),
    "market": (k.MARKET_TRADES, re.compile(rb'.*\["\w+",(\d+),', re.DOTALL)),
}
"""What shows a tick: the key, and where its message has the newest sequence. An observer that decoded whole messages would take
the better part of a core from those it measures."""


class Observer(threading.Thread):
    """Reads each key that shows ticks as soon as the server says it changed; notes (sequence, instant)."""

    def __init__(self, port: int, user: str, password: str) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._names = {key.at(symbol=s).name.encode(): (what, s) for what, (key, _) in SHOWN.items() for s in SYMBOLS}
        self.seen: dict[tuple[str, str], list[tuple[int, int]]] = {place: [] for place in self._names.values()}
        prefixes = [part for name in self._names for part in ("PREFIX", name.decode())]
        for command in (("HELLO", "3", "AUTH", user, password), ("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)):
            self._socket.sendall(hiredis.pack_command(command))
        self.stopping = False

    def run(self) -> None:
        waiting: deque[tuple[str, str]] = deque()
        while not self.stopping:
            self._reader.feed(self._socket.recv(READ_BYTES))
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
                    place = waiting.popleft()
                    if found := SHOWN[place[0]][1].search(reply):
                        self.seen[place].append((int(found[1]), now))
                elif reply is None and waiting:
                    waiting.popleft()  # expired meanwhile
            if ask:
                self._socket.sendall(ask)


class Feeder:
    def __init__(self, stack: ExitStack, log: Path) -> None:
        self._process = started(stack, ["-u", str(BENCH / "tick_feeder.py")], log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ports = json.loads(self._process.stdout.readline())

    def send(self, who: str, rate: int, seconds: float) -> list[int]:
        self._process.stdin.write(f"{who} {rate} {seconds}\n".encode())
        self._process.stdin.flush()
        limit = seconds * MOST_TIMES + LINES_SECONDS + STUCK_SECONDS
        if not select.select([self._process.stdout], [], [], limit)[0]:
            raise SystemExit(f"the feeder says nothing for {limit:.0f} s: no reading")
        sent = json.loads(self._process.stdout.readline() or '"the feeder ended"')
        if isinstance(sent, str):
            raise SystemExit(f"{who} at {rate}/s: {sent}: no reading")
        return list(sent)


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
        self.late: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        """(what shows it, rate) -> (p50, p99, most) of each run, ms."""
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
        late: dict[str, list[float]] = {what: [] for what in SHOWN}
        lost = dict.fromkeys(SHOWN, 0)
        for number, symbol in enumerate(SYMBOLS):
            stamps = sent[number :: len(SYMBOLS)]
            events = self._store.latest(k.EVENTS_MARKET.at(symbol=symbol), 25_000)
            prints = sorted(e.seq for e in events if type(e).__name__ == "Trade" and e.seq > before[symbol])
            if len(prints) != len(stamps):
                print(f"   {self.name} at {rate}/s: {len(prints)} prints of {symbol} in Redis for {len(stamps)} sent: no reading")
                return
            for what in SHOWN:
                seen = observer.seen[what, symbol]
                newest = [seq for seq, _ in seen]
                for seq, stamp in zip(prints, stamps, strict=True):
                    at = bisect.bisect_left(newest, seq)
                    if at == len(seen):
                        lost[what] += 1
                    else:
                        late[what].append((seen[at][1] - stamp) / 1e6)
        for what, found in late.items():
            found.sort()
            if not found or lost[what] > len(sent) // 100:
                print(f"   {self.name} at {rate}/s: {lost[what]} of {len(sent)} ticks never became visible in {what}:*")
            if found:
                times = (found[len(found) // 2], found[len(found) * 99 // 100], found[-1])
                self.late.setdefault((what, rate), []).append(times)
        self.cpu.setdefault(rate, []).append(cpu / len(sent) * 1e6)

    def _settle(self, observer: Observer, until_seq: dict[str, int]) -> None:
        """Waits until everything that was sent has come through: a backlog may stand before Redis."""
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            newest = {place: seen[-1][0] if seen else 0 for place, seen in observer.seen.items()}
            if all(newest[what, s] >= seq for what in SHOWN for s, seq in until_seq.items()):
                return
            time.sleep(0.05)


def every_symbol(servers: Servers) -> list[str]:
    market = servers.settings.market
    return [*market.equities, *(future.root for future in market.futures)]


def children(
    stack: ExitStack, servers: Servers, feeder: Feeder, log: Path, which: str, options: argparse.Namespace
) -> dict[str, Any]:
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
        "streams": every_symbol(servers) if options.streams == "all" else SYMBOLS,
        "raw": feeder.ports["raw"],
        "redis": servers.settings.servers.data.port,
        "redis_socket": str(server_socket(servers.settings, Server.DATA)) if options.reference == "unix" else None,
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


def background(stack: ExitStack, folder: Path, seconds: float) -> System:
    """The Procfile as it stands, in a folder of its own; up and fed as far as it comes in so many seconds."""
    folder.mkdir()
    system = stack.enter_context(system_in(folder))
    begun = time.monotonic()
    system.start()
    while (missing := [module for module in MODULES if not system.ready(module)]) and time.monotonic() - begun < seconds:
        time.sleep(0.5)
    state = f"not ready: {', '.join(missing)}" if missing else f"{len(MODULES)} modules of it ready"
    print(f"   the background after {time.monotonic() - begun:.0f} s: {state}")
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
    arguments.add_argument("--reference", choices=("tcp", "unix"), default="tcp", help="how the raw reference reaches Redis")
    arguments.add_argument("--streams", choices=("all", "fed"), default="all", help="what the raw reference waits for")
    arguments.add_argument("--budget", type=float, default=BUDGET_SECONDS)
    options = arguments.parse_args()
    ends = time.monotonic() + options.budget
    title(
        "tick on the gateway's socket -> visible in Redis, prints over SPY, AAPL and ES",
        f"beside both: {'the whole Procfile on 20 instruments' if options.background == 'all' else 'nothing'}",
        "all share this machine's cores, so p99 is mostly the scheduler's",
        "the reference folds and measures with the product's core: the ratio is that of sockets, event loop and Redis client",
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        up_seconds = options.budget * UP_SHARE
        system = background(stack, Path(folder) / "background", up_seconds) if options.background == "all" else None
        sides = []
        log = Path(os.environ.get("BENCH_LOG") or Path(folder) / "processes.log")
        for name in ("product", "raw"):
            base = Path(folder) / name
            base.mkdir()
            servers = stack.enter_context(running_servers(base))
            prepared(servers)
            feeder = Feeder(stack, log)
            sides.append(Side(name, servers, feeder, children(stack, servers, feeder, log, name, options)))
        try:
            for side in sides:
                side._feeder.send("raw" if side.name == "raw" else "product", 200, 0.5)
            time.sleep(2.0)
            begun, spent = time.monotonic(), system_cpu(system) if system else 0.0
            longest = 0.0
            for number in range(options.rounds):
                for rate in options.rates:
                    started_at = time.monotonic()
                    if started_at + longest > ends:
                        print(f"   no time is left for round {number + 1} at {rate}/s")
                        continue
                    for side in sides:
                        side.run(rate)
                    longest = max(longest, time.monotonic() - started_at)
            if system is not None:
                load = (system_cpu(system) - spent) / (time.monotonic() - begun)
                print(f"   the background took {load:.2f} of this machine's {os.cpu_count()} cores meanwhile")
            report(sides, options.rates)
        finally:
            if log.stat().st_size and os.environ.get("BENCH_LOG"):
                print(log.read_text()[-6000:])


def report(sides: list[Side], rates: list[int]) -> None:
    for what in SHOWN:
        for rate in rates:
            compared(what, rate, *sides)


def compared(what: str, rate: int, product: Side, raw: Side) -> None:
    runs = [side.late.get((what, rate), []) for side in (product, raw)]
    for side, late in zip((product, raw), runs, strict=True):
        if not late:
            print(f"   {side.name} at {rate}/s: nothing became visible in {what}:*")
            return
        p50, p99, most = (median(values) for values in zip(*late, strict=True))
        cpu, achieved = median(side.cpu[rate]), median(side.achieved[rate])
        print(
            f"   {what:<8} {side.name:<8} {rate:>6}/s  p50 {p50:8.2f} ms, p99 {p99:8.2f}, most {most:8.2f};"
            f" CPU {cpu:5.0f} us a tick ({achieved:.0f}/s sent, runs {len(late)})"
        )
    pairs = list(zip(*runs, strict=False))
    verdict(f"tick -> {what} at {rate}/s, p50 over raw", median(p[0] / r[0] for p, r in pairs), 1.25, at_most=True)
    if rate < 10_000:
        verdict(f"tick -> {what} at {rate}/s, p99 over raw", median(p[1] / r[1] for p, r in pairs), 2.0, at_most=True)
    elif what == "metrics":
        verdict(f"tick -> {what} at {rate}/s, p99 ms", median(p[1] for p, _ in pairs), 10.0, at_most=True)


if __name__ == "__main__":
    main()
