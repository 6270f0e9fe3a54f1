"""Settling with the broker: hearing its news, asking when something is in doubt, telling what the account holds.

Used by `manager.py`, one for each recovery. While anything is in doubt the broker is asked for executions, open orders, completed
orders and positions, at first at once, then more and more slowly; nothing opens before it has answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from alphatrader.clients.ibkr.account import account_values, read_positions
from alphatrader.clients.ibkr.connection import BrokerConnection, RequestError
from alphatrader.contract import keys as k
from alphatrader.contract.messages.broker import (
    BrokerOrder,
    BrokerSnapshot,
    CommissionNews,
    ErrorNews,
    ExecutionNews,
    GarbledNews,
    LinkNews,
    News,
    StatusNews,
)
from alphatrader.contract.messages.orders import Account, BrokerPosition, BuyingPower
from alphatrader.core.orders.states import is_open
from alphatrader.runtime.clock import SECOND
from alphatrader.streams.execution.desk import Desk
from alphatrader.streams.execution.exits import Exits

ANSWER_SECONDS: Final = 4.0
ASK_FIRST_SECONDS: Final = 0.3
ASK_MOST_SECONDS: Final = 5.0
QUIET_ORDER_NS: Final = 2 * SECOND
"""A sent order of which nothing was heard for this long is asked about."""
POSITIONS_SETTLE_SECONDS: Final = 2.0
"""The broker's positions follow its executions: a list asked sooner after one may not have it yet."""
MISSING_FILLS_NS: Final = 3_600 * SECOND
"""Executions of a filled order are asked for this long; the broker has none of an earlier day."""
GARBLED_ASKS: Final = 10
GARBLED_SECONDS: Final = 600.0
"""Frames that cannot be read are asked about at most so often in so long: one that never can must not keep us asking, and one of
next month may be the only word of a stop's end."""


