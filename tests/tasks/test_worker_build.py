"""Beside a system of another build no worker takes a task and no page is served (what ruined Knight Capital in 2012)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Health, Stamp
from alphatrader.contract.modules import Module
from alphatrader.runtime.build import build_id
from tests.support.office import Office, office_on
from tests.support.people import until
from tests.support.servers import free_port

OTHER = "0123456789ab"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with office_on(tmp_path, web__dashboard_port=str(free_port())) as office:
        yield office


def stamp(office: Office, build: str) -> None:
    """As the state server's parent does when it starts the server."""
    store = office.servers.store(Module.STATE)
    batch = store.batch()
    batch.put(k.STAMP_STATE.at(), Stamp(office.servers.settings.mode, office.clock.machine_ns(), build))
    store.commit(batch)
    store.close()


def health(office: Office, module: Module) -> Health | None:
    return office.servers.store(Module.OPERATOR).get(k.HEALTH.at(module=module))


def test_a_worker_and_the_dashboard_wait_until_the_whole_system_is_of_their_build(office: Office) -> None:
    # given a system that was started with other code
    stamp(office, OTHER)
    url = f"http://127.0.0.1:{office.servers.settings.web.dashboard_port}/healthz"
    worker, page = office.start(Module.ROUTINES), office.start(Module.DASHBOARD)
    for module, process in ((Module.ROUTINES, worker), (Module.DASHBOARD, page)):
        # then each says why it does not start, and neither works
        until(lambda module=module: (now := health(office, module)) is not None and now.state == "waiting", 30)
        told = health(office, module)
        assert told is not None and told.pid == process.pid
        assert OTHER in str(told.reason) and build_id() in str(told.reason)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    # when all is restarted, then both begin
    stamp(office, build_id())
    until(lambda: office.ready(Module.ROUTINES, worker), 30)
    until(lambda: (now := health(office, Module.DASHBOARD)) is not None and now.state == "ready", 30)
    assert requests.get(url, timeout=5).status_code == 200
    assert worker.poll() is None and page.poll() is None
    # and a worker of another build beside one that lives leaves its heartbeat alone
    stamp(office, OTHER)
    office.log.write_text("")
    second = office.start(Module.ROUTINES)
    until(lambda: "another_build" in office.log.read_text(), 30)
    before = health(office, Module.ROUTINES)
    assert before is not None
    until(lambda: (now := health(office, Module.ROUTINES)) is not None and now.machine_ns > before.machine_ns + 2 * 10**9, 30)
    now = health(office, Module.ROUTINES)
    assert now is not None and (now.pid, now.state) == (worker.pid, "ready")
    assert second.poll() is None
