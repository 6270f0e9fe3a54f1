"""What discovery keeps on disk: the mode's own `discovered.yaml`, and what a run has computed so far.

`discovered.part` is there only while a run runs. A run that is killed leaves it, and the next one goes on from it: the symbols
that are done, and the values that were known before, so that it ends with the same changes wherever the first one was killed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery import found as files
from alphatrader.core.discovery.found import Found, FoundError

RESUMED_NS: Final = 3600 * 1_000_000_000
"""Machine time after which what a killed run computed is too old to go on from."""


class Unfinished(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    started_machine_ns: int
    night: str
    settings: str
    """What it was computed with: `discovery` of the settings, as JSON."""
    known: Found
    """The values before the run."""
    symbols: dict[str, dict[str, Parameter]]
    """Of each symbol that is done, its parameters."""

    def still_good(self, now_machine_ns: int, night: str, settings: str, asked_machine_ns: int | None) -> bool:
        """Whether a run that begins now may go on from it; not where somebody asked after it began."""
        same = (self.night, self.settings) == (night, settings)
        young = 0 <= now_machine_ns - self.started_machine_ns <= RESUMED_NS
        return same and young and (asked_machine_ns is None or asked_machine_ns <= self.started_machine_ns)


def read(path: Path) -> Found:
    """Raises FoundError, which names file and field."""
    try:
        return files.parse(path.read_text())
    except (OSError, UnicodeDecodeError, FoundError) as error:
        raise FoundError(f"{path.name}: {error}") from error


def read_unfinished(path: Path) -> Unfinished:
    """Raises FileNotFoundError, and FoundError, which names file and field."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Unfinished)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise FoundError(f"{path.name}: {error}") from error


def write_unfinished(path: Path, unfinished: Unfinished) -> None:
    write(path, msgspec.json.encode(unfinished).decode())


def write(path: Path, content: str) -> None:
    """Whole or not at all, the name included."""
    beside = path.with_suffix(".new")
    with beside.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
