"""When the operator is told: once an alarm has stood long enough, again while it stands, and when it ends.

What another alarm explains is told with that one, and not by itself; when the cause is over it has a while to mend itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alphatrader.contract.messages.operations import Alarm
from alphatrader.core.watch.causes import causes


@dataclass(slots=True)
class _Standing:
    alarm: Alarm
    since: float
    due: float
    """When it is told, if it is nobody's consequence by then."""
    told: float | None = None
    cause: str | None = None


class AlarmBoard:
    """All times are machine seconds that only grow."""

    def __init__(self, *, confirm_seconds: float, repeat_seconds: float, settle_seconds: float) -> None:
        self._confirm = confirm_seconds
        self._repeat = repeat_seconds
        self._settle = settle_seconds
        self._standing: dict[str, _Standing] = {}

    def see(self, alarms: Mapping[str, Alarm], now: float, unseen: tuple[str, ...] = ()) -> list[str]:
        """What to tell after this look, a text an alarm. What could not be looked at (`unseen`: how its alarms' names begin) does
        not end."""
        told, roots = [], causes(alarms)
        for name, alarm in alarms.items():
            standing = self._standing.setdefault(name, _Standing(alarm, now, now + self._confirm))
            if standing.cause is not None and name not in roots:
                standing.due = now + (self._settle if alarm.waits_for else self._confirm)  # ill by itself now, or left over
            standing.alarm, standing.cause = alarm, roots.get(name)
            if standing.cause is not None:
                continue
            brings = _with([other for other, root in roots.items() if root == name])
            if standing.told is None and now >= standing.due:
                standing.told = now
                told.append(f"ALARM {alarm.text}{brings}")
            elif standing.told is not None and now - standing.told >= self._repeat:
                standing.told = now
                told.append(f"STILL {alarm.text} (for {(now - standing.since) / 60:.0f} min){brings}")
        for name in [name for name in self._standing if name not in alarms and not name.startswith(unseen)]:
            standing = self._standing.pop(name)
            if standing.told is not None:
                told.append(f"OVER {name} (after {now - standing.since:.0f} s)")
        return told

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """What was told and is not over, and what stands behind it."""
        told = {name for name, standing in self._standing.items() if standing.told is not None}
        return tuple(s.alarm for name, s in self._standing.items() if name in told or s.cause in told)


def _with(names: list[str]) -> str:
    return f"\n  with it: {', '.join(name.removeprefix('module ') for name in names)}" if names else ""
