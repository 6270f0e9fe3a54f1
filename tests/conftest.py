"""Fixtures that many suites share: real servers, and stand-ins of the vendors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.servers import Servers, running_servers
from tests.support.vendors import Running, running_vendors

# The tests know no account: neither modes nor secrets of whoever runs them.
os.environ["ALPHATRADER_ENV_FILE"] = os.devnull

# As each module's parent sets it (runtime/parent.py); numpy and scikit-learn read it when they are first imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# A property holds or it does not; how fast its examples come tells of the machine.
settings.register_profile("no speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no speed")

BEGIN = (
    "tests/flow/test_one_signal.py",
    "tests/streams/test_execution_killed.py",
    "tests/core/test_discovery_truth.py",
    "tests/flow/test_replay.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What lasts longest begins first (`make test` keeps this order), so that no worker is left alone with it at the end; the
    other file that starts a whole system has its turn after the first."""
    place = {name: number for number, name in enumerate(BEGIN)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(BEGIN)))


@pytest.fixture(scope="session")
def server_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("servers")) as pair:
        yield pair


@pytest.fixture
def servers(server_pair: Servers) -> Servers:
    """Both servers, empty."""
    server_pair.flush()
    return server_pair


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Running]:
    with running_vendors(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for tests that leave nothing behind which another would see."""
    with running_vendors(tmp_path_factory.mktemp("standing")) as running:
        yield running
