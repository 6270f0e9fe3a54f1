"""Fields of the broker's frames, read strictly: what is missing, not a number or out of place is named, never guessed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

UNSET_DOUBLE: Final = 1.7976931348623157e308
"""How the protocol writes a number that is not there; so is an empty field."""


class BadFrameError(ValueError):
    """A frame whose field is not what the protocol says."""


def whole(fields: Sequence[str], index: int, name: str) -> int:
    """A field that must be a whole number."""
    try:
        return int(fields[index])
    except (IndexError, ValueError):
        raise BadFrameError(f"{name} {_shown(fields, index)} is not a whole number") from None


def number(fields: Sequence[str], index: int, name: str) -> float:
    """A field that must be a finite number."""
    value = optional(fields, index, name)
    if value is None:
        raise BadFrameError(f"{name} is missing")
    return value


def optional(fields: Sequence[str], index: int, name: str) -> float | None:
    """A field that may be empty or unset."""
    try:
        text = fields[index]
        if not text:
            return None
        value = float(text)
    except (IndexError, ValueError):
        raise BadFrameError(f"{name} {_shown(fields, index)} is not a number") from None
    if not math.isfinite(value):
        raise BadFrameError(f"{name} {text!r} is not finite")
    return None if value >= UNSET_DOUBLE else value


def text(fields: Sequence[str], index: int, name: str) -> str:
    try:
        return fields[index]
    except IndexError:
        raise BadFrameError(f"{name} is missing") from None


def computed(fields: Sequence[str], index: int, name: str, absent: float) -> float | None:
    """A value of an option computation: -1 or -2 stands for "not computed"."""
    value = optional(fields, index, name)
    return None if value is None or value == absent else value


def _shown(fields: Sequence[str], index: int) -> str:
    return repr(fields[index][:40]) if index < len(fields) else "(missing)"
