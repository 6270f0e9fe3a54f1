"""The whole system as a newcomer starts it, and one signal on its way: depth on the gateway's socket, metrics, signal, approval,
bracket, fill, position, the premium and the basic post, the dashboard's push in a browser, and a halt.

One system for all tests of this file; they tell one story, in order, at the pace a newcomer sees it. Bounds on safety are judged
on the stand-ins' own stamps; liveness is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.key import Key
from alphatrader.contract.messages.signals import Signal
from alphatrader.contract.modules import Module
from alphatrader.roster import AlphaTrader
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.store import Store
from alphatrader.sandbox.gateway.replay.audit import DEPTH, OWN_DEPTH, read
from alphatrader.sandbox.market.instruments import EQUITIES
from tests.flow.browser import Browser, open_browser
from tests.flow.processes import of_system
from tests.flow.system import System, system_in, wait_for
from tests.flow.witness import Witness

START_SECONDS = 60.0
STORY_SECONDS = 300.0
INSTRUMENTS = 25


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with system_in(tmp_path_factory.mktemp("flow")) as system:
        system.start()
        yield system


@pytest.fixture(scope="module")
def witness(system: System) -> Witness:
    wait_for("the state server answers", lambda: system.ready("emergency"), START_SECONDS)
    return Witness(system)


@pytest.fixture(scope="module")
def browser(system: System) -> Iterator[Browser]:
    with open_browser(system) as browser:
        yield browser


@pytest.fixture(scope="module")
def signal(system: System) -> Signal:
    """The first of a symbol whose depth had come that was approved, sent and filled.

    Others are of symbols without a depth line at that moment, or were refused, or the market ran from their limit."""
    without_depth: set[str] = set()

    def followed() -> Signal | None:
        store = system.store()
        opened = [event.position.id for event in store.latest(k.EVENTS_POSITIONS.at(), 500) if event.kind == "opened"]
        made = {event.signal.id: event.signal for event in store.latest(k.EVENTS_SIGNALS.at(), 500) if event.kind == "new"}
        for signal in (made[name] for name in reversed(opened) if name in made and name not in without_depth):
            came_ns = first_depth_ns(system, signal.symbol)
            if came_ns is not None and came_ns < signal.ts_ns:
                return signal
            without_depth.add(signal.id)
        return None

    return wait_for("a signal of a symbol with depth that is approved, sent and filled", followed, STORY_SECONDS)


def first_depth_ns(system: System, symbol: str) -> int | None:
    """Market time at which the gateway's socket first brought depth of a symbol, by the log of what each read of it brought."""
    (con_id,) = [listing.con_id for listing in EQUITIES if listing.symbol == symbol]
    lines = {(DEPTH, con_id), (OWN_DEPTH, con_id)}
    return next((told.instant_ns for told in read(sorted((system.data / "audit").glob("ibkr-*"))) if told.key in lines), None)


def test_every_module_becomes_ready(system: System, witness: Witness) -> None:
    waited = [str(line.module) for line in AlphaTrader.LINES if line.heartbeat]
    for module in waited:
        wait_for(f"{module} is ready", lambda module=module: system.ready(module), START_SECONDS)


def test_all_instruments_are_quoted(system: System) -> None:
    store = system.store()
    wait_for("25 instruments have a last price", lambda: len(list(store.scan(k.MARKET_LAST))) >= INSTRUMENTS, START_SECONDS)
    spy = wait_for("SPY is quoted", lambda: store.get(k.MARKET_LAST.at(symbol="SPY")), 10)
    assert spy.bid is not None
    assert spy.ask is not None
    assert spy.bid < spy.ask


def test_a_signal_is_made_from_depth_on_the_gateways_socket(system: System, signal: Signal) -> None:
    came_ns = first_depth_ns(system, signal.symbol)
    assert came_ns is not None and came_ns < signal.ts_ns
    assert signal.features["book"] is not None, "it says what it was made of"


def test_it_becomes_a_protected_position_with_moving_pnl(system: System, signal: Signal) -> None:
    store = system.store()
    bound = k.POSITIONS.at(symbol=signal.symbol, id=signal.id)
    opened = wait_for("the position", lambda: store.get(bound), 10)
    assert any(approval.approved and approval.intent_id == signal.id for approval in store.latest(k.EVENTS_APPROVALS.at(), 500))
    assert opened.contract.occ == signal.contract.occ
    assert any(fill.order_ref == signal.id for fill in store.fields(k.LEDGER_FILLS.at()).values())
    seen: dict[str, set[Decimal]] = {}

    def moved() -> bool:
        """Its own P&L, or that of the next one where it met its stop at once."""
        for position in (store.get(bound) for bound in store.scan(k.POSITIONS)):
            if position is not None and position.unrealized is not None:
                seen.setdefault(position.id, set()).add(position.unrealized)
        return any(len(values) >= 3 for values in seen.values())

    wait_for("an open position's P&L moves", moved, 120)
    wait_for(
        "the broker's positions equal ours",
        lambda: (s := store.get(k.POSITIONS_SUMMARY.at())) and s.reconciled and not s.differences,
        30,
    )


def test_premium_is_told_at_once_and_basic_not_before_its_minute(system: System, signal: Signal) -> None:
    def told(channel: str) -> int | None:
        for line in system.vendors():
            said = line.get("told") or {}
            text = f"{said.get('title')} {said.get('text')}"
            if line["vendor"] == "discord" and line["accepted"] and said.get("channel") == channel and signal.id in text:
                return int(line["received_market_ns"])
        return None

    wait_for("the premium post", lambda: told("premium"), 30)
    basic = wait_for("the basic post", lambda: told("basic"), 150)
    assert basic >= signal.ts_ns + 60 * SECOND


