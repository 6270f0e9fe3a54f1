"""All bookings in memory: every fill once, and the positions they make, folded anew only for contracts that changed."""

from __future__ import annotations

from msgspec.structs import replace

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Fill
from alphatrader.core.positions.booking import Booked, book, fault, newer


class BadFillError(ValueError):
    """A fill that cannot be booked; the message names the field."""


class Ledger:
    def __init__(self) -> None:
        self._fills: dict[int, dict[str, Fill]] = {}
        self._booked: dict[int, dict[str, Booked]] = {}
        self._contracts: dict[int, OptionRef] = {}

    def name(self, con_id: int, contract: OptionRef) -> None:
        """Says which option a conId is, for fills that do not carry it."""
        if con_id not in self._contracts:
            self._contracts[con_id] = replace(contract, con_id=con_id)
            self._booked.pop(con_id, None)

    def hear(self, fill: Fill) -> bool:
        """Takes a fill or its correction; says whether anything changed. Raises BadFillError."""
        wrong = fault(fill)
        if wrong:
            raise BadFillError(f"fill {fill.exec_id or fill.key}: {wrong}")
        if fill.contract is not None:
            self.name(fill.con_id, fill.contract)
        known = self._fills.setdefault(fill.con_id, {})
        kept = newer(known.get(fill.key), fill)
        if known.get(fill.key) == kept:
            return False
        known[fill.key] = kept
        self._booked.pop(fill.con_id, None)
        return True

    def forget(self, fill: Fill) -> None:
        self._fills.get(fill.con_id, {}).pop(fill.key, None)
        self._booked.pop(fill.con_id, None)

    def positions(self) -> dict[str, Booked]:
        """Position id -> what all fills make of it, closed ones too."""
        for con_id, fills in self._fills.items():
            if con_id not in self._booked:
                self._booked[con_id] = book(fills.values(), self._contracts)
        return {position_id: held for books in self._booked.values() for position_id, held in books.items()}

    def quantities(self) -> dict[int, int]:
        """conId -> signed quantity held, zero ones dropped: what the broker's account is compared with."""
        totals: dict[int, int] = {}
        for held in self.positions().values():
            totals[held.con_id] = totals.get(held.con_id, 0) + held.quantity
        return {con_id: quantity for con_id, quantity in totals.items() if quantity}

    def unnamed(self) -> list[int]:
        """Contracts with fills that nobody has named: they are not booked."""
        return [con_id for con_id, fills in self._fills.items() if fills and con_id not in self._contracts]

    def contract(self, con_id: int) -> OptionRef | None:
        return self._contracts.get(con_id)
