"""A recorded decider run again: the same module class over a store and a clock that answer from its recording.

`replay_run` makes the module anew with the recorded settings and lets it recover and run; each of its writes is compared with
what it wrote then (replay_tape.py). It needs no Redis, no network and no clock. Used by `alphatrader replay`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.replay_tape import NO_LAST_WORD, AgainError, ApartError, Begun, EndedError, Outcome, StoppedError, Tape
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import AsyncStore, StoreLost


class ReplayedClock(Clock):
    __slots__ = ("_tape",)

    def __init__(self, clock: Clock, tape: Tape) -> None:
        super().__init__(clock.market_start_ns, clock.machine_start_ns, clock.speed)
        object.__setattr__(self, "_tape", tape)

    def machine_ns(self) -> int:
        return int(self._tape.reading(int))  # type: ignore[attr-defined]

    def monotonic(self) -> float:
        return float(self._tape.reading(float))  # type: ignore[attr-defined]


class _StandingClock(Clock):
    """For heartbeats, which are no part of a recording."""

    def machine_ns(self) -> int:
        return self.machine_start_ns

    def monotonic(self) -> float:
        return 0.0


class ReplayedStore(AsyncStore):
    """Never connects: each of its methods that would is one of these."""

    def __init__(self, module: Module, settings: Settings, tape: Tape) -> None:
        super().__init__(module, settings, "")
        self._tape = tape

    async def _call(self, server: Server, *command: Any) -> Any:
        return self._tape.reply(command)

    async def _wait(self, server: Server, command: list[Any], block_seconds: float | None) -> Any:
        if block_seconds:
            self._tape.turn()
            if self._tape.pace is not None:
                await self._tape.pace(self._tape.machine_ns)
        return self._tape.reply(command)

    async def commit(self, batch: Batch, *, atomic: bool = True) -> None:
        self._tape.wrote(batch.commands)

    async def post(self, batch: Batch) -> None:
        self._tape.wrote(batch.commands)

    async def close(self) -> None: ...


class _Silent:
    """A logger: what a module says while it is run again was said then."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


@dataclass(frozen=True, kw_only=True)
class _ReplayContext(Context):
    tape: Tape

    def async_store(self) -> AsyncStore:
        return ReplayedStore(self.module, self.settings, self.tape)

    def recorder(self) -> None:
        return None


async def replay_run(kind: type[StreamModule], start: Begun, tape: Tape, settings: Settings | None = None) -> None:
    """Runs one recorded process again, to the end of its recording. `settings`: other ones than it had."""
    standing = _StandingClock(start.clock.market_start_ns, start.clock.machine_start_ns, start.clock.speed)
    with tempfile.TemporaryDirectory() as folder:
        given = settings or start.settings
        secrets, where = Secrets(start.module), Path(folder)
        module = kind(_ReplayContext(start.module, given, secrets, standing, nyse(), _Silent(), where, start.shard, tape=tape))
        module.clock = ReplayedClock(start.clock, tape)
        setattr(module, "pause", _no_pause)  # noqa: B010 one module's method is replaced, not its class's
        await _live(module, tape)
    tape.end()


async def _no_pause(_seconds: float) -> None: ...


async def _live(module: StreamModule, tape: Tape) -> None:
    """As `runtime/module.py` lets it live, where the recording says that it recovered, ran and stopped."""
    outcome = tape.outcome
    try:
        while True:
            match tape.take():
                case ["recover", fence]:
                    module.fence = fence
                    tape.begin()
                case ["shut"]:
                    tape.begin()
                    await module.shut()
                    return
                case _:
                    tape.differs("more was recorded than it does")
                    continue
            try:
                await module.recover()
                await module.run()
            except (*StoreLost, AgainError):
                continue
            except StoppedError:
                continue
    except EndedError:
        if outcome.ends == Outcome.ends:
            outcome.ends = NO_LAST_WORD
        tape.end()
        tape.count_unread()
    except ApartError as apart:
        tape.differs(str(apart))
        tape.end()
        outcome.ends = f"apart in turn {outcome.turns}: {apart}"
        tape.count_unread()
    except Exception as error:  # noqa: BLE001 whatever it fails with is what is to be told
        tape.differs(f"it fails: {type(error).__name__}: {error}")
        outcome.ends = "it fails"
        tape.count_unread()
