"""The Celery application and the one base class of its tasks.

Read by the workers, by beat, by Flower, and by the stream that enqueues (distribution). Tasks take ids, not objects, and may run
twice: every one is idempotent. A task finds its process's store, settings, clocks and log on itself.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

from celery import Celery, Task
from celery.exceptions import Reject
from celery.signals import setup_logging

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Redelivered
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.beating import start_heartbeat
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context, process_context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import Store

TASKS: Final[dict[str, tuple[str, ...]]] = {
    Module.PULLS: ("alphatrader.tasks.alphavantage",),
    Module.DISCOVERY: ("alphatrader.tasks.discovery",),
    Module.DELIVERY: ("alphatrader.tasks.delivery", "alphatrader.tasks.twitter"),
    Module.ROUTINES: ("alphatrader.tasks.analysis", "alphatrader.tasks.routines"),
}
"""What each worker loads: the tasks of its own queue. Beat, Flower and who enqueues know them by name, and load none."""


MOST_ENDED: Final = 3
"""Workers that one task may end. What it was for is asked for again: by beat, or from a ledger."""


@cache
def context() -> Context:
    """This process's context; the module is the worker's, named by its parent."""
    return process_context(Module(os.environ["ALPHATRADER_MODULE"]))


@cache
def store() -> Store:
    return context().store()


@cache
def heartbeat() -> Heartbeat:
    """What this worker says of itself; its thread begins with the first call."""
    return start_heartbeat(context(), store())


class AlphaTask(Task):  # type: ignore[misc]
    """What every task has at hand, and what is said of each run."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True

    @property
    def store(self) -> Store:
        return store()

    @property
    def settings(self) -> Settings:
        return context().settings

    @property
    def secrets(self) -> Secrets:
        return context().secrets

    @property
    def clock(self) -> Clock:
        return context().clock

    @property
    def calendar(self) -> Calendar:
        return context().calendar

    @property
    def log(self) -> Any:
        return context().log

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """A task comes back when its worker ended within it. One that ended MOST_ENDED of them is what ends them."""
        if not self.request.delivery_info.get("redelivered"):
            return
        key = k.REDELIVERED.at(module=context().module)
        before = self.store.field(key, task_id)
        times = before.times + 1 if before is not None else 1
        if times >= MOST_ENDED:
            reason = f"gave up {self.name}: it ended its worker {times} times"
            self.log.error("task_given_up", task=self.name, id=task_id, args=args, kwargs=kwargs, reason=reason)
            raise Reject(reason, requeue=False)
        batch = self.store.batch()
        batch.put_field(key, task_id, Redelivered(self.name, times, self.clock.machine_ns()))
        self.store.commit(batch)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.log.error("task_failed", task=self.name, id=task_id, args=args, kwargs=kwargs, error=repr(exc), exc_info=exc)

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.log.warning("task_retries", task=self.name, id=task_id, attempt=self.request.retries + 1, error=repr(exc))


app = Celery("alphatrader", task_cls=AlphaTask, include=TASKS.get(os.environ.get("ALPHATRADER_MODULE", ""), ()))
app.config_from_object("celeryconfig")


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Connected so that Celery leaves the logging of runtime/log.py alone."""
