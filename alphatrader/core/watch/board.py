"""When the operator is told: once an alarm has stood long enough, again while it stands, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Standing:
    text: str
    since: float
    told: float | None = None


class AlarmBoard:
    """All times are machine seconds that only grow."""

    def __init__(self, *, confirm_seconds: float, repeat_seconds: float) -> None:
        self._confirm = confirm_seconds
        self._repeat = repeat_seconds
        self._standing: dict[str, _Standing] = {}

    def see(self, alarms: dict[str, str], now: float, unseen: tuple[str, ...] = ()) -> list[str]:
        """The lines to tell after this look. What could not be looked at (`unseen`: how its alarms' names begin) does not end."""
        lines = []
        for name, text in alarms.items():
            standing = self._standing.setdefault(name, _Standing(text, now))
            standing.text = text
            if standing.told is None and now - standing.since >= self._confirm:
                standing.told = now
                lines.append(f"ALARM {text}")
            elif standing.told is not None and now - standing.told >= self._repeat:
                standing.told = now
                lines.append(f"STILL {text} (for {(now - standing.since) / 60:.0f} min)")
        for name in [name for name in self._standing if name not in alarms and not name.startswith(unseen)]:
            standing = self._standing.pop(name)
            if standing.told is not None:
                lines.append(f"OVER {name} (after {now - standing.since:.0f} s)")
        return lines

    @property
    def standing(self) -> tuple[str, ...]:
        """What has been told and is not over."""
        return tuple(standing.text for standing in self._standing.values() if standing.told is not None)
