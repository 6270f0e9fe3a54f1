"""The heartbeat of processes that do not run the module loop: web applications and Celery workers."""

from __future__ import annotations

import threading

from alphatrader.runtime.context import Context
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.module import HEARTBEAT_SECONDS
from alphatrader.runtime.store import Store, StoreLost


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
