"""A gateway stand-in in a process of its own, to be stopped, woken and killed by signals: `with gateway_process(folder) as g:`.

Run as `python -m tests.support.gateway_process FOLDER`: prints its two ports and lives until it is ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.gateway import running_gateway


@dataclass
class GatewayProcess:
    pid: int
    ports: tuple[int, int]

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@contextmanager
def gateway_process(folder: Path) -> Iterator[GatewayProcess]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.gateway_process", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline().split()
        yield GatewayProcess(process.pid, (int(first), int(second)))
    finally:
        process.kill()
        process.wait()


async def _live(folder: Path) -> None:
    async with running_gateway(folder) as running:
        sys.stdout.write(f"{running.port} {running.second_port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1])))
