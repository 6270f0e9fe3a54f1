"""The small parent behind every Procfile line: `alphatrader run <module>`.

Gives the module only the settings and secrets it declares, starts it in its own session (each of its shards,
where a setting asks for several), restarts what dies with back-off, forwards one SIGTERM to its main processes, and leaves only
when told to. A server's parent waits until its clients, and then the other lines, are gone.
The sandbox line's parent also holds the sandbox's epoch (runtime/clock.py).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType
from typing import Final

from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.roster import AlphaTrader, Line
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import EXCHANGE, Epoch, ResumeRule, instant, monotonic
from alphatrader.runtime.presence import Presence
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import PREFIX, ROOT, data_path, data_place, load

LEAVE_SECONDS: Final = 3.8
"""How long a module may take to leave. Modules take under 3 s by themselves; a Celery worker may sit in a read of 2 s first, and
all of them share the machine then. honcho kills after 5 s."""
CLIENTS_SECONDS: Final = 4.3
"""How long a server waits for its clients and the other lines to be gone."""
_BACKOFF_FIRST: Final = 0.5
_BACKOFF_MOST: Final = 15.0
_STEADY_SECONDS: Final = 30.0
"""A child that lived this long has recovered: the next pause is the first again."""
_TICK: Final = 0.1
_PASSED_ON: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)


def child_environment(module: Module, vault: Vault) -> dict[str, str]:
    """What a module may see: the basics, the settings, its own secrets. Nothing else of ours reaches it."""
    from alphatrader.contract.settings.secrets import SECRETS

    hidden = {secret.variable for secret in SECRETS}
    basics = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name not in hidden}
    numeric_threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {
        **numeric_threads,
        **basics,
        **ours,
        **vault.environment_for(module),
        "PYTHONUNBUFFERED": "1",
        "ALPHATRADER_MODULE": module,
    }


def die_with_parent() -> None:
    """On Linux the kernel ends the child when this parent is killed; elsewhere runtime/child.py watches its parent."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@dataclass(slots=True, eq=False)
