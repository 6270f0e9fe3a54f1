"""The main process of a module: `python -m alphatrader.runtime.child <module>[.<shard>]`, started by its parent.

Chooses by the line's kind what to run, and ends when its parent is gone (where the kernel does not see to that).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

from alphatrader.contract.modules import parse_instance
from alphatrader.roster import AlphaTrader, Line


def watch_parent() -> None:
    """Ends this process when its parent is gone."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _target(line: Line) -> Any:
    package, _, name = line.target.partition(":")
    return getattr(importlib.import_module(package), name)


def main(name: str) -> None:
    owner, shard = parse_instance(name)
    line = AlphaTrader.line(owner)
    watch_parent()
    match line.kind:
        case "stream":
            from alphatrader.runtime import module

            module.main(_target(line), shard)
        case "process":
            _target(line)()
        case "web":
            from alphatrader.runtime import web

            web.serve(line)
        case "celery" | "beat" | "flower":
            from alphatrader.runtime import celery_process

            celery_process.main(line)
        case _:
            sys.exit(f"{name} is a {line.kind}: its parent starts it")


if __name__ == "__main__":
    main(sys.argv[1])
