"""The board: what the page shows, as small plain values under paths such as `quote.SPY`, each with the version it changed at.

Readers put values; the sender asks for what changed since a client's version. Paths that begin with `@SPY.` belong to one symbol
and go only to clients that have chosen it. A removed path is sent as None.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SYMBOL_MARK: Final = "@"
_MOST_REMOVED: Final = 500


def of_symbol(symbol: str, path: str) -> str:
    return f"{SYMBOL_MARK}{symbol}.{path}"


@dataclass(frozen=True, slots=True)
class Changes:
    version: int
    whole: bool
    """All there is: the client forgets what it had."""
    values: dict[str, Any]


class Board:
    """Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read = threading.Event()
        self._values: dict[str, tuple[int, Any]] = {}
        self._removed: dict[str, int] = {}
        self._version = 0
        self._forgotten = 0
        """Removals up to this version are no longer known: who is behind it gets the whole board."""

    def market_was_read(self) -> None:
        """All quotes are of now."""
        self._read.set()

    def wait_for_market(self, seconds: float) -> None:
        """Until they are so again, but not longer than so many seconds. For one thread."""
        self._read.wait(seconds)
        self._read.clear()

    def put(self, path: str, value: Any) -> None:
        self.put_all({path: value})

    def put_all(self, values: Mapping[str, Any]) -> None:
        """Sets paths; an equal value is no change, None removes."""
        with self._lock:
            for path, value in values.items():
                self._put(path, value)

    def put_group(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Sets `prefix` + name for each name, and removes the group's other paths."""
        with self._lock:
            for path in [path for path in self._values if path.startswith(prefix) and path[len(prefix) :] not in values]:
                self._put(path, None)
            for name, value in values.items():
                self._put(prefix + name, value)

    def _put(self, path: str, value: Any) -> None:
        known = self._values.get(path)
        if value is None:
            if known is None:
                return
            del self._values[path]
            self._version += 1
            self._removed[path] = self._version
            if len(self._removed) > _MOST_REMOVED:
                self._forgotten = self._removed.pop(next(iter(self._removed)))
        elif known is None or known[1] != value:
            self._version += 1
            self._values[path] = (self._version, value)
            self._removed.pop(path, None)

    def changes(self, since: int, symbol: str) -> Changes:
        """What changed after version `since` for a client that has chosen `symbol`; 0 asks for everything."""
        own = of_symbol(symbol, "")

        def wanted(path: str) -> bool:
            return not path.startswith(SYMBOL_MARK) or path.startswith(own)

        with self._lock:
            whole = since < self._forgotten or since == 0
            since = 0 if whole else since
            values = {path: value for path, (version, value) in self._values.items() if version > since and wanted(path)}
            if not whole:
                values |= {path: None for path, version in self._removed.items() if version > since and wanted(path)}
            return Changes(self._version, whole, values)
