"""A stage for the modules that trade: real servers, the stand-in gateway, and small voices of the modules that are not there.

async with stage(servers, tmp_path) as on:            # gateway, clock, halt lifted, lease renewed, quotes fresh
    async with on.execution() as execution:           # recovered, connected, settled
        await on.approve("i-1", quantity=2)
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.contract.messages.positions import Position, PositionEvent, WantedExit
from alphatrader.contract.messages.risk import Approval, ControlRequest, Halt, HaltEvent, Lease
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.system import Address
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import live
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.store import StoreLost
from alphatrader.streams.execution import ExecutionManager
from tests.support.gateway import MONDAY_TEN, Running, running_gateway
from tests.support.gateway import Clock as GatewayClock
from tests.support.holdings import contract_quote
from tests.support.modules import running_module
from tests.support.servers import Servers
from tests.support.waiting import until

ATTEMPTS = 3
_TOO_OLD = re.compile(r"(approval|lease|quote).* s old|there is no quote")


def play(servers: Servers, tmp_path: Path, story: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Runs one story on a stage of its own.

    An approval is worth acting on for one second, and rightly refused after it. Where a busy machine let it pass, the story did
    not come to what it tells: it is told again from the start. Any other failure stands."""

    async def run(folder: Path) -> None:
        async with stage(servers, folder) as on:
            await story(on)

    for attempt in range(1, ATTEMPTS + 1):
        folder = tmp_path / f"stage-{attempt}"
        folder.mkdir()
        try:
            asyncio.run(run(folder))
        except AssertionError:
            if attempt == ATTEMPTS or not _came_too_late(servers):
                raise
            servers.flush()
        else:
            return


def _came_too_late(servers: Servers) -> bool:
    store = servers.store(Module.OPERATOR)
    try:
        records = store.fields(k.LEDGER_ORDERS.at()).values()
    except StoreLost:
        return False  # the story ended the servers: nobody can tell
    finally:
        store.close()
    return any(record.state in ("REJECTED", "EXPIRED") and _TOO_OLD.search(record.reason or "") for record in records)


async def filled(on: Stage, intent_id: str = "i-1", quantity: int = 2) -> None:
    on.approve(intent_id, quantity=quantity)

    def full() -> bool:
        record = on.orders().get(intent_id)
        assert record is None or record.state not in ("REJECTED", "EXPIRED", "CANCELLED"), f"{intent_id}: {record.reason}"
        return record is not None and record.state == "FILLED"

    await until(full, what=f"{intent_id} filled")


