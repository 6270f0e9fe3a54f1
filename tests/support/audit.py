"""Audit logs, as tests read them."""

from __future__ import annotations

from pathlib import Path

from alphatrader.runtime.audit_file import Kind, Label, Record, read


def whole(path: Path) -> tuple[list[Record], list[str]]:
    """What can be read, and what the reader says is missing."""
    records = list(read(path))
    holes = [record.data.decode() for record in records if record.kind is Kind.HOLE]
    return [record for record in records if record.kind is not Kind.HOLE], holes


def label(part: int = 1, nth: int = 0, bytes_before: int = 0, *, name: str = "ibkr") -> bytes:
    """How a file begins that one process wrote."""
    return Label(name, part, nth, 7, bytes_before).packed()
