"""What happened in a run: the gateway's wire log, the vendors' wire log, and the product's ledgers and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphatrader.contract.messages.distribution import DeliveryRecord
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade, Position
from alphatrader.contract.messages.risk import Approval, ControlRequest, HaltEvent, Lease
from alphatrader.contract.messages.signals import SignalEvent
from alphatrader.contract.settings import Settings
from alphatrader.runtime.journal import Line as Booking
from alphatrader.runtime.settings import load

Line = dict[str, Any]
SECOND = 1_000_000_000


@dataclass
class ServerFacts:
    """One of the two servers, as it says of itself."""

    policy: str
    evicted: int
    memory_share: float
    ttl_ms: dict[str, int]
    """Key -> milliseconds left, -1 without a TTL."""


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
    settings: Settings = field(default_factory=lambda: load({}))
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    trades: dict[str, ClosedTrade] = field(default_factory=dict)
    deliveries: dict[str, DeliveryRecord] = field(default_factory=dict)
    leases: list[Lease] = field(default_factory=list)
    """Every renewal that the state server's own log (AOF) still holds."""
    journal: list[Booking] = field(default_factory=list)
    """Execution's journal on disk."""
    servers: dict[str, ServerFacts] = field(default_factory=dict)
    views: dict[str, OrderRecord] = field(default_factory=dict)
    """orders:pending and orders:working."""
    users: dict[str, str] = field(default_factory=dict)
    """Redis user on the state server -> its ACL rules."""
    haystacks: dict[str, list[Path]] = field(default_factory=dict)
    """What a secret must not stand in, besides the logs: kind -> files."""
    since_ns: int = 0
    """Machine time since when the state server's streams are whole: what went before was lost with a server."""

    def frames(self, message: str, direction: str = "in") -> Iterator[Line]:
        for line in self.wire:
            if line["kind"] == "frame" and line["message"] == message and line["dir"] == direction:
                yield line

    def truths(self, what: str) -> Iterator[Line]:
        for line in self.wire:
            if line["kind"] == "truth" and line["what"] == what:
                yield line

    def openings(self) -> list[Line]:
        """placeOrder frames that buy where nothing is short: whatever they call themselves, they open."""
        found, held = [], {}
        for line in self.wire:
            if line["kind"] == "truth" and line["what"] in ("fill", "expiry"):
                held[line["con_id"]] = float(line["position"]) if line["what"] == "fill" else 0.0
            elif line["kind"] == "frame" and line["message"] == "placeOrder" and line["dir"] == "in":
                fields = line["fields"]
                if fields.get("action") == "BUY" and held.get(fields.get("conId"), 0.0) >= 0 and not fields.get("whatIf"):
                    found.append(line)
        return found

    @property
    def ended_ns(self) -> int:
        """Machine time of the gateway's last line."""
        return max((line["machine_ns"] for line in self.wire), default=0)

    def arrived_ns(self, line: Line) -> int:
        """The earliest moment a frame can have come: a gateway that was late read what had waited for it."""
        stamp: int = line["machine_ns"]
        for late in self.wire:
            if late["kind"] == "late":
                began = late["machine_ns"] - int((late["seconds"] + 0.1) * SECOND)
                if began <= stamp <= late["machine_ns"] + SECOND // 10:
                    return began
        return stamp

    def alarmed(self, since_ns: int, until_ns: int, *words: str) -> bool:
        """Whether the operator was told one of `words` between two machine instants, by the vendors' own log."""
        return any(
            post["told"]["channel"] == "operator"
            and since_ns <= post["received_machine_ns"] <= until_ns
            and any(word in post["told"]["text"] for word in words)
            for post in self.vendors
            if post.get("told") and post.get("accepted")
        )


def read_lines(path: Path) -> list[Line]:
    """A torn last line (the writer was killed) is not evidence."""
    return read_text_lines(path.read_text(errors="replace")) if path.exists() else []


def read_text_lines(text: str) -> list[Line]:
    lines = []
    for row in text.splitlines():
        try:
            lines.append(json.loads(row))
        except ValueError:
            continue
    return lines


def intent_of(ref: str) -> str:
    return ref.split("/")[0]
