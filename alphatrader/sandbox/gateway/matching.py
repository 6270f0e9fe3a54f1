"""The matching engine: fills working orders against the market's quotes, once a turn.

A marketable order takes the opposite side's price up to its displayed size; what remains rests and fills at its limit
when the quote crosses it. Stops trigger when the bid (sell) or the ask (buy) touches them, trailing stops follow the
same side. Children of a bracket are held until their parent fills and work no more than it has filled. An OCA group's
others are cancelled (type 1) or reduced (2, 3) at each fill. `orders.py` puts orders in, `reports.py` tells clients.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from alphatrader.sandbox.gateway import hours
from alphatrader.sandbox.gateway.contracts import step_at
from alphatrader.sandbox.gateway.ledger import Execution, Ledger, Order
from alphatrader.sandbox.gateway.quotes import Quotes
from alphatrader.sandbox.market.types import Contract, Quote

# Commission by security type: per share or contract, and the least for an order (IBKR fixed pricing, US).
COMMISSION = {"STK": (Decimal("0.005"), Decimal(1)), "OPT": (Decimal("0.65"), Decimal(1)), "FUT": (Decimal("2.25"), Decimal(0))}
NEEDS_TRIGGER = frozenset({"STP", "STP LMT", "TRAIL"})
HAS_LIMIT = frozenset({"LMT", "STP LMT"})


class Reports(Protocol):
    """Who tells clients what happened to an order."""

    def order(self, order: Order) -> None: ...

    def fill(self, order: Order, execution: Execution) -> None: ...

    def cancelled(self, order: Order) -> None: ...


def commission(contract: Contract, quantity: int) -> Decimal:
    """Of a whole order that has filled `quantity`."""
    per_unit, least = COMMISSION.get(contract.sec_type, COMMISSION["STK"])
    return max(least, per_unit * quantity)


class Engine:
    def __init__(self, ledger: Ledger, quotes: Quotes, reports: Reports) -> None:
        self._ledger = ledger
        self._quotes = quotes
        self._reports = reports
        self._taken: dict[tuple[int, str], int] = {}
        self.fill_cap: list[int] = []  # injected: at most this many at each of the next fills

    def turn(self, now_ns: int) -> None:
        self._taken.clear()
        for order in self._ledger.working():
            if not order.working:
                continue  # ended within this turn by an OCA sibling or its parent
            contract = self._ledger.contracts[order.con_id]
            listed = contract.sec_type != "OPT" or now_ns < hours.expiry_close(contract.expiry)
            if not listed or (order.expires_ns is not None and now_ns >= order.expires_ns):
                self.end(order, "Cancelled", "Expired", now_ns)
            elif order.active > 0 and hours.is_open(contract, now_ns, extended=order.outside_rth):
                self._work(order, contract, now_ns)

    def end(self, order: Order, status: str, reason: str, now_ns: int) -> None:
        """Take an order off the market; children that were never released go with it."""
        order.status, order.reason, order.done_ns, order.why_held = status, reason, now_ns, ""
        self._ledger.save(order)
        self._reports.cancelled(order)
        for child in self._ledger.children(order):
            if not child.working or child.released is None:
                continue
            if child.active == 0:
                self.end(child, "Cancelled", "parent order ended", now_ns)
                continue
            child.quantity, child.released = child.filled + child.active, None
            self._ledger.save(child)
            self._reports.order(child)

    def _work(self, order: Order, contract: Contract, now_ns: int) -> None:
        quote = self._quotes.get(order.con_id)
        if quote is None or self._quotes.halted(contract):
            return
        if order.order_type in NEEDS_TRIGGER and not order.triggered and not self._trigger(order, contract, quote):
            return
        if order.status == "PreSubmitted":
            order.status, order.why_held = "Submitted", ""
            self._ledger.save(order)
            self._reports.order(order)
        self._match(order, contract, quote, now_ns)
        if order.tif == "IOC" and order.working:
            self.end(order, "Cancelled", "IOC remainder", now_ns)

    def _trigger(self, order: Order, contract: Contract, quote: Quote) -> bool:
        price = quote.bid if order.action == "SELL" else quote.ask
        if price is None:
            return False
        stop = self._trail(order, contract, price) if order.order_type == "TRAIL" else order.aux or 0.0
        touched = price <= stop if order.action == "SELL" else price >= stop
        if touched:
            order.triggered = True
        return touched

    def _trail(self, order: Order, contract: Contract, price: float) -> float:
        """The trailing stop after seeing `price`: it follows in the order's favour and never back."""
        distance = price * order.trailing_percent / 100 if order.trailing_percent else (order.aux or 0.0)
        wanted = price - distance if order.action == "SELL" else price + distance
        step = step_at(contract, wanted)
        wanted = round(round(wanted / step) * step, 10)
        stop = order.trail_stop
        if stop is None or (wanted > stop if order.action == "SELL" else wanted < stop):
            order.trail_stop = stop = wanted
            self._ledger.save(order, sync=False)
        return stop

    def _match(self, order: Order, contract: Contract, quote: Quote, now_ns: int) -> None:
        buying = order.action == "BUY"
        price, size = (quote.ask, quote.ask_size) if buying else (quote.bid, quote.bid_size)
        limit = order.limit if order.order_type in HAS_LIMIT else None
        if price is None or (limit is not None and (price > limit if buying else price < limit)):
            order.resting = True
            return
        key = (order.con_id, order.action)
        quantity = min(order.active, size - self._taken.get(key, 0))
        if quantity > 0 and self.fill_cap:
            quantity = min(quantity, self.fill_cap.pop(0))
        if quantity > 0:
            self._taken[key] = self._taken.get(key, 0) + quantity
            self._fill(order, contract, quote, quantity, limit if order.resting and limit is not None else price, now_ns)
        order.resting = True

    def _fill(self, order: Order, contract: Contract, quote: Quote, quantity: int, price: float, now_ns: int) -> None:
        before = order.remaining
        charged = Decimal(order.commission)
        total = commission(contract, order.filled + quantity)
        order.average = (order.average * order.filled + price * quantity) / (order.filled + quantity)
        order.filled += quantity
        order.last = price
        order.commission = str(total)
        if not order.remaining:
            order.status, order.done_ns = "Filled", now_ns
        realized = self._ledger.realize(contract, order.sign * quantity, Decimal(str(price)), total - charged)
        exchanges = quote.ask_exchanges if order.action == "BUY" else quote.bid_exchanges
        execution = Execution(
            exec_id=self._ledger.next_exec_id(),
            perm_id=order.perm_id,
            client_id=order.client_id,
            order_id=order.order_id,
            con_id=order.con_id,
            ts_ns=now_ns,
            exchange=VENUES.get(exchanges[:1], order.exchange) if order.exchange == "SMART" else order.exchange,
            side="BOT" if order.action == "BUY" else "SLD",
            shares=quantity,
            price=price,
            cumulative=order.filled,
            average=round(order.average, 8),
            order_ref=order.order_ref,
            liquidity=1 if order.resting else 2,
            commission=str(total - charged),
            realized=None if realized is None else str(realized),
        )
        self._ledger.book(execution)
        self._ledger.save(order)
        self._reports.fill(order, execution)
        self._release_children(order, quantity)
        self._reduce_oca(order, quantity, before, now_ns)

    def _release_children(self, parent: Order, quantity: int) -> None:
        for child in self._ledger.children(parent):
            if not child.working or child.released is None:
                continue
            share = child.bracket_quantity * parent.filled // parent.quantity
            share -= child.bracket_quantity * (parent.filled - quantity) // parent.quantity
            child.released = None if parent.status == "Filled" else child.released + share
            child.why_held = "trigger" if child.order_type in NEEDS_TRIGGER else ""
            self._ledger.save(child)
            self._reports.order(child)

    def _reduce_oca(self, order: Order, quantity: int, before: int, now_ns: int) -> None:
        for other in self._ledger.oca_others(order):
            if order.oca_type == 1:
                self.end(other, "Cancelled", "OCA group filled", now_ns)
                continue
            reduction = other.remaining if quantity == before else round(other.remaining * quantity / before)
            other.quantity -= reduction
            if other.released is not None:
                other.released -= reduction
            if other.remaining <= 0:
                other.quantity += reduction  # a cancelled order keeps the size it had
                self.end(other, "Cancelled", "OCA group filled", now_ns)
            else:
                self._ledger.save(other)
                self._reports.order(other)


# SIP participant letters to the names the broker uses.
VENUES = {
    "A": "AMEX",
    "B": "BEX",
    "C": "NYSENAT",
    "H": "PEARL",
    "I": "ISE",
    "J": "EDGEA",
    "K": "DRCTEDGE",
    "L": "LTSE",
    "M": "CHX",
    "N": "NYSE",
    "P": "ARCA",
    "Q": "ISLAND",
    "U": "MEMX",
    "V": "IEX",
    "X": "PSX",
    "Y": "BYX",
    "Z": "BATS",
}
