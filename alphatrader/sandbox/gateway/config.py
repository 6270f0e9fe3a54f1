"""What a gateway is like. Each default is an ordinary account's, on free ports of the loopback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from alphatrader.sandbox.gateway.depth import Mode
from alphatrader.sandbox.gateway.limits import Limits
from alphatrader.sandbox.gateway.session import MIN_VERSION

MAX_SERVER_VERSION = 176  # what a real gateway negotiates with ib_insync; from 201 on the protocol is another


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Raises ValueError: a server version that is not spoken."""

    host: str = "127.0.0.1"
    ports: Sequence[int] = (0, 0)  # of the gateway and of its failover, which shares the account; 0: one that the system gives
    account: str = "DUSIM0001"
    equity: Decimal = Decimal(100_000)  # USD, of an account that has no ledger yet
    limits: Limits = field(default_factory=Limits)
    max_server_version: int = MAX_SERVER_VERSION
    depth_mode: Mode = "shift"
    depth_modes: Mapping[str, Mode] = field(default_factory=dict)  # by symbol, where another than `depth_mode`
    log_all_frames: bool = False  # the wire log takes every frame, not orders alone
    scenario: Path | None = None  # file of faults at given market instants (docs/scenarios.md)

    def __post_init__(self) -> None:
        if not MIN_VERSION <= self.max_server_version <= MAX_SERVER_VERSION:
            raise ValueError(f"max_server_version {self.max_server_version} is outside {MIN_VERSION}..{MAX_SERVER_VERSION}")
