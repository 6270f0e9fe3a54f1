"""What two writes of a replayed turn differ in, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from alphatrader.contract.keys import find
from alphatrader.runtime.store import decode


def difference(then: list[Any], now: list[Any]) -> tuple[str, tuple[tuple[str, Any, Any], ...]]:
    """What differs in one write: where, and field by field."""
    if then[:2] != now[:2]:
        return f"it writes {shown(now)} where it wrote {shown(then)}", ()
    key = find(str(now[1]))
    if key is None or len(then) != len(now):
        return f"{now[0]} {now[1]}", (("", then[2:], now[2:]),)
    fields: list[tuple[str, Any, Any]] = []
    for old, new in zip(then[2:], now[2:], strict=True):
        if old == new:
            continue
        if isinstance(old, list) or isinstance(new, list):
            fields.append(("digest", _hex(old), _hex(new)))
            continue
        try:
            fields += leaves_apart(*(msgspec.to_builtins(decode(key, part)) for part in (old, new)))
        except (msgspec.ValidationError, msgspec.DecodeError, TypeError):
            fields.append(("", old, new))
    return f"{now[0]} {now[1]}", tuple(fields)


def _hex(part: Any) -> str:
    return f"{part[0].hex()} of {part[1]} bytes" if isinstance(part, list) else f"{len(part)} bytes"


def leaves_apart(then: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(path, then, now) of every leaf that differs."""
    if then == now and type(then) is type(now):
        return
    if isinstance(then, dict) and isinstance(now, dict):
        for name in [*then, *(name for name in now if name not in then)]:
            yield from leaves_apart(then.get(name), now.get(name), f"{path}.{name}" if path else str(name))
        if list(then) != list(now) and all(then.get(name) == now.get(name) for name in [*then, *now]):
            yield f"{path} (order)", list(then), list(now)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for at, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from leaves_apart(old, new, f"{path}[{at}]")
    else:
        yield path, then, now


def shown(command: Sequence[Any]) -> str:
    """The head of a command, for a person."""
    return " ".join(str(part) for part in command[:4] if not isinstance(part, bytes | list))[:120]
