"""The order book of one account: every order of ours and every fill, folded from what the broker says.

Pure: news go in, changed records and fills to book come out by `drain`. `execution` writes them and sends; nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace

from alphatrader.contract.messages.broker import BrokerOrder, BrokerSnapshot, CommissionNews, ErrorNews, ExecutionNews, StatusNews
from alphatrader.contract.messages.orders import Fill, OrderRecord
from alphatrader.core.orders import refs
from alphatrader.core.orders.fills import FillBook, split_exec_id
from alphatrader.core.orders.states import STATUS_WORDS, Word, after, is_harmless, is_open

Booked = Literal["fill", "correction", "commission"]
"""What is new about a fill: itself, its revision by the exchange, or what it cost."""

GONE_AFTER_NS = 2_000_000_000
"""An order that none of the broker's lists holds, asked this long after it was last heard of, does not exist there."""


@dataclass(frozen=True, slots=True)
class Now:
    """Both clocks at one instant."""

    ts_ns: int
    machine_ns: int


@dataclass(slots=True)
class Changes:
    records: dict[str, OrderRecord] = field(default_factory=dict)
    booked: list[tuple[Booked, Fill]] = field(default_factory=list)
    """In the order they came: a later word about a fill replaces the earlier one."""

    @property
    def fills(self) -> list[Fill]:
        return [fill for _, fill in self.booked]

    def __bool__(self) -> bool:
        return bool(self.records or self.booked)


