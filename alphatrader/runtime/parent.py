"""The small parent behind every Procfile line: `alphatrader run <module>`.

Gives the module only the settings and secrets it declares, starts it in its own session, restarts it with back-off when it dies,
forwards one SIGTERM to its main process, and leaves only when told to. A server's parent waits until its clients, and then the
other lines, are gone.
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
from alphatrader.runtime.settings import PREFIX, ROOT, data_path, load

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


class Parent:
    def __init__(self, line: Line, settings: Settings) -> None:
        self._line = line
        self._settings = settings
        self._folder = data_path(settings)
        self._vault = Vault(self._folder, settings.mode)
        self._told_to_leave = False
        self._child: subprocess.Popen[bytes] | None = None
        self._epoch: Epoch | None = None
        self._presence = Presence(self._folder)

    def say(self, text: str) -> None:
        """A parent's few words; what a module has to say goes through its log."""
        sys.stdout.write(f"[{self._line.module}] {text}\n")
        sys.stdout.flush()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        if self._line.kind != "server":
            self._presence.stay()
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
            self._epoch.stamp(stopped=True)
        return 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_leave = True

    def _sleep_until_told(self) -> None:
        while not self._told_to_leave:
            time.sleep(_TICK)

    def _supervise(self) -> None:
        backoff = _BACKOFF_FIRST
        while not self._told_to_leave:
            started = monotonic()
            self._child = self._start()
            code = self._watch(self._child)
            if self._told_to_leave:
                return
            if monotonic() - started > _STEADY_SECONDS:
                backoff = _BACKOFF_FIRST
            self.say(f"ended with {_ending(code)}; starts again in {backoff:g} s")
            self._wait(lambda: False, backoff)
            backoff = min(backoff * 2, _BACKOFF_MOST)

    def _start(self) -> subprocess.Popen[bytes]:
        line = self._line
        if line.kind == "server":
            from alphatrader.runtime import servers

            command = servers.command(line.module, self._settings, self._folder, self._vault)
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        else:
            command = [sys.executable, "-m", "alphatrader.runtime.child", line.module]
            environment = child_environment(line.module, self._vault)
        child = subprocess.Popen(  # noqa: S603 our own command
            command, env=environment, cwd=ROOT, start_new_session=True, preexec_fn=_prepare(line.niceness)
        )
        if line.kind == "server":
            self._open_door(child)
        return child

    def _open_door(self, child: subprocess.Popen[bytes]) -> None:
        from alphatrader.runtime.servers import ServerDoor

        door = ServerDoor(self._line.module, self._settings, self._vault)
        if door.wait_ready(30.0, lambda: self._told_to_leave or child.poll() is not None):
            self.say("answers")
        elif child.poll() is None and not self._told_to_leave:
            self.say("does not answer as a server of this mode")
            child.terminate()

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        """The child's exit code: by itself, or because we were told to leave."""
        ended = self._wait(lambda: child.poll() is not None, None)
        if not ended:
            self._end(child)
        return child.wait()

    def _end(self, child: subprocess.Popen[bytes]) -> None:
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
        child.terminate()
        limit = monotonic() + (LEAVE_SECONDS if self._line.kind != "server" else 1.0)
        while child.poll() is None and monotonic() < limit:
            time.sleep(0.02)
        if child.poll() is None:
            self.say("did not leave in time; killed")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    def _wait(self, done: Callable[[], bool], limit_seconds: float | None) -> bool:
        """Waits for `done`, the limit, or the word to leave; stamps the epoch meanwhile."""
        started = stamped = monotonic()
        while not self._told_to_leave:
            if done():
                return True
            now = monotonic()
            if limit_seconds is not None and now - started >= limit_seconds:
                return False
            if self._epoch and now - stamped >= 1.0:
                self._epoch.stamp()
                stamped = now
            time.sleep(_TICK)
        return done()

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
    verdict = data_path(settings).parent / "paper" / "paper_gate.json"
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
