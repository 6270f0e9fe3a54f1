"""What is held, by the intent that opened it: a fold of all fills, bounded by what the broker says is there.

A fill of ours belongs to its intent. A fill of nobody's (a trade by hand, emergency's closing) takes from the oldest intent of
its contract; what is left over is the position `ext-{conId}`. What one intent of ours oversold another of the contract no longer
holds. What the broker does not hold is not held, nor short: an expiry or an assignment leaves no execution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import Fill
from alphatrader.core.orders.fills import FillBook, in_time
from alphatrader.core.orders.refs import external, intent_of, is_ours


@dataclass(slots=True)
class Holding:
    intent_id: str
    con_id: int
    symbol: str
    contract: OptionRef | None
    quantity: int = 0


def _take(holdings: dict[str, Holding], con_id: int, signed: int) -> int:
    """Lets `signed` close what is held of a contract, oldest first; returns what is left of it."""
    for holding in holdings.values():
        if holding.con_id != con_id or holding.quantity * signed >= 0:
            continue
        taken = min(abs(signed), abs(holding.quantity))
        step = taken if signed > 0 else -taken
        holding.quantity += step
        signed -= step
        if not signed:
            break
    return signed


def fold(fills: Iterable[Fill], broker: Mapping[int, int] | None = None) -> dict[str, Holding]:
    """Intent -> what it holds, zero ones dropped. `broker`: contract -> quantity it holds; None where it is not known."""
    holdings: dict[str, Holding] = {}
    for fill in sorted(fills, key=in_time):
        signed = fill.quantity if fill.side == "BUY" else -fill.quantity
        if is_ours(fill.order_ref):
            intent_id = intent_of(fill.order_ref)
        else:
            signed = _take(holdings, fill.con_id, signed)
            intent_id = external(fill.con_id)
        if signed:
            held = holdings.setdefault(intent_id, Holding(intent_id, fill.con_id, fill.symbol, fill.contract))
            held.quantity += signed
    for short in [holding for holding in holdings.values() if holding.quantity < 0]:
        short.quantity = _take(holdings, short.con_id, short.quantity)
    if broker is not None:
        for con_id in {holding.con_id for holding in holdings.values()}:
            ours = sum(h.quantity for h in holdings.values() if h.con_id == con_id)
            excess = ours - broker.get(con_id, 0)
            if excess * ours > 0:
                _take(holdings, con_id, -excess)
    return {intent_id: holding for intent_id, holding in holdings.items() if holding.quantity}


class Holdings:
    """`fold` of a growing book: only contracts with new fills, or of which the broker says something new, are folded anew."""

    def __init__(self, fills: FillBook) -> None:
        self._fills = fills
        self._folded: dict[int, tuple[tuple[int, int | None], dict[str, Holding]]] = {}

    def held(self, broker: Mapping[int, int] | None) -> dict[str, Holding]:
        found: dict[str, Holding] = {}
        for con_id, version in self._fills.contract_versions.items():
            state = (version, None if broker is None else broker.get(con_id, 0))
            known = self._folded.get(con_id)
            if known is None or known[0] != state:
                known = self._folded[con_id] = (state, fold(self._fills.by_contract[con_id].values(), broker))
            found |= known[1]
        return found
