"""The watchdog concludes rightly and tells in time: each fault once, again while it stands, and its end."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_message

from alphatrader.clients.alerts import messages
from alphatrader.contract.messages.market import Timestamps
from alphatrader.contract.messages.operations import RUNNING, Alarm, Health, RoutineRun
from alphatrader.contract.messages.risk import Halt
from alphatrader.contract.settings.system import Watchdog
from alphatrader.core.watch.board import AlarmBoard
from alphatrader.core.watch.restarts import SECOND, SPAN_NS, Restarts
from alphatrader.core.watch.sight import LATE_NS, Sight, alarms, missed, unseen

NOW = 1_000_000 * SECOND
LIMITS = Watchdog()


def health(state: str = "ready", age: float = 0.5, reason: str | None = None, waits_for: str | None = None) -> Health:
    return Health("risk", state, reason, 1, 0, NOW - int(age * SECOND), 0, {}, {}, waits_for)  # type: ignore[arg-type]


CLEAN = Sight(
    machine_ns=NOW,
    in_session=True,
    servers={"data": None, "state": None},
    memory_share={"data": 0.1, "state": 0.1},
    health={"risk": health()},
    feeds={"SPY": Timestamps("SPY", 0, 1, None, 0, 0, 0)},
    chains={},
    halt=Halt(False, False, 1, "", "", 0, 0),
)


def test_a_healthy_system_raises_nothing() -> None:
    assert alarms(CLEAN, LIMITS) == {}


def test_each_fault_is_named() -> None:
    cases = {
        "server state": replace(CLEAN, servers={"data": None, "state": "ConnectionError"}),
        "memory data": replace(CLEAN, memory_share={"data": 0.7}),
        "module risk": replace(CLEAN, health={"risk": None}),
        "restarts risk": replace(CLEAN, restarting=("risk",)),
        "feed SPY": replace(CLEAN, feeds={"SPY": None}),
        "chain SPY": replace(CLEAN, chains={"SPY": None}),
        "queue basic": replace(CLEAN, late_seconds={"basic": 21.0}),
        "port dashboard": replace(CLEAN, closed_ports=("dashboard",)),
        "clock": replace(CLEAN, clock_set_seconds=-3600.0),
        "beat": replace(CLEAN, beat_silent_seconds=21.0),
        "unknown orders": replace(CLEAN, unknown_orders=1),
        "order a": replace(CLEAN, unconfirmed_orders=("a",)),
        "routine open": replace(CLEAN, routines=(RoutineRun("open", "2026-11-18", 0, RUNNING, NOW - 21 * SECOND),)),
        "routine close": replace(CLEAN, routines_missed=("close",)),
        "halt unknown": replace(CLEAN, halt=None),
    }
    for name, sight in cases.items():
        assert list(alarms(sight, LIMITS)) == [name]


def test_a_module_that_comes_back_again_and_again_is_told_though_each_look_finds_it_well() -> None:
    restarts, told = Restarts(), []
    for start in range(5):  # it dies after a minute, each time
        for age in (1, 20, 40):
            at = NOW + (60 * start + age) * SECOND
            told.append(restarts.see({"risk": started(NOW + 60 * start * SECOND), "ibkr": started(NOW)}, at))
            assert restarts.see({"risk": None}, at) == told[-1]  # gone for a look
    assert [bool(found) for found in told] == [False] * 9 + [True] * 6, "not of the first start, nor of two restarts"
    assert told[-1] == ("risk",)
    # and it ends when the oldest of the last three is longer ago than the span
    last = {"risk": started(NOW + 240 * SECOND)}
    assert restarts.see(last, NOW + 120 * SECOND + SPAN_NS) and not restarts.see(last, NOW + 120 * SECOND + SPAN_NS + 1)


def started(ns: int) -> Health:
    return replace_message(health(), started_machine_ns=ns)


def test_which_way_the_clock_was_set_is_said() -> None:
    said = {step: alarms(replace(CLEAN, clock_set_seconds=step), LIMITS)["clock"] for step in (3600.0, -2.0)}
    assert "set forward by 3600 s" in said[3600.0].text and "set back by 2 s" in said[-2.0].text


def test_a_routine_that_fell_due_and_never_began_is_missed_after_beats_own_time_to_make_up_for_it() -> None:
    due = {"morning": NOW, "open": NOW + 100 * SECOND}
    assert missed(due, (), NOW, NOW + LATE_NS) == ()
    assert missed(due, (), NOW, NOW + LATE_NS + 1) == ("morning",)
    assert missed(due, (), NOW, NOW + LATE_NS + 101 * SECOND) == ("morning", "open")
    assert missed(due, ("morning",), NOW, NOW + LATE_NS + 101 * SECOND) == ("open",)
    # what fell due before anybody watched is not known to have been missed
    assert missed(due, (), NOW + 1, NOW + LATE_NS + 1) == ()


def test_a_routine_that_has_just_begun_or_has_ended_is_no_alarm() -> None:
    begun = RoutineRun("open", "2026-11-18", 0, RUNNING, NOW - 19 * SECOND)
    ended = RoutineRun("midday", "2026-11-18", 0, "so far: nothing", NOW - 900 * SECOND)
    assert alarms(replace(CLEAN, routines=(begun, ended)), LIMITS) == {}


def test_a_stalled_and_a_degraded_module_say_why() -> None:
    stalled = alarms(replace(CLEAN, health={"risk": health(age=9)}), LIMITS)
    assert "9 s old" in stalled["module risk"].text
    degraded = alarms(replace(CLEAN, health={"risk": health("degraded", reason="no account")}), LIMITS)
    assert "no account" in degraded["module risk"].text


def test_losing_the_broker_in_its_nightly_reset_is_no_alarm_until_the_window_ends() -> None:
    lost = {"ibkr": health("waiting", reason="no gateway"), "execution": health("waiting", reason="broker: no gateway")}
    sight = replace(CLEAN, in_session=False, health=lost, resetting=True)
    assert alarms(sight, LIMITS) == {}
    assert list(alarms(replace(sight, resetting=False), LIMITS)) == ["module ibkr", "module execution"]
    # what is dead, or does not wait for the broker, is told all the same
    ill = {"ibkr": None, "execution": health("degraded", reason="an order is unknown"), "risk": health("waiting", reason="x")}
    assert list(alarms(replace(sight, health=ill), LIMITS)) == ["module ibkr", "module execution", "module risk"]


def test_feeds_may_be_silent_outside_a_session() -> None:
    assert alarms(replace(CLEAN, in_session=False, feeds={"SPY": None}), LIMITS) == {}


def test_told_once_repeated_while_it_stands_and_ended() -> None:
    board = AlarmBoard(confirm_seconds=5, repeat_seconds=100, settle_seconds=15)
    fault = {"module risk": Alarm("module risk", "risk: no heartbeat", "risk")}
    assert board.see(fault, 0) == []
    assert board.see(fault, 5) == ["ALARM risk: no heartbeat"]
    assert board.see(fault, 8) == []
    assert board.standing == tuple(fault.values())
    assert board.see(fault, 105) == ["STILL risk: no heartbeat (for 2 min)"]
    assert board.see({}, 110) == ["OVER module risk (after 110 s)"]
    assert board.see(fault, 120) == []


def test_what_could_not_be_looked_at_is_not_called_over() -> None:
    board = AlarmBoard(confirm_seconds=0, repeat_seconds=100, settle_seconds=15)
    dead = Alarm("module risk", "risk: dead", "risk")
    board.see({"module risk": dead, "port pages": Alarm("port pages", "pages does not listen.", "port pages")}, 0)
    blind = replace(CLEAN, servers={"data": None, "state": "ConnectionError"}, health=None)
    told = board.see(alarms(blind, LIMITS), 3, unseen(blind))
    assert [line.split()[0] for line in told] == ["ALARM", "OVER"]
    assert "port pages" in told[1]
    assert dead in board.standing
    assert board.see({}, 6, unseen(CLEAN))[-1].startswith("OVER")


def test_many_alarms_are_told_in_several_messages_and_none_is_lost() -> None:
    lines = [f"ALARM module-{number}: no heartbeat: it is dead or was never started" for number in range(80)]
    told = messages("\n".join(lines))
    assert len(told) > 1 and all(len(text) <= 1900 for text in told)
    assert "\n".join(told).splitlines() == lines
    assert messages("x" * 5000) == ["x" * 1899 + "…"]
    assert messages("one") == ["one"]


def test_what_mends_itself_at_once_is_not_told() -> None:
    board = AlarmBoard(confirm_seconds=5, repeat_seconds=100, settle_seconds=15)
    board.see({"a": Alarm("a", "x", "a")}, 0)
    assert board.see({}, 3) == []
