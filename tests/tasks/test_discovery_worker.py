"""A real discovery worker with Flower beside it: progress is seen, SIGKILL leaves no half state, two runs at once are one.

The run is held where it reads the recording: its file is a pipe that nobody writes to until the test lets go.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.tasks.discovery.runner import read
from tests.support.office import Office, running_clock
from tests.support.people import until
from tests.support.servers import free_port, running_servers
from tests.support.typed_commands import Answer, typed
from tests.tasks.test_discovery import record


@dataclass
class Night(Office):
    """The worker, Flower, and the operator's commands, on recorded data of three symbols."""

    flower_port: int = 0
    terminals: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=3))

    @property
    def file(self) -> Path:
        return self.servers.folder / "discovered.yaml"

    def progress(self) -> Any:
        return self.servers.store(Module.OPERATOR).get(k.DISCOVERED_PROGRESS.at())

    def reading(self) -> bool:
        now = self.progress()
        return now is not None and now.state == "running" and now.step == "reading what was recorded"

    def types(self, *arguments: str, seconds: float = 240.0) -> Future[Answer]:
        """A command that may wait for the worker, typed while the test goes on."""
        return self.terminals.submit(typed, arguments, os.environ | self.servers.environment, seconds=seconds)

    def flower_tasks(self) -> dict[str, Any]:
        password = self.servers.vault.environment_for(Module.FLOWER)["ALPHATRADER_FLOWER_PASSWORD"]
        login = base64.b64encode(f"operator:{password}".encode()).decode()
        url = f"http://127.0.0.1:{self.flower_port}/api/tasks?limit=100"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                tasks: dict[str, Any] = json.load(answer)
                return tasks
        except OSError:
            return {}

    def in_flower(self, state: str) -> list[dict[str, Any]]:
        return [task for task in self.flower_tasks().values() if task["state"] == state and task["name"].startswith("discovery.")]


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    port = free_port()
    with running_servers(tmp_path, web__flower_port=str(port)) as servers, running_clock(servers.folder) as clock:
        night = Night(servers, clock, tmp_path / "processes.log", flower_port=port)
        try:
            yield night
        finally:
            night.terminals.shutdown(wait=False, cancel_futures=True)
            night.end()


def held_recording(night: Night) -> Path:
    folder = night.servers.folder / "audit"
    folder.mkdir()
    pipe = folder / f"ibkr-{exchange_datetime(night.clock.market_ns()):%Y-%m-%d}-0001.audit"
    os.mkfifo(pipe)
    return pipe


def let_go(pipe: Path) -> None:
    """Whoever waits for the pipe finds it empty, and nobody finds it again."""
    both = os.open(pipe, os.O_RDWR)
    pipe.unlink()
    os.close(both)


