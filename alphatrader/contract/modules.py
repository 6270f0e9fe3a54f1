"""The modules by name. A module is a line of the Procfile, a user of the Redis servers, and the writer of its keys."""

from __future__ import annotations

from enum import StrEnum


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
