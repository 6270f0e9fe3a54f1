"""An HTTP server whose every answer the test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.http import Answers, running_answers


@pytest.fixture(scope="module")
def one_server() -> Iterator[Answers]:
    with running_answers() as running:
        yield running


@pytest.fixture
def server(one_server: Answers) -> Answers:
    one_server.asked.clear()
    return one_server
