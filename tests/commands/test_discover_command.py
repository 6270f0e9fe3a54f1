"""`alphatrader discover`: what it asks, whom it hears, what it shows, and its exit codes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import structlog

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import DiscoveryRequest
from alphatrader.contract.messages.operations import Health
from alphatrader.contract.modules import Module
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.found import Waiting
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.cursor import Cursor
from alphatrader.tasks.discovery import recorded  # noqa: F401 the broker's library can be imported only in the main thread
from alphatrader.tasks.discovery.runner import SEED, ParameterDiscovery, read, write
from tests.commands.conftest import Command
from tests.support.servers import Servers, free_port
from tests.support.vendors import MONDAY_TEN_NS


@contextmanager
def worker(servers: Servers, folder: Path, first: str | None = None) -> Iterator[list[DiscoveryRequest]]:
    """The worker without Celery: it does what is asked, as its task does, and notes it. `first`: somebody else's wish for this
    symbol comes before each."""
    store = servers.store(Module.DISCOVERY)
    clock = Clock(MONDAY_TEN_NS, time.time_ns(), 1.0)
    discovery = ParameterDiscovery(store, servers.settings, clock, nyse(), structlog.get_logger(), folder)
    heard: list[DiscoveryRequest] = []
    stopping = threading.Event()
    cursor = Cursor.at_end([k.DISCOVERY_REQUESTS.at()])
    store.read(cursor)
    discovery.republish()

    def answer() -> None:
        while not stopping.is_set():
            for entry in store.read(cursor, block_seconds=0.1):
                asked = entry.event
                heard.append(asked)
                if first is not None:
                    discovery.run(symbol=first, request="another")
                if asked.kind == "accept":
                    discovery.accept(asked.symbol, asked.id)
                else:
                    discovery.run(symbol=asked.symbol, request=asked.id, asked_machine_ns=asked.machine_ns)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stopping.set()
        thread.join(20)
        store.close()


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A mode's folder in whose file two sizes jumped and wait."""
    seed = read(SEED)
    jumped = tuple(
        Waiting(
            "vpin_bucket_size",
            "2026-11-20",
            "3.00 times what it was",
            symbol=symbol,
            value=msgspec.structs.replace(seed.vpin_bucket_size[symbol], value=4_200_000.0, n=9000, fallback=None),
        )
        for symbol in ("SPY", "QQQ")
    )
    write(tmp_path / "discovered.yaml", files.render(msgspec.structs.replace(seed, waiting=jumped)))
    return tmp_path


def test_a_run_of_one_symbol_is_asked_for_shown_and_ends(servers: Servers, run: Command, tmp_path: Path) -> None:
    with worker(servers, tmp_path) as heard:
        answer = run("discover", "--symbol", "spy")
    assert answer.code == 0, answer
    (asked,) = heard
    assert (asked.kind, asked.symbol) == ("run", "SPY") and asked.by.endswith("on the command line")
    assert "done in" in answer.out and "report: reports/discovery-2026-11-23.md" in answer.out
    assert (tmp_path / "reports" / "discovery-2026-11-23.md").read_text().startswith("# Discovery of 2026-11-23")


def test_who_asked_for_all_is_not_answered_by_the_run_of_one_symbol(servers: Servers, run: Command, tmp_path: Path) -> None:
    with worker(servers, tmp_path, first="QQQ"):
        answer = run("discover", "--json")
        other = run("discover", "--symbol", "SPY", "--json")
        shown = run("discover", "--symbol", "QQQ")
    assert answer.code == other.code == shown.code == 0
    ended = answer.json()
    assert ended["progress"]["requests"] == [ended["request"]] and ended["progress"]["of"] == 23
    ended = other.json()
    assert ended["progress"]["requests"] == [ended["request"]] and ended["progress"]["symbol"] == "SPY"
    assert "4 of 4: done" in shown.out


def test_what_waits_is_told_and_one_symbols_yes_lets_only_that_through(servers: Servers, run: Command, waiting: Path) -> None:
    with worker(servers, waiting) as heard:
        status = run("status")
        answer = run("discover", "--accept", "--symbol", "QQQ")
        assert "vpin_bucket_size SPY: 3.00 times what it was" in status.out and "2 waiting" in status.out
        assert answer.code == 0 and "QQQ: 900,000 a bucket -> 4,200,000 a bucket (accepted by a person" in answer.out
        kept = servers.store(Module.DASHBOARD).get(k.DISCOVERED_VPIN_BUCKET_SIZE.at())
        assert kept.by_symbol["QQQ"].value == 4_200_000 and kept.by_symbol["SPY"].value == 1_400_000
        assert [one.symbol for one in read(waiting / "discovered.yaml").waiting] == ["SPY"]
        # then the other still waits: nothing else was said yes to, and a run says so by its exit code
        everything = run("discover", "--accept", "--json")
        assert everything.code == 0 and everything.json()["waiting"] == []
        nothing = run("discover", "--accept")
    assert nothing.code == 0 and "Nothing waits" in nothing.out
    assert [(one.kind, one.symbol) for one in heard] == [("accept", "QQQ"), ("accept", None)]


def test_a_run_after_which_something_waits_ends_with_one(servers: Servers, run: Command, waiting: Path) -> None:
    with worker(servers, waiting):
        answer = run("discover", "--json")
    assert answer.code == 1
    assert {one["symbol"] for one in answer.json()["waiting"]} == {"SPY", "QQQ"}


def test_a_worker_that_is_not_there_an_unknown_symbol_and_no_servers(servers: Servers, run: Command) -> None:
    nobody = run("discover", "--wait", "1")
    assert nobody.code == 1 and "not done: no discovery worker is up, and none took it in 1 s" in nobody.err
    assert "no discovery worker is up" in run("discover", "--wait", "1", "--json").json()["unanswered"]
    # given one that is up and does nothing, or stops in the middle
    store = servers.store(Module.DISCOVERY)
    batch = store.batch()
    batch.put(k.HEALTH.at(module=Module.DISCOVERY), Health("discovery", "ready", None, 1, 1, 1, 1, {}, {}))
    store.commit(batch)
    silent = run("discover", "--wait", "1")
    assert silent.code == 1 and "the discovery worker is up and said nothing for 1 s; the request stands" in silent.err
    wrong = run("discover", "--symbol", "GME")
    assert wrong.code == 2 and "GME is not followed; there are: SPY" in wrong.err
    gone = run("discover", servers__data__port=str(free_port()), servers__state__port=str(free_port()))
    assert gone.code == 3 and "cannot be reached" in gone.err
