"""What happened in a run: the gateway's wire log, the vendors' wire log, and the product's ledgers and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey
from alphatrader.contract.messages.orders import Fill
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import Approval, ControlRequest, HaltEvent
from alphatrader.contract.messages.signals import SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime.store import Cursor, Store

Line = dict[str, Any]


@dataclass
class Evidence:
    wire: list[Line]
    """The gateway's wire.jsonl."""
    vendors: list[Line]
    """The HTTP stand-ins' vendors.jsonl."""
    approvals: list[Approval] = field(default_factory=list)
    halts: list[HaltEvent] = field(default_factory=list)
    controls: list[ControlRequest] = field(default_factory=list)
    signals: list[SignalEvent] = field(default_factory=list)
    fills: dict[str, Fill] = field(default_factory=dict)
    positions: list[Position] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """Log file -> its text."""
    secrets: list[str] = field(default_factory=list)
    settled: bool = True
    """Whether the system was at rest when the ledgers were read, so that they must agree with the broker."""

    def frames(self, message: str, direction: str = "in") -> Iterator[Line]:
        for line in self.wire:
            if line["kind"] == "frame" and line["message"] == message and line["dir"] == direction:
                yield line

    def truths(self, what: str) -> Iterator[Line]:
        for line in self.wire:
            if line["kind"] == "truth" and line["what"] == what:
                yield line

    def openings(self) -> Iterator[Line]:
        """placeOrder frames that open a position: ours, a parent, buying."""
        for line in self.frames("placeOrder"):
            ref = line["fields"].get("orderRef", "")
            if ref and "/" not in ref and line["fields"].get("action") == "BUY":
                yield line


def read_lines(path: Path) -> list[Line]:
    """A torn last line (the writer was killed) is not evidence."""
    lines = []
    for text in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def gather(store: Store, folder: Path, logs: Path, secrets: list[str], *, settled: bool = True) -> Evidence:
    """From a running (or stopped but reachable) system: `folder` is data/<mode>, `store` the operator's."""

    def stream(bound: BoundKey[Any]) -> list[Any]:
        return [entry.event for entry in store.read(Cursor.at_start([bound]), count=100_000)]

    positions = [position for bound in store.scan(k.POSITIONS) if (position := store.get(bound))]
    return Evidence(
        wire=read_lines(folder / "broker" / "wire.jsonl"),
        vendors=read_lines(folder / "vendors" / "vendors.jsonl"),
        approvals=stream(k.EVENTS_APPROVALS.at()),
        halts=stream(k.EVENTS_HALT.at()),
        controls=[event for m in (Module.CLI, Module.DASHBOARD, Module.TELEGRAM) for event in stream(k.CONTROL.at(module=m))],
        signals=stream(k.EVENTS_SIGNALS.at()),
        fills=store.fields(k.LEDGER_FILLS.at()),
        positions=positions,
        logs={path.name: path.read_text(errors="replace") for path in logs.glob("*.jsonl*")},
        secrets=[secret for secret in secrets if len(secret) >= 8],
        settled=settled,
    )
