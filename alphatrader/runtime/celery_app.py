"""The Celery application and the one base class of its tasks.

Read by the workers, by beat, by Flower, and by the stream that enqueues (distribution). Tasks take ids, not objects, and may run
twice: every one is idempotent. A task finds its process's store, settings, clocks and log on itself.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final

from celery import Celery, Task
from celery.signals import setup_logging

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

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.log.error("task_failed", task=self.name, id=task_id, args=args, kwargs=kwargs, error=repr(exc), exc_info=exc)

    def on_retry(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.log.warning("task_retries", task=self.name, id=task_id, attempt=self.request.retries + 1, error=repr(exc))


app = Celery("alphatrader", task_cls=AlphaTask, include=TASKS.get(os.environ.get("ALPHATRADER_MODULE", ""), ()))
app.config_from_object("celeryconfig")


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Connected so that Celery leaves the logging of runtime/log.py alone."""
