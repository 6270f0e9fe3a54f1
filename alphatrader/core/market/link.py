"""What stands between the gateway and the market: the broker's servers, its farms, and other sessions of the same login.

A state machine: it is told what was said and when (monotonic seconds), and says what to think of it. Used by `streams/ibkr`.
"""

from __future__ import annotations

from typing import Final

FARM_SECONDS: Final = 5.0
"""A farm must be down this long to be told: it flaps."""
COMPETING_FIRST_SECONDS: Final = 5.0
COMPETING_MOST_SECONDS: Final = 300.0


GRACE_SECONDS: Final = 1.0
"""What was under way when the link broke may still arrive this long, and proves nothing."""


def in_window(clock: str, since: str, until: str) -> bool:
    """Whether `clock` is from `since` on and before `until`, all HH:MM; a window may reach over midnight."""
    return since <= clock < until if since <= until else clock >= since or clock < until


class Link:
    def __init__(self, give_up_seconds: float) -> None:
        self._give_up_seconds = give_up_seconds
        self._connected = False
        self._lost_at: float | None = None
        self._farms: dict[str, float] = {}
        self._retry_at: float | None = None
        """When all lines are asked for again while another session has the data; None: none has."""
        self._retries = 0
        self._taken_at = 0.0

    # -- what was said ---------------------------------------------------------------------------------------------------

    def connected(self) -> None:
        """A new connection to a gateway: nothing said on the last one holds, but for the farms it told of while it was made."""
        self._connected, self._lost_at = True, None
        self._retry_at, self._retries = None, 0

    def disconnected(self) -> None:
        self._connected = False
        self._farms.clear()

    def lost(self, at: float) -> None:
        if self._lost_at is None:
            self._lost_at = at

    def back(self) -> None:
        self._lost_at = None

    def farm_broken(self, name: str, at: float) -> None:
        self._farms.setdefault(name, at)

    def farm_back(self, name: str) -> bool:
        """Whether it had been broken."""
        return self._farms.pop(name, None) is not None

    def taken(self, at: float) -> bool:
        """Another session has the data. Each line says so: whether this was the first word of it."""
        self._taken_at = at
        if self._retry_at is not None:
            return False
        self._wait(at)
        return True

    def heard(self, newest: float | None) -> bool:
        """Data came (`newest`: when, monotonic): that proves what no word has told. Whether something is back by it."""
        if newest is None:
            return False
        back = self._lost_at is not None and newest > self._lost_at + GRACE_SECONDS
        if back:
            self._lost_at = None
        if self._retry_at is not None and newest > self._taken_at + GRACE_SECONDS:
            self._retry_at, self._retries, back = None, 0, True
        return back

    # -- what to think of it ---------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the broker can be asked."""
        return self._connected and self._lost_at is None

    @property
    def competing(self) -> bool:
        """Another session has the data."""
        return self._retry_at is not None

    def take_retry(self, at: float) -> bool:
        """Whether to ask for all lines again now; the next time comes later."""
        if self._retry_at is None or at < self._retry_at:
            return False
        self._wait(at)
        return True

    def hopeless(self, at: float) -> bool:
        """Lost so long that another gateway should be tried."""
        return self._connected and self._lost_at is not None and at - self._lost_at >= self._give_up_seconds

    def farms_down(self, at: float) -> list[str]:
        return sorted(farm for farm, since in self._farms.items() if at - since >= FARM_SECONDS)

    def _wait(self, at: float) -> None:
        self._retry_at = at + min(COMPETING_FIRST_SECONDS * 2.0**self._retries, COMPETING_MOST_SECONDS)
        self._retries += 1
