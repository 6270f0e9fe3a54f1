"""The places under the position limits: who holds one, and when it is free again (invariants.md I2, I4).

A place is held by a reservation, by an entry order that may still fill, or by an open position; one intent holds one place. It is
free only when the broker has confirmed the end of the order and no position came of it, or that position is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from alphatrader.contract.messages.orders import OPEN_STATES, OrderRecord
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import Reservation
from alphatrader.core.risk.alike import Bet

SETTLED_SECONDS: Final = 60.0
"""A reconciled account this long after an order's end has counted what came of it."""


def places(
    reservations: Mapping[str, Reservation], orders: Iterable[OrderRecord], positions: Iterable[Position]
) -> dict[str, str]:
    """Intent or position id -> symbol. An UNKNOWN order holds its place."""
    held = {intent_id: reservation.symbol for intent_id, reservation in reservations.items()}
    held |= {order.intent_id: order.symbol for order in orders if order.role == "entry" and order.state in OPEN_STATES}
    held |= {position.id: position.symbol for position in positions if position.status != "closed"}
    return held


def bets(reservations: Mapping[str, Reservation], orders: Iterable[OrderRecord], positions: Iterable[Position]) -> dict[str, Bet]:
    """Place -> the premium it can lose: of a position what was paid for it, of what may still be bought what was approved."""
    entries = [order for order in orders if order.role == "entry" and order.state in OPEN_STATES]
    found = {p.id: Bet(p.symbol, p.contract.right, p.cost) for p in positions if p.status != "closed"}
    for order in entries:
        price = order.limit_price or order.reference_price or Decimal(0)
        may_cost = price * order.quantity * order.contract.multiplier
        found[order.intent_id] = Bet(order.symbol, order.contract.right, may_cost)
    buying = {order.intent_id for order in entries}
    for intent_id, reservation in reservations.items():
        if intent_id in buying or intent_id not in found:
            found[intent_id] = Bet(reservation.symbol, reservation.right, reservation.max_loss_usd)
    return found


def ended(order: OrderRecord | None, filled: int, position: Position | None) -> bool:
    """Whether a reservation's place is free. `filled`: contracts that executions say the entry bought."""
    if order is None or order.state in OPEN_STATES:
        return False
    bought = max(order.filled, filled)
    if bought == 0:
        return position is None or position.status == "closed"
    return position is not None and position.status == "closed" and position.opened_quantity >= bought


def unclaimed(reservation: Reservation, order: OrderRecord | None, machine_ns: int, after_seconds: float) -> bool:
    """No order was ever written for this approval, and by now none can be: approvals are worth acting on for a second."""
    return order is None and machine_ns - reservation.machine_ns > after_seconds * 1e9


def settled(order: OrderRecord | None, position: Position | None, machine_ns: int) -> bool:
    """The order ended long ago and nothing is held of it. Asked only while positions equal the broker's: that is its word."""
    if order is None or order.state in OPEN_STATES or (position is not None and position.status != "closed"):
        return False
    return machine_ns - order.machine_ns > SETTLED_SECONDS * 1e9
