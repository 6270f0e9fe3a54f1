"""A recorded live run: real processes of the Procfile against the gateway stand-in, stopped, and what it left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from alphatrader.runtime.audit_file import Mapped, Record, Row, block, label_of, read
from alphatrader.runtime.settings import ROOT
from tests.flow.system import System, system_in, wait_for

LINES = (
    "redis", "state", "sandbox", "ibkr", "analytics", "signals", "risk", "execution", "positions", "emergency", "pulls", "beat",
)  # fmt: skip


@dataclass
class Recorded:
    """The audit folder of a run."""

    folder: Path
    environment: dict[str, str]

    def replay(self, *arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """`alphatrader replay`, as the operator types it, where no server answers."""
        extra = {f"ALPHATRADER_{name.upper()}": value for name, value in environment.items() if name.isupper()}
        return subprocess.run(
            [sys.executable, "-c", "from alphatrader.cli import main; main()", "replay", str(folder or self.folder), *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, **extra, "PYTHONHASHSEED": environment.get("hashseed", "random")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def changed(self, into: Path, name: str, change: Callable[[list[Record]], Iterable[Record]]) -> Path:
        """A folder with this module's log alone, which holds what `change` makes of its records, in many small blocks."""
        into.mkdir()
        bytes_before = 0
        for whole in sorted(self.folder.glob(f"{name}-*")):
            with Mapped(whole) as recorded:
                label = label_of(recorded)
            assert label is not None
            path, records = into / whole.name, list(change(list(read(whole))))
            raw = [Row(list(type(record.kind)).index(record.kind), record.machine_ns, record.data) for record in records]
            content = label._replace(bytes_before=bytes_before).packed()
            for number, at in enumerate(range(0, len(raw), 20)):
                piece = raw[at : at + 20]
                content += block(number, piece, records[at].market_ns, 1.0)
            bytes_before = path.write_bytes(content)
        return into


def record(folder: Path, seconds: float, *, speed: float, during: Callable[[System], None] | None = None) -> Recorded:
    """A run of so many seconds after its first metrics."""
    with system_in(folder / "system", SANDBOX__SPEED=str(speed)) as system:
        (folder / "system").mkdir(parents=True)
        system.start(LINES)
        wait_for("metrics and what is made of them", lambda: system.ready("signals") and system.ready("execution"), 120)
        if during is not None:
            during(system)
        time.sleep(seconds)
        system.stop()
        shutil.copytree(system.data / "audit", folder / "audit")
        return Recorded(folder / "audit", dict(system.environment))


def kill(system: System, module: str) -> None:
    """SIGKILL to the main process of a module; its parent starts it anew."""
    pid = system.pid(module)
    os.kill(pid, signal.SIGKILL)
    wait_for(f"{module} is back", lambda: system.ready(module) and system.pid(module) != pid, 60)