def test_every_key_of_the_plan_is_seen_with_its_lifetime(system: System, witness: Witness) -> None:
    """In Redis now, or written since the start; what only a later hour or a customer brings is named."""
    later = {
        "telegram:user:{id}:tier": "a customer pays",
        "twitter:tweet:{id}": "a winning trade is five minutes old",
        "twitter:posted_signals": "a winning trade is five minutes old",
    }
    store = system.store()
    for key in (key for key in k.ALL if key.plan and key.pattern not in later):
        if key.pattern in witness.ttl_ms:
            written = witness.ttl_ms[key.pattern]
            assert written == (key.ttl_seconds * 1000 if key.ttl_seconds else None), key.pattern
        else:
            left = wait_for(f"{key.pattern} exists", lambda key=key: _living(store, key), 90)
            assert (left >= 0) == (key.ttl_seconds is not None), key.pattern
            assert left <= (key.ttl_seconds or 0) * 1000, key.pattern
    witness.leave()


def _living(store: Store, key: Key[Any]) -> int | None:
    """Milliseconds a key of this pattern has left, -1 without a TTL; None where there is none of it."""
    for bound in store.scan(key):
        left = store.ttl_ms(bound)
        if left is not None or key.ttl_seconds is None:
            return -1 if left is None else left
    return None


def test_the_dashboard_pushes_it_into_a_browser(system: System, browser: Browser) -> None:
    """Whichever is open by now: the first may have met its target or its stop while the later posts were waited for."""
    store = system.store()

    def shown() -> bool:
        positions = [store.get(bound) for bound in store.scan(k.POSITIONS)]
        held = [position.contract.symbol for position in positions if position is not None and position.status != "closed"]
        page = browser.text("#positions")
        return bool(held) and all(symbol in page for symbol in held)

    wait_for("the page shows every position that is open", shown, 120)
    before = browser.text("#positions")
    wait_for("a push changes the position's numbers", lambda: browser.text("#positions") != before, 60)
    assert browser.errors() == []


def test_one_click_halts_and_nothing_opens_after(system: System, browser: Browser) -> None:
    browser.click("#halt")
    store = system.store()
    halt = wait_for("global:halt says so", lambda: (h := store.get(k.HALT.at())) and h.halted and h, 10)
    assert "dashboard" in halt.by
    wait_for("the lease is no longer granted", lambda: (lease := store.get(k.LEASE.at())) is None or not lease.granted, 10)
    asked = store.latest(k.CONTROL.at(module=Module.DASHBOARD))[0]
    sent_late = [
        line for line in system.evidence(settled=False).openings() if line["machine_ns"] > asked.machine_ns + SECOND // 2
    ]
    assert sent_late == []
    browser.close()


def test_the_operators_commands_tell_the_same(system: System) -> None:
    status = system.command("status", "--json")
    assert '"halted": true' in status.stdout.lower()
    assert system.command("get", "global:halt").returncode == 0
    assert system.command("why", "SPY").returncode == 0
    resumed = system.command("resume", "--yes")
    assert resumed.returncode == 0, resumed.stderr
    store = system.store()
    wait_for("opening is allowed again", lambda: (h := store.get(k.HALT.at())) and not h.halted, 10)


def test_flatten_closes_everything(system: System) -> None:
    assert system.command("flatten", timeout=90).returncode == 0
    store = system.store()

    def flat() -> bool:
        account = store.latest(k.EVENTS_ACCOUNT.at())
        return bool(account) and not [p for p in account[0].positions if p.quantity] and account[0].open_orders == 0

    wait_for("the broker holds nothing and no order works", flat, 60)
    wait_for("our summary agrees", lambda: (s := store.get(k.POSITIONS_SUMMARY.at())) and s.open == 0 and s.reconciled, 30)


def test_everything_that_must_hold_held(system: System) -> None:
    system.check()


def test_ctrl_c_stops_everything_servers_last_and_a_second_start_goes_on(system: System) -> None:
    fills = system.store().length(k.LEDGER_FILLS.at())
    stood = max(line["market_ns"] for line in system.wire())
    system.stop()
    wait_for("no process is left", lambda: not of_system(system.folder), 10)
    stopped = [line for line in system.output.read_text().splitlines() if "stopped (rc=" in line]
    ends = [next(name for name in line.split() if "." in name).split(".")[0] for line in stopped]
    users = [name for name in ends if name != "sandbox"]  # it stands for the outside world, and no server knows it
    assert set(users[-2:]) == {"redis", "state"}, ends
    assert all("rc=0" in line for line in stopped), stopped
    system.start()
    store = wait_for("quotes again", lambda: (s := system.store()) and s.get(k.MARKET_LAST.at(symbol="SPY")) and s, START_SECONDS)
    assert store.length(k.LEDGER_FILLS.at()) >= fills
    assert store.get(k.MARKET_LAST.at(symbol="SPY")).ts_ns > stood
    wait_for("execution reconciled", lambda: system.ready("execution"), START_SECONDS)


def test_no_stray_files(system: System) -> None:
    """Everything the run wrote stands in its own folders."""
    assert {path.name for path in Path(system.folder).iterdir()} == {"data", "logs", "honcho.log"}
