"""Which alarm is another's consequence: one cause is told with what it brings, and what stands alone stands alone.

Who is ill says what it waits for (`Health.waits_for`, `Alarm.waits_for`); here stands only who lives on whom. An alarm is
another's consequence if that one is of what it waits for, or of anything farther up the flow while what lies between raises none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from alphatrader.contract.messages.operations import Alarm
from alphatrader.contract.modules import Module as M

BROKER: Final = "broker"
VENDORS: Final = "vendors"
STAND_INS: Final = str(M.SANDBOX)
DATA: Final = "data server"
STATE: Final = "state server"
LIVES_ON: Final[dict[str, tuple[str, ...]]] = {
    BROKER: (STAND_INS,),
    VENDORS: (STAND_INS,),
    M.IBKR: (BROKER, DATA, STATE),
    M.ANALYTICS: (M.IBKR,),
    M.SIGNALS: (M.ANALYTICS,),
    M.EXECUTION: (BROKER, STATE),
    M.EMERGENCY: (BROKER, STATE),
    M.POSITIONS: (M.EXECUTION,),
    M.RISK: (M.EXECUTION, M.POSITIONS),
    M.PULLS: (VENDORS, DATA, STATE, M.BEAT),
    M.BEAT: (M.DELIVERY,),
    M.DELIVERY: (VENDORS, STATE),
    M.TELEGRAM: (VENDORS, STATE),
    M.PAGES: (VENDORS, STATE),
    M.DASHBOARD: (STATE, DATA),
}
"""Nearest first."""


def causes(alarms: Mapping[str, Alarm]) -> dict[str, str]:
    """Name of an alarm -> name of the one at its root; only of consequences."""
    ill: dict[str, str] = {}
    for name, alarm in alarms.items():
        if alarm.explains:
            ill.setdefault(alarm.of, name)
    found = {}
    for name in alarms:
        passed, root = {name}, name
        while (above := _above(alarms[root], ill)) is not None and above not in passed:
            passed.add(above)
            root = above
        if root != name:
            found[name] = root
    return found


def _above(alarm: Alarm, ill: Mapping[str, str]) -> str | None:
    """The alarm that explains this one, nearest first; none of its own subject does."""
    ahead, seen = list(alarm.waits_for), {alarm.of}
    while ahead:
        subject = ahead.pop(0)
        if subject in seen:
            continue
        seen.add(subject)
        if subject in ill:
            return ill[subject]
        ahead += LIVES_ON.get(subject, ())
    return None


def grouped(alarms: Iterable[Alarm]) -> list[tuple[Alarm, list[Alarm]]]:
    """Each cause with its consequences, both in the order they were given."""
    by_name = {alarm.name: alarm for alarm in alarms}
    roots = causes(by_name)
    groups: dict[str, list[Alarm]] = {name: [] for name in by_name if name not in roots}
    for name, root in roots.items():
        groups[root].append(by_name[name])
    return [(by_name[name], brought) for name, brought in groups.items()]
