"""How a command reaches the servers: as the operator's read-only user, or as `cli`, which may ask for a halt."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.clock import Clock, last_known_clock
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_path, load
from alphatrader.runtime.store import Store


@dataclass(frozen=True)
class Access:
    settings: Settings
    folder: Path
    vault: Vault
    clock: Clock
    store: Store


def open_access(module: Module = Module.OPERATOR) -> Access:
    settings = load()
    folder = data_path(settings)
    vault = Vault(folder, settings.mode)
    store = Store(module, settings, vault.redis_password(module))
    return Access(settings, folder, vault, last_known_clock(folder, settings.mode), store)


def plain(value: Any) -> Any:
    """A message as plain data."""
    return msgspec.to_builtins(value)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