@dataclass
class Stage:
    servers: Servers
    gateway: Running
    settings: Any
    clock: Clock
    folder: Path
    contract: OptionRef
    epoch: int = 1
    halted: bool = False
    leased: bool = True
    quoting: bool = True
    fence: int = 3
    others: list[OptionRef] = field(default_factory=list)
    """Contracts quoted besides."""
    stores: dict[Module, Any] = field(default_factory=dict)

    def store(self, module: Module) -> Any:
        if module not in self.stores:
            self.stores[module] = self.servers.store(module)
        return self.stores[module]

    def context(self, module: Module, **environment: str) -> Context:
        given = self.servers.vault.environment_for(module) | environment
        logging.getLogger("ib_insync").setLevel(logging.CRITICAL)
        log = structlog.wrap_logger(logging.getLogger(f"test.{module}"), wrapper_class=structlog.stdlib.BoundLogger)
        return Context(module, self.settings, Secrets(module, given), self.clock, nyse(), log, self.folder)

    # -- the voices of others

    def halt(self, halted: bool, *, flatten: bool = False, event: bool = True) -> None:
        self.epoch += 1
        self.halted = halted
        stamp = {"ts_ns": self.clock.market_ns(), "machine_ns": self.clock.machine_ns()}
        batch = self.store(Module.EMERGENCY).batch()
        batch.put(k.HALT.at(), Halt(halted=halted, flatten=flatten, epoch=self.epoch, reason="test", by="test", **stamp))
        if event:
            batch.append(k.EVENTS_HALT.at(), HaltEvent(halted, flatten, self.epoch, "test", "test", **stamp))
        self.store(Module.EMERGENCY).commit(batch)

    def request(self, kind: str, by: str = "a test") -> None:
        store = self.store(Module.CLI)
        batch = store.batch()
        request = ControlRequest(f"r{time.monotonic_ns()}", kind, by, "test", self.clock.machine_ns(), self.clock.market_ns())  # type: ignore[arg-type]
        batch.append(k.CONTROL.at(module=Module.CLI), request)
        store.commit(batch)

    def renew(self) -> None:
        if self.leased:
            store = self.store(Module.RISK)
            batch = store.batch()
            granted = not self.halted
            batch.put(
                k.LEASE.at(), Lease(granted, None if granted else "halted", self.epoch, self.clock.machine_ns(), self.fence)
            )
            store.commit(batch)
        if self.quoting:
            store = self.store(Module.IBKR)
            batch = store.batch()
            for contract in (self.contract, *self.others):
                shown = self.gateway.market.quote(contract.con_id or 0)
                quote = contract_quote(contract, shown.bid, shown.ask, self.clock)
                batch.put(k.QUOTES.at(con_id=quote.con_id), quote)
            store.commit(batch)

    async def keep_renewing(self) -> None:
        while True:
            self.renew()
            await asyncio.sleep(0.2)

    def approve(self, intent_id: str = "i-1", **changes: Any) -> Approval:
        approval = Approval(
            intent_id=intent_id,
            signal_id=f"s-{intent_id}",
            approved=True,
            reason="within the limits",
            strategy="0DTE",
            symbol="SPY",
            contract=self.contract,
            quantity=2,
            limit_price=Decimal("4.05"),
            stop_price=Decimal("3.00"),
            target_price=Decimal("6.00"),
            machine_ns=self.clock.machine_ns(),
            ts_ns=self.clock.market_ns(),
            halt_epoch=self.epoch,
            limits_version="1",
            fence=self.fence,
            confidence=70.0,
        )
        approval = replace(approval, **changes)
        store = self.store(Module.RISK)
        batch = store.batch()
        batch.append(k.EVENTS_APPROVALS.at(), approval)
        store.commit(batch)
        return approval

    def want(self, intent_id: str, hold: int, stop: str | None, version: int = 1, urgency: str = "now") -> None:
        """What positions would want of this holding."""
        store = self.store(Module.POSITIONS)
        batch = store.batch()
        wanted = WantedExit(
            intent_id,
            self.contract,
            hold,
            Decimal(stop) if stop else None,
            "a test wants it",
            urgency,  # type: ignore[arg-type]
            version,
            self.clock.machine_ns(),
        )
        batch.put(k.EXITS.at(position=intent_id), wanted)
        zero = Decimal(0)
        position = Position(
            intent_id,
            "SPY",
            "0DTE",
            None,
            self.contract,
            "open",
            hold,
            hold,
            zero,
            zero,
            zero,
            zero,
            None,
            None,
            None,
            None,
            (),
            0,
            None,
            0,
        )
        batch.append(k.EVENTS_POSITIONS.at(), PositionEvent("exit", position, self.clock.market_ns()))
        store.commit(batch)

    # -- what is seen

    def orders(self) -> dict[str, OrderRecord]:
        found: dict[str, OrderRecord] = self.store(Module.OPERATOR).fields(k.LEDGER_ORDERS.at())
        return found

    def state(self, ref: str) -> str | None:
        record = self.orders().get(ref)
        return record.state if record else None

    def fills(self) -> dict[str, Fill]:
        found: dict[str, Fill] = self.store(Module.OPERATOR).fields(k.LEDGER_FILLS.at())
        return found

    def placed(self, *, opening: bool = False) -> list[dict[str, Any]]:
        """placeOrder frames that reached the gateway."""
        frames = [line for line in self.gateway.wire() if line.get("message") == "placeOrder"]
        return [f for f in frames if not opening or f["fields"]["action"] == "BUY"]

    def broker_orders(self) -> dict[str, Any]:
        """The gateway's own working orders by orderRef."""
        return {order.order_ref: order for order in self.gateway.gateway.ledger.working() if order.working}

    def held(self) -> int:
        position = self.gateway.gateway.ledger.positions.get(self.contract.con_id or 0)
        return position.quantity if position else 0

    def quote(self, bid: float, ask: float) -> None:
        self.gateway.market.quote_set(self.contract.con_id, bid=bid, ask=ask)
        self.renew()

    # -- the module

    @asynccontextmanager
    async def execution(self) -> AsyncIterator[ExecutionManager]:
        async with running_module(ExecutionManager(self.context(Module.EXECUTION))) as module:
            await until(lambda: module.desk and module.desk.settled, what="execution settled")
            yield module

    @asynccontextmanager
    async def living(self) -> AsyncIterator[ExecutionManager]:
        """The module under the frame that recovers it: lock, heartbeat, back-off while its servers are away."""
        module = ExecutionManager(self.context(Module.EXECUTION))
        running = asyncio.create_task(live(module))
        try:
            await until(lambda: running.done() or (module.desk and module.desk.settled), what="execution settled")
            yield module
        finally:
            module.stopping.set()
            await running


def refs_of(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["fields"]["orderRef"] for frame in frames]


@asynccontextmanager
async def stage(servers: Servers, tmp_path: Path) -> AsyncIterator[Stage]:
    async with running_gateway(tmp_path / "gateway", clock=GatewayClock(running=True)) as gateway:
        address = Address("127.0.0.1", gateway.port)
        settings = servers.settings
        broker = replace(settings.broker, gateways=(address,), backoff_first_seconds=0.05, backoff_most_seconds=0.2)
        settings = replace(settings, broker=broker)
        clock = Clock(MONDAY_TEN, time.time_ns(), 1.0)
        option = gateway.market.option()
        contract = OptionRef("SPY", option.expiry, option.strike, "C", option.con_id)
        folder = tmp_path / "data" / settings.mode
        folder.mkdir(parents=True)
        on = Stage(servers, gateway, settings, clock, folder, contract)
        on.halt(False)
        on.renew()
        renewing = asyncio.create_task(on.keep_renewing())
        try:
            yield on
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError, *StoreLost):  # a story may end the servers
                await renewing
            for store in on.stores.values():
                store.close()
