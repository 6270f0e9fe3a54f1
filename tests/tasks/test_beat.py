"""Real beats, two of them and none: every routine is asked for once, and what fell due meanwhile as soon as one is back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.runtime.clock import exchange_instant
from tests.support.office import Office, office_on
from tests.support.people import until

MONDAY = date(2026, 11, 23)
MIDDAY, CLOSE = "12:00", "12:06"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with office_on(tmp_path, exchange_instant(MONDAY, "11:53"), routines__midday=MIDDAY, routines__close=CLOSE) as office:
        yield office


def waiting(office: Office) -> list[tuple[str, list[Any]]]:
    """(task, arguments) of the messages in the routines' queue, which no worker takes."""
    store = office.servers.store(Module.ROUTINES)
    messages = [json.loads(content) for content in store.raw(Server.STATE, "LRANGE", "celery:routines", 0, -1)]
    store.close()
    return [(one["headers"]["task"], json.loads(base64.b64decode(one["body"]))[0]) for one in messages]


def routines(office: Office) -> list[str]:
    return [arguments[0] for task, arguments in reversed(waiting(office)) if task == "routines.run"]


def has_passed(office: Office, at: str) -> bool:
    return office.clock.market_ns() > exchange_instant(MONDAY, at)


def test_each_routine_is_asked_for_once_by_two_beats_and_after_there_was_none(office: Office) -> None:
    # given two beats, of which one works
    beats = [office.start(Module.BEAT), office.start(Module.BEAT)]
    until(lambda: waiting(office), 30)
    # when a routine falls due, and many turns of either are over
    until(lambda: has_passed(office, "12:01"), 60)
    assert routines(office) == ["midday"]

    # when both are killed, the next routine falls due, and one is started again
    for beat in beats:
        beat.kill()
        beat.wait()
    before = len(waiting(office))
    assert not has_passed(office, CLOSE)
    until(lambda: has_passed(office, "12:07"), 60)
    assert len(waiting(office)) == before
    office.start(Module.BEAT)
    # then that one is asked for late, and the first not again
    until(lambda: len(routines(office)) > 1, 30)
    before = len(waiting(office))
    until(lambda: len(waiting(office)) > before + 2, 30)
    assert routines(office) == ["midday", "close"]


def test_a_clock_that_is_set_back_holds_up_no_task_and_doubles_no_routine(office: Office, tmp_path: Path) -> None:
    # given a beat that has sent a routine, and tasks that it sends every minute
    clock = tmp_path / "seconds"
    office.start(Module.BEAT, "tests.support.set_clock", Module.BEAT, str(clock))
    until(lambda: routines(office) == ["midday"], 60)
    # when its machine's clock is set back by an hour, 20 of the market's
    clock.write_text("-3600")
    before = len(waiting(office))
    # then what is due every minute goes on, though the clock says that it was all sent tomorrow
    until(lambda: len(waiting(office)) > before + 3, 30)
    assert routines(office) == ["midday"]
