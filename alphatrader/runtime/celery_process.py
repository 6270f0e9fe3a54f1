"""The processes of Celery: a worker a queue, beat on market time, Flower behind a login.

Who starts it: runtime/child.py. A worker beats `health:{module}` itself; beat and Flower are seen from outside by the watchdog.
"""

from __future__ import annotations

import warnings
from typing import Any

from celery.exceptions import Reject, SecurityWarning
from celery.signals import task_failure, task_postrun, worker_process_init, worker_ready

from alphatrader.roster import Line
from alphatrader.runtime import celery_app
from alphatrader.runtime.beating import be_of_this_build
from alphatrader.runtime.celery_app import app


def main(line: Line) -> None:
    context = celery_app.context()
    if line.kind == "flower":  # it only looks
        _flower()
        return
    be_of_this_build(context)
    if line.kind == "celery":
        _work(line)
    else:
        _beat()


def _work(line: Line) -> None:
    pool, _, concurrency = line.target.partition(":")

    @worker_ready.connect(weak=False)
    def begin(sender: Any, **_: Any) -> None:
        heartbeat = celery_app.heartbeat()
        heartbeat.ready()
        task_postrun.connect(lambda task, **__: heartbeat.count(f"ran {task.name}"), weak=False)
        task_failure.connect(failed, weak=False)

    def failed(sender: Any, exception: BaseException, **_: Any) -> None:
        heartbeat = celery_app.heartbeat()
        heartbeat.count(f"failed {sender.name}")
        if isinstance(exception, Reject):
            heartbeat.degraded(str(exception.reason))

    @worker_process_init.connect(weak=False)
    def forget_connections(**_: Any) -> None:
        """A forked process makes connections of its own."""
        celery_app.store.cache_clear()

    # Said at every start of a worker by root, as in a container: what it warns of is unpickling, and JSON alone is accepted.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={line.module}",
            f"--pool={pool}",
            f"--concurrency={concurrency}",
            f"--hostname={line.module}@alphatrader",
            "--without-gossip",
            "--without-mingle",
            "--loglevel=INFO",
        ]
    )


def _beat() -> None:
    """Only this process tells Celery market time: kombu compares due times with the machine's clock everywhere else."""
    clock = celery_app.context().clock
    app.now = clock.market_datetime
    app.Beat(loglevel="INFO", scheduler_cls=app.conf.beat_scheduler).run()


def _flower() -> None:
    context = celery_app.context()
    password = context.secrets.require("flower_password")
    app.start(
        [
            "flower",
            "--address=127.0.0.1",
            f"--port={context.settings.web.flower_port}",
            f"--basic-auth=operator:{password}",
            "--read-only=true",
            "--inspect-timeout=2000",
        ]
    )
