"""The modules by name. A module is a line of the Procfile, a user of the Redis servers, and the writer of its keys."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Module(StrEnum):
    """Every party that connects to Redis, in the order of the flow."""

    REDIS = "redis"
    STATE = "state"
    SANDBOX = "sandbox"
    IBKR = "ibkr"
    ANALYTICS = "analytics"
    SIGNALS = "signals"
    RISK = "risk"
    EXECUTION = "execution"
    POSITIONS = "positions"
    EMERGENCY = "emergency"
    DISTRIBUTION = "distribution"
    TELEGRAM = "telegram"
    DASHBOARD = "dashboard"
    PAGES = "pages"
    PULLS = "pulls"
    DISCOVERY = "discovery"
    DELIVERY = "delivery"
    ROUTINES = "routines"
    BEAT = "beat"
    FLOWER = "flower"
    WATCHDOG = "watchdog"
    CLI = "cli"
    """The operator's commands that ask for something: halt, resume, flatten."""
    OPERATOR = "operator"
    """The operator's read-only user: `alphatrader get`, `watch`, `status`, and redis-cli."""


SERVERS = (Module.REDIS, Module.STATE)
"""Lines that run a server: their user administers it and writes no key but the stamp."""

CELERY_WORKERS = (Module.PULLS, Module.DISCOVERY, Module.DELIVERY, Module.ROUTINES)
"""Celery workers, one queue each, of the same name."""

CELERY_USERS = (*CELERY_WORKERS, Module.BEAT, Module.FLOWER, Module.DISTRIBUTION)
"""Who may touch the broker's keys: the workers, their scheduler and monitor, and the one stream that enqueues."""

SHARDED: Final = (Module.ANALYTICS,)
"""Modules that may run as several processes, each with its own part of the work: a setting says how many (roster.py)."""

_INSTANCE: Final = re.compile(r"([a-z]+)(?:\.([2-9]|[1-9][0-9]))?")
_FURTHER_GLOBS: Final = (".[2-9]", ".[1-9][0-9]")
"""The same for Redis."""


def instance_name(module: Module, shard: int = 1) -> str:
    """What a process is called in `lock:`, `health:` and the log: `analytics` is the first shard, `analytics.2` the second."""
    return str(module) if shard == 1 else f"{module}.{shard}"


def parse_instance(name: str) -> tuple[Module, int]:
    """Module and shard, from 1. Raises ValueError for a name that no process has."""
    match = _INSTANCE.fullmatch(name)
    if match is None or (match[2] and match[1] not in SHARDED):
        raise ValueError(f"{name!r} is no module, nor a shard of one of: {', '.join(SHARDED)}")
    return Module(match[1]), int(match[2] or 1)


def instance_globs(module: Module) -> tuple[str, ...]:
    """The names of a module's processes as Redis matches them."""
    return (str(module), *(f"{module}{further}" for further in _FURTHER_GLOBS if module in SHARDED))