class OrderBook:
    def __init__(self, client_id: int, records: Iterable[OrderRecord] = (), fills: Iterable[Fill] = ()) -> None:
        self._client_id = client_id
        self.records: dict[str, OrderRecord] = {}
        self.fills = FillBook(fills)
        self._by_order_id: dict[int, str] = {}
        self._open: dict[str, None] = {}
        self._by_intent: dict[str, dict[str, None]] = {}
        self._short: dict[str, None] = {}
        self.inactive: set[str] = set()
        """Open orders that the broker lists as Inactive: it may work again, or never, until it is cancelled."""
        for record in sorted(records, key=lambda r: r.created_ns):
            self._index(record)
        self._errors: dict[str, str] = {}
        self._changes = Changes()

    # -- reading

    def open(self) -> list[OrderRecord]:
        return [self.records[ref] for ref in self._open]

    def of_intent(self, intent_id: str) -> list[OrderRecord]:
        return [self.records[ref] for ref in self._by_intent.get(intent_id, ())]

    def short_of_fills(self) -> list[OrderRecord]:
        """Filled by the broker's word, but not all their executions have come."""
        return [self.records[ref] for ref in self._short]

    def highest_order_id(self) -> int:
        return max(self._by_order_id, default=0)

    def of_order_id(self, order_id: int) -> OrderRecord | None:
        ref = self._by_order_id.get(order_id)
        return self.records[ref] if ref else None

    def drain(self) -> Changes:
        """What changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    # -- our own doing

    def put(self, record: OrderRecord) -> None:
        self._index(record)
        self._changes.records[record.id] = record

    def change(self, ref: str, now: Now, **changes: Any) -> OrderRecord:
        """Changes fields of a record; a new state is stamped with the time of its change."""
        record = self.records[ref]
        changed = {name: value for name, value in changes.items() if getattr(record, name) != value}
        if not changed:
            return record
        stamp = {"machine_ns": now.machine_ns} if "state" in changed else {}
        record = replace(record, **changed, **stamp, updated_ns=now.ts_ns)
        self.put(record)
        return record

    def doubt(self, reason: str, now: Now) -> None:
        """The link is lost: what was open at the broker is unknown until it has answered."""
        for record in self.open():
            self.change(record.id, now, state="UNKNOWN", reason=reason)

    def restore(self, fill: Fill, now: Now) -> bool:
        """A fill that only the journal still has is written, told and counted again; says whether Redis had lost it."""
        before = self.fills.by_key.get(fill.key)
        if not self.fills.restore(fill):
            return False
        news: Booked = "fill" if before is None else "commission" if before.revision == fill.revision else "correction"
        self._changes.booked.append((news, fill))
        record = self.records.get(fill.order_ref)
        if record is not None:
            self._count_fills(record, now)
        return True

    # -- what the broker said

    def hear_order(self, news: BrokerOrder, now: Now) -> None:
        record = self._find(news.order_ref, news.client_id, news.order_id)
        if record is not None:
            self._take_terms(record, news, now)

    def hear_status(self, news: StatusNews, now: Now) -> None:
        record = self.of_order_id(news.order_id) if news.client_id == self._client_id else None
        word = STATUS_WORDS.get(news.status, "unclear")
        if record is None:
            return
        self._say(record, word, now, None)
        if news.perm_id:
            self.change(record.id, now, perm_id=news.perm_id)
        self.change(record.id, now, remaining=news.remaining if is_open(self.records[record.id].state) else 0)

    def hear_execution(self, news: ExecutionNews, now: Now) -> bool:
        """Whether it was new."""
        record = self._find(news.order_ref, news.client_id, news.order_id)
        if record is None and news.client_id != self._client_id and refs.is_ours(news.order_ref):
            # Whoever trades beside us may name orders as they like: that makes no intent of ours, to be stopped and closed.
            news = replace(news, order_ref="")
        known = split_exec_id(news.exec_id)[0] in self.fills.by_key
        fill = self.fills.hear(news, record.reference_price if record else None)
        if fill is None:
            return False
        self._changes.booked.append(("correction" if known else "fill", fill))
        if record is not None:
            self._count_fills(record, now)
        return True

    def hear_commission(self, news: CommissionNews) -> None:
        fill = self.fills.hear_commission(news)
        if fill is not None:
            self._changes.booked.append(("commission", fill))

    def hear_error(self, news: ErrorNews, now: Now) -> OrderRecord | None:
        """The order that must be asked about, where the error concerns an open one of ours."""
        record = self.of_order_id(news.order_id)
        if record is None or is_harmless(news.code) or not is_open(record.state):
            return None
        self._errors[record.id] = f"{news.code}: {news.text}"
        return self.change(record.id, now, state="UNKNOWN", reason=self._errors[record.id])

    def hear_snapshot(self, snapshot: BrokerSnapshot, now: Now) -> list[OrderRecord]:
        """Settles every open order by the broker's lists. Returns orders of ours at the broker that no ledger knew: adopted."""
        listed = {order.order_ref: order for order in snapshot.open_orders if order.order_ref}
        mine = [order for order in snapshot.open_orders if order.client_id == self._client_id and order.order_id > 0]
        # Order ids may begin again (nextValidId reset): an id names an order only where it bears no ref.
        unnamed = {order.order_id: order for order in mine if not order.order_ref}
        ended = {order.order_ref: order for order in snapshot.completed if order.order_ref}
        ended_by_perm = {order.perm_id: order for order in snapshot.completed if order.perm_id}
        known = [order for order in mine if self._find(order.order_ref, order.client_id, order.order_id) is not None]
        adopted = [self._adopt(order, now) for order in mine if order not in known and order.contract is not None]
        seen = {record.id for order in known if (record := self._find(order.order_ref, order.client_id, order.order_id))}
        for ref in {*self._open, *seen}:
            record = self.records[ref]
            order = listed.get(ref) or (unnamed.get(record.order_id or 0) if record.client_id == self._client_id else None)
            if order is not None:
                self._listed_open(record, order, now)
            elif is_open(record.state):
                over = ended.get(ref) or (ended_by_perm.get(record.perm_id) if record.perm_id else None)
                self._not_open(record, over, snapshot.asked_machine_ns, now)
        return adopted

    # -- inside

    def _index(self, record: OrderRecord) -> None:
        self.records[record.id] = record
        self._by_intent.setdefault(record.intent_id, {})[record.id] = None
        if record.order_id is not None and record.client_id == self._client_id:
            self._by_order_id[record.order_id] = record.id
        if is_open(record.state):
            self._open[record.id] = None
        else:
            self._open.pop(record.id, None)
            self.inactive.discard(record.id)
        if record.state == "FILLED" and record.filled < record.quantity:
            self._short[record.id] = None
        else:
            self._short.pop(record.id, None)

    def _find(self, order_ref: str, client_id: int, order_id: int) -> OrderRecord | None:
        if order_ref in self.records:
            return self.records[order_ref]
        return self.of_order_id(order_id) if client_id == self._client_id and order_id > 0 and not order_ref else None

    def _say(self, record: OrderRecord, word: Word, now: Now, reason: str | None) -> None:
        state = after(record.state, word)
        if state == "WORKING":
            self._errors.pop(record.id, None)
        if state != record.state:
            done = {} if is_open(state) else {"remaining": 0}
            self.change(record.id, now, state=state, reason=reason or (None if state != "UNKNOWN" else record.reason), **done)

    def _count_fills(self, record: OrderRecord, now: Now) -> None:
        filled, average = self.fills.filled(record.id)
        record = self.change(record.id, now, filled=filled, average_price=average)
        if filled >= record.quantity:
            self._say(record, "filled", now, None)

    def _take_terms(self, record: OrderRecord, order: BrokerOrder, now: Now) -> None:
        """Quantity and prices as they stand at the broker: OCA reductions and confirmed modifications."""
        self.change(
            record.id,
            now,
            quantity=order.quantity,
            limit_price=order.limit_price if record.order_type in ("LMT", "STP LMT") else record.limit_price,
            stop_price=order.stop_price if record.order_type in ("STP", "STP LMT") else record.stop_price,
            perm_id=order.perm_id or record.perm_id,
            order_id=order.order_id if order.client_id == self._client_id else record.order_id,
            client_id=order.client_id,
        )

    def _listed_open(self, record: OrderRecord, order: BrokerOrder, now: Now) -> None:
        self._take_terms(record, order, now)
        record = self.records[record.id]
        # Being listed as open is proof that it lives, whatever the library has concluded; Inactive alone stays unclear.
        word: Word = (
            "unclear"
            if order.status == "Inactive"
            else "pending"
            if order.status in ("PendingSubmit", "ApiPending")
            else "working"
        )
        if word == "unclear":
            self._say(record, word, now, None)
            self.change(record.id, now, reason="the broker lists it as Inactive")
            self.inactive.add(record.id)
            return
        self.inactive.discard(record.id)
        if record.state in ("INTENT", "SENT", "UNKNOWN", "EXPIRED", "REJECTED"):
            self._say(record, word, now, None)
            if word == "working":
                self.change(record.id, now, remaining=max(0, order.quantity - record.filled))

    def _not_open(self, record: OrderRecord, over: BrokerOrder | None, asked_machine_ns: int, now: Now) -> None:
        if over is not None:
            word = STATUS_WORDS.get(over.status, "unclear")
            self._count_fills(record, now)
            error = self._errors.get(record.id)
            self._say(self.records[record.id], "rejected" if word == "unclear" else word, now, error)
        elif self.fills.filled(record.id)[0] >= record.quantity:
            self._count_fills(record, now)
        elif asked_machine_ns < record.machine_ns:
            pass  # the lists are older than the order's last change
        elif record.state == "WORKING":
            # Ended orders may reach the list of completed ones late: in doubt first, gone only when asked again.
            self.change(record.id, now, state="UNKNOWN", reason="the broker does not list it as open")
        elif asked_machine_ns - record.machine_ns >= (0 if record.id in self._errors else GONE_AFTER_NS):
            error = self._errors.get(record.id)
            self._say(record, "rejected" if error else "gone", now, error or "the broker knows no such order")

    def _adopt(self, order: BrokerOrder, now: Now) -> OrderRecord:
        """An open order of our clientId that the ledger does not hold (a lost Redis): its record, from the broker's words."""
        ref = order.order_ref or f"unnamed-{order.perm_id}"
        kind = order.order_type if order.order_type in ("LMT", "MKT", "STP", "STP LMT") else "LMT"
        record = OrderRecord(
            id=ref,
            intent_id=refs.intent_of(ref),
            role=refs.role_of(ref),
            symbol=order.symbol,
            contract=order.contract,  # type: ignore[arg-type]
            side=order.side,
            quantity=order.quantity,
            order_type=kind,  # type: ignore[arg-type]
            limit_price=order.limit_price if kind in ("LMT", "STP LMT") else None,
            stop_price=order.stop_price if kind in ("STP", "STP LMT") else None,
            state="WORKING",
            filled=0,
            average_price=None,
            order_id=order.order_id,
            perm_id=order.perm_id,
            client_id=order.client_id,
            reason="adopted from the broker",
            strategy="",
            signal_id=None,
            created_ns=now.ts_ns,
            updated_ns=now.ts_ns,
            machine_ns=now.machine_ns,
            fence=0,
            halt_epoch=0,
            remaining=order.quantity,
            tif="GTC" if order.tif == "GTC" else "DAY",
            oca_group=order.oca_group,
        )
        self.put(record)
        self._count_fills(record, now)
        return self.records[ref]