class Settlement:
    def __init__(
        self, desk: Desk, exits: Exits, connection: BrokerConnection, wake: asyncio.Event, inactive_seconds: float
    ) -> None:
        self._desk = desk
        self._inactive_seconds = inactive_seconds
        self._exits = exits
        self._connection = connection
        self._wake = wake
        self._asking = asyncio.Lock()
        self.link_up = True
        """Whether the gateway has its own link to the broker."""
        self.garbled = 0
        self._garbled_at: deque[float] = deque(maxlen=GARBLED_ASKS)
        """When frames were last asked about, monotonic."""
        self._ask_wanted: str | None = None
        self._ask_at = 0.0
        self._ask_pause = ASK_FIRST_SECONDS
        self._executed_at = 0.0
        self._inactive_since: dict[str, float] = {}
        self._unconfirmed_since: dict[str, float] = {}
        self._difference: dict[int, int] = {}
        """Contract -> what the broker holds beyond all fills we know: asked about once, then known."""

    # -- hearing

    def hear(self, news: News) -> None:
        """The broker's word, folded into the book in the turn it came; writing follows."""
        desk = self._desk
        now = desk.now()
        match news:
            case StatusNews():
                desk.book.hear_status(news, now)
                if news.status == "Filled":
                    self._outdate_positions()
            case BrokerOrder():
                desk.book.hear_order(news, now)
            case ExecutionNews():
                # Before the account is known nothing counts: the first question brings everything again.
                if news.account == self._connection.account and desk.book.hear_execution(news, now):
                    self._outdate_positions()
            case CommissionNews():
                desk.book.hear_commission(news)
            case ErrorNews():
                record = desk.book.hear_error(news, now)
                if record is not None:
                    self._desk.log.warning("order_error", order=record.id, code=news.code, text=news.text)
                    desk.refused(record.id, f"{news.code}: {news.text}")
                    self._want(f"error {news.code} about {record.id}")
            case LinkNews():
                self.link_up = news.up
                self._desk.log.warning("broker_link", up=news.up, code=news.code)
                if news.up:
                    self._want(f"link restored ({news.code})")
                else:
                    self.doubt("the gateway lost its link to the broker")
            case GarbledNews():
                self._desk.health.count("frames_garbled")
                self.garbled += 1
                asked, at = self._garbled_at, desk.clock.monotonic()
                if len(asked) < GARBLED_ASKS or at - asked[0] > GARBLED_SECONDS:
                    asked.append(at)
                    self._want("a frame could not be read")
        self._wake.set()

    def _outdate_positions(self) -> None:
        """What the broker listed before this fill must not be held against it."""
        self._exits.broker = None
        self._executed_at = self._desk.clock.monotonic()

    def _want(self, reason: str) -> None:
        """The broker is to be asked at the next turn."""
        if self._ask_wanted is None:
            self._ask_pause = ASK_FIRST_SECONDS
            self._ask_at = 0.0
        self._ask_wanted = reason

    async def ask(self, reason: str) -> None:
        """Asks for everything and settles every open order by it. Raises TimeoutError or ConnectionError."""
        desk = self._desk
        async with self._question():
            asked_ns, asked_at = self._desk.clock.machine_ns(), self._desk.clock.monotonic()
            open_orders, completed, positions = await self._answers()
        if not self.link_up:
            raise ConnectionError("the gateway has no link to the broker")
        self._take_positions(positions, asked_at)
        snapshot = BrokerSnapshot(open_orders, completed, positions, asked_ns)
        for record in desk.book.hear_snapshot(snapshot, desk.now()):
            self._desk.log.warning("order_adopted", order=record.id, role=record.role, quantity=record.quantity)
        self._cancel_naked_entries()
        self._cancel_inactive()
        await desk.flush()
        if not desk.settled:
            self._desk.log.info("orders_settled", reason=reason, open=len(desk.book.open()), fills=len(desk.book.fills.by_key))
        desk.settled = True
        self._ask_wanted = None

    def _take_positions(self, positions: tuple[BrokerPosition, ...], asked_at: float) -> None:
        """What the broker holds bounds what we think is held, once its list is surely younger than the last execution."""
        if asked_at - self._executed_at >= POSITIONS_SETTLE_SECONDS:
            self._exits.broker = {position.con_id: int(position.quantity) for position in positions}

    @asynccontextmanager
    async def _question(self) -> AsyncIterator[None]:
        """One question at a time, answered whole and in time. Raises TimeoutError or ConnectionError.

        The library hands the end of a list to whoever asked for it last: a connection that owes an answer is asked nothing more,
        since that answer, come late, would be taken for the next one's. It is made anew."""
        async with self._asking:
            unread = self._unread
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    yield
            except TimeoutError:
                self._connection.give_up(f"the broker did not answer within {ANSWER_SECONDS:g} s")
                raise
            if self._unread != unread:
                # What that frame would have said is unknown, never absent.
                raise ConnectionError("a frame of the broker's answer could not be read")

    @property
    def _unread(self) -> int:
        return self._connection.decode_errors + self.garbled

    async def _answers(self) -> tuple[tuple[BrokerOrder, ...], tuple[BrokerOrder, ...], tuple[BrokerPosition, ...]]:
        # Executions first: an order that the lists no longer hold has its fills booked before it is judged.
        await self._desk.orders.ask_executions()
        open_orders = await self._desk.orders.open_orders()
        completed = await self._desk.orders.completed_orders()
        positions = await read_positions(self._desk.orders.client, self._connection.account)
        await self._desk.orders.ask_executions()
        return open_orders, completed, positions

    def _cancel_naked_entries(self) -> None:
        """An entry that works without its stop (a crash between the legs, a refused child) must not fill."""
        desk = self._desk
        for entry in [] if desk.flattening else desk.book.open():
            stops = [r for r in desk.book.of_intent(entry.intent_id) if r.role == "stop" and is_open(r.state)]
            if entry.role == "entry" and entry.state == "WORKING" and not stops:
                desk.cancel(entry, "its stop is not at the broker")

    def _cancel_inactive(self) -> None:
        """What the broker has listed as Inactive for long is cancelled. A stop stays while nothing else could protect."""
        desk, now = self._desk, self._desk.clock.monotonic()
        self._inactive_since = {ref: self._inactive_since.get(ref, now) for ref in desk.book.inactive}
        for ref, since in {} if desk.flattening else self._inactive_since.items():
            record = desk.book.records[ref]
            family = desk.book.of_intent(record.intent_id)
            replaced = any(other.role == "stop" and other.state == "WORKING" for other in family)
            idle = record.intent_id not in self._exits.holdings()
            if now - since >= self._inactive_seconds and (record.role != "stop" or replaced or idle):
                desk.cancel(record, f"Inactive at the broker for over {self._inactive_seconds:g} s")

    def unconfirmed(self, seconds: float) -> list[str]:
        """Orders that the broker has not confirmed for so long: in the open, their cancel without its end, their fills without
        their executions (invariants.md I5)."""
        desk, now, machine_ns = self._desk, self._desk.clock.monotonic(), self._desk.clock.machine_ns()
        waiting = [record for record in desk.book.open() if record.state in ("INTENT", "SENT", "UNKNOWN")]
        waiting += self._exits.without_fills()
        ages = {record.id: max(0.0, (machine_ns - record.machine_ns) / SECOND) for record in waiting}
        # From the first doubt on: one doubt that follows another does not begin anew.
        self._unconfirmed_since = {ref: self._unconfirmed_since.get(ref, now - age) for ref, age in ages.items()}
        late = {ref for ref, since in self._unconfirmed_since.items() if now - since > seconds}
        return sorted(late.union(desk.uncancelled(seconds)))

    def doubt(self, reason: str) -> None:
        """What was open is unknown until the broker has answered again."""
        desk = self._desk
        desk.settled = False
        self._exits.broker = None
        desk.book.doubt(reason, desk.now())
        self._wake.set()

    # -- asking

    async def settle(self) -> None:
        """Asks the broker while something is in doubt, at first at once, then more and more slowly."""
        desk = self._desk
        if not self._connection.connected or not self.link_up:
            return
        doubt = self._doubtful()
        if doubt is not None and self._ask_wanted is None:
            self._want(doubt)
        if self._ask_wanted is None or self._desk.clock.monotonic() < self._ask_at:
            return
        self._ask_at = self._desk.clock.monotonic() + self._ask_pause
        try:
            await self.ask(self._ask_wanted)
        except (TimeoutError, ConnectionError, RequestError) as error:
            problem = str(error) or type(error).__name__
            self._desk.log.warning("broker_did_not_answer", error=problem)
            self.doubt(f"the broker did not answer: {problem}")
        if self._doubtful() is not None:
            self._ask_wanted = self._doubtful()
            self._ask_pause = min(self._ask_pause * 2, ASK_MOST_SECONDS)
            self._ask_at = self._desk.clock.monotonic() + self._ask_pause
        desk.health.count("broker_asked")

    def _doubtful(self) -> str | None:
        """What only the broker can answer."""
        desk = self._desk
        old = self._desk.clock.machine_ns() - QUIET_ORDER_NS
        for record in desk.book.open():
            if record.state == "UNKNOWN" or (record.state in ("INTENT", "SENT") and record.machine_ns < old):
                return f"order {record.id} is {record.state}"
        recent = self._desk.clock.machine_ns() - MISSING_FILLS_NS
        for record in desk.book.short_of_fills():
            if record.machine_ns > recent:
                return f"fills of {record.id} are missing"
        return None if desk.settled else "orders are not settled"

    # -- the account

    async def publish_account(self) -> None:
        """The account as the broker states it now. Raises StoreLost."""
        if not self._connection.connected or not self.link_up:
            return
        try:
            async with self._question():
                asked_at = self._desk.clock.monotonic()
                positions = await read_positions(self._desk.orders.client, self._connection.account)
                open_orders = await self._desk.orders.open_orders()
        except (TimeoutError, ConnectionError, RequestError) as error:
            reason = str(error) or "the broker did not answer"
            self._desk.log.warning("account_not_read", error=reason)
            self.doubt(f"the account could not be read: {reason}")
            self._want("the account could not be read")
            return
        self._compare(open_orders)
        await self._publish(positions, open_orders, asked_at)

    def _compare(self, open_orders: tuple[BrokerOrder, ...]) -> None:
        """An order that works here and is not in the broker's list has ended without a word that came, or could be read: it is
        asked about, as a stop that is believed to stand protects nothing."""
        mine = [order for order in open_orders if order.client_id == self._desk.client_id]
        named = {order.order_ref for order in open_orders} | {order.order_id for order in mine if not order.order_ref}
        for record in self._desk.book.open():
            if record.state == "WORKING" and record.id not in named and record.order_id not in named:
                self._want(f"the broker does not list {record.id}")

    async def _publish(
        self, positions: tuple[BrokerPosition, ...], open_orders: tuple[BrokerOrder, ...], asked_at: float
    ) -> None:
        desk = self._desk
        values = account_values(self._connection.ib, self._connection.account)
        if values is None:
            self._desk.health.count("account_values_missing")
            return
        self._take_positions(positions, asked_at)
        held = {position.con_id: int(position.quantity) for position in positions}
        net = {con_id: quantity for con_id, quantity in desk.book.fills.net().items() if quantity}
        difference = {con_id: held.get(con_id, 0) - net.get(con_id, 0) for con_id in held | net}
        difference = {con_id: quantity for con_id, quantity in difference.items() if quantity}
        if difference != self._difference and difference:
            self._want("positions differ from the fills")
        self._difference = difference
        now = desk.now()
        batch = self._desk.store.batch()
        batch.append(
            k.EVENTS_ACCOUNT.at(),
            Account(
                account=values.account,
                net_liquidation=values.net_liquidation,
                cash=values.cash,
                buying_power=values.buying_power,
                positions=positions,
                open_orders=len(open_orders),
                unknown_orders=sum(1 for record in desk.book.open() if record.state == "UNKNOWN"),
                confirmed=desk.settled and self.link_up,
                ts_ns=now.ts_ns,
                machine_ns=now.machine_ns,
            ),
        )
        batch.put(k.BUYING_POWER.at(), BuyingPower(values.buying_power, now.ts_ns, now.machine_ns))
        await self._desk.store.commit(batch)
