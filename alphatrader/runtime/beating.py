"""What processes that do not run the module loop do as it does: web applications and Celery's processes beat, and wait where the
system is of another build."""

from __future__ import annotations

import os
import threading
import time
from typing import Final

from alphatrader.contract import keys as k
from alphatrader.runtime.build import refusal
from alphatrader.runtime.clock import SECOND
from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.module import HEARTBEAT_SECONDS
from alphatrader.runtime.store import Store, StoreLost

STANDS_SECONDS: Final = 3.0
"""A heartbeat younger than this is of a process that lives."""


def start_heartbeat(context: Context, store: Store) -> Heartbeat:
    """Writes `health:{module}` once a second from a thread of its own; a lost server is tried again at the next beat."""
    heartbeat = Heartbeat(context.module, context.clock)

    def beat() -> None:
        while True:
            batch = store.batch()
            heartbeat.add_to(batch, store.refused)
            try:
                store.commit(batch)
            except StoreLost as error:
                context.log.warning("redis_lost", error=str(error))
            pause.wait(HEARTBEAT_SECONDS)

    pause = threading.Event()
    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
    return heartbeat


def be_of_this_build(context: Context) -> None:
    """Waits while the system runs another build, and says so: to the log, and as its heartbeat where nobody else beats. Where the
    state server is away there is no system to be mixed with."""
    store, heartbeat = context.store(), Heartbeat(context.module, context.clock)
    said = False
    try:
        while True:
            stamp = store.get(k.STAMP_STATE.at())
            reason = refusal(stamp)
            if reason is None:
                return
            if not said:
                context.log.error("another_build", reason=reason)
                said = True
            other = store.get(k.HEALTH.at(module=context.module))
            alive = other is not None and context.clock.machine_ns() - other.machine_ns < STANDS_SECONDS * SECOND
            if other is None or other.pid == os.getpid() or not alive:
                heartbeat.waiting(reason)
                batch = store.batch()
                heartbeat.add_to(batch, store.refused)
                store.commit(batch)
            time.sleep(HEARTBEAT_SECONDS)
    except StoreLost:
        return
    finally:
        store.close()
