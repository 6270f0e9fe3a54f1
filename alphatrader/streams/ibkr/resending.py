"""Answers readers that missed events: a process runs the audit log again and writes what they lack (`resent.py`).

Used by `IBKRIngestion`. Reads `resend:{module}` of each process of analytics, writes the notes in `resent:{module}` that tell
where an answer begins and ends. One answer at a time; whoever waits is told that it has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.messages.market import ResendNote, ResendRequest
from alphatrader.contract.modules import Module, instance_name
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.ibkr.resent import Outcome, Task

LOOK_SECONDS: Final = 0.25
DISK_SECONDS: Final = 3.0
"""What was received just now is on disk after about a second."""


class Resending:
    def __init__(self, module: StreamModule, audit: AuditLog | None) -> None:
        self._module, self._audit = module, audit
        self._store, self._log, self._health = module.store, module.log, module.health
        self._instances = [instance_name(Module.ANALYTICS, n + 1) for n in range(module.settings.analytics.shards)]
        self._one = asyncio.Lock()

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """To be run beside the module's other loops."""
        return [self._serve(instance) for instance in self._instances]

    async def _serve(self, instance: str) -> None:
        answered = 0
        while not self._module.stopping.is_set():
            await self._module.pause(LOOK_SECONDS)
            request = await self._store.get(k.RESEND.at(module=instance))
            if request is None and answered:
                answered = 0
                batch = self._store.batch()
                batch.drop(k.RESENT.at(module=instance))
                await self._store.commit(batch)
            if request is None or request.number == answered:
                continue
            answered = request.number
            await self._note(instance, ResendNote(answered, ended=False))
            async with self._one:
                outcome = await self._answer(instance, request)
            self._health.count("resends")
            self._health.count("events_resent", outcome.events)
            self._log.info("resent", to=instance, symbols=list(request.missing), events=outcome.events, reason=outcome.reason)
            for why in outcome.refused:
                self._log.warning("checkpoint_refused", why=why)
            await self._note(instance, ResendNote(answered, ended=True, reason=outcome.reason))

    async def _note(self, instance: str, note: ResendNote) -> None:
        batch = self._store.batch()
        batch.append(k.RESENT.at(module=instance), note)
        await self._store.commit(batch)

    async def _answer(self, instance: str, request: ResendRequest) -> Outcome:
        if self._audit is None:
            return Outcome(0, "raw messages are not kept (log.audit_most_bytes is 0)")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISK_SECONDS):
                while (entry := self._audit.entry) is None or entry.ts_ns < request.until_ns:
                    await asyncio.sleep(LOOK_SECONDS)
        module = self._module
        folder = str(module.data_dir / "audit")
        task = Task(module.settings, module.secrets.redis_password, folder, instance, request.number)
        return await self._run(task)

    async def _run(self, task: Task) -> Outcome:
        """The process's outcome; it is ended when nobody waits for it any more."""
        command = (sys.executable, "-c", "from alphatrader.streams.ibkr.resent import main; main()")
        process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        speaking = asyncio.create_task(process.communicate(msgspec.json.encode(task)))
        try:
            while not (await asyncio.wait({speaking}, timeout=LOOK_SECONDS))[0]:
                request = await self._store.get(k.RESEND.at(module=task.instance))
                if self._module.stopping.is_set() or request is None or request.number != task.number:
                    return Outcome(0, "nobody waits for it any more")
            return msgspec.json.decode(speaking.result()[0], type=Outcome)
        except msgspec.DecodeError:
            return Outcome(0, f"the process that reads the log ended with {process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            await process.wait()
