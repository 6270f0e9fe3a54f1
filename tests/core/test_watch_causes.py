"""One cause is told once, with what it brings; what stands alone is never folded under it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alphatrader.contract.messages.operations import Alarm, Health
from alphatrader.contract.modules import Module as M
from alphatrader.core.watch.board import AlarmBoard
from alphatrader.core.watch.causes import LIVES_ON, causes, grouped
from alphatrader.core.watch.sight import Sight, alarms
from tests.core.test_watch import CLEAN, LIMITS, NOW, health

GATEWAYS = ("gateway 127.0.0.1:4502", "gateway 127.0.0.1:4503")
WITHOUT_BROKER: dict[str, Health | None] = {
    "ibkr": health("waiting", reason="no gateway: refused", waits_for="broker"),
    "execution": health("waiting", reason="broker: refused", waits_for="broker"),
    "emergency": health("degraded", reason="no connection to the broker", waits_for="broker"),
    "analytics": health(),
    "signals": health("waiting", reason="no metrics yet", waits_for=M.ANALYTICS),
    "risk": health("waiting", reason="account: 10.1 of 10 s old", waits_for=M.EXECUTION),
    "positions": health("waiting", reason="the account is not known yet", waits_for=M.EXECUTION),
}
WITHOUT_VENDORS: dict[str, Health | None] = {
    "pulls": health("degraded", reason="no fresh chain of SPY: timeout", waits_for="vendors"),
    "telegram": health("waiting", reason="Telegram: ConnectError", waits_for="vendors"),
    "pages": health("degraded", reason="Stripe cannot be reached", waits_for="vendors"),
}
BROKER_GONE = replace(CLEAN, health=WITHOUT_BROKER, closed_ports=GATEWAYS, feeds={"SPY": None, "QQQ": None}, unknown_orders=2)
ALL_GONE = replace(
    BROKER_GONE, health=WITHOUT_BROKER | WITHOUT_VENDORS, closed_ports=(*GATEWAYS, "sandbox"), chains={"SPY": None, "QQQ": None}
)


def roots(sight: Sight) -> set[str]:
    return {cause.name for cause, _ in grouped(alarms(sight, LIMITS).values())}


def test_a_lost_broker_is_one_cause_and_so_are_the_stand_ins() -> None:
    assert len(alarms(BROKER_GONE, LIMITS)) == 13 and roots(BROKER_GONE) == {"broker"}
    assert len(alarms(ALL_GONE, LIMITS)) == 20 and roots(ALL_GONE) == {"port sandbox"}
    # and outside the sandbox vendors have no common cause: each stands alone, and explains what lives on it
    vendors = replace(CLEAN, health=WITHOUT_VENDORS, chains={"SPY": None})
    assert roots(vendors) == {"module pulls", "module telegram", "module pages"}


def test_several_silent_symbols_are_one_alarm_and_one_is_its_own() -> None:
    assert roots(replace(CLEAN, feeds={"SPY": None, "QQQ": None, "IWM": None}, chains={"SPY": None})) == {"feeds", "chain SPY"}
    (alarm,) = (
        alarm for alarm in alarms(replace(CLEAN, feeds={"SPY": None, "QQQ": None}), LIMITS).values() if alarm.name == "feeds"
    )
    assert alarm.text == "No market data of SPY, QQQ."


def test_what_stands_alone_is_never_folded() -> None:
    alone: dict[str, tuple[str, Sight]] = {
        "a dead module": ("module risk", with_health(risk=None)),
        "a stalled one": ("module signals", with_health(signals=health(age=9))),
        "an illness of its own": ("module execution", with_health(execution=health("degraded", reason="journal"))),
        "waiting for nobody": ("module risk", with_health(risk=health("waiting", reason="reading its books"))),
        "a delivery's unknown end": ("deliveries", replace(BROKER_GONE, deliveries_unknown=1)),
        "a missing halt": ("halt unknown", replace(BROKER_GONE, halt=None)),
        "memory": ("memory state", replace(BROKER_GONE, memory_share={"state": 0.9})),
        "a page that does not listen": ("port dashboard", replace(BROKER_GONE, closed_ports=("dashboard",))),
    }
    for case, (name, sight) in alone.items():
        assert roots(sight) == {"broker", name}, case


def with_health(**changed: Health | None) -> Sight:
    return replace(BROKER_GONE, health=WITHOUT_BROKER | changed)


def test_one_connection_without_the_broker_is_its_own_fault() -> None:
    one = replace(CLEAN, health={"emergency": WITHOUT_BROKER["emergency"], "ibkr": health()}, closed_ports=GATEWAYS[:1])
    assert roots(one) == {"module emergency", "port gateway 127.0.0.1:4502"}


def test_a_module_that_works_explains_nothing_though_something_in_it_is_wrong() -> None:
    ill: dict[str, Health | None] = {"execution": health("degraded", reason="audit log: full"), "risk": WITHOUT_BROKER["risk"]}
    assert roots(replace(CLEAN, health=ill)) == {"module execution", "module risk"}
    assert roots(replace(CLEAN, health=ill | {"execution": None})) == {"module execution"}


def test_a_stopped_server_explains_what_cannot_be_seen_behind_it() -> None:
    blind = replace(
        CLEAN, servers={"data": None, "state": "TimeoutError"}, health=None, feeds={"SPY": None}, chains={"SPY": None}
    )
    assert roots(blind) == {"server state"}
    waits = health("waiting", reason="the data server does not answer", waits_for="data server")
    data: dict[str, Health | None] = dict.fromkeys(("ibkr", "analytics", "signals"), waits)
    assert roots(replace(CLEAN, servers={"data": "TimeoutError", "state": None}, health=data, feeds=None)) == {"server data"}


def test_a_full_disk_explains_both_servers_and_one_that_is_nearly_full_explains_nothing() -> None:
    ill = {"data": "its log cannot be written", "state": "its log cannot be written"}
    assert roots(replace(CLEAN, servers=ill, disk_free_bytes=0)) == {"disk"}
    assert roots(replace(CLEAN, servers=ill, disk_free_bytes=400_000_000)) == {"disk", "server data", "server state"}
    assert roots(replace(CLEAN, disk_free_bytes=500_000_000)) == set()


def test_the_flow_has_no_circle_but_by_name_and_a_circle_of_alarms_ends() -> None:
    waiting = {name: Alarm(name, name, name, (other,)) for name, other in (("a", "b"), ("b", "a"), ("c", "b"))}
    assert causes(waiting)  # ends
    assert not set(LIVES_ON) - {*M, "broker", "vendors"}


def board() -> AlarmBoard:
    return AlarmBoard(confirm_seconds=3, repeat_seconds=100, settle_seconds=15)


def told(board: AlarmBoard, sight: Sight, now: float) -> list[str]:
    return board.see(alarms(replace(sight, machine_ns=NOW), LIMITS), now)


def test_a_cause_is_told_once_with_what_it_brings_and_what_comes_later_joins_it_in_silence() -> None:
    watched = board()
    assert told(watched, replace(BROKER_GONE, feeds={"SPY": None}), 0) == []
    (text,) = told(watched, replace(BROKER_GONE, feeds={"SPY": None}), 3)
    assert text.startswith("ALARM The broker cannot be reached (no connection to the broker)")
    cause, brings = text.split("\n  with it: ")
    assert {"ibkr", "risk", "signals", "feed SPY", "unknown orders"} <= set(brings.split(", ")) and "risk" not in cause
    assert told(watched, BROKER_GONE, 6) == []
    assert len(watched.standing) == 13, "the page shows them all, under their cause"
    # a fault of another kind is told at once all the same
    dead = with_health(risk=None)
    told(watched, dead, 9)
    assert told(watched, dead, 12) == ["ALARM risk: no heartbeat: it is dead or was never started"]
    assert [line.split()[0] for line in told(watched, dead, 103)] == ["STILL"]


def test_after_its_cause_a_consequence_has_time_to_mend_itself_and_is_told_if_it_does_not() -> None:
    watched = board()
    told(watched, BROKER_GONE, 0)
    told(watched, BROKER_GONE, 3)
    left: dict[str, Health | None] = {"ibkr": health(), "signals": WITHOUT_BROKER["signals"]}
    (over,) = told(watched, replace(CLEAN, health=left), 20)
    assert over == "OVER broker (after 20 s)"
    assert told(watched, replace(CLEAN, health=left), 34) == []
    assert told(watched, replace(CLEAN, health=left), 35) == ["ALARM signals: waiting: no metrics yet"]
    assert told(watched, CLEAN, 40) == ["OVER module signals (after 40 s)"]
    # and one that mends itself was never news
    again = board()
    told(again, BROKER_GONE, 0)
    told(again, BROKER_GONE, 3)
    told(again, replace(CLEAN, health=left), 20)
    assert told(again, CLEAN, 23) == []


def test_a_consequence_told_before_its_cause_was_seen_is_ended_by_name() -> None:
    watched = board()
    early: Mapping[str, Health | None] = {"signals": WITHOUT_BROKER["signals"]}
    told(watched, replace(CLEAN, health=dict(early)), 0)
    assert len(told(watched, replace(CLEAN, health=dict(early)), 3)) == 1
    told(watched, BROKER_GONE, 6)
    told(watched, BROKER_GONE, 9)
    assert {line.split(" (")[0] for line in told(watched, CLEAN, 12)} == {"OVER module signals", "OVER broker"}


def test_the_broker_s_nightly_reset_is_no_alarm_though_its_gateways_close() -> None:
    quiet = replace(CLEAN, in_session=False, resetting=True, closed_ports=GATEWAYS)
    reset: dict[str, Health | None] = {name: WITHOUT_BROKER[name] for name in ("ibkr", "execution")}
    assert alarms(replace(quiet, health=reset), LIMITS) == {}
    assert roots(replace(quiet, health=reset, resetting=False)) == {"broker"}
