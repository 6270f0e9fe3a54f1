"""Order intake: placing, modifying, cancelling, and the questions about orders and executions.

What cannot be accepted is refused with the broker's code before anything changes. An order with transmit off waits in
its session, unknown to the market; transmitting any member of a bracket sends the whole family. Accepted orders go
into the ledger, where the engine (`matching.py`) works them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.account import Account
from alphatrader.sandbox.gateway.contracts import Contracts, Refusal, step_at
from alphatrader.sandbox.gateway.ledger import Execution, Ledger, Order
from alphatrader.sandbox.gateway.matching import NEEDS_TRIGGER, Engine, commission
from alphatrader.sandbox.gateway.reports import Reporter
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.market.types import Contract

ORDER_TYPES = frozenset({"LMT", "MKT", "STP", "STP LMT", "TRAIL"})
TIFS = frozenset({"DAY", "GTC", "IOC"})
ECHOED = ("openClose", "origin", "triggerMethod", "modelCode", "clearingIntent")
# Instructions that would change how an order works and are not simulated: refused, never ignored.
NOT_SIMULATED = (
    "goodAfterTime",
    "goodTillDate",
    "algoStrategy",
    "hedgeType",
    "deltaNeutralContract",
    "conditions",
    "adjustedOrderType",
    "minQty",
    "scalePriceIncrement",
    "cashQty",
)


class Orders:
    def __init__(
        self,
        ledger: Ledger,
        contracts: Contracts,
        account: Account,
        engine: Engine,
        reporter: Reporter,
        now_ns: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._contracts = contracts
        self._account = account
        self._engine = engine
        self._reporter = reporter
        self._now_ns = now_ns
        self.refuse_next: list[tuple[int, str, str]] = []  # injected: code, text, order type ("" for any)
        self.inactive: dict[int, bool] = {}  # injected: perm id of an order held as Inactive -> whether it refuses its cancel
        self.disconnected = False  # injected: the gateway has lost its own link to the broker

    def handlers(self) -> dict[str, Callable[[Session, dict[str, Any]], None]]:
        return {
            "placeOrder": self._place,
            "cancelOrder": self._cancel,
            "reqGlobalCancel": self._global_cancel,
            "reqOpenOrders": self._open_orders,
            "reqAllOpenOrders": self._all_open_orders,
            "reqAutoOpenOrders": self._auto_open_orders,
            "reqCompletedOrders": self._completed_orders,
            "reqExecutions": self._executions,
            "reqIds": lambda session, values: session.send(layouts.next_valid_id(self.next_id(session))),
        }

    def next_id(self, session: Session) -> int:
        return max(self._ledger.highest_order_id(session.client_id or 0), *session.untransmitted, 0) + 1

    # --- placing

    def _place(self, session: Session, values: dict[str, Any]) -> None:
        order_id = values["orderId"]
        try:
            if self.disconnected:
                raise Refusal(1100, "Connectivity between IB and Trader Workstation has been lost.")
            contract = self._contract(values)
            self._check(values, contract)
            existing = self._ledger.order(session.client_id or 0, order_id)
            if existing is not None:
                self._modify(session, existing, values, contract)
                return
            order = self._new_order(session, values, contract)
        except Refusal as refusal:
            session.error(order_id, refusal.code, str(refusal))
            return
        if values["whatIf"]:
            self._what_if(session, order, contract)
            return
        if not values["tif"]:
            session.error(order_id, 10349, "Order TIF was set to DAY based on order preset.")
        self._ledger.know(contract)
        session.untransmitted[order_id] = order
        if values["transmit"]:
            self._transmit(session, order)

    def _contract(self, values: dict[str, Any]) -> Contract:
        if values["secType"] == "BAG":
            raise Refusal(201, "Order rejected - reason:Combination orders are not simulated")
        contract = self._contracts.one(values)
        if contract.sec_type == "IND":
            raise Refusal(201, "Order rejected - reason:The contract is not available for trading")
        if contract.sec_type == "OPT" and self._now_ns() >= hours.expiry_close(contract.expiry):
            raise Refusal(201, "Order rejected - reason:The contract has expired")
        return contract

    def _check(self, values: dict[str, Any], contract: Contract) -> None:
        kind = values["orderType"]
        if values["action"] not in ("BUY", "SELL"):
            raise Refusal(321, "Error validating request.-'bM' : cause - Invalid order action")
        if kind not in ORDER_TYPES:
            raise Refusal(387, f"Unsupported order type for this exchange and security type: {kind}")
        if values["tif"] not in TIFS and values["tif"]:
            raise Refusal(201, f"Order rejected - reason:Time in force {values['tif']} is not simulated")
        quantity = values["totalQuantity"]
        if quantity <= 0:
            raise Refusal(434, "The order size cannot be zero.")
        if not quantity.is_integer():
            raise Refusal(10243, "Fractional-sized order cannot be placed via API.")
        if values["account"] not in ("", self._ledger.account):
            raise Refusal(321, f"Error validating request.-'bM' : cause - Invalid account code '{values['account']}'.")
        for field in NOT_SIMULATED:
            if values.get(field):
                raise Refusal(201, f"Order rejected - reason:{field} is not simulated")
        self._check_prices(values, contract)

    @staticmethod
    def _check_prices(values: dict[str, Any], contract: Contract) -> None:
        kind = values["orderType"]
        prices: dict[str, float | None] = {}
        if kind in ("LMT", "STP LMT"):
            prices["lmtPrice"] = values["lmtPrice"]
        if kind in ("STP", "STP LMT") or (kind == "TRAIL" and not values["trailingPercent"]):
            prices["auxPrice"] = values["auxPrice"]
        if kind == "TRAIL" and values["trailStopPrice"] is not None:
            prices["trailStopPrice"] = values["trailStopPrice"]
        for name, price in prices.items():
            if price is None or price <= 0:
                raise Refusal(321, f"Error validating request.-'bM' : cause - {kind} order needs a positive {name}")
            steps = price / step_at(contract, price)
            if abs(steps - round(steps)) > 1e-6:
                raise Refusal(110, "The price does not conform to the minimum price variation for this contract.")

    def _new_order(self, session: Session, values: dict[str, Any], contract: Contract) -> Order:
        client_id, order_id = session.client_id or 0, values["orderId"]
        if order_id not in session.untransmitted and order_id <= self._ledger.highest_order_id(client_id):
            raise Refusal(103, "Duplicate order id")
        now = self._now_ns()
        tif = values["tif"] or "DAY"
        order = Order(
            perm_id=self._ledger.next_perm_id(),
            client_id=client_id,
            order_id=order_id,
            con_id=contract.con_id,
            exchange=values["exchange"] or contract.exchange,
            action=values["action"],
            quantity=int(values["totalQuantity"]),
            order_type=values["orderType"],
            limit=values["lmtPrice"],
            aux=values["auxPrice"],
            tif=tif,
            account=self._ledger.account,
            created_ns=now,
            expires_ns=None if tif == "GTC" else hours.day_order_end(contract, now),
            oca_group=values["ocaGroup"],
            oca_type=values["ocaType"] if values["ocaType"] in (1, 2, 3) else 3,
            order_ref=values["orderRef"],
            parent_id=values["parentId"],
            outside_rth=values["outsideRth"],
            trail_stop=values["trailStopPrice"],
            trailing_percent=values["trailingPercent"],
            echo={name: str(values[name]) for name in ECHOED if values.get(name) and not isinstance(values[name], bool)},
        )
        if order.parent_id and self._parent(session, order) is None:
            raise Refusal(135, f"Can't find order with id = {order.parent_id}")
        return order

    def _parent(self, session: Session, order: Order) -> Order | None:
        waiting = session.untransmitted.get(order.parent_id)
        return waiting or self._ledger.order(order.client_id, order.parent_id)

    def _transmit(self, session: Session, order: Order) -> None:
        """Send `order` and every waiting member of its bracket, parent first."""
        head = order.parent_id or order.order_id
        waiting = session.untransmitted
        family = [o for o in waiting.values() if head in (o.order_id, o.parent_id)]
        family.sort(key=lambda o: o.order_id != head)
        for member in family:
            del waiting[member.order_id]
        for member in family:
            self._accept(session, member)

    def _accept(self, session: Session, order: Order) -> None:
        contract = self._ledger.contracts[order.con_id]
        now = self._now_ns()
        parent = self._ledger.order(order.client_id, order.parent_id) if order.parent_id else None
        refused = self._refusal(order, contract, parent)
        if refused is not None:
            order.status, order.reason, order.done_ns = "Inactive", refused[1], now
            self._ledger.save(order)
            session.error(order.order_id, *refused)
            self._reporter.order(order)
            return
        if parent is not None:
            self._attach(order, parent)
        elif order.order_type in NEEDS_TRIGGER:
            order.why_held = "trigger"
        is_open = hours.is_open(contract, now, extended=order.outside_rth)
        if is_open and order.released is None and order.order_type == "LMT":
            order.status = "Submitted"
        self._ledger.save(order)
        self._reporter.order(order)
        if not is_open and order.released is None:
            opening = hours.new_york(hours.next_open(contract, now))
            text = f"Order Message:\n{order.action} {order.quantity} {contract.local_symbol}\nWarning: your order will not be "
            session.error(order.order_id, 399, f"{text}placed at the exchange until {opening:%Y-%m-%d %H:%M:%S} US/Eastern")

    def _refusal(self, order: Order, contract: Contract, parent: Order | None) -> tuple[int, str] | None:
        for index, (code, text, kind) in enumerate(self.refuse_next):
            if kind in ("", order.order_type):
                del self.refuse_next[index]
                return code, text
        if order.parent_id and (parent is None or parent.status in ("Inactive", "Cancelled")):
            return 201, "Order rejected - reason:Parent order is not working"
        reason = None if parent is not None else self._account.refusal(order, contract)
        return None if reason is None else (201, reason)

    def _attach(self, order: Order, parent: Order) -> None:
        """Hold a child for its parent; children of one parent are an OCA group of their own unless they name one."""
        order.parent_perm_id = parent.perm_id
        order.bracket_quantity = order.quantity
        if not order.oca_group:
            order.oca_group, order.oca_type = str(parent.perm_id), 3
        if parent.status == "Filled":
            order.why_held = "trigger" if order.order_type in NEEDS_TRIGGER else ""
            return
        order.released = order.quantity * parent.filled // parent.quantity
        order.why_held = "child,trigger" if order.order_type in NEEDS_TRIGGER else "child"

    # --- modifying and cancelling

    def _modify(self, session: Session, order: Order, values: dict[str, Any], contract: Contract) -> None:
        if order.status == "Filled":
            raise Refusal(104, "Cannot modify a filled order.")
        if not order.working:
            raise Refusal(103, "Duplicate order id")
        if contract.con_id != order.con_id or values["action"] != order.action:
            raise Refusal(105, "Order being modified does not match original order")
        quantity = int(values["totalQuantity"])
        if quantity < order.filled or (quantity == order.filled and order.filled):
            raise Refusal(104, "Cannot modify a filled order.")
        if self.refuse_next and self.refuse_next[0][2] in ("", values["orderType"]):
            code, text, _ = self.refuse_next.pop(0)
            raise Refusal(code, text)
        if not values["transmit"]:
            return  # a modification that is not transmitted leaves the working order as it is
        if order.released is not None:
            parent = self._ledger.order(order.client_id, order.parent_id)
            if parent is not None:
                order.bracket_quantity = quantity
                order.released = quantity * parent.filled // parent.quantity
        order.quantity = quantity
        order.limit, order.aux = values["lmtPrice"], values["auxPrice"]
        if values["orderType"] != order.order_type:
            order.order_type, order.triggered = values["orderType"], False
        if order.order_type == "TRAIL" and values["trailStopPrice"] is not None:
            order.trail_stop = values["trailStopPrice"]
        order.trailing_percent = values["trailingPercent"]
        order.outside_rth, order.order_ref = values["outsideRth"], values["orderRef"]
        order.tif = values["tif"] or order.tif
        order.expires_ns = None if order.tif == "GTC" else hours.day_order_end(contract, self._now_ns())
        order.resting = False
        self._ledger.save(order)
        self._reporter.order(order)

    def _cancel(self, session: Session, values: dict[str, Any]) -> None:
        order_id = values["orderId"]
        if self.disconnected:
            session.error(order_id, 1100, "Connectivity between IB and Trader Workstation has been lost.")
            return
        if session.untransmitted.pop(order_id, None) is not None:
            session.error(order_id, 202, "Order Canceled - reason:")
            return
        order = self._ledger.order(session.client_id or 0, order_id)
        if order is None:
            session.error(order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        elif order.status == "Filled":
            session.error(
                order_id, 161, f"Cancel attempted when order is not in a cancellable state.  Order permId ={order.perm_id}"
            )
        elif self.inactive.get(order.perm_id) is False:
            del self.inactive[order.perm_id]
            self._engine.end(order, "Cancelled", "Cancelled by Trader", self._now_ns())
        elif not order.working:
            session.error(
                order_id, 10148, f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            )
        else:
            self._engine.end(order, "Cancelled", "Cancelled by Trader", self._now_ns())

    def _global_cancel(self, session: Session, values: dict[str, Any]) -> None:
        if self.disconnected:
            session.error(-1, 1100, "Connectivity between IB and Trader Workstation has been lost.")
            return
        for order in self._ledger.working():
            if order.working:  # a parent's end may have ended this one
                self._engine.end(order, "Cancelled", "Cancelled by Trader", self._now_ns())

    # --- what if

    def _what_if(self, session: Session, order: Order, contract: Contract) -> None:
        figures = self._account.figures()
        change = self._account.requirement(order, contract) or Decimal(0)
        fee = commission(contract, order.quantity)
        rows = {
            "initMarginBefore": figures.initial,
            "maintMarginBefore": figures.maintenance,
            "equityWithLoanBefore": figures.equity_with_loan,
            "initMarginChange": change,
            "maintMarginChange": change,
            "equityWithLoanChange": -fee,
            "initMarginAfter": figures.initial + change,
            "maintMarginAfter": figures.maintenance + change,
            "equityWithLoanAfter": figures.equity_with_loan - fee,
            "commission": fee,
        }
        margin = {name: f"{value:.2f}" for name, value in rows.items()}
        self._ledger.know(contract)
        self._reporter.open_order(
            session, order, margin=margin | {"whatIf": "1", "commissionCurrency": contract.currency}, reply=True
        )

    # --- questions

    def _open_orders(self, session: Session, values: dict[str, Any]) -> None:
        self._list_orders(session, [o for o in self._listed() if o.client_id == session.client_id])

    def _all_open_orders(self, session: Session, values: dict[str, Any]) -> None:
        self._list_orders(session, self._listed())

    def _listed(self) -> list[Order]:
        """Open orders; those held as Inactive are listed too, though nothing works them."""
        return [*self._ledger.working(), *(self._ledger.orders[perm_id] for perm_id in self.inactive)]

    def _list_orders(self, session: Session, orders: list[Order]) -> None:
        for order in orders:
            self._reporter.open_order(session, order, reply=True)
            self._reporter.status(session, order, reply=True)
        session.send(layouts.open_order_end())

    def _auto_open_orders(self, session: Session, values: dict[str, Any]) -> None:
        if session.client_id != 0:
            session.error(-1, 321, "Error validating request.-'bI' : cause - Only the default client (0) can auto bind orders.")

    def _completed_orders(self, session: Session, values: dict[str, Any]) -> None:
        for order in self._ledger.orders.values():
            if not order.working and order.perm_id not in self.inactive and (order.order_id > 0 or not values["apiOnly"]):
                self._reporter.completed_order(session, order)
        session.send(layouts.completed_orders_end())

    def _executions(self, session: Session, values: dict[str, Any]) -> None:
        since = _filter_time(values["time"])
        side = {"BUY": "BOT", "SELL": "SLD"}.get(values["side"].upper(), values["side"].upper())
        for execution in self._ledger.executions.values():
            if self._matches(execution, values, side) and execution.ts_ns >= since:
                self._reporter.execution(session, values["reqId"], execution, reply=True)
                self._reporter.commission(session, execution, reply=True)
        session.send(layouts.exec_details_end(values["reqId"]))

    def _matches(self, execution: Execution, values: dict[str, Any], side: str) -> bool:
        contract = self._ledger.contracts[execution.con_id]
        return (
            values["clientId"] in (0, execution.client_id)
            and values["account"] in ("", self._ledger.account)
            and values["symbol"] in ("", contract.symbol)
            and values["secType"] in ("", contract.sec_type)
            and values["exchange"] in ("", execution.exchange)
            and side in ("", execution.side)
        )


def _filter_time(text: str) -> int:
    """reqExecutions' time filter, in New York time (UTC with a dash: yyyymmdd-hh:mm:ss); 0 without one."""
    if not text:
        return 0
    try:
        if "-" in text:
            return int(datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()) * hours.NS
        plain = " ".join(text.split()[:2])
        return int(datetime.strptime(plain, "%Y%m%d %H:%M:%S").replace(tzinfo=hours.NEW_YORK).timestamp()) * hours.NS
    except ValueError:
        raise Refusal(321, f"Error validating request.-'bO' : cause - time {text!r} is not yyyymmdd hh:mm:ss") from None
