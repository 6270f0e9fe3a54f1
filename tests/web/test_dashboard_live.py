"""What the page is told: the board over Socket.IO, by the real client library."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import socketio

from alphatrader.contract import keys as k
from alphatrader.contract.messages import signals as s
from alphatrader.contract.messages.metrics import Candidate, Candidates, DiscoveryProgress
from alphatrader.contract.modules import Module
from alphatrader.web.dashboard.live import MOST_CLIENTS
from tests.web.desk import Desk
from tests.web.running import Dashboard
from tests.web.test_dashboard_access import cookies, open_socket


class Page:
    """Holds what it was told, as the browser does; the library acknowledges when the handler returns."""

    def __init__(self, dashboard: Dashboard, operator: requests.Session) -> None:
        self.values: dict[str, Any] = {}
        self.times: list[float] = []
        self._news = threading.Condition()
        self.client = socketio.Client(reconnection=False)
        self.client.on("update", self._take)
        self.client.connect(dashboard.url, headers={"Cookie": cookies(operator)}, transports=["websocket"], wait_timeout=5)

    def _take(self, message: dict[str, Any]) -> None:
        with self._news:
            if message["whole"]:
                self.values = {}
            self.values |= message["values"]
            self.times.append(time.monotonic())
            self._news.notify_all()

    def wait(self, holds: Callable[[dict[str, Any]], Any], seconds: float = 20.0) -> None:
        with self._news:
            assert self._news.wait_for(lambda: holds(self.values), seconds), sorted(self.values)


@pytest.fixture
def page(dashboard: Dashboard, operator: requests.Session) -> Iterator[Page]:
    held = Page(dashboard, operator)
    yield held
    held.client.disconnect()


def test_a_page_gets_everything_and_then_what_changed(day: Desk, page: Page) -> None:
    page.wait(lambda v: {"halt", "lease", "risk", "summary", "session", "clock"} <= v.keys())
    assert page.values["session"]["state"] == "open"
    assert page.values["quote.YM"]["feed"] is False, "an absent key is no feed, not a zero"

    day.quotes(step=2)

    page.wait(lambda v: v["quote.SPY"]["feed"])
    first = page.values["quote.SPY"]["last"]
    day.quotes(step=5)
    page.wait(lambda v: v["quote.SPY"]["feed"] and v["quote.SPY"]["last"] != first)
    page.wait(lambda v: not v["quote.SPY"]["feed"])  # nobody renews it: its key expires


def test_signals_orders_and_positions_are_told_with_their_state(day: Desk, page: Page) -> None:
    page.wait(lambda v: "signal.s2" in v and "order.i-s9" in v and "position.i-s1" in v)
    assert page.values["signal.s2"]["state"] == "refused" and "spread" in page.values["signal.s2"]["state_reason"]
    assert page.values["order.i-s9"]["state"] == "UNKNOWN" and page.values["order.i-s9"]["open"]

    made = day.signal("IWM", 239, "s7")
    day.write(Module.SIGNALS, lambda b: b.append(k.EVENTS_SIGNALS.at(), s.SignalEvent("new", made)))
    page.wait(lambda v: v.get("signal.s7", {}).get("state") == "pending")
    day.write(Module.RISK, lambda b: b.append(k.EVENTS_APPROVALS.at(), day.approval(made, True, "2 of 5 places left")))
    page.wait(lambda v: v["signal.s7"]["state"] == "approved")

    day.positions(unquoted=True)
    page.wait(lambda v: v["position.i-s0"]["mark"] is None and v["summary"]["unrealized"] is None)
    assert any(
        line["kind"] == "risk" and "approved 0DTE IWM" in line["text"]
        for path, line in page.values.items()
        if path.startswith("log.") and line
    )


def test_modules_are_told_by_their_heartbeats(day: Desk, page: Page) -> None:
    day.beats()
    page.wait(lambda v: v.get("module.risk", {}).get("state") == "ready")
    assert page.values["module.telegram"]["state"] == "degraded"
    assert page.values["module.redis"]["state"] == "ready"
    assert page.values["deliveries"]["unknown"] == 1


def test_an_alarm_is_told_with_what_it_brings_folded_under_it(day: Desk, page: Page) -> None:
    day.observed()
    page.wait(lambda v: v.get("alerts"))
    told = {alert["text"]: alert["brings"] for alert in page.values["alerts"]}
    assert told["The broker cannot be reached (refused)."] == ["order i-s9 unconfirmed"]
    assert told["telegram: degraded: 3 in a row"] == []


def test_a_symbol_is_chosen_and_only_its_own_detail_comes(day: Desk, page: Page) -> None:
    day.metrics("QQQ")
    assert page.client.call("choose", "NO:SUCH", timeout=5) == {"chosen": False}
    assert page.client.call("choose", "QQQ", timeout=5) == {"chosen": True}
    day.metrics("QQQ")

    page.wait(lambda v: v.get("@QQQ.metric.gex", {}).get("ready"))

    assert page.values["@QQQ.metric.gex"]["value"] == 2.41e9
    assert page.values["@QQQ.metric.hidden"] | {"at_ms": 0} == page.values["@QQQ.metric.hidden"] | {"at_ms": 0, "ready": False}
    assert page.values["@QQQ.metric.hidden"]["reason"] == "no depth for this symbol now"
    assert not [path for path in page.values if path.startswith("@SPY.")]


def test_a_page_is_told_at_most_four_times_a_second(day: Desk, page: Page) -> None:
    page.wait(lambda v: "halt" in v)
    page.times.clear()
    began, step = time.monotonic(), 0
    while len(page.times) < 6:
        step += 1
        day.quotes(step)
        time.sleep(0.02)
        assert time.monotonic() - began < 30, f"{len(page.times)} pushes for {step} changes"
    took = time.monotonic() - began
    assert len(page.times) <= 4 * took + 2


def test_a_page_that_does_not_read_costs_one_message(
    day: Desk, dashboard: Dashboard, operator: requests.Session, page: Page
) -> None:
    silent = open_socket(dashboard, Cookie=cookies(operator))
    assert silent.recv().startswith("0")
    silent.send("40")
    assert silent.recv().startswith("40")
    first = silent.recv()
    number = first[2 : first.index("[")]
    assert json.loads(first[first.index("[") :])[0] == "update"

    page.times.clear()
    for step in range(4):
        day.quotes(step + 100)
        told = len(page.times)
        page.wait(lambda _, told=told: len(page.times) > told)
    silent.settimeout(0.3)
    with pytest.raises(Exception, match="timed out"):
        silent.recv()

    silent.settimeout(3)
    silent.send(f"43{number}[]")
    assert json.loads(silent.recv().partition("[")[2].join(("[", "")))[0] == "update"
    silent.close()


def test_candles_are_history_and_the_minutes_since(day: Desk, dashboard: Dashboard, operator: requests.Session) -> None:
    day.bars("SPY")
    rows = operator.get(f"{dashboard.url}/api/candles/SPY", timeout=5).json()["candles"]
    starts = [row[0] for row in rows]
    assert starts == sorted(set(starts)) and len(starts) >= 240
    assert operator.get(f"{dashboard.url}/api/candles/YM", timeout=5).json()["candles"] == []
    assert operator.get(f"{dashboard.url}/api/candles/NOPE", timeout=5).status_code == 404


def test_the_microstructure_of_the_chosen_symbol_is_told(
    day: Desk, page: Page, operator: requests.Session, dashboard: Dashboard
) -> None:
    day.metrics()
    day.book()
    page.wait(lambda v: v.get("@SPY.profile", {}).get("ready") and v.get("@SPY.depth", {}).get("ready"))
    profile, depth = page.values["@SPY.profile"], page.values["@SPY.depth"]
    # then the strikes nearest the spot, lowest first, and each beside its own numbers
    strikes = [row[0] for row in profile["rows"]]
    assert strikes == sorted(strikes) and len(strikes) == 40 and strikes[0] == 660.0
    assert profile["rows"][3] == [661.5, 3e7, -2e7]
    assert depth["bids"][0] == [661.41, 100.0] and depth["asks"][0] == [661.43, 100.0]
    # and the sweeps, oldest first; no other list of a metric is sent
    page.wait(lambda v: v.get("@SPY.metric.sweep", {}).get("ready"))
    assert [(s["side"], s["venues"]) for s in page.values["@SPY.metric.sweep"]["tape"]] == [
        ("sell", ["ARCA", "BATS"]),
        ("buy", ["ARCA", "BATS", "IEX"]),
    ]
    page.wait(lambda v: v.get("@SPY.metric.makers", {}).get("ready"))
    assert page.values["@SPY.metric.makers"]["shown"] == [
        ["attributed_share", 0.22],
        ["moves_since_start", 3],
        ["last_move", "GSCO leans bid"],
        ["hedging", "stock with options, 15 s later, p 0.002"],
    ]
    assert "tape" not in page.values["@SPY.metric.gex"] and "strikes" not in page.values["@SPY.metric.gex"]["parts"]
    # and a book that is not ready is no book, with its reason
    day.book(reason="317: reset")
    page.wait(lambda v: v["@SPY.depth"]["reason"] == "317: reset" and v["@SPY.depth"]["bids"] == [])

    # the strip's past is kept by the dashboard; what was not ready is a hole
    day.moment_of_metrics(1, 0.4)
    day.moment_of_metrics(2, None)
    until = time.monotonic() + 20
    while not (trail := operator.get(f"{dashboard.url}/api/trail/SPY", timeout=5).json()["trail"]) or trail[-1][1] is not None:
        assert time.monotonic() < until, trail
        time.sleep(0.05)
    assert trail[-1][2] == 0.25
    assert operator.get(f"{dashboard.url}/api/trail/XYZ", timeout=5).status_code == 404


def test_a_jump_that_waits_and_a_run_under_way_are_told(day: Desk, page: Page) -> None:
    page.wait(lambda v: v.get("discovery") == [])
    store = day.servers.store(Module.DISCOVERY)
    batch = store.batch()
    running = DiscoveryProgress("running", "TSLA", 5, 23, 1, 2, 3)
    batch.put(k.DISCOVERED_PROGRESS.at(), running)
    waits = Candidate("vpin_bucket_size", "SPY", "2026-11-24", "1,000 shares", "4,000 shares", "4.00 times what it was")
    batch.put(k.DISCOVERED_CANDIDATES.at(), Candidates(1, (waits,)))
    store.commit(batch)
    store.close()
    page.wait(lambda v: len(v["discovery"]) == 2)
    under_way, jumped = page.values["discovery"]
    assert under_way == "discovery running, 5 of 23: TSLA"
    assert "SPY jumped from 1,000 shares to 4,000 shares" in jumped and "discover --accept" in jumped


def test_fifty_pages_are_told_and_one_more_is_refused_with_a_word(
    day: Desk, dashboard: Dashboard, operator: requests.Session, page: Page
) -> None:
    opened = []

    def knock() -> str:
        """What the door says to one more page."""
        opened.append(open_socket(dashboard, Cookie=cookies(operator)))
        assert opened[-1].recv().startswith("0")
        opened[-1].send("40")
        return str(opened[-1].recv())

    try:
        assert {knock()[:2] for _ in range(MOST_CLIENTS - 1)} == {"40"}
        assert f"{MOST_CLIENTS} pages are open already: close one" in knock()
        for socket in opened[:-1]:
            told = socket.recv()
            while not told.startswith("42"):
                told = socket.recv()
            assert json.loads("[" + told.partition("[")[2])[1]["whole"]
    finally:
        for socket in opened:
            socket.close()
    # and when they are gone there is room again
    until = time.monotonic() + 20
    while not knock().startswith("40"):
        opened.pop().close()
        assert time.monotonic() < until
        time.sleep(0.1)
    opened.pop().close()
