"""Commands as the operator types them: a process of their own, against real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.servers import Servers
from tests.web.desk import Desk
from tests.web.desk_market import epoch


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Answer]


@pytest.fixture
def run(servers: Servers) -> Command:
    def command(*arguments: str, typed: str = "", **environment: str) -> Answer:
        extra = {f"ALPHATRADER_{name.upper()}": value for name, value in environment.items()}
        done = subprocess.run(
            [sys.executable, "-c", "from alphatrader.cli import main; main()", *arguments],
            env=dict(os.environ) | servers.environment | extra,
            input=typed,
            capture_output=True,
            text=True,
            timeout=40,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def desk(servers: Servers) -> Iterator[Desk]:
    with epoch(servers) as clock:
        held = Desk(servers, clock)
        yield held
        held.close()