class _Child:
    """One process of the line, by its name: the module's, or a shard's."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    """Not to be started again before."""
    backoff: float = _BACKOFF_FIRST


class Parent:
    def __init__(self, line: Line, settings: Settings) -> None:
        self._line = line
        self._settings = settings
        self._folder = data_path(settings)
        self._vault = Vault(self._folder, settings.mode)
        self._told_to_leave = False
        self._children = [_Child(name) for name in line.instances(settings)]
        self._epoch: Epoch | None = None
        self._unstamped = False
        self._presence = Presence(self._folder)

    def say(self, text: str) -> None:
        """A parent's few words; what a module has to say goes through its log."""
        sys.stdout.write(f"[{self._line.module}] {text}\n")
        sys.stdout.flush()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if self._line.kind == "server":
            self._presence.name(self._line.module)
        else:
            self._presence.stay(self._line.module)
        refusal = live_refused(self._settings)
        if refusal:
            self.say(refusal)
            self._sleep_until_told()
            return 1
        if self._settings.mode not in self._line.modes:
            self.say(f"nothing to do in {self._settings.mode} mode; sleeping")
            self._sleep_until_told()
            return 0
        if self._line.module == Module.SANDBOX:
            self._epoch = self._begin_epoch()
        self._supervise()
        if self._epoch:
            with contextlib.suppress(OSError):  # then the next run takes this one for killed
                self._epoch.stamp(stopped=True)
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_leave = True

    def _sleep_until_told(self) -> None:
        while not self._told_to_leave:
            time.sleep(_TICK)

    def _supervise(self) -> None:
        """Keeps every process of the line alive, each for itself, until the word to leave; stamps the epoch meanwhile."""
        stamped = monotonic()
        while not self._told_to_leave:
            for child in self._children:
                self._keep(child)
            now = monotonic()
            if self._epoch and now - stamped >= 1.0:
                self._stamp(self._epoch)
                stamped = now
            time.sleep(_TICK)
        self._end([child.process for child in self._children if child.process])

    def _stamp(self, epoch: Epoch) -> None:
        """A disk that is full ends no line: honcho would end the whole system with it."""
        try:
            epoch.stamp()
            self._unstamped = False
        except OSError as error:
            if not self._unstamped:
                self.say(f"the clock's stamp cannot be written: {error.strerror}; what starts now waits for it")
            self._unstamped = True

    def _keep(self, child: _Child) -> None:
        now = monotonic()
        if child.process is None:
            if now >= child.due:
                child.started = now
                child.process = self._start(child.name)
            return
        code = child.process.poll()
        if code is None:
            return
        if now - child.started > _STEADY_SECONDS:
            child.backoff = _BACKOFF_FIRST
        who = "" if child is self._children[0] else f"{child.name} "
        self.say(f"{who}ended with {_ending(code)}; starts again in {child.backoff:g} s")
        child.process, child.due = None, now + child.backoff
        child.backoff = min(child.backoff * 2, _BACKOFF_MOST)

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        line = self._line
        if line.kind == "server":
            from alphatrader.runtime import servers

            command = servers.command(line.module, self._settings, self._folder, self._vault)
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        else:
            command = [sys.executable, "-m", "alphatrader.runtime.child", name]
            environment = child_environment(line.module, self._vault)
        process = subprocess.Popen(  # noqa: S603 our own command
            command, env=environment, cwd=ROOT, start_new_session=True, preexec_fn=_prepare(line.niceness)
        )
        if line.kind == "server":
            self._open_door(process)
        return process

    def _open_door(self, server: subprocess.Popen[bytes]) -> None:
        from alphatrader.runtime.servers import ServerDoor

        door = ServerDoor(self._line.module, self._settings, self._vault)
        if door.wait_ready(30.0, lambda: self._told_to_leave or server.poll() is not None):
            self.say("answers")
        elif server.poll() is None and not self._told_to_leave:
            self.say("does not answer as a server of this mode")
            server.terminate()

    def _end(self, processes: list[subprocess.Popen[bytes]]) -> None:
        """One SIGTERM to each at once; who has not left when the time is over is killed with what it started."""
        if self._line.kind == "server":
            from alphatrader.runtime.servers import ServerDoor

            until = monotonic() + CLIENTS_SECONDS
            if not ServerDoor(self._line.module, self._settings, self._vault).clients_gone(CLIENTS_SECONDS):
                self.say("stops although clients are still connected")
            else:
                self._presence.others_gone(until - monotonic())
        elif self._line.module == Module.SANDBOX:
            # Its clients say goodbye first: the order connections cancel what must not outlive them.
            time.sleep(0.5)
        for process in processes:
            process.terminate()
        limit = monotonic() + (LEAVE_SECONDS if self._line.kind != "server" else 1.0)
        while any(process.poll() is None for process in processes) and monotonic() < limit:
            time.sleep(0.02)
        for process in processes:
            if process.poll() is None:
                self.say("did not leave in time; killed")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _begin_epoch(self) -> Epoch:
        sandbox = self._settings.sandbox
        start = datetime.strptime(sandbox.start, "%Y-%m-%d %H:%M").replace(tzinfo=EXCHANGE)
        rule = ResumeRule(
            [(session.open_ns, session.close_ns) for session in nyse().sessions],
            least_left=timedelta(minutes=75),
            begin_after_open=timedelta(minutes=30),
        )
        return Epoch(self._folder, start_ns=instant(start), speed=sandbox.speed, resume_at=rule)


def live_refused(settings: Settings) -> str | None:
    """Why live mode does not start: the paper gate's verdict, which `alphatrader report` writes in paper mode, is not there or
    not met. Real money waits for it in every line, servers included."""
    if settings.mode != "live":
        return None
    verdict = data_place(settings).parent / "paper" / "paper_gate.json"
    how = "run `ALPHATRADER_MODE=paper alphatrader report` after enough paper trades"
    try:
        met = json.loads(verdict.read_text())["gate"]["met"]
    except FileNotFoundError:
        return f"live mode is refused: the paper gate has no verdict; {how}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"live mode is refused: the paper gate's verdict cannot be read ({type(error).__name__}); {how}"
    return None if met is True else f"live mode is refused: the paper gate is not met; {how}"


def _prepare(niceness: int) -> Callable[[], None]:
    def prepare() -> None:
        die_with_parent()
        if niceness:
            os.nice(niceness)

    return prepare


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"code {code}"


def run(name: str) -> int:
    """`alphatrader run <module>`."""
    return Parent(AlphaTrader.line(name), load()).run()
