"""Positions out of executions: a fold of all fills, the same for any order and any repetition of them (invariants.md I10).

A fill of ours belongs to the intent its orderRef names. A fill of nobody's (a trade by hand, emergency's closing, what the
account taught us) closes the oldest position of its contract; what is left over is the position `ext-{conId}`. Cost is the
average cost with commissions; a commission that is not reported yet counts nothing until it is, then all is folded anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Fill
from alphatrader.core.orders.fills import in_time, newness
from alphatrader.core.orders.refs import FLATTEN, external, intent_of, is_ours, role_of

ADOPTED: Final = "account:adopted"
EXPIRED: Final = "account:expired"
VANISHED: Final = "account:vanished"
"""`exec_id` of bookings that the broker's account taught us; no execution was seen for them."""
UNSEEN_EXITS: Final = frozenset({EXPIRED, VANISHED})

_CENT_SHARE: Final = Decimal("0.0001")
_ZERO: Final = Decimal(0)
_MOST_CONTRACTS: Final = 1_000_000


def fault(fill: Fill) -> str | None:
    """What makes a fill impossible to book, naming the field; None where it is sound."""
    if not fill.key:
        return "key: is empty"
    if fill.con_id <= 0:
        return f"con_id: {fill.con_id} names no contract"
    if not 0 <= fill.quantity <= _MOST_CONTRACTS:
        return f"quantity: {fill.quantity} is not between 0 and {_MOST_CONTRACTS}"
    if not fill.price.is_finite() or fill.price < 0:
        return f"price: {fill.price} is no price"
    if fill.commission is not None and not fill.commission.is_finite():
        return f"commission: {fill.commission} is no amount"
    return None


def newer(known: Fill | None, heard: Fill) -> Fill:
    """Of two reports of one execution, the one that counts: the higher revision, then the one with the newer commission."""
    if known is None:
        return heard
    return max(known, heard, key=lambda f: (*newness(f), f.commission or _ZERO, f.exec_id))


@dataclass(slots=True)
class Booked:
    """One position as its fills make it."""

    id: str
    con_id: int
    contract: OptionRef
    external: bool
    quantity: int = 0
    """Signed; a long position is positive."""
    cost: Decimal = _ZERO
    """Paid for what is held, with commissions; negative for a short one."""
    opened_quantity: int = 0
    entry_value: Decimal = _ZERO
    exited_quantity: int = 0
    exit_value: Decimal = _ZERO
    commissions: Decimal = _ZERO
    realizations: list[tuple[int, Decimal]] = field(default_factory=list)
    """(market time, USD) of each closing fill."""
    slippage: Decimal | None = _ZERO
    """USD paid beyond the mid, over entries and those exits that carry a reference; None where an entry carries none."""
    opened_ns: int = 0
    updated_ns: int = 0
    closed_ns: int | None = None
    closed_by: str = ""
    """How the last closing fill came about: stop, target, exit, flatten, by hand, expired, vanished."""
    exit_known: bool = True
    commissions_known: bool = True
    """Whether each of its fills has reported one."""

    @property
    def realized(self) -> Decimal:
        return sum((amount for _, amount in self.realizations), _ZERO)

    @property
    def average_price(self) -> Decimal:
        return average(self.entry_value, self.opened_quantity)

    @property
    def exit_price(self) -> Decimal:
        return average(self.exit_value, self.exited_quantity)


def average(value: Decimal, quantity: int) -> Decimal:
    return (value / quantity).quantize(_CENT_SHARE) if quantity else _ZERO


def book(fills: Iterable[Fill], contracts: Mapping[int, OptionRef]) -> dict[str, Booked]:
    """Position id -> what the fills make of it. `contracts` names those whose fills carry none; unknown ones are left out."""
    latest: dict[str, Fill] = {}
    for fill in fills:
        latest[fill.key] = newer(latest.get(fill.key), fill)
    books: dict[str, Booked] = {}
    for fill in sorted(latest.values(), key=in_time):
        contract = contracts.get(fill.con_id) or fill.contract
        if contract is not None and fill.quantity:
            _book_one(books, fill, contract)
    return books


