"""Modules, queues, deliveries, the session, the morning note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from alphatrader.contract.key import BoundKey
from alphatrader.contract.keys import BASIC_QUEUE, FREE_QUEUE, PREMIUM_QUEUE, TELEGRAM_ANALYSIS_QUEUE, TELEGRAM_SIGNALS_QUEUE
from alphatrader.contract.messages.distribution import Analysis, DeliveryRecord
from alphatrader.contract.messages.metrics import Candidates, DiscoveryProgress
from alphatrader.contract.messages.operations import Health, Observed
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.core.watch.causes import grouped
from alphatrader.roster import AlphaTrader, Line
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import exchange_datetime
from alphatrader.web.dashboard.views.market import ms

_LAST_DELIVERIES: Final = 12


def session(calendar: Calendar, now_ns: int) -> dict[str, Any]:
    """What the exchange does now: `state` open, before, after or closed, and what comes next."""
    current = calendar.current(now_ns)
    base = {"day": current.name, "early": current.early, "opens": current.opens, "closes": current.closes}
    if current.contains(now_ns):
        return base | {"state": "open", "until_ms": ms(current.close_ns)}
    following = current if now_ns < current.open_ns else calendar.next(current)
    coming = {"next_day": following.name, "next_opens": following.opens, "until_ms": ms(following.open_ns)}
    if current.day != exchange_datetime(now_ns).date():
        return base | coming | {"state": "closed"}
    return base | coming | {"state": "before" if now_ns < current.open_ns else "after"}


def module(line: Line, mode: str, beat: Health | None, seen: Observed | None, answers: Mapping[str, bool]) -> dict[str, Any]:
    """One line of the roster, from its heartbeat, else from what was seen from outside; `unknown` where neither tells."""
    server_answers, state_answers = answers.get(str(line.module)), answers.get(str(Module.STATE))
    row: dict[str, Any] = {"about": line.about, "kind": line.kind, "reason": None, "counts": {}, "facts": {}}
    observed = (seen.states.get(str(line.module)) if seen else None) or None
    if mode not in line.modes:
        return row | {"state": "off", "reason": f"has no work in {mode} mode"}
    if line.kind == "server":
        return row | {"state": "ready" if server_answers else "down", "reason": None if server_answers else "does not answer"}
    if beat is not None:
        return row | {
            "state": beat.state,
            "reason": beat.reason,
            "waits_for": beat.waits_for,
            "beat_ms": ms(beat.machine_ns),
            "started_ms": ms(beat.started_machine_ns),
            "pid": beat.pid,
            "counts": dict(beat.counts),
            "facts": {name: fact for name, fact in beat.facts.items() if isinstance(fact, int | float | str | bool)},
        }
    if line.heartbeat and not state_answers:
        return row | {"state": "unknown", "reason": "the state server, where its heartbeat stands, does not answer"}
    if line.heartbeat:
        return row | {"state": "down", "reason": "no heartbeat" + (f"; the watchdog: {observed}" if observed else "")}
    if observed is None:
        return row | {"state": "unknown", "reason": "has no heartbeat, and the watchdog says nothing of it"}
    return row | {"state": "ready" if observed == "ok" else "degraded", "reason": None if observed == "ok" else observed}


def modules(
    settings: Settings, beats: Mapping[str, Health], seen: Observed | None, answers: Mapping[str, bool]
) -> dict[str, dict[str, Any]]:
    """The roster's lines in start order, each process by its name: a line's shards have a row each."""
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(AlphaTrader.LINES):
        for name in line.instances(settings):
            rows[name] = module(line, settings.mode, beats.get(name), seen, answers) | {"order": number}
    return rows


def discovery(progress: DiscoveryProgress | None, waiting: Candidates | None) -> list[str]:
    """What a person should know of discovery, a line each: a run under way or failed, and what waits for a yes."""
    lines = []
    if progress is not None and progress.state != "done":
        lines.append(f"discovery {progress.state}, {progress.done} of {progress.of}: {progress.step}")
    lines += [f"discovery failed: {one}" for one in (progress.failed if progress else ())]
    lines += [
        f"discovery: {one.parameter} of {one.symbol or 'all'} jumped from {one.now_in_effect} to {one.found}; waits since "
        f"{one.night} for a second night or `alphatrader discover --accept`"
        for one in (waiting.waiting if waiting else ())
    ]
    return lines


def alerts(seen: Observed) -> list[dict[str, Any]]:
    """What the watchdog told, a line a cause, with what each brought."""
    return [
        {"name": cause.name, "text": cause.text, "brings": [alarm.text for alarm in brought]}
        for cause, brought in grouped(seen.alerts)
    ]


def queues(symbols: Iterable[str]) -> dict[str, BoundKey[Any]]:
    """The delivery queues by the name they are shown with."""
    named: dict[str, BoundKey[Any]] = {
        "premium": PREMIUM_QUEUE.at(),
        "basic": BASIC_QUEUE.at(),
        "free": FREE_QUEUE.at(),
        "telegram notes": TELEGRAM_ANALYSIS_QUEUE.at(),
    }
    return named | {f"telegram {symbol}": TELEGRAM_SIGNALS_QUEUE.at(symbol=symbol) for symbol in symbols}


def deliveries(ledger: Mapping[str, DeliveryRecord]) -> dict[str, Any]:
    """How many ended how by channel, and the newest; telegram users are one channel."""
    by_channel: dict[str, Counter[str]] = {}
    for record in ledger.values():
        vendor, _, who = record.recipient.partition(":")
        channel = "telegram users" if vendor == "telegram" and who.isdigit() else record.recipient
        by_channel.setdefault(channel, Counter())[record.state] += 1
    newest = sorted(ledger.values(), key=lambda record: record.machine_ns, reverse=True)[:_LAST_DELIVERIES]
    return {
        "channels": {channel: dict(states) for channel, states in sorted(by_channel.items())},
        "unknown": sum(states["unknown"] for states in by_channel.values()),
        "last": [
            {
                "id": record.delivery_id,
                "recipient": record.recipient,
                "state": record.state,
                "attempts": record.attempts,
                "late_ms": (record.ts_ns - record.due_ns) // 1_000_000,
                "at_ms": ms(record.ts_ns),
                "reason": record.reason,
            }
            for record in newest
        ],
    }


def note(message: Analysis | None) -> dict[str, Any]:
    if message is None:
        return {"known": False}
    return {
        "known": True,
        "session": message.session,
        "title": message.title,
        "text": message.text,
        "source": message.source,
        "facts": dict(message.facts),
        "at_ms": ms(message.ts_ns),
    }
