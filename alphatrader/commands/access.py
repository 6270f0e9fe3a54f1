"""How a command reaches the servers: as the operator's read-only user, or as `cli`, which may ask for a halt."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.clock import Clock, last_known_clock
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_place, load
from alphatrader.runtime.store import Store

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS: Final = 400
Cell = str | tuple[str, str]
"""A text, or a text and its colour."""


@dataclass(frozen=True)
class Access:
    settings: Settings
    folder: Path
    vault: Vault
    clock: Clock
    store: Store


def open_access(module: Module = Module.OPERATOR) -> Access:
    settings = load()
    folder = data_place(settings)
    vault = Vault(folder, settings.mode, make=False)
    store = Store(module, settings, vault.redis_password(module))
    return Access(settings, folder, vault, last_known_clock(folder, settings.mode), store)


def plain(value: Any) -> Any:
    """A message as plain data."""
    return msgspec.to_builtins(value)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def show(*columns: str, rows: Iterable[Iterable[Cell]], right: bool = False) -> None:
    """A table. Nothing in it is cut: what is too long for the terminal goes on below, and a pipe is as wide as it takes.
    `right` aligns all columns but the first to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for number, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if right and number else "left"
        table.add_column(column, overflow="fold", no_wrap=number == 0, justify=justify)
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else Text(cell[0], style=cell[1]) for cell in row))
    console(None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)


def console(width: int | None = None) -> Console:
    """A console that leaves a closed pipe to `alphatrader.cli`, as all other output does: Rich's own would end with code 1."""
    from rich.console import Console

    class Told(Console):
        def on_broken_pipe(self) -> None:
            raise  # Rich calls this while it handles the BrokenPipeError

    return Told(width=width)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
