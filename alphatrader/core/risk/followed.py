"""The orders, fills, positions and trades that risk follows, folded from what is heard: who holds a place under the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from alphatrader.contract.messages.orders import OPEN_STATES, Fill, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade, Position
from alphatrader.contract.messages.risk import Reservation
from alphatrader.core.orders.refs import intent_of, role_of
from alphatrader.core.risk import places
from alphatrader.core.risk.alike import Bet

Reservations = Mapping[str, Reservation]
"""By intent: what was approved, until its place is free."""


@dataclass(slots=True)
class Followed:
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    """Those that are open, and ended entries whose place is not free yet."""
    positions: dict[str, Position] = field(default_factory=dict)
    trades: dict[str, ClosedTrade] = field(default_factory=dict)
    """By position."""
    bought: dict[str, dict[str, int]] = field(default_factory=dict)
    """Intent -> fill -> contracts its entry bought, as executions say."""

    def hear_order(self, record: OrderRecord, reservations: Reservations) -> None:
        if record.state in OPEN_STATES or (record.role == "entry" and record.intent_id in reservations):
            self.orders[record.id] = record
        else:
            self.orders.pop(record.id, None)

    def hear_fill(self, fill: Fill, reservations: Reservations) -> None:
        intent_id = intent_of(fill.order_ref)
        if role_of(fill.order_ref) == "entry" and intent_id in reservations:
            self.bought.setdefault(intent_id, {})[fill.key] = fill.quantity

    def hear_position(self, position: Position, trade: ClosedTrade | None) -> None:
        """`trade`: what closed it, where it is closed and was booked."""
        self.positions[position.id] = position
        if trade is not None:
            self.trades[position.id] = trade
        else:
            self.trades.pop(position.id, None)

    @property
    def held(self) -> int:
        """Positions that are not closed."""
        return sum(position.status != "closed" for position in self.positions.values())

    @property
    def unknown_orders(self) -> tuple[str, ...]:
        return tuple(sorted(record.id for record in self.orders.values() if record.state == "UNKNOWN"))

    def places(self, reservations: Reservations) -> dict[str, str]:
        return places.places(reservations, self.orders.values(), self.positions.values())

    def bets(self, reservations: Reservations) -> dict[str, Bet]:
        return places.bets(reservations, self.orders.values(), self.positions.values())

    def pending_usd(self, reservations: Reservations) -> Decimal:
        """What is approved and of which no position is known: the account's buying power may not count it yet."""
        pending = (r.max_loss_usd for r in reservations.values() if r.intent_id not in self.positions)
        return sum(pending, Decimal(0))

    def free(
        self, reservations: Reservations, machine_ns: int, unclaimed_seconds: float, *, reconciled: bool
    ) -> dict[str, OrderRecord | None]:
        """The intents whose places are free, with their entries' last state; they are followed no more. `reconciled`: whether
        `positions` equal the broker's and are as many as are held here."""
        freed: dict[str, OrderRecord | None] = {}
        for intent_id, reservation in reservations.items():
            order, position = self.orders.get(intent_id), self.positions.get(intent_id)
            bought = sum(self.bought.get(intent_id, {}).values())
            if (
                places.ended(order, bought, position)
                or places.unclaimed(reservation, order, machine_ns, unclaimed_seconds)
                or (reconciled and places.settled(order, position, machine_ns))
            ):
                freed[intent_id] = order
                self.orders.pop(intent_id, None)
                self.bought.pop(intent_id, None)
                if position is not None and position.status == "closed":
                    del self.positions[intent_id]
        return freed
