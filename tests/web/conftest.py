"""One dashboard process and one trading day for the dashboard's tests."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
import requests

from alphatrader.runtime.links import login_links
from tests.support.servers import free_port, running_servers
from tests.web.desk import Desk
from tests.web.desk_market import epoch
from tests.web.running import Dashboard, running_dashboard


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Servers of its own, so that the shared ones may be emptied meanwhile; a login is fresh for one second only."""
    with running_servers(tmp_path_factory.mktemp("desk"), web__fresh_seconds="1") as servers, epoch(servers) as clock:
        desk = Desk(servers, clock)
        desk.whole_day()
        desk.moment(0)
        yield desk
        desk.close()


@pytest.fixture(scope="package")
def dashboard(day: Desk) -> Iterator[Dashboard]:
    with running_dashboard(day.servers, free_port()) as running:
        yield running


@pytest.fixture
def link(day: Desk, dashboard: Dashboard) -> Callable[[], str]:
    """Makes login links as `alphatrader login` does."""

    def make() -> str:
        key = day.servers.vault.get("session_key") or ""
        token = login_links(key).dumps(secrets.token_hex(8))
        return f"{dashboard.url}/login?link={token}"

    return make


@pytest.fixture
def operator(link: Callable[[], str]) -> requests.Session:
    """A signed-in browser."""
    session = requests.Session()
    answer = session.get(link(), timeout=5)
    assert answer.status_code == 200, answer.text
    session.headers["X-CSRFToken"] = answer.text.split('name="csrf-token" content="')[1].split('"')[0]
    session.headers["Accept"] = "application/json"
    return session
