"""Invariants of what subscribers were told, judged on the vendors' own stamps (faults.md I18, I19)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.invariants.evidence import Evidence, Line

SECOND = 1_000_000_000
CHANNEL_DELAY = {"basic": 60 * SECOND, "free": 300 * SECOND}
"""Discord channel -> market time between a signal and the first byte about it."""


def _posts(evidence: Evidence) -> list[Line]:
    return [
        line
        for line in evidence.vendors
        if line["vendor"] in ("discord", "telegram", "x") and line.get("told") and line["accepted"]
    ]


def never_early(evidence: Evidence) -> list[str]:
    """I18: nothing of a signal reaches a delayed channel before its time, by the vendor's stamp in market time."""
    found = []
    made = {event.signal.id: event.signal.ts_ns for event in evidence.signals if event.kind == "new"}
    for post in _posts(evidence):
        channel = str(post["told"]["channel"])
        delay = next((wait for name, wait in CHANNEL_DELAY.items() if name in channel), None)
        for signal_id, ts_ns in made.items():
            if delay is not None and signal_id in _text(post) and post["received_market_ns"] < ts_ns + delay:
                early = (ts_ns + delay - post["received_market_ns"]) / 1e9
                found.append(f"{signal_id} was told on {channel} {early:.3f} s early")
    return found


def told_once(evidence: Evidence) -> list[str]:
    """I19: each message at most once a channel."""
    counts = Counter(
        (post["vendor"], str(post["told"]["channel"]), _text(post)) for post in _posts(evidence) if _about_signal(evidence, post)
    )
    return [f"told {n} times on {vendor} {channel}: {text[:80]}" for (vendor, channel, text), n in counts.items() if n > 1]


def disclaimed(evidence: Evidence) -> list[str]:
    """Every message to subscribers says that it is no advice."""
    return [
        f"{post['vendor']} {post['told']['channel']}: no disclaimer in {_text(post)[:80]!r}"
        for post in _posts(evidence)
        if _about_signal(evidence, post) and "not investment advice" not in _text(post).lower()
    ]


def _about_signal(evidence: Evidence, post: Line) -> bool:
    return any(event.signal.id in _text(post) for event in evidence.signals)


def _text(post: Line) -> str:
    return f"{post['told'].get('title') or ''} {post['told'].get('text') or ''}"


PEOPLE_JUDGES: dict[str, Any] = {
    "I18 never early": never_early,
    "I19 told once": told_once,
    "disclaimer": disclaimed,
}
