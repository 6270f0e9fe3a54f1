"""Tells clients what happened to orders, and writes the truth of it into the wire log.

Called by the engine and by order intake. News of an order goes to the client that placed it and to client 0.
Everything is buffered: the gateway makes the ledger durable before the sockets are flushed.
"""

from __future__ import annotations

from typing import Any

from alphatrader.sandbox.gateway import hours, layouts, order_layouts
from alphatrader.sandbox.gateway.ledger import Execution, Ledger, Order
from alphatrader.sandbox.gateway.session import Session
from alphatrader.sandbox.gateway.wire import UNSET_DOUBLE, Field
from alphatrader.sandbox.gateway.wirelog import WireLog


class Reporter:
    def __init__(self, ledger: Ledger, sessions: list[Session], wire_log: WireLog) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._log = wire_log
        self.changed: set[int] = set()  # con_ids whose position changed since the account service last told of it
        self.muted = False  # injected: connectivity lost, nothing about orders reaches a client
        self.withheld_statuses = 0  # injected: this many orderStatus messages are swallowed
        self.last_fill: tuple[Order, Execution] | None = None

    # --- the engine's news

    def order(self, order: Order) -> None:
        self.truth_order(order)
        for session in self._audience(order):
            self.open_order(session, order)
            self.status(session, order)

    def cancelled(self, order: Order) -> None:
        self.truth_order(order)
        for session in self._audience(order):
            self.status(session, order)
            if order.client_id == session.client_id:
                session.error(order.order_id, 202, "Order Canceled - reason:")

    def fill(self, order: Order, execution: Execution) -> None:
        position = self._ledger.positions[execution.con_id]
        self.changed.add(execution.con_id)
        self.last_fill = (order, execution)
        self._log.write(
            "truth",
            what="fill",
            exec_id=execution.exec_id,
            perm_id=execution.perm_id,
            order_id=execution.order_id,
            owner=execution.client_id,
            order_ref=execution.order_ref,
            side=execution.side,
            shares=execution.shares,
            price=execution.price,
            con_id=execution.con_id,
            symbol=self._ledger.contracts[execution.con_id].symbol,
            position=position.quantity,
            average_cost=str(position.average_cost),
            cash=str(self._ledger.cash),
        )
        self.truth_order(order)
        for session in self._audience(order):
            self.execution(session, -1, execution)
            self.open_order(session, order)
            self.status(session, order)
            self.commission(session, execution)

    def truth_order(self, order: Order) -> None:
        self._log.write(
            "truth",
            what="order",
            perm_id=order.perm_id,
            order_id=order.order_id,
            owner=order.client_id,
            order_ref=order.order_ref,
            parent_id=order.parent_id,
            con_id=order.con_id,
            action=order.action,
            type=order.order_type,
            quantity=order.quantity,
            filled=order.filled,
            status=order.status,
            active=order.active,
            oca_group=order.oca_group,
            price=order.aux if order.order_type in ("STP", "TRAIL") else order.limit,
        )

    def _audience(self, order: Order) -> list[Session]:
        if self.muted:
            return []
        return [session for session in self._sessions if session.client_id in (order.client_id, 0)]

    # --- single messages

    def open_order(self, session: Session, order: Order, *, reply: bool = False, margin: dict[str, str] | None = None) -> None:
        values = self.order_values(order) | (margin or {})
        fields = order_layouts.open_order(values, session.version)
        session.send_order_traffic("openOrder", fields, values, reply=reply)

    def completed_order(self, session: Session, order: Order) -> None:
        values = self.order_values(order) | {
            "filledQuantity": order.filled,
            "completedTime": hours.stamp(order.done_ns),
            "completedStatus": f"Filled Size: {order.filled}" if order.status == "Filled" else order.reason or order.status,
        }
        if order.parent_perm_id:
            values["parentPermId"] = order.parent_perm_id
        session.send_order_traffic("completedOrder", order_layouts.completed_order(values, session.version), values, reply=True)

    def status(self, session: Session, order: Order, *, reply: bool = False) -> None:
        if self.withheld_statuses and not reply:
            self.withheld_statuses -= 1
            return
        fields = layouts.order_status(
            order.order_id,
            order.status,
            order.filled,
            order.remaining,
            round(order.average, 8),
            order.perm_id,
            order.parent_id,
            order.last,
            order.client_id,
            order.why_held,
        )
        values = {
            "orderId": order.order_id,
            "status": order.status,
            "filled": order.filled,
            "remaining": order.remaining,
            "averageFillPrice": order.average,
            "permId": order.perm_id,
            "parentId": order.parent_id,
            "lastFillPrice": order.last,
            "clientId": order.client_id,
            "whyHeld": order.why_held,
        }
        session.send_order_traffic("orderStatus", fields, values, reply=reply)

    def execution(self, session: Session, req_id: int, execution: Execution, *, reply: bool = False) -> None:
        contract = self._ledger.contracts[execution.con_id]
        time_text = hours.stamp(execution.ts_ns, session.version)
        fields = layouts.exec_details(
            req_id,
            execution.order_id,
            contract,
            execution.exec_id,
            time_text,
            self._ledger.account,
            execution.exchange,
            execution.side,
            execution.shares,
            execution.price,
            execution.perm_id,
            execution.client_id,
            execution.cumulative,
            execution.average,
            execution.order_ref,
            execution.liquidity,
        )
        values = {
            "reqId": req_id,
            "orderId": execution.order_id,
            "conId": execution.con_id,
            "execId": execution.exec_id,
            "time": time_text,
            "side": execution.side,
            "shares": execution.shares,
            "price": execution.price,
            "permId": execution.perm_id,
            "clientId": execution.client_id,
            "cumQty": execution.cumulative,
            "avgPrice": execution.average,
            "orderRef": execution.order_ref,
        }
        session.send_order_traffic("execDetails", fields, values, reply=reply)

    def commission(self, session: Session, execution: Execution, *, reply: bool = False) -> None:
        currency = self._ledger.contracts[execution.con_id].currency
        fields = layouts.commission_report(execution.exec_id, execution.commission, currency, execution.realized)
        values = {"execId": execution.exec_id, "commission": execution.commission, "realizedPNL": execution.realized}
        session.send_order_traffic("commissionReport", fields, values, reply=reply)

    def order_values(self, order: Order) -> dict[str, Any]:
        contract = self._ledger.contracts[order.con_id]
        stop: Field = UNSET_DOUBLE if order.trail_stop is None else order.trail_stop
        values: dict[str, Any] = {
            **order.echo,
            "orderId": order.order_id,
            "conId": contract.con_id,
            "symbol": contract.symbol,
            "secType": contract.sec_type,
            "lastTradeDate": contract.expiry,
            "strike": contract.strike,
            "right": contract.right or "?",
            "multiplier": contract.multiplier,
            "exchange": order.exchange,
            "currency": contract.currency,
            "localSymbol": contract.local_symbol,
            "tradingClass": contract.trading_class,
            "action": order.action,
            "totalQuantity": order.quantity,
            "orderType": order.order_type,
            "lmtPrice": order.limit or 0.0,
            "auxPrice": order.aux or 0.0,
            "tif": order.tif,
            "ocaGroup": order.oca_group,
            "ocaType": order.oca_type,
            "account": order.account,
            "orderRef": order.order_ref,
            "clientId": order.client_id,
            "permId": order.perm_id,
            "outsideRth": order.outside_rth,
            "parentId": order.parent_id,
            "trailStopPrice": stop,
            "adjustedTrailStopPrice": stop,
            "trailingPercent": order.trailing_percent,
            "sharesAllocation": f"{order.perm_id}.0/{order.account}/100",
            "status": order.status,
        }
        if order.filled:
            values |= {"commission": order.commission, "commissionCurrency": contract.currency}
        return values
