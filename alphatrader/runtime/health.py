"""A module's heartbeat: `health:{module}`, written once a second."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Health, HealthState
from alphatrader.runtime.batch import Batch
from alphatrader.runtime.clock import Clock


class Heartbeat:
    """Gathers what the module says of itself."""

    def __init__(self, instance: str, clock: Clock) -> None:
        self._instance = instance
        self._clock = clock
        self._started_ns = clock.machine_ns()
        self._state: HealthState = "starting"
        self._reason: str | None = None
        self._counts: Counter[str] = Counter()
        self._facts: dict[str, Any] = {}
        self._waits_for: str | None = None

    def ready(self) -> None:
        self._state, self._reason, self._waits_for = "ready", None, None

    def degraded(self, reason: str, waits_for: str | None = None) -> None:
        """It works, but something a person should know is wrong; `waits_for` as in `Health`."""
        self._state, self._reason, self._waits_for = "degraded", reason, waits_for

    def waiting(self, reason: str, waits_for: str | None = None) -> None:
        """It cannot work until something else does."""
        self._state, self._reason, self._waits_for = "waiting", reason, waits_for

    def stopping(self) -> None:
        self._state, self._reason, self._waits_for = "stopping", None, None

    def count(self, name: str, n: int = 1) -> None:
        self._counts[name] += n

    def fact(self, name: str, value: Any) -> None:
        self._facts[name] = value

    def add_to(self, batch: Batch, refused: Counter[str]) -> None:
        counts = dict(self._counts) | {f"refused {pattern}": n for pattern, n in refused.items()}
        message = Health(
            module=str(self._instance),
            state=self._state,
            reason=self._reason,
            pid=os.getpid(),
            started_machine_ns=self._started_ns,
            machine_ns=self._clock.machine_ns(),
            ts_ns=self._clock.market_ns(),
            counts=counts,
            facts=dict(self._facts),
            waits_for=self._waits_for,
        )
        batch.put(k.HEALTH.at(module=self._instance), message)
