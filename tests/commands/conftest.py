"""Commands as the operator types them: a process of their own, against real servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.servers import Servers
from tests.support.typed_commands import Answer, typed
from tests.web.desk import Desk
from tests.web.desk_market import epoch

Command = Callable[..., Answer]


@pytest.fixture
def run(servers: Servers) -> Command:
    def command(*arguments: str, answer: str = "", **environment: str) -> Answer:
        extra = {f"ALPHATRADER_{name.upper()}": value for name, value in environment.items()}
        return typed(arguments, dict(os.environ) | servers.environment | extra, answer=answer)

    return command


@pytest.fixture
def desk(servers: Servers) -> Iterator[Desk]:
    with epoch(servers) as clock:
        held = Desk(servers, clock)
        yield held
        held.close()
