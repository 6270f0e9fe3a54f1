"""Fills, each once: the key is the execId without its last dotted field, and the latest revision of a key wins.

The fold is independent of order and repetition: any shuffle of executions and commission reports gives the same book.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec.structs import replace

from alphatrader.contract.messages.broker import CommissionNews, ExecutionNews
from alphatrader.contract.messages.orders import Fill


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """Key and revision: `0000e0d5.6917a3f1.01.02` is revision 2 of `0000e0d5.6917a3f1.01`."""
    head, dot, tail = exec_id.rpartition(".")
    return (head, int(tail)) if dot and tail.isascii() and tail.isdigit() else (exec_id, 0)


def in_time(fill: Fill) -> tuple[int, bool, str]:
    """The order in which fills are folded, here and in `positions`, so that both name the same intent the oldest. The broker's
    times are whole seconds; within one what was bought comes before what was sold."""
    return fill.ts_ns, fill.side != "BUY", fill.key


def newness(fill: Fill) -> tuple[int, bool, int]:
    """Of two reports of one execution the one with the higher counts."""
    return fill.revision, fill.commission is not None, fill.commission_revision


class FillBook:
    def __init__(self, fills: Iterable[Fill] = ()) -> None:
        self.by_key: dict[str, Fill] = {}
        self.version = 0
        """Grows with every change."""
        self.by_contract: dict[int, dict[str, Fill]] = {}
        self.contract_versions: dict[int, int] = {}
        """Contract -> grows with every change of its fills."""
        self._net: dict[int, int] = {}
        self._keys_of: dict[str, set[str]] = {}
        for fill in fills:
            self._put(fill)
        self._commissions: dict[str, tuple[int, Decimal]] = {
            fill.key: (fill.commission_revision, fill.commission) for fill in self.by_key.values() if fill.commission is not None
        }

    def _put(self, fill: Fill) -> None:
        known = self.by_key.get(fill.key)
        if known is not None:
            self._count(known, -1)
            del self.by_contract[known.con_id][known.key]
        self.by_key[fill.key] = fill
        self.by_contract.setdefault(fill.con_id, {})[fill.key] = fill
        self._count(fill, 1)
        self._keys_of.setdefault(fill.order_ref, set()).add(fill.key)
        self.version += 1

    def _count(self, fill: Fill, times: int) -> None:
        signed = fill.quantity if fill.side == "BUY" else -fill.quantity
        self._net[fill.con_id] = self._net.get(fill.con_id, 0) + times * signed
        self.contract_versions[fill.con_id] = self.contract_versions.get(fill.con_id, 0) + 1

    def hear(self, news: ExecutionNews, reference_price: Decimal | None) -> Fill | None:
        """The fill as it must be booked now; None for what is booked already."""
        key, revision = split_exec_id(news.exec_id)
        known = self.by_key.get(key)
        if known is not None and known.revision >= revision:
            return None
        commission_revision, commission = self._commissions.get(key, (0, None))
        fill = Fill(
            key=key,
            exec_id=news.exec_id,
            revision=revision,
            order_ref=news.order_ref,
            con_id=news.con_id,
            symbol=news.symbol,
            contract=news.contract,
            side=news.side,
            quantity=news.quantity,
            price=news.price,
            commission=commission,
            ts_ns=news.ts_ns,
            perm_id=news.perm_id,
            account=news.account,
            reference_price=reference_price,
            commission_revision=commission_revision,
        )
        self._put(fill)
        return fill

    def restore(self, fill: Fill) -> bool:
        """Takes a fill from the journal; says whether it was not known."""
        known = self.by_key.get(fill.key)
        if known is not None and newness(known) >= newness(fill):
            return False
        self._put(fill)
        if fill.commission is not None:
            self._commissions[fill.key] = (fill.commission_revision, fill.commission)
        return True

    def hear_commission(self, news: CommissionNews) -> Fill | None:
        """The fill with its commission; None where nothing changed or its execution has not come yet."""
        key, revision = split_exec_id(news.exec_id)
        known = self._commissions.get(key)
        if known is not None and known[0] >= revision:
            return None
        self._commissions[key] = (revision, news.amount)
        fill = self.by_key.get(key)
        if fill is None or fill.commission == news.amount:
            return None
        self._put(replace(fill, commission=news.amount, commission_revision=revision))
        return self.by_key[key]

    def filled(self, order_ref: str) -> tuple[int, Decimal | None]:
        """Quantity and average price of an order, from its executions."""
        fills = [self.by_key[key] for key in sorted(self._keys_of.get(order_ref, ()))]
        quantity = sum(fill.quantity for fill in fills)
        if not quantity:
            return 0, None
        return quantity, sum((fill.price * fill.quantity for fill in fills), Decimal(0)) / quantity

    def net(self) -> dict[int, int]:
        """Signed quantity by contract, as all executions make it."""
        return dict(self._net)
