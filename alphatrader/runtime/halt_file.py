"""The halt on local disk: `data/<mode>/halt.json`, written and synced before `global:halt` is (invariants.md I16).

It tells a first start from a lost Redis, and lets emergency halt and flatten while Redis is down. `emergency` is its only writer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from alphatrader.contract.messages.risk import Halt

FILE: Final = "halt.json"


class HaltFileError(ValueError):
    """The file is there and cannot be read as a halt: in doubt, halted."""


def read(folder: Path) -> Halt | None:
    """The last halt recorded; None on a first start. Raises HaltFileError."""
    try:
        content = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Halt)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise HaltFileError(f"{FILE}: {error}") from error


def write(folder: Path, halt: Halt) -> None:
    """On the disk when this returns; never half of it."""
    beside = folder / f"{FILE}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(halt))
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / FILE)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
