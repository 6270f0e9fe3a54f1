"""Fixtures that many suites share: real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import Servers, running_servers


@pytest.fixture(scope="session")
def server_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with running_servers(tmp_path_factory.mktemp("servers")) as pair:
        yield pair


@pytest.fixture
def servers(server_pair: Servers) -> Servers:
    """Both servers, empty."""
    server_pair.flush()
    return server_pair
