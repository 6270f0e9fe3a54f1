"""Marks made once: login links that were used and sessions that were ended, as empty files, so that a restart forgets neither.

Files are named by a hash of what they mark and removed when what they mark can no longer be used.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from alphatrader.runtime.clock import SECOND, Clock

_MODE: Final = 0o600


class Marks:
    def __init__(self, folder: Path, clock: Clock, keep_seconds: float) -> None:
        self._folder = folder
        self._clock = clock
        self._keep_ns = int(keep_seconds * SECOND)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def make(self, name: str) -> bool:
        """Whether this was the first time `name` was marked; only one caller is told so."""
        self._sweep()
        try:
            os.close(os.open(self._path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
        except FileExistsError:
            return False
        return True

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def _path(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()[:32]

    def _sweep(self) -> None:
        oldest = self._clock.machine_ns() - self._keep_ns
        for path in self._folder.iterdir():
            if path.stat().st_mtime_ns < oldest:
                path.unlink(missing_ok=True)
