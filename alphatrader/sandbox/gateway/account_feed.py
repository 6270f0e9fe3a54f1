"""Account answers and subscriptions: values, portfolio, positions, summary, profit and loss.

Subscribers hear at once of positions that changed; values and profit also every few seconds of machine time.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from alphatrader.sandbox.gateway import hours, layouts
from alphatrader.sandbox.gateway.account import CENT, Account
from alphatrader.sandbox.gateway.contracts import Refusal
from alphatrader.sandbox.gateway.ledger import Ledger, Position
from alphatrader.sandbox.gateway.session import Session

PNL_NS = 1_000_000_000  # the broker sends profit about once a second
VALUES_NS = 180_000_000_000  # and account values every three minutes, or when a position changes

Key = tuple[int, int]


class AccountFeed:
    def __init__(self, ledger: Ledger, account: Account, now_ns: Callable[[], int], machine_ns: Callable[[], int]) -> None:
        self._ledger = ledger
        self._account = account
        self._now_ns = now_ns
        self._machine_ns = machine_ns
        self._updates: dict[int, Session] = {}
        self._positions: dict[int, Session] = {}
        self._summaries: dict[Key, tuple[Session, frozenset[str]]] = {}
        self._multi: dict[Key, Session] = {}
        self._pnl: dict[Key, Session] = {}
        self._single: dict[Key, tuple[Session, int]] = {}
        self._pnl_due = self._values_due = 0

    def handlers(self) -> dict[str, Callable[[Session, dict[str, Any]], None]]:
        return {
            "reqAccountUpdates": self._account_updates,
            "reqAccountSummary": self._summary,
            "cancelAccountSummary": lambda session, values: self._cancel(self._summaries, session, values),
            "reqPositions": self._request_positions,
            "cancelPositions": lambda session, values: self._stop_positions(session),
            "reqAccountUpdatesMulti": self._request_multi,
            "cancelAccountUpdatesMulti": lambda session, values: self._cancel(self._multi, session, values),
            "reqPnL": self._request_pnl,
            "cancelPnL": lambda session, values: self._cancel(self._pnl, session, values),
            "reqPnLSingle": self._request_single,
            "cancelPnLSingle": lambda session, values: self._cancel(self._single, session, values),
            "reqManagedAccts": lambda session, values: session.send(layouts.managed_accounts(self._ledger.account)),
            "reqFamilyCodes": lambda session, values: session.send(layouts.family_codes(self._ledger.account)),
            "reqCurrentTime": lambda session, values: session.send(layouts.current_time(self._now_ns() // hours.NS)),
            "reqNewsBulletins": lambda session, values: None,
            "cancelNewsBulletins": lambda session, values: None,
            "setServerLogLevel": lambda session, values: None,
        }

    def forget(self, session: Session) -> None:
        self._updates.pop(id(session), None)
        self._positions.pop(id(session), None)
        for table in (self._summaries, self._multi, self._pnl, self._single):
            for key in [key for key in table if key[0] == id(session)]:
                del table[key]

    @staticmethod
    def _cancel(table: dict[Key, Any], session: Session, values: dict[str, Any]) -> None:
        table.pop((id(session), values["reqId"]), None)

    def _stop_positions(self, session: Session) -> None:
        self._positions.pop(id(session), None)

    def _mine(self, account: str) -> None:
        if account not in ("", "All", self._ledger.account):
            raise Refusal(321, f"Error validating request.-'bE' : cause - Invalid account code '{account}'.")

    # --- requests

    def _account_updates(self, session: Session, values: dict[str, Any]) -> None:
        self._mine(values["account"])
        if not values["subscribe"]:
            self._updates.pop(id(session), None)
            return
        self._updates[id(session)] = session
        self._send_values(session)
        for position in self._ledger.held():
            self._send_portfolio(session, position)
        session.send(layouts.account_download_end(self._ledger.account))

    def _summary(self, session: Session, values: dict[str, Any]) -> None:
        tags = frozenset(tag.strip() for tag in values["tags"].split(",") if tag.strip())
        self._summaries[(id(session), values["reqId"])] = (session, tags)
        self._send_summary(session, values["reqId"], tags)
        session.send(layouts.account_summary_end(values["reqId"]))

    def _request_positions(self, session: Session, values: dict[str, Any]) -> None:
        self._positions[id(session)] = session
        for position in self._ledger.held():
            self._send_position(session, position)
        session.send(layouts.position_end())

    def _request_multi(self, session: Session, values: dict[str, Any]) -> None:
        self._mine(values["account"])
        self._multi[(id(session), values["reqId"])] = session
        self._send_multi(session, values["reqId"])
        session.send(layouts.account_update_multi_end(values["reqId"]))

    def _request_pnl(self, session: Session, values: dict[str, Any]) -> None:
        self._mine(values["account"])
        self._pnl[(id(session), values["reqId"])] = session
        self._send_pnl(session, values["reqId"])

    def _request_single(self, session: Session, values: dict[str, Any]) -> None:
        self._mine(values["account"])
        self._single[(id(session), values["reqId"])] = (session, values["conId"])
        self._send_single(session, values["reqId"], values["conId"])

    # --- every turn

    def turn(self, changed: set[int]) -> None:
        now = self._machine_ns()
        values_due = bool(changed) or now >= self._values_due
        if now >= self._pnl_due:
            self._pnl_due = now + PNL_NS
            for (_, req_id), session in self._pnl.items():
                self._send_pnl(session, req_id)
            for (_, req_id), (session, con_id) in self._single.items():
                self._send_single(session, req_id, con_id)
        for con_id in changed:
            for session in self._positions.values():
                self._send_position(session, self._ledger.positions[con_id])
        if not values_due:
            return
        self._values_due = now + VALUES_NS
        for session in self._updates.values():
            self._send_values(session)
            for position in self._ledger.positions.values():
                if position.quantity or position.con_id in changed:
                    self._send_portfolio(session, position)
        for (_, req_id), (session, tags) in self._summaries.items():
            self._send_summary(session, req_id, tags)
        for (_, req_id), session in self._multi.items():
            self._send_multi(session, req_id)

    # --- single messages

    def _send_values(self, session: Session) -> None:
        for tag, value, currency in self._account.tags():
            session.send(layouts.account_value(tag, value, currency, self._ledger.account))
        session.send(layouts.account_time(f"{hours.new_york(self._now_ns()):%H:%M}"))

    def _send_summary(self, session: Session, req_id: int, tags: frozenset[str]) -> None:
        for tag, value, currency in self._account.tags():
            if not tags or tag in tags or "All" in tags:
                session.send(layouts.account_summary(req_id, self._ledger.account, tag, value, currency))

    def _send_multi(self, session: Session, req_id: int) -> None:
        for tag, value, currency in self._account.tags():
            session.send(layouts.account_update_multi(req_id, self._ledger.account, tag, value, currency))

    def _send_position(self, session: Session, position: Position) -> None:
        contract = self._ledger.contracts[position.con_id]
        session.send(layouts.position(self._ledger.account, contract, position.quantity, _float(position.average_cost)))

    def _send_portfolio(self, session: Session, position: Position) -> None:
        contract = self._ledger.contracts[position.con_id]
        value = self._account.value(position)
        unit = value / position.quantity if position.quantity else Decimal(0)
        session.send(
            layouts.portfolio_value(
                contract,
                position.quantity,
                _float(unit / Decimal(contract.multiplier or 1)),
                _float(value),
                _float(position.average_cost),
                _float(self._account.unrealized(position)),
                _float(position.realized),
                self._ledger.account,
            )
        )

    def _send_pnl(self, session: Session, req_id: int) -> None:
        figures = self._account.figures()
        daily = figures.net_liquidation - self._ledger.day_equity
        session.send(layouts.pnl(req_id, _float(daily), _float(figures.unrealized), _float(figures.realized)))

    def _send_single(self, session: Session, req_id: int, con_id: int) -> None:
        position = self._ledger.positions.get(con_id)
        if position is None:
            session.send(layouts.pnl_single(req_id, 0, 0.0, 0.0, 0.0, 0.0))
            return
        gain = self._account.unrealized(position)
        session.send(
            layouts.pnl_single(
                req_id,
                position.quantity,
                _float(gain + position.realized),
                _float(gain),
                _float(position.realized),
                _float(self._account.value(position)),
            )
        )


def _float(value: Decimal) -> float:
    return float(value.quantize(CENT / 10000))
