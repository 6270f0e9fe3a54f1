"""The desk: the order book in memory, what is written of it, and the few ways to send.

Every change of the book is written by `flush`, in one MULTI: `ledger:orders`, the views, `events:orders`, `ledger:fills`,
`events:fills`. Intents with their approvals, ends of orders and fills stand in the journal on disk first. Sending happens here
and nowhere else, each time after the record was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from alphatrader.clients.ibkr.orders import BrokerOrders
from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import ContractQuote, OptionRef, Wanted
from alphatrader.contract.messages.orders import Fill, OrderEvent, OrderRecord
from alphatrader.contract.messages.risk import Approval, Halt, Lease
from alphatrader.contract.modules import Module
from alphatrader.core.orders.book import Booked, Changes, Now, OrderBook
from alphatrader.core.orders.pricing import Prices
from alphatrader.core.orders.states import is_open
from alphatrader.core.risk.state import never_back
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.health import Heartbeat
from alphatrader.runtime.journal import Journal, Line
from alphatrader.runtime.quotes import Quotes
from alphatrader.runtime.store import AsyncStore

ASK_AGAIN_SECONDS: Final = 2.0
"""A cancel or a modification that the broker has not answered is sent again after this."""
FLATTEN_REQUEST_SECONDS: Final = 3.0
"""A request to flatten that emergency has not recorded after this is not being obeyed: protection goes on."""
JOURNAL_PAUSE_SECONDS: Final = 30.0
"""How long openings stop after the disk refused a line of the journal."""
FAILED_PAUSE_SECONDS: Final = 5.0
"""A modification that the broker refused is tried again after this; the old order stands meanwhile."""


@dataclass(slots=True)
class Permission:
    """What `lease` and `global:halt` said last, and since when they could not be read."""

    lease: Lease | None = None
    halt: Halt | None = None
    read_monotonic: float = 0.0
    requested_ns: int = 0
    """Machine time of the newest request to halt that emergency has not recorded yet; 0 where there is none."""
    flatten_requested: float = -FLATTEN_REQUEST_SECONDS
    """When flattening was last asked for, monotonic: emergency is given a moment to record it."""
    newest_halt: Halt | None = None
    newest_fence: int = 0
    """Of risk: a smaller one is of an instance that was replaced."""

    def flattening(self, monotonic: float) -> bool:
        """During a flatten epoch emergency alone sends; from the request on, so that no stop is placed into its cancelling."""
        return (self.halt is not None and self.halt.flatten) or monotonic - self.flatten_requested < FLATTEN_REQUEST_SECONDS

    def take(self, lease: Lease | None, halt: Halt | None, monotonic: float) -> None:
        halt = never_back(self.newest_halt, halt)
        self.newest_halt = halt or self.newest_halt
        self.lease, self.halt, self.read_monotonic = lease, halt, monotonic
        if lease is not None:
            self.newest_fence = max(self.newest_fence, lease.fence)
        if halt is not None and halt.machine_ns >= self.requested_ns:
            self.requested_ns = 0


@dataclass(slots=True)
class _Asked:
    what: tuple[Any, ...]
    monotonic: float
    since: float
    """When it was first asked."""
    failed: bool = False


@dataclass
class Desk:
    clock: Clock
    store: AsyncStore
    orders: BrokerOrders
    journal: Journal
    health: Heartbeat
    log: Any
    client_id: int
    book: OrderBook
    account: Callable[[], str]
    """The account in use; empty before the first connection."""
    settled: bool = False
    """Connected, link up, and everything open was settled with the broker since."""
    permission: Permission = field(default_factory=Permission)
    fence: int = 0
    max_quote_age_seconds: float = 5.0
    wanted: tuple[OptionRef, ...] | None = None
    """The contracts last asked for."""
    journal_failed: float = -JOURNAL_PAUSE_SECONDS
    """When the disk last refused a line, monotonic."""
    last_change: dict[str, float] = field(default_factory=dict)
    """Intent -> when the broker last said something of it, monotonic."""

    def __post_init__(self) -> None:
        self._flushing = asyncio.Lock()
        self._quotes = Quotes(self.store, self.clock, self.health)
        self._asked: dict[str, _Asked] = {}
        self._unwritten: list[Line] = []
        """What the disk has not taken yet."""

    def now(self) -> Now:
        return Now(self.clock.market_ns(), self.clock.machine_ns())

    # -- reading

    @property
    def flattening(self) -> bool:
        return self.permission.flattening(self.clock.monotonic())

    async def read_permission(self) -> None:
        """Raises StoreLost."""
        lease = await self.store.get(k.LEASE.at())
        halt = await self.store.get(k.HALT.at())
        self.permission.take(lease, halt, self.clock.monotonic())

    async def quote(self, con_id: int) -> ContractQuote | None:
        return (await self._quotes.of([con_id])).get(con_id)

    def prices(self, quote: ContractQuote | None, con_id: int) -> Prices:
        """Raises Refused."""
        return Prices(quote, con_id, self.clock.machine_ns(), self.max_quote_age_seconds)

    # -- writing

    async def flush(self, cursor: Cursor | None = None, approval: Approval | None = None) -> None:
        """Writes what changed, and where approvals were read to. The journal is on the disk before Redis hears of it.

        `approval`: what an intent among the changes was made of; the journal keeps it, because it is the plan of the position."""
        async with self._flushing:
            changes = self.book.drain()
            for record in changes.records.values():
                self.last_change[record.intent_id] = self.clock.monotonic()
            owed = bool(self._unwritten) and not self.journal_problem
            if not changes and cursor is None and not owed:
                return
            await self._journal(changes, approval)
            batch = self.store.batch()
            for record in changes.records.values():
                batch.put_field(k.LEDGER_ORDERS.at(), record.id, record)
                self._view(batch, record)
                batch.append(k.EVENTS_ORDERS.at(), OrderEvent(record, record.updated_ns))
            for news, fill in changes.booked:
                batch.put_field(k.LEDGER_FILLS.at(), fill.key, fill)
                batch.append(k.EVENTS_FILLS.at(), fill)
                self._tell(news, fill)
            if cursor is not None:
                cursor.keep(batch, Module.EXECUTION)
            await self.store.commit(batch)

    def _tell(self, news: Booked, fill: Fill) -> None:
        order = fill.order_ref or "by hand"
        if news == "commission":
            self.log.info("commission", order=order, key=fill.key, amount=str(fill.commission))
        else:
            self.log.info(news, order=order, key=fill.key, side=fill.side, quantity=fill.quantity, price=str(fill.price))

    async def _journal(self, changes: Changes, approval: Approval | None) -> None:
        """A disk that does not take the journal stops openings; exits and what the broker says must go on, and their lines
        wait for it."""
        self._unwritten += self._lines(changes, approval)
        try:
            await self.journal.append(self._unwritten)
            self._unwritten = []
        except OSError as error:
            self.journal_failed = self.clock.monotonic()
            self.health.count("journal_failed")
            self.log.error("journal_failed", error=str(error))

    @property
    def journal_problem(self) -> bool:
        return self.clock.monotonic() - self.journal_failed < JOURNAL_PAUSE_SECONDS

    async def want_quotes(self, contracts: tuple[OptionRef, ...]) -> None:
        """Asks for the quotes that open orders and holdings are priced from."""
        if contracts != self.wanted:
            batch = self.store.batch()
            batch.put(k.WANTED.at(module=Module.EXECUTION), Wanted(contracts, self.clock.machine_ns()))
            await self.store.commit(batch)
            self.wanted = contracts

    async def renew_views(self) -> None:
        batch = self.store.batch()
        for record in self.book.open():
            self._view(batch, record)
        if batch.commands:
            await self.store.commit(batch)

    def _lines(self, changes: Changes, approval: Approval | None) -> list[Line]:
        at = self.clock.machine_ns()
        lines = [Line("approval", at, approval=approval)] if approval is not None else []
        # What an order is between its intent and its end, the broker can tell.
        kept = [record for record in changes.records.values() if record.state == "INTENT" or not is_open(record.state)]
        lines += [Line("order", at, order=record) for record in kept]
        return lines + [Line("fill", at, fill=fill) for fill in changes.fills]

    @staticmethod
    def _view(batch: Any, record: OrderRecord) -> None:
        pending, working = k.ORDERS_PENDING.at(id=record.id), k.ORDERS_WORKING.at(id=record.id)
        if record.state == "WORKING":
            batch.put(working, record)
            batch.drop(pending)
        elif is_open(record.state):
            batch.put(pending, record)
            batch.drop(working)
        else:
            batch.drop(pending)
            batch.drop(working)

    def next_order_id(self) -> int:
        return self.orders.next_order_id(self.book.highest_order_id())

    # -- sending; each returns in the same loop turn as the bytes leave

    def send(self, ref: str, *, transmit: bool = True, parent_id: int = 0) -> None:
        """Sends an order whose record is written. Raises ConnectionError."""
        self.orders.place(self.book.records[ref], self.account(), transmit=transmit, parent_id=parent_id)
        self.book.change(ref, self.now(), state="SENT")
        self.health.count("orders_sent")

    def cancel(self, record: OrderRecord, reason: str) -> None:
        """Asks the broker to cancel; not again before it had time to answer."""
        if (
            record.order_id is None
            or record.client_id != self.client_id
            or not self.orders.ready
            or not self._may_ask(record.id, ("cancel",))
        ):
            return
        self.orders.cancel(record.order_id)
        self.log.info("order_cancel_sent", order=record.id, reason=reason)

    def modify(self, record: OrderRecord, *, quantity: int, limit: Decimal | None = None, stop: Decimal | None = None) -> None:
        """Changes a live order in place: it stands as it was until the broker has taken the change."""
        limit, stop = limit if limit is not None else record.limit_price, stop if stop is not None else record.stop_price
        if record.order_id is None or record.client_id != self.client_id or record.state not in ("SENT", "WORKING"):
            return
        if not self.orders.ready or not self._may_ask(record.id, ("modify", quantity, limit, stop)):
            return
        parent = self.book.records.get(record.intent_id)
        parent_id = parent.order_id if parent is not None and parent.role == "entry" and is_open(parent.state) else None
        wanted = replace(record, quantity=quantity, limit_price=limit, stop_price=stop)
        self.orders.place(wanted, self.account(), parent_id=(parent_id or 0) if record.role != "exit" else 0)
        self.log.info("order_modify_sent", order=record.id, quantity=quantity, limit=str(limit), stop=str(stop))

    def refused(self, ref: str, reason: str) -> None:
        """The broker refused something about this order: a modification among it keeps the old order, and alarms."""
        asked = self._asked.get(ref)
        if asked is not None and asked.what[0] == "modify":
            asked.failed, asked.monotonic = True, self.clock.monotonic()
            self.health.count("modify_failed")
            self.log.error("modify_failed_old_order_stands", order=ref, reason=reason)

    def _may_ask(self, ref: str, what: tuple[Any, ...]) -> bool:
        now = self.clock.monotonic()
        before = self._asked.get(ref)
        pause = FAILED_PAUSE_SECONDS if before is not None and before.failed else ASK_AGAIN_SECONDS
        if before is not None and before.what == what and now - before.monotonic < pause:
            return False
        self._asked[ref] = _Asked(what, now, before.since if before is not None and before.what == what else now)
        return True

    def uncancelled(self, seconds: float) -> list[str]:
        """Orders whose cancel was asked for so long ago and that have not ended."""
        now = self.clock.monotonic()
        old = {ref for ref, asked in self._asked.items() if asked.what == ("cancel",) and now - asked.since > seconds}
        return [record.id for record in self.book.open() if record.id in old] if old else []

    def cancel_openings(self, reason: str) -> None:
        """Cancels every working opening order, at once, without Redis."""
        for record in self.book.open():
            if record.role == "entry":
                self.cancel(record, reason)
