"""Which lines still live: `data/<mode>/lines.lock`, held shared by every parent of a line that is no server.

So servers can be the last, and a second start sees the first, or what a killed one left behind. A line's connections end before
its process does (a Celery worker takes another second), so counting clients is not enough. The kernel gives the lock back when a
process dies, however it dies; the file names who came since nobody was there. Used by `parent.py` and `alphatrader start`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.settings import SettingsError

FILE: Final = "lines.lock"
_TICK: Final = 0.02


class Presence:
    def __init__(self, folder: Path) -> None:
        """Raises SettingsError where the folder takes no file."""
        self._path = folder / FILE
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise SettingsError(f"data_dir: {folder} cannot be written: {error.strerror}") from error

    def stay(self, line: str) -> None:
        """This process lives, until it ends. Waits only while a leaving server looks, which it does for an instant."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        self.name(line)

    def name(self, line: str) -> None:
        """Who this process is, for a start that finds it left over; a server is named and does not stay."""
        with contextlib.suppress(OSError):  # a full disk keeps nobody from working
            os.write(self._file, f"{os.getpid()} {line}\n".encode())

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
                os.ftruncate(self._file, 0)
                fcntl.flock(self._file, fcntl.LOCK_UN)
                return True

    def named(self) -> dict[int, str]:
        """Process -> line of those that came and whose process is there. Only while somebody stays: numbers are used again."""
        rows = (row.split() for row in self._path.read_text().splitlines())
        return {int(row[0]): row[1] for row in rows if len(row) == 2 and _lives(int(row[0]))}

    def close(self) -> None:
        os.close(self._file)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
