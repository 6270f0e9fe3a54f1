"""The settings, typed: one class for each concern, read from config/config.yaml and the environment by runtime/settings.py.

Each field's description gives unit, meaning and reason; `Meta` bounds are enforced when the file is read, and
docs/settings.md is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from alphatrader.contract.settings.market import Analytics, Discovery, Market, Options
from alphatrader.contract.settings.people import Billing, Distribution, Routines, Vendors, Web
from alphatrader.contract.settings.system import Broker, Log, Sandbox, Servers, Watchdog
from alphatrader.contract.settings.trading import Orders, Positions, Risk, Signals, Strategies

Mode = Literal["sandbox", "paper", "live"]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of config.yaml."""

    mode: Annotated[Mode, Meta(description="`sandbox` needs no account; `paper` is an IBKR paper account; `live` is real money.")]
    data_dir: Annotated[str, Meta(min_length=1, description="Where each mode keeps its own data, below this folder.")]
    log_dir: Annotated[str, Meta(min_length=1, description="Where log files go, beside what the terminal shows.")]
    servers: Servers
    sandbox: Sandbox
    broker: Broker
    market: Market
    options: Options
    discovery: Discovery
    analytics: Analytics
    strategies: Strategies
    signals: Signals
    risk: Risk
    orders: Orders
    positions: Positions
    distribution: Distribution
    vendors: Vendors
    billing: Billing
    web: Web
    routines: Routines
    watchdog: Watchdog
    log: Log

    def __post_init__(self) -> None:
        shards, symbols = self.analytics.shards, len(self.market.equities) + len(self.market.futures)
        if shards > symbols:
            raise ValueError(f"analytics.shards: {shards} processes cannot share {symbols} symbols; at most one a symbol")
        self._check_ports()

    def listens_on(self) -> dict[str, tuple[str, int]]:
        """Setting -> host and port of all that listens in this mode."""
        here, servers = "127.0.0.1", self.servers
        ours = {
            "servers.data": (servers.data.host, servers.data.port),
            "servers.state": (servers.state.host, servers.state.port),
            "web.dashboard_port": (here, self.web.dashboard_port),
            "web.pages_port": (here, self.web.pages_port),
            "web.flower_port": (here, self.web.flower_port),
            "watchdog.prometheus_port": (here, self.watchdog.prometheus_port),
        }
        if self.mode == "sandbox":
            ports = (*self.sandbox.gateway_ports, self.sandbox.http_port)
            names = ("sandbox.gateway_ports.0", "sandbox.gateway_ports.1", "sandbox.http_port")
            ours |= {name: (here, port) for name, port in zip(names, ports, strict=True)}
        return ours

    def _check_ports(self) -> None:
        """Nothing of ours may listen where something else of ours does."""
        first: dict[tuple[str, int], str] = {}
        for name, (host, port) in self.listens_on().items():
            before = first.setdefault(("127.0.0.1" if host == "localhost" else host, port), name)
            if before != name:
                raise ValueError(f"{name}: port {port} is that of {before}")
