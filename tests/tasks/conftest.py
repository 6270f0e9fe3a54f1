"""A vendor that shows news to whoever asks, and the worker that pulls from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.support.pulls import Desk, EveryMarket, desk_of
from tests.support.servers import Servers
from tests.support.vendors import MONDAY_TEN_NS, Running, running_vendors


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vendors(tmp_path_factory.mktemp("vendors"), market=EveryMarket(MONDAY_TEN_NS)) as running:
        yield running


@pytest.fixture
def vendors(stand_in: Running) -> Running:
    requests.delete(f"{stand_in.url}/sandbox/faults", timeout=5)
    return stand_in


@pytest.fixture
def desk(servers: Servers, vendors: Running) -> Desk:
    return desk_of(servers, f"{vendors.url}/alphavantage", timeout_seconds=1.0)