def _book_one(books: dict[str, Booked], fill: Fill, contract: OptionRef) -> None:
    signed = fill.quantity if fill.side == "BUY" else -fill.quantity
    if is_ours(fill.order_ref):
        _apply(_position(books, intent_of(fill.order_ref), fill, contract), signed, fill)
        return
    for held in list(books.values()):
        if signed and held.con_id == fill.con_id and held.quantity * signed < 0:
            taken = min(abs(signed), abs(held.quantity)) * (1 if signed > 0 else -1)
            _apply(held, taken, fill)
            signed -= taken
    if signed:
        _apply(_position(books, external(fill.con_id), fill, contract), signed, fill)


def _position(books: dict[str, Booked], position_id: str, fill: Fill, contract: OptionRef) -> Booked:
    if position_id not in books:
        books[position_id] = Booked(position_id, fill.con_id, contract, external=not is_ours(position_id))
    return books[position_id]


def _apply(held: Booked, signed: int, fill: Fill) -> None:
    """Books `signed` contracts of a fill: what reduces closes, the rest opens."""
    reducing = held.quantity * signed < 0
    closing = min(abs(signed), abs(held.quantity)) if reducing else 0
    opening = abs(signed) - closing
    direction = 1 if signed > 0 else -1
    if closing:
        _close(held, direction * closing, fill)
    if opening:
        _open(held, direction * opening, fill)
    held.updated_ns = fill.ts_ns
    held.commissions_known = held.commissions_known and fill.commission is not None
    if fill.side == "BUY" or fill.reference_price is not None:
        held.slippage = _slipped(held, signed, fill)


def _open(held: Booked, signed: int, fill: Fill) -> None:
    commission = _share(fill, signed)
    if held.quantity == 0 and held.opened_quantity == 0:
        held.opened_ns = fill.ts_ns
    held.cost += signed * fill.price * held.contract.multiplier + commission
    held.commissions += commission
    held.quantity += signed
    held.opened_quantity += abs(signed)
    held.entry_value += abs(signed) * fill.price
    held.closed_ns = None


def _close(held: Booked, signed: int, fill: Fill) -> None:
    commission = _share(fill, signed)
    released = held.cost if abs(signed) == abs(held.quantity) else (held.cost * -signed / held.quantity).quantize(_CENT_SHARE)
    proceeds = -signed * fill.price * held.contract.multiplier - commission
    held.realizations.append((fill.ts_ns, proceeds - released))
    held.cost -= released
    held.commissions += commission
    held.quantity += signed
    held.exited_quantity += abs(signed)
    held.exit_value += abs(signed) * fill.price
    held.closed_by = closer(fill)
    held.exit_known = held.exit_known and fill.exec_id not in UNSEEN_EXITS
    if held.quantity == 0:
        held.closed_ns = fill.ts_ns


def _share(fill: Fill, signed: int) -> Decimal:
    """The commission of a part of a fill."""
    if fill.commission is None or abs(signed) == fill.quantity:
        return fill.commission or _ZERO
    return (fill.commission * abs(signed) / fill.quantity).quantize(_CENT_SHARE)


def _slipped(held: Booked, signed: int, fill: Fill) -> Decimal | None:
    if held.slippage is None or fill.reference_price is None or not fill.reference_price.is_finite():
        return None
    return held.slippage + (fill.price - fill.reference_price) * signed * held.contract.multiplier


def closer(fill: Fill) -> str:
    """In a word, what closed: the role of our order, or who else."""
    if fill.exec_id in UNSEEN_EXITS:
        return fill.exec_id.partition(":")[2]
    if fill.order_ref.startswith(FLATTEN):
        return "flatten"
    return role_of(fill.order_ref) if is_ours(fill.order_ref) else "by hand"
