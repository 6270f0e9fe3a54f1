"""A worker as `alphatrader.runtime.child` starts it, which knows one task more: poison, which ends the process that runs it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from alphatrader.runtime import child
from alphatrader.runtime.celery_app import app

MODULE = os.environ["ALPHATRADER_MODULE"]


@app.task(name=f"{MODULE}.poison")
def poison(begun: str) -> None:
    """Writes a line into the file `begun`, and ends as one that the kernel kills for its memory."""
    with Path(begun).open("a") as file:
        file.write(f"{os.getpid()}\n")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        app.send_task(f"{MODULE}.poison", sys.argv[2:])
    else:
        child.main(MODULE)