def test_a_run_is_seen_survives_a_kill_and_answers_everyone_who_asked(night: Night) -> None:
    # given Flower, recorded data, a recording that cannot be read yet, and the worker's first run at it
    for number, symbol in enumerate(("SPY", "QQQ", "ES")):
        record(night.servers, symbol, number + 1)
    pipe = held_recording(night)
    night.start(Module.FLOWER)
    until(lambda: _serves(night), 40)
    worker = night.start(Module.DISCOVERY)
    until(lambda: night.ready(Module.DISCOVERY, worker) and night.reading(), 60)
    # then Flower's API shows how far it is, and so does `alphatrader status`
    until(lambda: night.in_flower("PROGRESS"), 20)
    (task,) = night.in_flower("PROGRESS")
    assert task["name"] == "discovery.ensure" and task["result"] == "0 of 23: reading what was recorded"
    assert night.types("status", "--json").result().json()["discovery"] | {"said_s_ago": 0, "as_of": ""} == {
        "state": "running", "done": 0, "of": 23, "step": "reading what was recorded", "said_s_ago": 0, "failed": [], "as_of": "",
        "waiting": [],
    }  # fmt: skip

    # when two people ask for a run meanwhile, and the process that runs is killed
    asking = [night.types("discover", "--json"), night.types("discover")]
    until(lambda: night.servers.store(Module.OPERATOR).length(k.DISCOVERY_REQUESTS.at()) == 2, 30)
    before = night.progress().started_machine_ns
    (child,) = [one for one in psutil.Process(worker.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
    child.send_signal(signal.SIGKILL)
    # then nothing of it is left but the values that were, and the run begins anew by itself
    until(lambda: night.reading() and night.progress().started_machine_ns > before, 60)
    assert not list(night.servers.folder.glob("discovered.yaml*")) and not list(night.servers.folder.glob("*.new"))

    # when the recording is let go, then the run ends, and answers both who asked: they were one
    second = night.progress().started_machine_ns
    let_go(pipe)
    machine, person = (one.result() for one in asking)
    assert (machine.code, person.code) == (0, 0), (machine, person)
    assert machine.json()["progress"]["state"] == "done"
    assert person.out.count(" of 23: ") > 1 and "23 of 23: done" in person.out  # which steps it meets, its pace says
    assert "done in" in person.out and "report: reports/discovery-" in person.out
    until(lambda: night.in_flower("SUCCESS"), 20)
    found = read(night.file)
    assert found.with_history == ("SPY", "QQQ", "ES") and found.vpin_bucket_size["SPY"].n == 1200
    assert night.progress().started_machine_ns == second
    report = night.servers.folder / "reports" / night.progress().report
    assert "measured for the first time" in report.read_text()
    assert {path.suffix for path in report.parent.iterdir()} == {".md", ".png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in report.parent.glob("*.png"))


def test_a_worker_killed_among_the_symbols_goes_on_after_those_that_are_done(night: Night) -> None:
    # given bars and prints of all symbols, and a worker that has computed some of them
    symbols = (*night.servers.settings.market.equities, *(one.root for one in night.servers.settings.market.futures))
    for number, symbol in enumerate(symbols):
        record(night.servers, symbol, number + 1)
    part = night.servers.folder / "discovered.part"

    def done() -> dict[str, Any]:
        return json.loads(part.read_text())["symbols"] if part.exists() else {}

    worker = night.start(Module.DISCOVERY)

    def stopped_after(many: int) -> psutil.Process:
        """The process that runs, held once so many symbols are done."""
        until(lambda: len(done()) >= many, 240)
        (child,) = [one for one in psutil.Process(worker.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
        child.send_signal(signal.SIGSTOP)
        return child

    child = stopped_after(2)
    first = done()
    assert 2 <= len(first) < len(symbols), "the run was over before it could be held"
    # then nothing of it is visible: no file, and the keys hold the seed's values
    sizes = night.servers.store(Module.OPERATOR).get(k.DISCOVERED_VPIN_BUCKET_SIZE.at())
    assert not night.file.exists() and all(one.fallback.startswith("seed") for one in sizes.by_symbol.values())

    # when that process is killed, then the task comes again by itself and goes on
    child.send_signal(signal.SIGKILL)
    child = stopped_after(len(first) + 2)
    second = done()
    assert len(first) < len(second) < len(symbols) and {symbol: second[symbol] for symbol in first} == first
    # when the whole worker is killed, and what is kept of one symbol is a value that no computation gives
    worker.kill()
    child.send_signal(signal.SIGKILL)
    worker.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
    marked = json.loads(part.read_text())
    marked["symbols"]["SPY"]["lookback_bars"]["n"] = 424_242
    part.write_text(json.dumps(marked))
    # then the next worker ends the run with it, and file, keys and report are whole
    worker = night.start(Module.DISCOVERY)
    until(lambda: night.progress().state == "done", 240)
    found = read(night.file)
    assert found.with_history == symbols and set(found.vpin_bucket_size) == set(symbols)
    assert found.lookback_bars["SPY"].n == 424_242 and found.lookback_bars["QQQ"].n == 779
    assert all(found.vpin_bucket_size[symbol].n == 1200 for symbol in symbols)
    keys = night.servers.store(Module.OPERATOR).get(k.DISCOVERED_LOOKBACK_BARS.at())
    assert (keys.as_of_ns, keys.by_symbol) == (found.as_of_ns, found.lookback_bars)
    assert {path.name for path in night.servers.folder.glob("discovered.*")} == {"discovered.yaml", "discovered.lock"}
    assert "measured for the first time" in (night.servers.folder / "reports" / night.progress().report).read_text()
    resumed = [line for line in night.log.read_text().splitlines() if "discovery_resumed" in line]
    assert len(resumed) == 2, resumed


def _serves(night: Night) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{night.flower_port}/healthcheck", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_who_asked_before_the_workers_first_start_is_answered(night: Night) -> None:
    asking = night.types("discover", "--json", "--wait", "120")
    until(lambda: night.servers.store(Module.OPERATOR).length(k.DISCOVERY_REQUESTS.at()) == 1, 30)
    night.start(Module.DISCOVERY)
    answer = asking.result()
    assert answer.code == 0 and answer.json()["progress"]["state"] == "done", answer
