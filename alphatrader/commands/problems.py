"""What a person should look at, out of what `status` read: each cause, and under it what it brings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from alphatrader.contract.messages.operations import Alarm
from alphatrader.contract.modules import Module as M
from alphatrader.core.watch.causes import DATA, STATE, grouped
from alphatrader.core.watch.sight import unwell

STARTING_SECONDS: Final = 45.0
"""From a bare start to the first metrics, on a machine that has other things to do."""
_START: Final = "start"
_HALT: Final = "halt"
_SERVERS: Final = {M.REDIS: DATA, M.STATE: STATE}


def problems_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """`what`, and `brings`: texts. Nothing that stands alone is folded away."""
    if not found["started_ever"]:
        return [{"what": f"no system of mode {found['mode']} was ever started here: `alphatrader start`", "brings": []}]
    alarms = [*_start(found), *_modules(found), *_permission(found), *_flow(found), *_watchdog(found)]
    return [{"what": cause.text, "brings": [alarm.text for alarm in brought]} for cause, brought in grouped(alarms)]


def _start(found: dict[str, Any]) -> Iterator[Alarm]:
    if starting(found["up_s"]) and any(row["state"] in ("starting", "waiting") for row in found["modules"].values()):
        yield Alarm(
            _START, f"it starts: the state server came up {found['up_s']:.0f} s ago; within a minute all is there", _START
        )


def starting(up_s: float | None) -> bool:
    return up_s is not None and up_s < STARTING_SECONDS


def _modules(found: dict[str, Any]) -> Iterator[Alarm]:
    for name, row in found["modules"].items():
        state, reason = row["state"], row["reason"]
        alarm = unwell(name, state, reason, row.get("waits_for"))
        if name in _SERVERS and state in ("down", "degraded"):
            yield Alarm(f"server {_SERVERS[name].split()[0]}", f"{name}: {state}: {reason}", _SERVERS[name])
        elif alarm is not None:
            waits = (*alarm.waits_for, _START) if state == "waiting" or alarm.waits_for else alarm.waits_for
            yield Alarm(alarm.name, alarm.text, alarm.of, waits, alarm.explains)
        elif state == "down":
            yield Alarm(f"module {name}", f"{name}: {state}: {reason}", name)
        elif state == "starting" and starting(found["up_s"]):
            yield Alarm(f"module {name}", f"{name}: {reason or 'starts'}", name, (_START,))


def _permission(found: dict[str, Any]) -> Iterator[Alarm]:
    halt, lease, positions = found["halt"], found["lease"], found["positions"]
    if halt is None:
        yield Alarm(_HALT, "halt: cannot be read, which counts as halted", _HALT, (STATE,))
    elif halt["halted"]:
        missing = (M.EMERGENCY, _START) if halt.get("by") is None else ()
        yield Alarm(_HALT, f"halted{' (flattening)' if halt['flatten'] else ''}: {halt['reason']}", _HALT, missing)
    if lease is None or not lease["granted"]:
        text = f"no lease: {lease['reason'] if lease else 'cannot be read'}"
        yield Alarm("lease", text, "lease", (_HALT, M.RISK, STATE, _START))
    if positions and positions["known"] and not positions["reconciled"]:
        text = f"positions differ from the broker's: {'; '.join(positions['differences'])}"
        yield Alarm("positions", text, "positions differ", (M.POSITIONS,))
    unknown = [order["id"] for order in found["open_orders"] or [] if order["state"] == "UNKNOWN"]
    if unknown:
        yield Alarm("unknown orders", f"orders in state UNKNOWN: {', '.join(unknown)}", "unknown orders", (M.EXECUTION,))


def _flow(found: dict[str, Any]) -> Iterator[Alarm]:
    if found["session"]["state"] == "open" and found["feeds"] is not None:
        silent = [name for name, feed in found["feeds"].items() if feed is None]
        if silent:
            why = found["modules"]["ibkr"]["facts"].get("stale")
            names = "all" if len(silent) == len(found["feeds"]) else ", ".join(silent)
            yield Alarm("feeds", f"no feed: {names}{f' ({why})' if why else ''}", "feeds", (M.IBKR, _START))
    late = [name for name, queue in (found["queues"] or {}).items() if (queue["due_in_s"] or 0) < -20]
    if late:
        yield Alarm("late", f"deliveries overdue: {', '.join(late)}", "late", (M.DELIVERY, M.BEAT))
    discovery = found["discovery"] or {}
    texts = []
    if discovery.get("state") in ("failed", "silent"):
        texts.append(f"discovery {discovery['state']} at {discovery['done']} of {discovery['of']}: {discovery['step']}")
    texts += [f"discovery: {one}" for one in discovery.get("failed", ())]
    texts += [f"waits for a second night or `alphatrader discover --accept`: {one}" for one in discovery.get("waiting", ())]
    for text in texts:
        yield Alarm(text, text, text)


def _watchdog(found: dict[str, Any]) -> Iterator[Alarm]:
    """What it saw that is not read here, or here a few seconds later."""
    for alert in found["alerts"] or []:
        if not alert.name.startswith(("module ", "server ", "feed", "unknown orders", "queue ")):
            yield Alarm(alert.name, f"watchdog: {alert.text}", alert.of, alert.waits_for, alert.explains)
