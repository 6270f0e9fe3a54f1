"""What every process of the product has at hand: settings, secrets, clock, calendar, log, folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphatrader.contract.modules import Module, instance_name
from alphatrader.contract.settings import Settings
from alphatrader.runtime import log
from alphatrader.runtime.audit import AuditLog
from alphatrader.runtime.calendar import Calendar, nyse
from alphatrader.runtime.clock import Clock, open_clock
from alphatrader.runtime.recording import Recorder
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.settings import data_path, load, log_path
from alphatrader.runtime.store import AsyncStore, Store


@dataclass(frozen=True)
class Context:
    module: Module
    settings: Settings
    secrets: Secrets
    clock: Clock
    calendar: Calendar
    log: Any
    data_dir: Path
    shard: int = 1
    """Which of the module's processes this is."""

    @property
    def instance(self) -> str:
        """The name of this process in `lock:`, `health:` and the log."""
        return instance_name(self.module, self.shard)

    def async_store(self) -> AsyncStore:
        return AsyncStore(self.module, self.settings, self.secrets.redis_password)

    def store(self) -> Store:
        return Store(self.module, self.settings, self.secrets.redis_password)

    def recorder(self) -> Recorder | None:
        """For a module that is recorded; None where the settings give it no disk."""
        most_bytes = self.settings.log.turns_most_bytes
        return Recorder(self.data_dir / "audit", self.instance, self.settings, self.clock, most_bytes) if most_bytes else None

    def wire_log(self) -> AuditLog | None:
        """For a module with a connection to the broker: each raw byte of it, both ways; None where the settings give no disk."""
        most_bytes = self.settings.log.audit_most_bytes
        return AuditLog(self.data_dir / "audit", self.instance, self.clock, most_bytes) if most_bytes else None


def process_context(module: Module, shard: int = 1) -> Context:
    """The context of this process, started by its parent: secrets come from the environment."""
    settings = load()
    secrets = Secrets(module)
    folder = data_path(settings)
    clock = open_clock(folder, settings.mode)
    logger = log.configure(settings, instance_name(module, shard), clock, secrets.values(), log_path(settings))
    return Context(module, settings, secrets, clock, nyse(), logger, folder, shard)
