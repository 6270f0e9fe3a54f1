"""A task that ends whoever runs it, before a real worker: it is begun three times, and then given up with a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from tests.support.office import Office, office_on
from tests.support.people import until

POISON = "tests.support.poison"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with office_on(tmp_path) as office:
        yield office


def test_a_task_that_ends_its_worker_is_given_up_and_named(office: Office, tmp_path: Path) -> None:
    # given a worker, and a task that ends the process it runs in
    begun = tmp_path / "begun"
    worker = office.start(Module.DISCOVERY, POISON)
    until(lambda: office.ready(Module.DISCOVERY, worker), 30)
    office.start(Module.DISCOVERY, POISON, "send", str(begun))

    # then it is begun anew, as one whose worker was stopped for another reason must be, but not for ever
    until(lambda: "task_given_up" in office.log.read_text(), 60)
    assert len(begun.read_text().split()) == 3
    # and a person is told which, while the worker goes on
    operator = office.servers.store(Module.OPERATOR)
    health = until(lambda: (now := operator.get(k.HEALTH.at(module=Module.DISCOVERY))) and now.state == "degraded" and now, 10)
    assert health.pid == worker.pid and health.reason == "gave up discovery.poison: it ended its worker 3 times"
