"""The scenario file of the gateway stand-in: read whole before anything starts, and refused by place and argument.

A YAML list, or JSON lines, of `{"at": "2026-11-23 10:00:00", "do": "drop", ...arguments}`: `at` is market time in New York,
`after_seconds` counts from the gateway's start instead. `docs/scenarios.md` tells of each kind, `faults.py` does them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from alphatrader.runtime.settings import UniqueNamesLoader
from alphatrader.sandbox.gateway import hours

TYPES: Final[dict[str, Any]] = {
    "client_id": int,
    "code": int,
    "con_id": int,
    "count": int,
    "data_lost": bool,
    "events": int,
    "order_id": int,
    "order_ref": str,
    "order_type": str,
    "port": int,
    "price": float,
    "quantity": int,
    "seconds": float,
    "size": int,
    "stubborn": bool,
    "symbol": str,
    "text": str,
}
"""What each argument holds, by its name."""
CHOICES: Final[dict[str, tuple[Any, ...]]] = {
    "end.what": ("quote", "depth", "ticks", "bars"),
    "garbage.what": ("text", "length", "cut"),
    "down.index": (0, 1),
    "up.index": (0, 1),
    "hmds.state": ("there", "asleep", "broken"),
    "halt.value": (0, 1, 2),
}
"""Those that hold one of a few values, by kind and name."""


class ScenarioError(ValueError):
    """What is wrong with the file, and where."""


def check_arguments(kind: str, do: Callable[..., None], given: Mapping[str, Any]) -> None:
    """Whether what does a fault takes these, by its signature. Raises ValueError."""
    fields: list[Any] = []
    for name, parameter in inspect.signature(do).parameters.items():
        choices = CHOICES.get(f"{kind}.{name}")
        if choices and name in given and given[name] not in choices:
            raise ValueError(f"{kind}: {name} {given[name]!r}: there are {', '.join(map(str, choices))}")
        type_ = type(choices[0]) if choices else TYPES[name]
        if parameter.default is parameter.empty:
            fields.append((name, type_))
        else:
            fields.append((name, type_ | None if parameter.default is None else type_, parameter.default))
    try:
        msgspec.convert(given, msgspec.defstruct(kind, fields, forbid_unknown_fields=True, kw_only=True))
    except msgspec.ValidationError as error:
        raise ValueError(f"{kind}: {error}") from error


def read(path: Path, start_ns: int, check: Callable[[str, Mapping[str, Any]], None]) -> list[tuple[int, str, dict[str, Any]]]:
    """(market instant, kind, arguments) of each entry, in the order of time. `check` raises ValueError where a kind cannot take
    its arguments. Raises ScenarioError."""
    script = []
    for place, entry_of in _entries(path):
        try:
            entry = entry_of()
            if not isinstance(kind := entry.pop("do", None), str):
                raise ValueError("it does not say what to `do`")
            instant = _instant(entry.pop("at", None), entry.pop("after_seconds", None), start_ns)
            check(kind, entry)
        except (ValueError, OverflowError) as error:  # msgspec's are ValueErrors
            raise ScenarioError(f"{path} {place}: {error}") from error
        script.append((instant, kind, entry))
    return sorted(script, key=lambda item: item[0])


def _instant(at: Any, after_seconds: Any, start_ns: int) -> int:
    """Raises ValueError, OverflowError."""
    if (at is None) == (after_seconds is None):
        raise ValueError("it needs `at` or `after_seconds`, and not both")
    if after_seconds is not None:
        return start_ns + int(msgspec.convert(after_seconds, float) * hours.NS)
    moment = datetime.fromisoformat(str(at))
    return int(moment.replace(tzinfo=moment.tzinfo or hours.NEW_YORK).timestamp() * hours.NS)


def _entries(path: Path) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """(place, how to read it) of each entry: of a YAML list, or of lines of JSON."""
    try:
        text = path.read_text()
        entries = yaml.load(text, Loader=UniqueNamesLoader) if path.suffix in (".yaml", ".yml") else None  # noqa: S506
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not text: {error}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    if path.suffix not in (".yaml", ".yml"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield f"line {number}", partial(msgspec.json.decode, line, type=dict[str, Any])
        return
    if not isinstance(entries, list):
        raise ScenarioError(f"{path}: a scenario is a list of entries")
    for number, entry in enumerate(entries, 1):
        yield f"entry {number}", partial(msgspec.convert, entry, dict[str, Any])
