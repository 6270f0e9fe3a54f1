"""When discovery runs: nightly, hourly again as it was, at a first start, and when somebody asks.

Celery tasks of the discovery worker. `discovery:requests` is followed by a thread of the worker's main process, which enqueues
what it reads: nobody polls. A run tells how far it is in `discovered:progress` and as `task-progress` events, which Flower shows
as the task's state and result.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, Final

from celery.signals import worker_ready

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import DiscoveryProgress
from alphatrader.contract.modules import Module
from alphatrader.runtime.celery_app import app, context, store
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import StoreLost
from alphatrader.tasks.discovery.runner import ParameterDiscovery, Tell

PROGRESS_EVENT: Final = "task-progress"
AWAY_SECONDS: Final = 1.0


@cache
def discovery() -> ParameterDiscovery:
    """This process's one."""
    here = context()
    return ParameterDiscovery(store(), here.settings, here.clock, here.calendar, here.log, here.data_dir)


def _teller(task: Any) -> Tell:
    def tell(progress: DiscoveryProgress) -> None:
        said = f"{progress.done} of {progress.of}: {progress.step}"
        task.send_event(PROGRESS_EVENT, result=said, done=progress.done, of=progress.of)

    return tell


@app.task(name="discovery.run", bind=True)  # type: ignore[untyped-decorator]
def run(self: Any) -> None:
    """Nightly."""
    discovery().nightly(tell=_teller(self))


@app.task(name="discovery.answer", bind=True)  # type: ignore[untyped-decorator]
def answer(self: Any, request: str, kind: str, symbol: str | None, asked_machine_ns: int) -> None:
    """Somebody asked on the command line."""
    if kind == "accept":
        discovery().accept(symbol, request)
    else:
        discovery().run(symbol=symbol, request=request, asked_machine_ns=asked_machine_ns, tell=_teller(self))


@app.task(name="discovery.republish")  # type: ignore[untyped-decorator]
def republish() -> None:
    """Hourly."""
    discovery().republish()


@app.task(name="discovery.ensure", bind=True)  # type: ignore[untyped-decorator]
def ensure(self: Any) -> None:
    """Every minute; cheap when there is nothing to do."""
    discovery().ensure(tell=_teller(self))


@worker_ready.connect
def _at_once(**_: Any) -> None:
    """The five keys exist as soon as the worker does, and requests are followed."""
    ensure.delay()
    threading.Thread(target=_follow_requests, name="requests", daemon=True).start()


def _follow_requests() -> None:
    """A request is enqueued before it is booked as read: it may be enqueued twice, which is answered once."""
    pause = threading.Event()
    while True:
        try:
            cursor = store().saved_cursor(Cursor.at_start([k.DISCOVERY_REQUESTS.at()]))
            while True:
                for entry in store().read(cursor, block_seconds=1.0):
                    asked = entry.event
                    context().log.info("discovery_asked", kind=asked.kind, symbol=asked.symbol, by=asked.by)
                    answer.delay(asked.id, asked.kind, asked.symbol, asked.machine_ns)
                batch = store().batch()
                cursor.keep(batch, Module.DISCOVERY)
                store().commit(batch)
        except StoreLost as error:
            context().log.warning("redis_lost", error=str(error))
            pause.wait(AWAY_SECONDS)
