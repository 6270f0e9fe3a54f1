"""The stand-ins' own durable objects: one SQLite table of JSON documents by (vendor, kind, id), oldest first.

Read and written by the Stripe, Telegram, Discord and X stand-ins, so that a restart of the sandbox loses no subscription,
member, message or tweet. One file, `data_dir/vendors.sqlite3`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    vendor TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (vendor, kind, id)
)
"""


class Store:
    """Thread-safe; `transaction()` makes several writes one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an inner one that fails undoes its own part only."""
        with self._lock:
            level = self._depth
            self._db.execute(f"SAVEPOINT level{level}" if level else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._db.execute(f"ROLLBACK TO level{level}" if level else "ROLLBACK")
                raise
            else:
                self._db.execute(f"RELEASE level{level}" if level else "COMMIT")
            finally:
                self._depth -= 1

    def put(self, vendor: str, kind: str, key: str, body: dict[str, Any]) -> None:
        with self._lock:
            self._db.execute(
                "INSERT INTO objects (vendor, kind, id, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (vendor, kind, id) DO UPDATE SET body = excluded.body",
                (vendor, kind, key, msgspec.json.encode(body)),
            )

    def get(self, vendor: str, kind: str, key: str) -> dict[str, Any] | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM objects WHERE vendor=? AND kind=? AND id=?", (vendor, kind, key)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def all(self, vendor: str, kind: str) -> list[dict[str, Any]]:
        """Every object of the kind, in the order in which they were first put."""
        with self._lock:
            rows = self._db.execute("SELECT body FROM objects WHERE vendor=? AND kind=? ORDER BY seq", (vendor, kind)).fetchall()
        return [msgspec.json.decode(row[0]) for row in rows]

    def delete(self, vendor: str, kind: str, key: str) -> bool:
        with self._lock:
            return self._db.execute("DELETE FROM objects WHERE vendor=? AND kind=? AND id=?", (vendor, kind, key)).rowcount > 0

    def trim(self, vendor: str, kind: str, keep: int) -> None:
        """Forget all but the newest `keep` objects of the kind."""
        with self._lock:
            self._db.execute(
                "DELETE FROM objects WHERE vendor=? AND kind=? AND seq <= "
                "(SELECT seq FROM objects WHERE vendor=? AND kind=? ORDER BY seq DESC LIMIT 1 OFFSET ?)",
                (vendor, kind, vendor, kind, keep),
            )

    def count(self, vendor: str, counter: str, start: int = 1) -> int:
        """The next number of a durable counter."""
        with self.transaction():
            held = self.get(vendor, "counter", counter)
            number = start if held is None else held["next"]
            self.put(vendor, "counter", counter, {"next": number + 1})
            return number

    def close(self) -> None:
        with self._lock:
            self._db.close()
