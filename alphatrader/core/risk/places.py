"""The places under the position limits: who holds one, and when it is free again (faults.md I2, I4).

A place is held by a reservation, by an entry order that may still fill, or by an open position; one intent holds one place. It is
free only when the broker has confirmed the end of the order and no position came of it, or that position is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from alphatrader.contract.messages.orders import OPEN_STATES, OrderRecord
from alphatrader.contract.messages.positions import Position
from alphatrader.contract.messages.risk import Reservation

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
