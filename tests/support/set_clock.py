"""A module's process on a machine whose clock a test sets: `python -m tests.support.set_clock MODULE FILE`.

FILE holds by how many seconds the clock was set; the monotonic clock goes on, as it does on a machine.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from alphatrader.runtime import child

_real = time.time_ns
_set_ns = 0


def _set() -> int:
    return _real() + _set_ns


def _follow(file: Path) -> None:
    global _set_ns
    while True:
        if file.exists() and (seconds := file.read_text()):  # empty while it is written
            _set_ns = int(float(seconds) * 1e9)
        time.sleep(0.02)


if __name__ == "__main__":
    time.time_ns = _set
    threading.Thread(target=_follow, args=(Path(sys.argv[2]),), daemon=True).start()
    child.main(sys.argv[1])
