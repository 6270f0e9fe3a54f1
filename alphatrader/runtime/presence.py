"""Which lines still live, so that servers can be the last: `data/<mode>/lines.lock`, held shared by every parent of another line.

A line's connections end before its process does (a Celery worker takes another second), so counting clients is not enough. The
kernel gives the lock back when a process dies, however it dies. Used by `parent.py`.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from alphatrader.runtime.clock import monotonic

FILE: Final = "lines.lock"
_TICK: Final = 0.02


class Presence:
    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)

    def stay(self) -> None:
        """This process lives, until it ends. Waits only while a leaving server looks, which it does for an instant."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def others_gone(self, limit_seconds: float) -> bool:
        """Whether nobody stays any more, within the limit."""
        until = monotonic() + limit_seconds
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() >= until:
                    return False
                time.sleep(_TICK)
            else:
                fcntl.flock(self._file, fcntl.LOCK_UN)
                return True

    def close(self) -> None:
        os.close(self._file)
