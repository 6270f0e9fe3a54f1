"""Secrets: from the environment, or made at a first start in `data/<mode>/secrets.json` (0600).

Who calls it: the parent, which hands each module only what it declares; and the CLI. Never a log, Redis or a command line.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets as random_secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from alphatrader.contract.modules import Module
from alphatrader.contract.settings.secrets import SECRETS, declared
from alphatrader.runtime.settings import SettingsError

PASSWORD_VARIABLE: Final = "ALPHATRADER_REDIS_PASSWORD"  # noqa: S105 the variable's name
_FILE: Final = "secrets.json"


class SecretMissingError(LookupError):
    """A module needs a secret that neither the environment nor the mode's file has."""


class Vault:
    """The mode's secrets file together with the environment."""

    def __init__(self, folder: Path, mode: str, environment: Mapping[str, str] | None = None, *, make: bool = True) -> None:
        """`make=False` for who only looks: a mode that was never started keeps no secrets, and gets none by being looked at."""
        self._environment = os.environ if environment is None else environment
        self._mode = mode
        path = folder / _FILE
        self.started = make or path.exists()
        """Whether a system of this mode was ever started here."""
        self._made = self._read_or_make(path) if self.started else {}

    def _read_or_make(self, path: Path) -> dict[str, str]:
        """Raises SettingsError. On a disk that takes nothing any more it is read: who halts or flattens needs a password."""
        try:
            return self._completed(path)
        except OSError as error:
            refused = error.strerror
        with contextlib.suppress(OSError):
            values = _values(path, path.read_text())
            if all(f"redis.{module}" in values for module in Module):
                return values
        raise SettingsError(f"{path}: secrets cannot be kept there: {refused}")

    def _completed(self, path: Path) -> dict[str, str]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            values = _values(path, file.read())
            wanted = {f"redis.{module}": "{hex}" for module in Module}
            wanted |= {s.name: s.sandbox_form for s in SECRETS if s.made or self._mode == "sandbox"}
            missing = {name: form for name, form in wanted.items() if name not in values}
            if missing:
                values |= {name: form.replace("{hex}", random_secrets.token_hex(16)) for name, form in missing.items()}
                file.seek(0)
                file.truncate()
                json.dump(values, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
        return values

    def redis_password(self, module: Module) -> str:
        """Empty where no system was ever started: no server takes it."""
        return self._made[f"redis.{module}"] if self.started else ""

    def redis_hashes(self) -> dict[Module, str]:
        """SHA-256 of every module's Redis password, as an ACL file takes it."""
        return {module: hashlib.sha256(self.redis_password(module).encode()).hexdigest() for module in Module}

    def get(self, name: str) -> str | None:
        secret = next(secret for secret in SECRETS if secret.name == name)
        return self._environment.get(secret.variable) or self._made.get(name)

    def environment_for(self, module: Module) -> dict[str, str]:
        """What the parent puts into this module's environment: its Redis password and the secrets it declares."""
        given = {PASSWORD_VARIABLE: self.redis_password(module)}
        for secret in declared(module):
            value = self.get(secret.name)
            if value:
                given[secret.variable] = value
        return given


def _values(path: Path, text: str) -> dict[str, str]:
    """What the file holds. A broken one is not made anew: the servers and every login know the old secrets."""
    values: Any = None
    with contextlib.suppress(ValueError):
        values = json.loads(text) if text else {}
    if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()):
        return values
    raise SettingsError(
        f"{path}: is damaged: put back a copy of it, or remove it with the system stopped: a start makes new secrets"
    )


class Secrets:
    """A module's own secrets, as its parent put them into its environment."""

    def __init__(self, module: Module, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self.redis_password = environment.get(PASSWORD_VARIABLE, "")
        self._values = {s.name: environment.get(s.variable) or None for s in declared(module)}
        self._variables = {s.name: s.variable for s in SECRETS}
        self._module = module

    def get(self, name: str) -> str | None:
        """The secret, or None where it is not configured. KeyError for one this module does not declare."""
        return self._values[name]

    def require(self, name: str) -> str:
        value = self._values[name]
        if value is None:
            raise SecretMissingError(f"{self._module} needs {name}: set {self._variables[name]} in the environment")
        return value

    def values(self) -> list[str]:
        """All values, for the log's redaction."""
        return [value for value in (*self._values.values(), self.redis_password) if value and len(value) >= 6]
