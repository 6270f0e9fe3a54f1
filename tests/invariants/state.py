"""Invariants of what is booked and what is logged (faults.md I9, I10, I23)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.invariants.evidence import Evidence


def _broker_positions(evidence: Evidence) -> dict[int, int]:
    held: dict[int, int] = {}
    for line in evidence.wire:
        if line["kind"] == "truth" and line["what"] in ("fill", "expiry"):
            held[line["con_id"]] = int(float(line["position"]))
    return {con_id: quantity for con_id, quantity in held.items() if quantity}


def positions_equal(evidence: Evidence) -> list[str]:
    """I9: at rest, what we hold is what the broker says we hold."""
    if not evidence.settled:
        return []
    ours: dict[int, int] = defaultdict(int)
    for position in evidence.positions:
        if position.quantity and position.contract.con_id is not None:
            ours[position.contract.con_id] += position.quantity
    broker = _broker_positions(evidence)
    return [
        f"contract {con_id}: we hold {ours.get(con_id, 0)}, the broker says {broker.get(con_id, 0)}"
        for con_id in sorted({*ours, *broker})
        if ours.get(con_id, 0) != broker.get(con_id, 0)
    ]


def executions_once(evidence: Evidence) -> list[str]:
    """I10: every execution of the broker is booked once, with its quantity."""
    found = []
    truth: dict[str, float] = {}
    for line in evidence.truths("fill"):
        truth[line["exec_id"].rsplit(".", 1)[0]] = float(line["shares"])
    for key, fill in evidence.fills.items():
        if key != fill.exec_id.rsplit(".", 1)[0]:
            found.append(f"fill {fill.exec_id} is booked under {key}")
        if key in truth and truth[key] != fill.quantity:
            found.append(f"fill {key} is booked as {fill.quantity}, the broker filled {truth[key]:g}")
        if key not in truth:
            found.append(f"fill {key} was never made by the broker")
    if evidence.settled:
        found += [f"execution {key} is not booked" for key in truth if key not in evidence.fills]
    return found


def no_secret_in_logs(evidence: Evidence) -> list[str]:
    """I23: no secret of ours in any log."""
    return [f"a secret stands in {name}" for name, text in evidence.logs.items() if any(s in text for s in evidence.secrets)]


STATE_JUDGES: dict[str, Any] = {
    "I9 positions equal": positions_equal,
    "I10 executions once": executions_once,
    "I23 no secret in logs": no_secret_in_logs,
}
