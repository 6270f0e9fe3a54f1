"""How the modules are: heartbeats, locks, cursors, routines."""

from __future__ import annotations

from typing import Any, Final, Literal

from alphatrader.contract.messages import Message

HealthState = Literal["starting", "ready", "degraded", "waiting", "stopping"]


class Health(Message, frozen=True):
    """One module's heartbeat."""

    module: str
    state: HealthState
    reason: str | None
    pid: int
    started_machine_ns: int
    machine_ns: int
    ts_ns: int
    counts: dict[str, int]
    """What was counted since the start: events, refused inputs by source, sent, failed."""
    facts: dict[str, Any]
    """What the module wants seen: data ages, lags, what it waits for."""
    waits_for: str | None = None
    """Who has to come back before it is well: a module, `broker`, `vendors`, or a server; None: it is ill by itself."""


class Alarm(Message, frozen=True):
    """Something a person should know of, and whose fault it may be (core/watch/causes.py)."""

    name: str
    text: str
    of: str
    """What is ill: a module, `broker`, `vendors`, a server, the stand-ins; or something of its own."""
    waits_for: tuple[str, ...] = ()
    """Any of these, being ill, explains it."""
    explains: bool = True
    """Whether what waits for `of` is explained by it: a module that works, though something in it is wrong, explains nothing."""


class Lock(Message, frozen=True):
    """Held by the one running instance of a module; its fence grows with every holder."""

    token: str
    fence: int
    pid: int


class Observed(Message, frozen=True):
    """What the watchdog saw from outside: processes, ports, lags. For lines that hold no heartbeat of their own, too."""

    machine_ns: int
    ts_ns: int
    states: dict[str, str]
    """Name -> `ok` or what is wrong."""
    alerts: tuple[Alarm, ...]
    """What stands and was told, or stands behind something that was."""


class Stamp(Message, frozen=True):
    """Which mode and build this server belongs to: other modes are refused, processes of another build do not start."""

    mode: str
    made_machine_ns: int
    build: str = ""
    """Of the parent that started the server: runtime/build.py."""


RUNNING: Final = "running"


class RoutineRun(Message, frozen=True):
    """A routine began for this session's date, and what came of it."""

    name: str
    session: str
    ts_ns: int
    outcome: str
    """What it did or found; `running` from its beginning on."""
    machine_ns: int = 0

    @property
    def field(self) -> str:
        """Where it stands in `ledger:routines`."""
        return f"{self.name}|{self.session}"


class Redelivered(Message, frozen=True):
    """A task that came back, because the worker that ran it had ended, and was begun anew."""

    task: str
    times: int
    machine_ns: int


class AuditEntry(Message, frozen=True):
    """Where the newest raw messages stand in the audit log on disk."""

    file: str
    offset: int
    """Of the newest block in it."""
    messages: int
    """Records in the file up to now: one for each read and each write of the socket."""
    ts_ns: int
    """Market time of the newest record."""
    dropped: int = 0
    """Records that the queue or the disk did not take, since the module started."""
