"""Our positions against the broker's account: what agrees, what differs, and what the account teaches when it stays different.

A difference younger than the patience is a fill in flight. An older one names itself, blocks opening, and is settled at the
broker's word: what we never saw is adopted, what the broker does not hold is closed (invariants.md I9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Account, BrokerPosition, Fill
from alphatrader.core.positions.booking import ADOPTED, EXPIRED, VANISHED


@dataclass(frozen=True, slots=True)
class Difference:
    con_id: int
    ours: int
    broker: Decimal
    at_broker: BrokerPosition | None
    since_machine_ns: int

    def words(self, machine_ns: int) -> str:
        name = self.at_broker.local_symbol or self.at_broker.symbol if self.at_broker else ""
        age = (machine_ns - self.since_machine_ns) / 1e9
        return f"conId {self.con_id}{f' ({name})' if name else ''}: ours {self.ours}, broker {self.broker}, for {age:.0f} s"


@dataclass(frozen=True, slots=True)
class Comparison:
    reconciled: bool
    differences: tuple[str, ...]
    standing: tuple[Difference, ...]
    """Those that the broker still stated after the patience: its word may be taken."""


class Reconciler:
    """Remembers since when a difference stands, and whether there has been agreement since the start."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_ns = int(patience_seconds * 1e9)
        self._since: dict[int, Difference] = {}
        self._agreed = False

    def compare(self, ours: Mapping[int, int], account: Account | None, machine_ns: int) -> Comparison:
        if account is None or not account.confirmed:
            why = "the account is not known yet" if account is None else "the broker has not confirmed positions and orders"
            return Comparison(False, (why,), ())
        theirs = {position.con_id: position for position in account.positions if position.quantity != 0}
        found = {}
        for con_id in {*ours, *theirs}:
            at_broker = theirs.get(con_id)
            held, broker = ours.get(con_id, 0), at_broker.quantity if at_broker else Decimal(0)
            if held != broker:
                known = self._since.get(con_id)
                same = known is not None and (known.ours, known.broker) == (held, broker)
                since = known.since_machine_ns if known is not None and same else machine_ns
                found[con_id] = Difference(con_id, held, broker, at_broker, since)
        self._since = found
        self._agreed = self._agreed or not found
        old = any(machine_ns - d.since_machine_ns >= self._patience_ns for d in found.values())
        standing = tuple(d for d in found.values() if account.machine_ns - d.since_machine_ns >= self._patience_ns)
        words = tuple(difference.words(machine_ns) for difference in found.values())
        return Comparison(self._agreed and not old, words, standing)


def outdated(difference: Difference, adjustments: Iterable[Fill]) -> list[Fill]:
    """Adjustments without which we would agree: their executions came after all."""
    mine = [fill for fill in adjustments if fill.con_id == difference.con_id]
    for candidates in (*([fill] for fill in mine), mine):
        effect = sum(fill.quantity if fill.side == "BUY" else -fill.quantity for fill in candidates)
        if candidates and difference.ours - effect == difference.broker:
            return list(candidates)
    return []


def settled(
    difference: Difference,
    contract: OptionRef | None,
    *,
    account: str,
    mark: Decimal | None,
    expired: bool,
    ts_ns: int,
) -> list[Fill]:
    """Bookings that make our side equal the broker's. Empty where the contract is no option or the quantity no whole number.

    What vanished, long or short, is closed at the last mark we had, or at 0; what expired at 0, as no settlement price is known
    here. Both say so.
    """
    if contract is None or difference.broker != int(difference.broker):
        return []
    missing = int(difference.broker) - difference.ours
    gone = 0 if missing * difference.ours >= 0 else max(-abs(difference.ours), min(missing, abs(difference.ours)))
    fills = []
    if gone:
        price = Decimal(0) if expired or mark is None else mark
        fills.append(_adjustment(difference.con_id, contract, gone, price, EXPIRED if expired else VANISHED, account, ts_ns))
    if missing - gone:
        cost = difference.at_broker.average_cost / contract.multiplier if difference.at_broker else Decimal(0)
        price = cost if cost.is_finite() and cost >= 0 else Decimal(0)
        fills.append(_adjustment(difference.con_id, contract, missing - gone, price, ADOPTED, account, ts_ns))
    return fills


def _adjustment(con_id: int, contract: OptionRef, signed: int, price: Decimal, why: str, account: str, ts_ns: int) -> Fill:
    return Fill(
        key=f"{why}-{con_id}-{ts_ns}",
        exec_id=why,
        revision=0,
        order_ref="",
        con_id=con_id,
        symbol=contract.symbol,
        contract=contract,
        side="BUY" if signed > 0 else "SELL",
        quantity=abs(signed),
        price=price,
        commission=Decimal(0),
        ts_ns=ts_ns,
        perm_id=0,
        account=account,
    )
