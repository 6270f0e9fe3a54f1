"""status, doctor, why and report: what they say, what is missing, and their exit codes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from alphatrader.commands.problems import problems_of
from alphatrader.commands.watch import may_match
from alphatrader.contract import keys as k
from alphatrader.contract.messages import market as m
from alphatrader.contract.messages import operations as ops
from alphatrader.contract.messages import positions as p
from alphatrader.contract.messages import risk as r
from alphatrader.contract.messages.contracts import FutureRoot
from alphatrader.contract.messages.signals import SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.store import StoreError
from tests.commands.conftest import Command
from tests.frame.test_module import full_disk
from tests.support.servers import free_port, running_servers
from tests.web.desk import Desk
from tests.web.desk_market import DAY


@pytest.fixture
def busy(desk: Desk) -> Desk:
    desk.whole_day()
    desk.moment(0)
    desk.beats()  # heartbeats and the watchdog's word lapse within a quarter of a minute, and a day takes a while to write
    desk.observed()
    return desk


def test_status_says_every_module_and_what_is_wrong(busy: Desk, run: Command) -> None:
    answer = run("status", "--json")

    found = answer.json()
    assert answer.code == 1
    assert found["modules"]["risk"]["state"] == "ready" and found["modules"]["risk"]["beat_age_s"] < 10
    assert found["modules"]["dashboard"] | {"state": ""} == found["modules"]["dashboard"] | {"state": ""}
    assert found["modules"]["dashboard"]["state"] in ("down", "starting"), "it does not run in this test"
    assert found["halt"]["halted"] is False and found["positions"]["open"] == 2
    causes = {problem["what"]: problem["brings"] for problem in found["problems"]}
    assert any("telegram: degraded" in cause for cause in causes)
    # each thing once: the watchdog's word on a module is older than the module's own, and the rest stands under its cause
    (brought,) = (brings for cause, brings in causes.items() if "watchdog: The broker" in cause)
    assert "watchdog: order i-s9 unconfirmed" in brought
    assert not any("watchdog: telegram" in text for cause, brings in causes.items() for text in (cause, *brings))


def test_a_system_that_starts_is_one_thing_to_look_at_and_what_is_wrong_all_the_same_stands_beside_it(
    busy: Desk, run: Command
) -> None:
    # given modules that are not there yet, and one that is ill by itself
    found = run("status", "--json").json() | {"alerts": [], "feeds": {"SPY": None}, "lease": None}
    for row in found["modules"].values():
        row |= {"state": "starting", "reason": "no heartbeat yet"}
    found["modules"]["signals"] |= {"state": "waiting", "reason": "no metrics yet", "waits_for": "analytics"}
    found["modules"]["telegram"] |= {"state": "degraded", "reason": "3 in a row"}
    causes = {problem["what"]: problem["brings"] for problem in problems_of(found | {"up_s": 5.0})}
    start, *_ = causes
    assert start.startswith("it starts: the state server came up 5 s ago")
    assert {"signals: waiting: no metrics yet", "no feed: all", "no lease: cannot be read"} <= set(causes[start])
    assert causes["telegram: degraded: 3 in a row"] == []
    # when it should be there, then what is not there is told
    for row in found["modules"].values():
        row |= {"state": "down"} if row["state"] == "starting" else {}
    late = {problem["what"] for problem in problems_of(found | {"up_s": 60.0})}
    assert {"analytics: down: no heartbeat yet", "risk: down: no heartbeat yet"} <= late
    assert not any(cause.startswith("it starts") for cause in late)


def test_status_of_a_silent_system_invents_nothing(desk: Desk, run: Command) -> None:
    answer = run("status")

    assert answer.code == 1
    assert "missing means halted" in answer.out and "waiting for the positions module" in answer.out
    assert "no heartbeat" in answer.out
    assert "Signals    none yet in this session; windows open: " in answer.out


def test_status_works_with_half_of_the_servers_and_with_none(busy: Desk, run: Command) -> None:
    half = run("status", "--json", servers__data__port=str(free_port()))
    none = run("status", "--json", servers__data__port=str(free_port()), servers__state__port=str(free_port()))

    assert half.code == 1 and half.json()["feeds"] is None and half.json()["halt"]["halted"] is False
    assert half.json()["modules"]["redis"]["state"] == "down"
    # nobody is called dead whose heartbeat could not be read
    assert none.json()["modules"]["risk"]["state"] == "unknown"
    assert [p["what"] for p in none.json()["problems"] if "risk" in p["what"]] == []
    assert none.code == 3 and none.json()["halt"] is None


def test_looking_at_a_mode_that_was_never_started_leaves_nothing_behind(run: Command, tmp_path: Path) -> None:
    never = {"mode": "paper", "data_dir": str(tmp_path / "data"), "servers__state__port": str(free_port())}

    status, doctor, get = run("status", **never), run("doctor", **never), run("get", "global:halt", **never)
    login = run("login", **never)

    assert status.code == 3 and "no system of mode paper was ever started here" in status.out
    assert status.out.count("\n  - ") == 1, "one thing to look at, not every module"
    assert doctor.code == 1 and "NO-GO" in doctor.out and get.code == 3
    assert login.code == 2 and "no system of mode paper was ever started" in login.err and not login.out
    assert not (tmp_path / "data").exists()


def test_another_folder_s_servers_are_not_said_to_be_down(busy: Desk, run: Command, tmp_path: Path) -> None:
    with running_servers(tmp_path) as others:
        here = {"servers__data__port": str(others.settings.servers.data.port), "data_dir": str(busy.servers.folder.parent)}
        here["servers__state__port"] = str(others.settings.servers.state.port)
        for command in (("status",), ("get", "global:halt")):
            answer = run(*command, **here)
            assert answer.code == 3 and "knows other passwords: it is of another mode, or of another data folder" in answer.err
            assert not answer.out


def test_status_waits_once_for_a_server_that_hangs(busy: Desk, run: Command) -> None:
    process = busy.servers.processes[Module.STATE].pid
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = run("status", "--json")
        took = time.monotonic() - began
    finally:
        os.kill(process, signal.SIGCONT)
    (cause,) = (
        problem for problem in answer.json()["problems"] if "halt: cannot be read, which counts as halted" in problem["brings"]
    )
    assert cause["what"] == "state: down: does not answer"
    assert took < 10, "not two seconds for each thing that it would say"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system cannot bound another process")
def test_a_server_that_takes_no_writes_is_said_to_answer_and_to_be_full(busy: Desk, run: Command) -> None:
    with full_disk(busy.servers.processes[Module.STATE].pid):
        until = time.monotonic() + 20
        while "takes no writes" not in run("status").out:
            with suppress(StoreError):
                busy.halt(number=9)
            assert time.monotonic() < until
        status, doctor = run("status", "--json").json(), run("doctor", "--json").json()
    assert status["modules"]["state"]["state"] == "degraded" and status["modules"]["risk"]["state"] == "ready"
    assert status["halt"] is not None
    assert {check["name"]: check["verdict"] for check in doctor["checks"]}["state memory"] == "no-go"
    until = time.monotonic() + 20
    while "takes no writes" in run("status").out:
        assert time.monotonic() < until, "it goes on when there is room again"


def test_doctor_names_every_no_go_and_no_secret(busy: Desk, run: Command) -> None:
    answer = run("doctor", "--json")

    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert answer.code == 1 and answer.json()["go"] is False
    for name in ("Python", "settings", "server binary", "data server", "state server", "data memory", "clock", "calendar"):
        assert checks[name]["verdict"] == "go", checks[name]
    assert "volatile-lru" in checks["data memory"]["detail"] and "noeviction" in checks["state memory"]["detail"]
    assert checks["account"]["verdict"] == "no-go", "nobody has heard from a broker"
    assert checks["option chains"]["verdict"] == "no-go"
    assert checks["Stripe secrets"]["verdict"] == "go"
    values = [
        value for value in (busy.servers.vault.get(name) for name in ("stripe_key", "session_key", "x_consumer_key")) if value
    ]
    assert values and not any(value in answer.out for value in values)


def test_status_and_doctor_say_which_data_are_silent_and_why(busy: Desk, run: Command) -> None:
    def told() -> tuple[str, str]:
        (check,) = (check for check in run("doctor", "--json").json()["checks"] if check["name"] == "market data")
        return check["verdict"], check["detail"]

    def ibkr_says(state: Any, reason: str | None, **facts: Any) -> None:
        now = busy.clock.machine_ns()
        beat = ops.Health("ibkr", state, reason, 1, now, now, busy.clock.market_ns(), {}, facts)
        busy.write(Module.IBKR, lambda b: b.put(k.HEALTH.at(module=Module.IBKR), beat))

    # given an ibkr that has lost AMD, and an account that grants less depth than the settings say
    facts = {"gateway": "127.0.0.1:4502", "slots": {"depth": 2, "quote": 40}, "limits": {"depth": 2, "quote": 100}}
    silent = "AMD: no data for 12 s, asked again 1 times"
    ibkr_says("ready", None, **facts, stale=silent)
    assert told() == ("no-go", f"from 127.0.0.1:4502; depth 2 of 2, quote 40 of 100; silent: {silent}")
    ibkr_says("ready", None, **facts, stale=silent)
    assert any(
        text.startswith("no feed: ") and silent in text
        for problem in run("status", "--json").json()["problems"]
        for text in (problem["what"], *problem["brings"])
    )
    ibkr_says("ready", None, **facts)
    assert told()[0] == "go"
    ibkr_says("waiting", "no gateway: refused", **facts)
    assert told() == ("no-go", "no gateway: refused")


def test_doctor_says_which_futures_differ_from_the_rules(busy: Desk, run: Command) -> None:
    def verdict() -> tuple[str, str]:
        (check,) = (check for check in run("doctor", "--json").json()["checks"] if check["name"] == "futures")
        return check["verdict"], check["detail"]

    assert verdict()[0] == "no-go" and "no contract known: ES" in verdict()[1]
    # given a broker that lists every root, one of them with another last day than the rules say
    market = busy.servers.settings.market
    for future in (*market.futures, *market.quote_only_futures):
        told = ("ES 202612: last trading day 2026-12-17 at the broker",) if future.root == "ES" else ()
        root = FutureRoot(future.root, 1, "202612", "2026-11-18", "nearest", (), told)
        busy.write(Module.IBKR, lambda b, root=root: b.put_field(k.FUTURES.at(), root.root, root))  # type: ignore[misc]
    assert verdict() == ("no-go", "ES 202612: last trading day 2026-12-17 at the broker")
    agreed = FutureRoot("ES", 1, "202612", "2026-11-18", "nearest", ())
    busy.write(Module.IBKR, lambda b: b.put_field(k.FUTURES.at(), "ES", agreed))
    assert verdict()[0] == "go" and "ES 202612" in verdict()[1]


def test_doctor_says_that_alpha_vantage_backs_off(busy: Desk, run: Command) -> None:
    def verdict() -> tuple[str, str]:
        (check,) = (check for check in run("doctor", "--json").json()["checks"] if check["name"] == "Alpha Vantage")
        return check["verdict"], check["detail"]

    assert verdict() == ("note", "not asked yet")
    # given pulls that have begun, whose answers are refused
    state = {"breaker": "closed", "refused": {"html": 3}, "refusing": {}, "age_seconds": {}, "machine_ns": 1, "pause": {}}
    busy.write(Module.PULLS, lambda b: b.put(k.AV_STATE.at(), state))
    assert verdict()[0] == "go" and "html 3" in verdict()[1]
    # when they pause, or the breaker is open
    busy.write(Module.PULLS, lambda b: b.put_field(k.AV_PAUSE.at(), "failures", 4))
    assert verdict()[0] == "no-go" and "after 4 failures in a row" in verdict()[1]
    busy.write(Module.PULLS, lambda b: b.put(k.AV_STATE.at(), state | {"breaker": "open"}))
    assert "breaker open" in verdict()[1]


def test_doctor_without_servers_says_no_go_and_stays_on_its_feet(desk: Desk, run: Command) -> None:
    answer = run("doctor", servers__data__port=str(free_port()), servers__state__port=str(free_port()))
    assert answer.code == 1
    assert "does not answer" in answer.out and "NO-GO" in answer.out


def test_why_shows_each_gate(busy: Desk, run: Command) -> None:
    told = run("why", "spy")
    assert told.code == 0 and "confidence" in told.out and "at least 60" in told.out and "STOP" in told.out
    assert run("why", "SPY", "--json").json()["by_strategy"]["1DTE"][0][0] == "window"
    assert run("why", "QQQ").code == 1
    assert run("why", "ES").code == 2


def test_why_tells_the_whole_way_of_a_signal(busy: Desk, run: Command) -> None:
    signals = [busy.signal("SPY", 661 + i, name, 3 - i) for i, name in enumerate(("w1", "w2", "w3", "w4"))]
    refused = busy.approval(signals[1], False, "positions and opening orders: 5 of 5")
    silent = busy.approval(signals[2], True, "all holds")
    traded = busy.approval(signals[0], True, "all holds")
    entry = busy.order("i-w1", "SPY", 661, "entry", "EXPIRED")
    busy.write(
        Module.RISK, *[lambda b, v=v: b.put_field(k.LEDGER_APPROVALS.at(), v.intent_id, v) for v in (traded, refused, silent)]
    )
    ended = replace(entry, reason="the lease is 4.0 s old")
    busy.write(Module.EXECUTION, lambda b: b.put_field(k.LEDGER_ORDERS.at(), "i-w1", ended))
    busy.write(Module.SIGNALS, *[lambda b, one=one: b.append(k.EVENTS_SIGNALS.at(), SignalEvent("new", one)) for one in signals])

    by_symbol = run("why", "SPY", "--json").json()["verdicts"]
    assert {v["signal"]: v["became"] for v in by_symbol} == {"w1": "EXPIRED", "w2": "-", "w3": "no order was written"}
    outcomes = {name: run("why", name, "--json").json()["outcome"] for name in ("w1", "w2", "w3", "w4")}
    assert outcomes["w1"] == "the entry is EXPIRED: the lease is 4.0 s old"
    assert "risk refused it: positions and opening orders: 5 of 5" in outcomes["w2"]
    assert "execution wrote no order" in outcomes["w3"]
    assert "risk has given no verdict" in outcomes["w4"]
    told = run("why", "i-w1")
    assert told.code == 0
    assert "the lease is 4.0 s old" in told.out
    assert "signal w1" in told.out
    assert run("why", "nobody").code == 2


def test_status_names_halted_symbols_limits_and_books_that_are_not_ready(busy: Desk, run: Command) -> None:
    now = busy.clock.market_ns()
    luld = m.Luld(100.0, 110.0, 105.0, 0.05, "limit_up")
    other = m.Book("IWM", now, 1, True, None, "depth", (m.Level(99.0, 100.0),), (m.Level(99.1, 100.0),), 1)
    done = threading.Event()

    def renew() -> None:  # as ibkr does: these keys live a second
        while not done.is_set():
            busy.write(
                Module.IBKR,
                lambda b: b.put(k.MARKET_STATUS.at(symbol="NVDA"), m.Status("NVDA", now, True, 2, "broker", "volatility pause")),
                lambda b: b.put(k.MARKET_STATUS.at(symbol="SPY"), m.Status("SPY", now, False, 0, luld=luld)),
            )
            busy.book("QQQ", reason="no depth slot")
            busy.write(Module.IBKR, lambda b: b.put(k.MARKET_BOOK.at(symbol="IWM"), other))
            done.wait(0.2)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        told = run("status").out
    finally:
        done.set()
        renewing.join()
    assert "NVDA HALTED (volatility pause)" in told
    assert "SPY at its limit (limit up, estimated)" in told
    assert "QQQ: no depth slot" in told
    assert "IWM: refused: wrong checksum" in told


def test_report_judges_the_paper_gate(busy: Desk, run: Command) -> None:
    assert run("report").code == 1, "without a starting equity there is no return"
    state = r.RiskState(DAY.isoformat(), D(1000), D(1000), D(1000), D(0), D(0), 0, None, {}, {}, 0, D(1000))
    busy.write(Module.RISK, lambda b: b.put(k.RISK_STATE.at(), state))
    lost = p.ClosedTrade(
        "i-sb", "1DTE", "SPY", busy.option("SPY", 660), 1, D("2.00"), D("1.20"), D("1.30"), D("-81.30"), None, 66.0,
        0, busy.clock.market_ns() - SECOND, DAY.isoformat(), "stop",
    )  # fmt: skip
    busy.write(Module.POSITIONS, lambda b: b.put_field(k.LEDGER_TRADES.at(), "i-sb", lost))

    answer = run("report", "--json")

    report = answer.json()["report"]
    assert answer.code == 0
    assert report["all"]["trades"] == 2 and report["all"]["win_rate"] == 0.5 and report["by_strategy"]["1DTE"]["losses"] == 1
    assert answer.json()["paper_gate"]["met"] is False
    assert "not met" in run("report").out


def test_the_table_of_keys_cuts_no_name(run: Command) -> None:
    names = [line.split()[0] for line in run("keys").out.splitlines()[1:]]
    assert names == [key.pattern for key in k.ALL]


def test_every_command_says_what_it_takes_and_takes_json_but_those_that_only_log(run: Command) -> None:
    commands = [line.split()[0] for line in run("--help").out.splitlines() if line.startswith("  ")]
    assert {"run", "status", "flatten", "replay", "docs"} < set(commands)
    answers = {command: run(command, "--help") for command in commands}
    assert [command for command, said in answers.items() if said.code != 0] == []
    assert [command for command, said in answers.items() if "--json" not in said.out] == ["start", "run"]
    assert run("docs", "--check", "--json").json().keys() == {"stale", "leads_nowhere"}


@pytest.mark.parametrize(
    ("wanted", "pattern", "may"),
    [
        ("metrics:SPY:*", "metrics:{symbol}:vpin", True),
        ("metrics:SPY:vpin", "metrics:{symbol}:vpin", True),
        ("metrics:SPY", "metrics:{symbol}:vpin", False),
        ("*", "global:halt", True),
        ("*halt", "global:halt", True),
        ("metrics:*", "market:{symbol}:book", False),
        ("*SPY*", "orders:working:{id}", True),
        ("*SPY*", "global:halt", False),
        ("m?rket:[ST]*:book", "market:{symbol}:book", True),
        ("market::book", "market:{symbol}:book", False),
        ("market:S:P:book", "market:{symbol}:book", False),
        ("", "global:halt", False),
    ],
)
def test_what_the_contract_declares_says_what_may_be_watched(wanted: str, pattern: str, may: bool) -> None:
    assert may_match(wanted, pattern) is may


def test_watch_shows_keys_and_events_that_come_later_and_ends_well_with_ctrl_c(busy: Desk, run: Command) -> None:
    """Given that no order works yet, when one does, then whoever watches sees it, as an object a line."""
    done = threading.Event()

    def come() -> None:
        number, order = 10, busy.order("later", "SPY", 661, "entry", "WORKING")
        while not done.wait(0.2):
            busy.write(Module.EXECUTION, lambda b: b.put(k.ORDERS_WORKING.at(id="later"), order))
            busy.halt(halted=True, number=(number := number + 1))

    command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "watch", "[eo]*:[hw]*[!1]", "--json"]
    watch = subprocess.Popen(command, env=dict(os.environ) | busy.servers.environment, stdout=subprocess.PIPE, text=True)
    coming = threading.Thread(target=come)
    coming.start()
    try:
        assert watch.stdout is not None
        seen: dict[str, Any] = {}
        while not {"orders:working:later", "events:halt"} <= seen.keys():
            line = json.loads(watch.stdout.readline())
            seen[line["key"]] = line
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=10)
    finally:
        done.set()
        coming.join()
        watch.kill()
    assert watch.returncode == 0
    assert seen["orders:working:later"]["value"]["symbol"] == "SPY" and seen["events:halt"]["event"]["halted"]
    assert run("watch", "nothing:*").code == 2
    assert run("watch", "*", "--seconds", "nan").code == 2


def test_what_was_typed_wrongly_is_told_on_the_error_stream(run: Command) -> None:
    nothing = run()
    assert (nothing.code, nothing.out) == (2, "") and "usage: alphatrader COMMAND" in nothing.err
    for count in ("0", "-1", "x", "²"):
        wrong = run("get", "events:signals", "--count", count)
        assert (wrong.code, wrong.out) == (2, "") and f"{count!r} is no whole number from 1 on" in wrong.err


def test_a_login_link_says_when_no_dashboard_answers(run: Command) -> None:
    port = str(free_port())
    alone = run("login", web__dashboard_port=port)
    assert alone.code == 3 and f"127.0.0.1:{port}" in alone.err
    assert alone.out.startswith(f"http://127.0.0.1:{port}/login?link=")
