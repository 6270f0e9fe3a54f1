"""Opening orders: from risk's approval to the bracket at the broker.

The intent is written before anything is sent. Lease, halt, approval, quote, collar and limits are judged twice: before the intent
is written, and again from fresh reads in the same loop turn as the bytes leave, with the client's own queue empty. A refused
approval becomes a record too, so that risk hears of its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from alphatrader.contract import keys as k
from alphatrader.contract.messages.contracts import ContractQuote
from alphatrader.contract.messages.orders import OrderRecord
from alphatrader.contract.messages.risk import Approval
from alphatrader.contract.settings import Settings
from alphatrader.core.orders import intents, permission
from alphatrader.core.orders.pricing import EntryTerms, Prices, Refused, check_collar, check_limits, check_stop, entry_terms
from alphatrader.core.strategies.windows import RULES
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import SECOND, exchange_instant
from alphatrader.runtime.cursor import Cursor
from alphatrader.streams.execution.desk import Desk
from alphatrader.streams.execution.exits import Exits

MINUTE_NS: Final = 60 * SECOND
RESTART_NS: Final = 60 * SECOND
"""Nothing opens so long before and after the gateway's own restart (invariants.md I7)."""
LEGS: Final = 3
"""Messages of one bracket."""


class Openings:
    def __init__(self, desk: Desk, exits: Exits, settings: Settings, calendar: Calendar) -> None:
        self._desk = desk
        self._exits = exits
        self._settings = settings
        self._calendar = calendar
        self._sent_ns: deque[int] = deque(
            sorted(r.machine_ns for r in desk.book.records.values() if r.role == "entry" and r.order_id is not None)[-200:]
        )

    async def take(self, approvals: Iterable[Approval], cursor: Cursor) -> None:
        """Acts on approvals, and keeps the cursor with what was booked."""
        for approval in approvals:
            if approval.approved and approval.intent_id not in self._desk.book.records:
                await self._open(approval, cursor)
        await self._desk.flush(cursor)

    async def _open(self, approval: Approval, cursor: Cursor) -> None:
        desk, given = self._desk, approval
        try:
            approval = await self._named(approval)
            terms, prices = await self._judge(approval)
        except Refused as refused:
            self._refuse(approval, str(refused))
            return
        session = self._calendar.current(desk.now().ts_ns)
        limit = None if self._at_market(approval) else terms.limit
        approval = replace(approval, quantity=terms.quantity)
        records = intents.bracket(approval, limit, prices, f"{session.day:%Y%m%d}", desk.now(), desk.fence)
        ids = [desk.next_order_id() for _ in records]
        for record, order_id in zip(records, ids, strict=True):
            desk.book.put(replace(record, order_id=order_id, client_id=desk.client_id))
        await desk.flush(cursor, given)
        try:
            await self._judge(approval, terms)
            # From here to the last byte nothing is awaited.
            self._send(records, ids[0])
        except (Refused, ConnectionError) as refused:
            for record in records:
                if desk.book.records[record.id].state == "INTENT":
                    desk.book.change(record.id, desk.now(), state="EXPIRED", reason=str(refused))
            self._count(approval, str(refused))
            return
        self._sent_ns.append(desk.clock.machine_ns())
        desk.log.info("bracket_sent", order=approval.intent_id, symbol=approval.symbol, quantity=terms.quantity, limit=str(limit))

    def _send(self, records: tuple[OrderRecord, OrderRecord, OrderRecord], parent_id: int) -> None:
        parent, stop, target = records
        self._desk.send(parent.id, transmit=False)
        self._desk.send(stop.id, transmit=False, parent_id=parent_id)
        self._desk.send(target.id, transmit=True, parent_id=parent_id)

    async def _named(self, approval: Approval) -> Approval:
        """The approval with the broker's name of its contract."""
        if approval.contract.con_id is not None:
            return approval
        known = await self._desk.store.field(k.CONTRACTS.at(), approval.contract.occ)
        if known is None or known.con_id is None:
            raise Refused(f"contracts:options: {approval.contract.occ} has no conId")
        return replace(approval, contract=known)

    async def _judge(self, approval: Approval, written: EntryTerms | None = None) -> tuple[EntryTerms, Prices]:
        """Terms and prices, from fresh reads. Raises Refused; nothing is awaited after the last read.

        `written`: the terms of the durable record, which is sent as it was written or not at all."""
        desk = self._desk
        con_id = approval.contract.con_id or 0
        quote = await desk.quote(con_id)
        await desk.read_permission()
        return self._check(approval, quote, con_id, written)

    def _check(
        self, approval: Approval, quote: ContractQuote | None, con_id: int, written: EntryTerms | None
    ) -> tuple[EntryTerms, Prices]:
        desk, settings = self._desk, self._settings
        held = desk.permission
        machine_ns, market_ns = desk.clock.machine_ns(), desk.clock.market_ns()
        if held.requested_ns:
            raise Refused("a halt was requested")
        reason = permission.refusal(
            approval, held.lease, held.halt, machine_ns, settings.risk.approval_seconds, held.newest_fence
        )
        if reason is not None:
            raise Refused(reason)
        if desk.journal_problem:
            raise Refused("the journal on disk cannot be written")
        if not desk.settled or not desk.orders.ready:
            raise Refused("the broker is not connected, or orders are not settled with it")
        unknown = next((record.id for record in desk.book.open() if record.state == "UNKNOWN"), None)
        if unknown is not None:
            raise Refused(f"order {unknown} is unknown until the broker has answered")
        short = self._exits.shorts()
        if short:
            raise Refused(f"short: {', '.join(f'{position} by {quantity}' for position, quantity in short.items())}")
        if not desk.orders.has_room(LEGS):
            raise Refused("the client's send queue has no room for the whole bracket")
        untimely = self.untimely(approval.strategy)
        if untimely is not None:
            raise Refused(untimely)
        if f"{self._calendar.current(market_ns).day:%Y%m%d}" > approval.contract.expiry:
            raise Refused(f"the contract has expired on {approval.contract.expiry}")
        prices = desk.prices(quote, con_id)
        terms = written or entry_terms(approval, prices, settings.orders)
        check_collar(terms.limit, prices, settings.orders)
        check_stop(approval.stop_price, prices)
        while self._sent_ns and self._sent_ns[0] < machine_ns - MINUTE_NS:
            self._sent_ns.popleft()
        check_limits(approval, terms, settings.orders, len(self._sent_ns))
        return terms, prices

    def untimely(self, strategy: str) -> str | None:
        """Why no opening order of this strategy may be sent or work at this moment; None while one may."""
        market_ns = self._desk.clock.market_ns()
        session = self._calendar.at(market_ns)
        hours = None
        if session is not None:
            enabled = {rule.name: window for rule in RULES if (window := rule.window(self._settings.strategies)).enabled}
            windows = {str(name): session.window(window.opens, window.closes) for name, window in enabled.items()}
            restarts_at, restart = self._settings.broker.restarts_at, None
            if restarts_at:
                moment = exchange_instant(session.day, restarts_at)
                restart = moment - RESTART_NS, moment + RESTART_NS
            hours = permission.Hours(session.close_ns, windows, self._settings.orders.no_entry_last_seconds, restart)
        return permission.untimely(strategy, market_ns, hours)

    def _at_market(self, approval: Approval) -> bool:
        orders = self._settings.orders
        return orders.high_confidence_type == "market" and approval.confidence > orders.high_confidence

    def _refuse(self, approval: Approval, reason: str) -> None:
        desk = self._desk
        desk.book.put(
            intents.entry(
                approval, limit=approval.limit_price, state="REJECTED", reason=reason, mid=None, now=desk.now(), fence=desk.fence
            )
        )
        self._count(approval, reason)

    def _count(self, approval: Approval, reason: str) -> None:
        self._desk.health.count("openings_refused")
        self._desk.log.warning("opening_refused", order=approval.intent_id, reason=reason)
