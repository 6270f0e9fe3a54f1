"""A running gateway for tests: `async with running_gateway(tmp_path) as running: ...`.

    from tests.support.gateway import running_gateway

    async def story(tmp_path):
        async with running_gateway(tmp_path) as running:          # a FixedMarket, free ports, Monday 10:00 New York
            ib = IB()
            await ib.connectAsync("127.0.0.1", running.port, clientId=1)
            running.market.quote_set(SPY, bid=601.0, ask=601.02)  # shows up in the next turn (50 ms)
            running.clock.advance(60)                             # market time moves only when told
            running.gateway.inject("drop")                        # kinds: alphatrader/sandbox/gateway/faults.py

With `market="simulated"` the seeded `SimulatedMarket` runs instead, and with `clock=Clock(start_ns, running=True)`
market time flows with the machine's. What is left of the keywords goes to `GatewayConfig`. `running.port` and
`running.second_port` are the two gateways of one account; `running.data_dir` holds `ledger.jsonl` and `wire.jsonl`.
`running.wire()` reads the wire log as a list of dicts.

`async with client(running, client_id) as ib:` is a connected IB() that fails the test when ib_insync could not decode
a frame; `await until(condition)` of tests/support/waiting.py waits for an event with a limit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from ib_insync import IB

from alphatrader.sandbox.gateway import Gateway, GatewayConfig, hours
from alphatrader.sandbox.gateway.hours import NEW_YORK
from alphatrader.sandbox.gateway.replay.audit import Recording
from alphatrader.sandbox.gateway.replay.pace import Pace
from tests.support.fixed_market import FixedMarket
from tests.support.waiting import until

NS = 10**9


def new_york_ns(text: str) -> int:
    """`2026-11-23 10:00:00` in New York as nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * NS


MONDAY_TEN = new_york_ns("2026-11-23 10:00:00")


def sessions_around(ns: int) -> list[tuple[date, int, int]]:
    """Trading sessions (date, open, close) from three years before `ns` to two after, for SimulatedMarket."""
    day = hours.new_york(ns).date()
    days = [day + timedelta(days=offset) for offset in range(-3 * 366, 2 * 366)]
    return [(d, *bounds) for d in days if (bounds := hours.session(d)) is not None]


class Clock:
    """Market time: stands still until advanced, or flows with the machine's clock when `running`."""

    def __init__(self, start_ns: int = MONDAY_TEN, *, running: bool = False) -> None:
        self._base = start_ns
        self._origin = time.monotonic_ns() if running else None

    def __call__(self) -> int:
        return self._base + (time.monotonic_ns() - self._origin if self._origin is not None else 0)

    def advance(self, seconds: float) -> None:
        self._base += int(seconds * NS)

    def set(self, ns: int) -> None:
        if ns < self():
            raise ValueError("market time never goes back")
        self._base += ns - self()


@dataclass
class Running:
    gateway: Gateway
    market: Any  # FixedMarket, or SimulatedMarket when asked for
    clock: Clock
    data_dir: Path

    @property
    def port(self) -> int:
        return self.gateway.ports[0]

    @property
    def second_port(self) -> int:
        return self.gateway.ports[1]

    def wire(self) -> list[dict[str, Any]]:
        self.gateway.wire_log.flush()
        return [msgspec.json.decode(line) for line in (self.data_dir / "wire.jsonl").read_bytes().splitlines()]


@asynccontextmanager
async def running_gateway(
    data_dir: Path,
    *,
    market: Any = "fixed",
    clock: Clock | None = None,
    recording: Recording | None = None,
    pace: Pace | None = None,
    **config: Any,
) -> AsyncIterator[Running]:
    """`market` is "fixed", "simulated", or any object with the Market protocol. A second call with the same `data_dir`
    restarts the same account."""
    clock = clock or Clock()
    if market == "fixed":
        market = FixedMarket(clock())
    elif market == "simulated":
        from alphatrader.sandbox.market import SimulatedMarket

        market = SimulatedMarket(seed=7, start_ns=clock(), sessions=sessions_around(clock()))
    gateway = Gateway(
        market,
        GatewayConfig(**config),
        now_ns=clock,
        machine_ns=time.monotonic_ns,
        data_dir=data_dir,
        recording=recording,
        pace=pace,
    )
    await gateway.start()
    try:
        yield Running(gateway, market, clock, data_dir)
    finally:
        await gateway.stop()
    assert gateway.failed_turns == 0, "the log tells what a turn of the gateway failed with"


class _DecoderErrors(logging.Handler):
    """What ib_insync logs when a frame does not decode; it swallows the exception itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@asynccontextmanager
async def client(running: Running, client_id: int = 1, *, port: int | None = None, tolerate: bool = False) -> AsyncIterator[IB]:
    """A connected ib_insync session. `tolerate` allows decoder errors (injected garbage)."""
    errors = _DecoderErrors()
    logger = logging.getLogger("ib_insync.Decoder")
    logger.addHandler(errors)
    ib = IB()
    try:
        await ib.connectAsync("127.0.0.1", port or running.port, clientId=client_id, timeout=4)
        yield ib
    finally:
        ib.disconnect()
        logger.removeHandler(errors)
    assert tolerate or not errors.texts, errors.texts


async def turns(running: Running, ib: IB, count: int = 3) -> None:
    """So many turns of the gateway with all that this client asked of it so far, and what it told the client in them is here."""
    await ib.reqCurrentTimeAsync()
    last = running.gateway.wire_log.turn + count
    await until(lambda: running.gateway.wire_log.turn >= last)
    await ib.reqCurrentTimeAsync()
