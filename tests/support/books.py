"""A stage for risk and positions: real servers, a clock inside a session, and the voices of the modules around them.

async with floor(servers) as on:
    async with on.running(RiskManager):
        on.say(Module.SIGNALS, (k.EVENTS_SIGNALS.at(), SignalEvent("new", on.signal("s-1"))))
        await until(lambda: on.approvals())
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Kind
from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Account, BuyingPower, Fill, OrderEvent, OrderRecord
from alphatrader.contract.messages.positions import Pnl, PositionsSummary
from alphatrader.contract.messages.risk import Approval, ControlRequest, Halt, HaltEvent
from alphatrader.contract.messages.signals import Signal, SignalEvent
from alphatrader.contract.modules import Module
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.context import Context
from alphatrader.runtime.module import StreamModule
from alphatrader.runtime.secrets import Secrets
from tests.support import holdings
from tests.support.modules import running_module
from tests.support.servers import Servers

FENCE = 5


@dataclass
class Floor:
    servers: Servers
    settings: Any
    clock: Clock
    folder: Path
    epoch: int = 1
    stores: dict[Module, Any] = field(default_factory=dict)
    well: bool = True
    """Whether account, positions and P&L are kept fresh, as execution and positions do."""
    realized: Decimal = Decimal(0)
    equity: Decimal = Decimal(100_000)
    session: str = "2026-11-18"

    def store(self, module: Module) -> Any:
        if module not in self.stores:
            self.stores[module] = self.servers.store(module)
        return self.stores[module]

    @property
    def see(self) -> Any:
        """The operator's read-only eyes."""
        return self.store(Module.OPERATOR)

    def say(self, module: Module, *messages: tuple[BoundKey[Any], Any]) -> None:
        """Appends to streams and puts state, as `module`, in one MULTI."""
        batch = self.store(module).batch()
        for bound, message in messages:
            if bound.key.kind == Kind.STREAM:
                batch.append(bound, message)
            else:
                batch.put(bound, message)
        self.store(module).commit(batch)

    # -- the voices of others

    def halt(self, halted: bool) -> None:
        self.epoch += 1
        stamp = {"ts_ns": self.clock.market_ns(), "machine_ns": self.clock.machine_ns()}
        self.say(
            Module.EMERGENCY,
            (k.HALT.at(), Halt(halted=halted, flatten=False, epoch=self.epoch, reason="test", by="emergency", **stamp)),
            (k.EVENTS_HALT.at(), HaltEvent(halted, False, self.epoch, "test", "emergency", **stamp)),
        )

    def request(self, kind: Any, by: Module = Module.CLI) -> None:
        request = ControlRequest("r", kind, "the operator", "a test", self.clock.machine_ns(), self.clock.market_ns())
        self.say(by, (k.CONTROL.at(module=by), request))

    def signal(self, signal_id: str, symbol: str = "SPY", **changes: Any) -> Signal:
        now = {"ts_ns": self.clock.market_ns(), "machine_ns": self.clock.machine_ns()}
        expires = {"expires_ns": self.clock.market_ns() + 60 * 10**9}
        contract = OptionRef(symbol, "20261118", 660.0, "C", con_id=7)
        return holdings.signal(signal_id, contract=contract, **(now | expires | changes))

    def propose(self, *signals: Signal) -> None:
        self.say(Module.SIGNALS, *((k.EVENTS_SIGNALS.at(), SignalEvent("new", one)) for one in signals))

    def order(self, record: OrderRecord) -> None:
        record = replace(record, machine_ns=self.clock.machine_ns(), updated_ns=self.clock.market_ns())
        store = self.store(Module.EXECUTION)
        batch = store.batch()
        batch.put_field(k.LEDGER_ORDERS.at(), record.id, record)
        batch.append(k.EVENTS_ORDERS.at(), OrderEvent(record, self.clock.market_ns()))
        store.commit(batch)

    def fill(self, one: Fill) -> None:
        store = self.store(Module.EXECUTION)
        batch = store.batch()
        batch.put_field(k.LEDGER_FILLS.at(), one.key, one)
        batch.append(k.EVENTS_FILLS.at(), one)
        store.commit(batch)

    def account(self, *held: Any, **changes: Any) -> Account:
        now = {"ts_ns": self.clock.market_ns(), "machine_ns": self.clock.machine_ns(), "net_liquidation": self.equity}
        account = holdings.account(*held, **(now | changes))
        power = BuyingPower(account.buying_power, account.ts_ns, account.machine_ns)
        self.say(Module.EXECUTION, (k.EVENTS_ACCOUNT.at(), account), (k.BUYING_POWER.at(), power))
        return account

    def book(self, *, reconciled: bool = True, unrealized: Decimal | None = Decimal(0)) -> None:
        """What positions would say of P&L and of its agreement with the broker."""
        now_ns = self.clock.market_ns()
        summary = PositionsSummary(now_ns, 0, {}, self.realized, unrealized, None, reconciled, (), self.clock.machine_ns())
        self.say(
            Module.POSITIONS,
            (k.POSITIONS_SUMMARY.at(), summary),
            (k.PNL_REALIZED.at(), Pnl(self.realized, self.session, now_ns)),
            (k.PNL_UNREALIZED.at(), Pnl(unrealized, self.session, now_ns)),
        )

    def quote(self, contract: OptionRef, bid: float, ask: float, **greeks: float) -> None:
        quote = holdings.contract_quote(contract, bid, ask, self.clock, **greeks)
        self.say(Module.IBKR, (k.QUOTES.at(con_id=quote.con_id), quote))

    # -- what is seen

    def approvals(self) -> dict[str, Approval]:
        """Signal -> verdict; an error where one signal has two."""
        verdicts: list[Approval] = self.see.latest(k.EVENTS_APPROVALS.at(), 100)
        by_signal = {approval.signal_id: approval for approval in verdicts}
        assert len(by_signal) == len(verdicts), "a signal has two verdicts"
        return by_signal

    def approved(self) -> set[str]:
        return {signal_id for signal_id, approval in self.approvals().items() if approval.approved}

    # -- the module

    @asynccontextmanager
    async def running(self, kind: type[StreamModule], fence: int = FENCE) -> AsyncIterator[Any]:
        name = kind.name
        secrets = Secrets(name, self.servers.vault.environment_for(name))
        log = structlog.wrap_logger(logging.getLogger(f"test.{name}"), wrapper_class=structlog.stdlib.BoundLogger)
        module = kind(Context(name, self.settings, secrets, self.clock, nyse(), log, self.folder))
        async with running_module(module, fence=fence) as at_work:
            yield at_work

    async def keep_well(self) -> None:
        while True:
            if self.well:
                self.account()
                self.book()
            await asyncio.sleep(0.2)


@asynccontextmanager
async def floor(servers: Servers, *, at_ns: int = holdings.NOW_NS, well: bool = True, **settings: Any) -> AsyncIterator[Floor]:
    """`settings` replaces whole sections. With `well`, all that risk must know is said and kept fresh."""
    on = Floor(servers, replace(servers.settings, **settings), Clock(at_ns, time.time_ns(), 1.0), servers.folder, well=well)
    on.halt(False)
    if well:
        on.account()
        on.book()
    keeping = asyncio.create_task(on.keep_well())
    try:
        yield on
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        for store in on.stores.values():
            store.close()
