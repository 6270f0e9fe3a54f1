"""Execution, or another module, as its own process on a `Stage`: to be killed, stopped, and cut off from disk and descriptors.

async with executor(on, gateway_port=to_gateway.port) as process:      # started; settled when `until_settled` returns
    await until_settled(on, process)
    process.kill()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Health
from alphatrader.contract.modules import Module
from alphatrader.runtime import child
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import ROOT
from tests.support.forks import fork
from tests.support.trading import Stage
from tests.support.waiting import until

START_SECONDS = 60.0
"""A process starts, imports and settles within this on a machine that others use too."""


class Executor:
    def __init__(self, process: BaseProcess, output: Path) -> None:
        self._process = process
        self._output = output
        assert process.pid is not None
        self.pid = process.pid

    @property
    def running(self) -> bool:
        return self._process.exitcode is None

    @property
    def at_work(self) -> bool:
        """True; where it ended by itself, nobody starts it anew here, and what it said last is the failure."""
        assert self.running, self.output()
        return True

    def output(self) -> str:
        """What it wrote last to its terminal, which processes of one module on a stage share."""
        return self._output.read_text()[-3000:]

    def kill(self) -> None:
        """SIGKILL: nothing more leaves this process, not even a cancel."""
        self._process.kill()
        self._process.join()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def limit(self, what: int, soft: int | None) -> None:
        """Sets a soft limit of the living process, such as RLIMIT_FSIZE 0: no file takes a byte more. None: as it was."""
        if not hasattr(resource, "prlimit"):
            pytest.skip("no limit can be set on another process here")
        hard = resource.prlimit(self.pid, what)[1]
        resource.prlimit(self.pid, what, (hard if soft is None else soft, hard))

    @property
    def resident_bytes(self) -> int:
        return psutil.Process(self.pid).memory_info().rss


def health(on: Stage, module: Module = Module.EXECUTION) -> Health | None:
    found: Health | None = on.store(Module.OPERATOR).get(k.HEALTH.at(module=module))
    return found


async def until_settled(on: Stage, process: Executor, module: Module = Module.EXECUTION) -> None:
    def settled() -> bool:
        now = health(on, module)
        return process.at_work and now is not None and now.pid == process.pid and now.state == "ready"

    await until(settled, limit=START_SECONDS, what=f"the process of {module} is ready")


def output_of(on: Stage, module: Module) -> Path:
    return on.folder.parent / f"{module}.out"


async def keep_stamping(clock: Clock, folder: Path) -> None:
    """As the sandbox line's parent does: the process takes its market time from the file."""
    while True:
        stamp = {"market_start_ns": clock.market_start_ns, "machine_start_ns": clock.machine_start_ns, "speed": clock.speed}
        beside = folder / "clock.new"
        beside.write_text(json.dumps(stamp | {"last_market_ns": clock.market_ns(), "stamp_ns": time.time_ns(), "stopped": False}))
        beside.replace(folder / "clock.json")
        await asyncio.sleep(0.5)


def _child() -> None:
    child.main(sys.argv[1])


@asynccontextmanager
async def executor(
    on: Stage,
    *,
    module: Module = Module.EXECUTION,
    gateway_port: int | None = None,
    data_port: int | None = None,
    state_port: int | None = None,
    **settings: str,
) -> AsyncIterator[Executor]:
    """The process as its parent starts it; the ports are those of a proxy, where one stands between."""
    gateway = {"host": "127.0.0.1", "port": gateway_port or on.gateway.port}
    environment = {
        **os.environ,
        **on.servers.environment,
        **on.servers.vault.environment_for(module),
        "ALPHATRADER_DATA_DIR": str(on.folder.parent),
        "ALPHATRADER_LOG_DIR": str(on.folder.parent / "logs"),
        "ALPHATRADER_BROKER__GATEWAYS": json.dumps([gateway]),
        "ALPHATRADER_BROKER__BACKOFF_FIRST_SECONDS": "0.05",
        "ALPHATRADER_BROKER__BACKOFF_MOST_SECONDS": "0.2",
    }
    environment |= {f"ALPHATRADER_{name}": value for name, value in settings.items()}
    for name, port in (("DATA", data_port), ("STATE", state_port)):
        if port is not None:
            environment[f"ALPHATRADER_SERVERS__{name}__PORT"] = str(port)
    stamping = asyncio.create_task(keep_stamping(on.clock, on.folder))
    output = output_of(on, module)
    forked = fork(
        _child, ["child", str(module)], environment, working_directory=ROOT, stdin=Path(os.devnull), stdout=output, stderr=output
    )
    process = Executor(forked, output)
    try:
        yield process
    except BaseException as error:
        error.add_note(f"{module} said last:\n{process.output()}")
        raise
    finally:
        if process.running:
            process.kill()
        stamping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stamping
