"""The morning note and the day's routines: real servers, the real OpenAI client, the stand-in's faults."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest
import structlog

from alphatrader.clients.openai import NoteError, NoteWriter
from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import Bar, Bars, Last
from alphatrader.contract.messages.operations import RoutineRun
from alphatrader.contract.modules import Module
from alphatrader.core.analysis import note
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import SECOND, Clock, exchange_instant
from alphatrader.tasks.analysis import MarketAnalysisGenerator
from alphatrader.tasks.routines import ScheduledTasks
from tests.support.servers import Servers
from tests.support.vendors import CREDENTIALS, Running

DAY = date(2026, 11, 18)
SESSION = nyse().from_day(DAY)
NOW = exchange_instant(DAY, "10:00")


def clock() -> Clock:
    return Clock(NOW, time.time_ns(), 1.0)


def writer(vendors: Running, key: str = CREDENTIALS.openai_key) -> NoteWriter:
    return NoteWriter(
        key=key,
        base_url=f"{vendors.url}/openai/v1",
        model="gpt-4o",
        timeout_seconds=1.0,
        breaker_failures=2,
        breaker_reset_seconds=60,
    )


def generator(servers: Servers, wrote: NoteWriter | None) -> MarketAnalysisGenerator:
    return MarketAnalysisGenerator(servers.store(Module.ROUTINES), servers.settings, structlog.get_logger(), lambda: NOW, wrote)


def fill_market(servers: Servers) -> None:
    batch = servers.store(Module.IBKR).batch()
    for name, last in (("ES", 6512.25), ("YM", 47100.0), ("DAX", 23100.5)):
        batch.put(k.MARKET_LAST.at(symbol=name), Last(symbol=name, ts_ns=NOW, seq=1, last=last, prev_close=last / 1.004))
    bars = tuple(Bar(NOW + n, 670 + n, 675 + n, 665 + n, 672 + n, 100.0, 671.0, 5) for n in range(20))
    batch.put(k.MARKET_DAILY.at(symbol="SPY"), Bars("SPY", NOW, 86_400, bars))
    servers.store(Module.IBKR).commit(batch)


def test_the_models_note_is_published_everywhere_and_queued(servers: Servers, vendors: Running) -> None:
    fill_market(servers)
    made = generator(servers, writer(vendors)).generate(SESSION)
    assert made.source == "openai"
    store = servers.store(Module.OPERATOR)
    assert store.get(k.ANALYSIS_FULL.at()) == made
    assert store.get(k.DASHBOARD_ANALYSIS.at()) == made
    shown = store.get(k.ANALYSIS_PREVIEW.at())
    assert shown is not None
    assert len(shown.text) <= len(made.text)
    [queued] = store.due(k.TELEGRAM_ANALYSIS_QUEUE.at(), NOW)
    assert (queued.kind, queued.disclaimer) == ("analysis", servers.settings.distribution.disclaimer)


def test_facts_say_what_is_not_known(servers: Servers) -> None:
    fill_market(servers)
    facts = generator(servers, None).facts()
    assert facts["ES"] == "6,512.25 (+0.4 %)"
    assert facts["NQ"] == "no quote"
    assert "ATR" in facts["SPY levels"]
    assert facts["QQQ levels"] == "no daily bars"


@pytest.mark.parametrize(
    ("fault", "said"), [({"kind": "status", "status": 500}, "HTTP 500"), ({"kind": "timeout", "seconds": 2}, "in time")]
)
def test_a_failing_model_gives_the_template_that_says_so(
    servers: Servers, vendors: Running, fault: dict[str, Any], said: str
) -> None:
    vendors.fault("openai", count=5, **fault)
    made = generator(servers, writer(vendors)).generate(SESSION)
    assert made.source == "template"
    assert said in made.text


def test_without_a_key_the_template_stands(servers: Servers) -> None:
    made = generator(servers, None).generate(SESSION)
    assert made.source == "template"
    assert "no OpenAI key" in made.text


def test_a_wrong_key_is_told_and_an_open_breaker_stops_asking(vendors: Running) -> None:
    wrong = writer(vendors, key="sk-wrong")
    for said in ("HTTP 401", "breaker is open", "breaker is open"):
        with pytest.raises(NoteError, match=said):
            wrong.write("Write a note", "ES: 1")


def test_a_note_with_numbers_of_its_own_is_refused() -> None:
    facts = {"ES": "6,512.25 (+0.4 %)"}
    good = "Futures stand at 6,512.25 this morning, 0.4 % above the last close, and volatility has eased since yesterday."
    assert note.refused(good, "2026-11-18", facts) is None
    assert "7,000" in str(note.refused(good + " We expect 7,000 soon.", "2026-11-18", facts))
    assert "characters" in str(note.refused("Short.", "2026-11-18", facts))


def test_a_routine_runs_once_a_session_and_never_without_one(servers: Servers) -> None:
    sent: list[str] = []
    tasks = ScheduledTasks(servers.store(Module.ROUTINES), nyse(), clock(), sent.append)
    assert tasks.run("morning", SESSION) == "asked for the note of 2026-11-18"
    assert tasks.run("morning", SESSION) is None
    assert sent == ["analysis.morning"]
    assert tasks.run("morning", nyse().on(date(2026, 11, 26))) is None, "Thanksgiving"
    assert tasks.run("morning", nyse().next(SESSION)) is not None
    ledger = servers.store(Module.OPERATOR).fields(k.LEDGER_ROUTINES.at())
    assert sorted(ledger) == ["morning|2026-11-18", "morning|2026-11-19"]


def begun(servers: Servers, seconds_ago: float) -> None:
    """What a worker leaves that died within the opening checks."""
    store = servers.store(Module.ROUTINES)
    batch = store.batch()
    left = RoutineRun("open", SESSION.name, NOW, "running", time.time_ns() - int(seconds_ago * SECOND))
    batch.put_field(k.LEDGER_ROUTINES.at(), left.field, left)
    store.commit(batch)


def test_a_routine_whose_worker_died_in_it_runs_again_when_it_is_delivered_anew(servers: Servers) -> None:
    tasks = ScheduledTasks(servers.store(Module.ROUTINES), nyse(), clock(), lambda _: None)
    # one that may still be at work is left alone
    begun(servers, 30)
    assert tasks.run("open", SESSION) is None
    # one that cannot be is done in its place, once
    begun(servers, 90)
    assert "halt is unknown" in (tasks.run("open", SESSION) or "")
    assert tasks.run("open", SESSION) is None
    entry = servers.store(Module.OPERATOR).field(k.LEDGER_ROUTINES.at(), f"open|{SESSION.name}")
    assert entry is not None and "halt is unknown" in entry.outcome


def test_a_routine_that_fails_is_not_left_as_running(servers: Servers) -> None:
    def refuse(_name: str) -> None:
        raise ConnectionError("no broker")

    tasks = ScheduledTasks(servers.store(Module.ROUTINES), nyse(), clock(), refuse)
    with pytest.raises(ConnectionError):
        tasks.run("morning", SESSION)
    entry = servers.store(Module.OPERATOR).field(k.LEDGER_ROUTINES.at(), f"morning|{SESSION.name}")
    assert entry is not None and entry.outcome == "failed: ConnectionError('no broker')"


def test_every_routine_says_what_it_found(servers: Servers) -> None:
    tasks = ScheduledTasks(servers.store(Module.ROUTINES), nyse(), clock(), lambda _: None)
    said = {name: tasks.run(name, SESSION) or "" for name in tasks.routines}
    assert "halt is unknown" in said["open"]
    assert "0 closed trades" in said["midday"]
    assert "next session 2026-11-19" in said["evening"]
    early = tasks.run("evening", nyse().from_day(date(2026, 11, 25)))
    assert early == "next session 2026-11-27, closes early at 13:00"
    with pytest.raises(KeyError):
        tasks.run("lunch", SESSION)
