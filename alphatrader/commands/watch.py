"""`alphatrader watch PATTERN`: what changes in the keys and streams that match, until Ctrl-C. Of a queue or a log, its length.

What may match is what the contract declares: a key that is not there yet is shown when it comes. With `--json` each line is one
object: of a stream `key`, `id` and `event`, of all else `key` and `value`, null where it is gone.
Exit codes: 0 it was stopped, 2 no declared key can match, 3 the servers cannot be reached.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec

from alphatrader.commands import DONE, MISUSED
from alphatrader.commands.access import open_access, plain, say
from alphatrader.contract.key import BoundKey, Key, Kind, Server
from alphatrader.contract.keys import ALL
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.store import Store

_PAUSE_SECONDS: Final = 0.25
_SEARCH_SECONDS: Final = 1.0
"""How often keys are looked for that were not there before."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", help="such as 'metrics:SPY:*' or events:signals")
    parser.add_argument("--seconds", type=_seconds, default=float("inf"), help="stop after this long")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    declared = [key for key in ALL if may_match(args.pattern, key.pattern)]
    if not declared:
        sys.stderr.write(f"alphatrader watch: no key that is declared can match {args.pattern!r}; see `alphatrader keys`\n")
        return MISUSED
    watched = _Watched(open_access().store, args.pattern, declared, as_json=args.json)
    until = monotonic() + args.seconds
    try:
        while monotonic() < until:
            watched.look()
            time.sleep(_PAUSE_SECONDS)
    except KeyboardInterrupt:
        pass  # how it is meant to end
    return DONE


def may_match(wanted: str, pattern: str) -> bool:
    """Whether some name of the key `pattern`, such as `metrics:{symbol}:vpin`, is matched by `wanted`, a shell's pattern."""
    wants: list[str] = re.findall(r"\[!?[^]]+\]|.", wanted)
    tokens: list[str] = re.findall(r"\{\w+\}|.", pattern)

    @cache
    def meet(i: int, j: int) -> bool:
        if i == len(wants):
            return j == len(tokens)
        if wants[i] == "*":
            return meet(i + 1, j) or (j < len(tokens) and meet(i, j + 1))
        if j == len(tokens):
            return False
        if tokens[j].startswith("{"):  # any text without a colon: it goes on, or ends here
            return wants[i] != ":" and (meet(i + 1, j) or meet(i + 1, j + 1))
        return fnmatch.fnmatchcase(tokens[j], wants[i]) and meet(i + 1, j + 1)

    return meet(0, 0)


def _by_name(value: Any) -> Any:
    """An event with its fields by name, though the stream holds them as an array."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        kind = {} if config.tag is None else {config.tag_field: config.tag}
        return kind | {name: _by_name(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [_by_name(one) for one in value]
    if isinstance(value, dict):
        return {name: _by_name(one) for name, one in value.items()}
    return plain(value)


class _Watched:
    """The keys that match, those that come later too, and what was shown of them last."""

    def __init__(self, store: Store, pattern: str, declared: Iterable[Key[Any]], *, as_json: bool) -> None:
        self._store = store
        self._pattern = pattern
        self._declared = tuple(declared)
        self._as_json = as_json
        self._keys: dict[str, BoundKey[Any]] = {}
        self._cursors = {server: Cursor({}) for server in Server}
        self._shown: dict[str, Any] = {}
        self._search_at = 0.0
        self._began = False

    def look(self) -> None:
        if monotonic() >= self._search_at:
            self._search()
        for bound in self._keys.values():
            if bound.key.kind is not Kind.STREAM:
                self._show_change(bound)
        for cursor in self._cursors.values():
            for entry in self._store.read(cursor, block_seconds=None) if cursor.keys else ():
                self._tell(entry.stream, {"id": entry.id, "event": _by_name(entry.event)})

    def _search(self) -> None:
        for key in self._declared:
            found = self._store.scan(key) if key.parts else (BoundKey(key, key.pattern),)
            for bound in found:
                if bound.name in self._keys or not fnmatch.fnmatchcase(bound.name, self._pattern):
                    continue
                self._keys[bound.name] = bound
                if key.kind is Kind.STREAM:  # one that came since holds only what came since
                    cursor = self._cursors[key.server]
                    cursor.keys[bound.name] = bound
                    cursor.positions[bound.name] = "0" if self._began else "$"
        self._began = True
        self._search_at = monotonic() + _SEARCH_SECONDS

    def _show_change(self, bound: BoundKey[Any]) -> None:
        match bound.key.kind:
            case Kind.VALUE:
                value = self._store.get(bound)
            case Kind.HASH:
                value = self._store.fields(bound) or None
            case _:
                entries = self._store.length(bound)
                value = {"entries": entries} if entries else None
        if self._shown.get(bound.name) != value:
            self._shown[bound.name] = value
            self._tell(bound.name, {"value": plain(value)})

    def _tell(self, name: str, what: dict[str, Any]) -> None:
        if self._as_json:
            say(json.dumps({"key": name} | what))
        else:
            say(f"{name} {' '.join(part if isinstance(part, str) else json.dumps(part) for part in what.values())}")
