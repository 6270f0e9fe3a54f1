"""Fills, signals, orders and accounts as the other modules publish them, for the tests of risk and positions."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from alphatrader.contract.messages.contracts import ContractQuote, OptionRef
from alphatrader.contract.messages.orders import Account, BrokerPosition, Fill, OrderRecord
from alphatrader.contract.messages.signals import Signal
from alphatrader.runtime.clock import SECOND, Clock, exchange_instant

TODAY = date(2026, 11, 18)
NOW_NS = exchange_instant(TODAY, "10:30")
MACHINE_NS = 1_700_000_000 * SECOND
SPY = OptionRef("SPY", "20261118", 660.0, "C", con_id=7)
NEXT_WEEK = OptionRef("QQQ", "20261125", 600.0, "P", con_id=9)


def fill(ref: str, side: str, quantity: int, price: str, **changes: Any) -> Fill:
    """An execution; by default the commission is 0.65 a contract and the key comes from what is bought."""
    contract = changes.pop("contract", SPY)
    at_second = changes.pop("at", 0)
    key = changes.pop("key", f"{ref or 'hand'}-{side}-{at_second}")
    values: dict[str, Any] = {
        "key": key,
        "exec_id": f"{key}.01",
        "revision": 1,
        "order_ref": ref,
        "con_id": contract.con_id,
        "symbol": contract.symbol,
        "contract": contract,
        "side": side,
        "quantity": quantity,
        "price": Decimal(price),
        "commission": Decimal("0.65") * quantity,
        "ts_ns": NOW_NS + at_second * SECOND,
        "perm_id": 1,
        "account": "DUSIM0001",
    }
    return Fill(**(values | changes))


def signal(signal_id: str = "s-1", **changes: Any) -> Signal:
    """A 0DTE call, 2 contracts at 4.00, made now."""
    contract = changes.pop("contract", SPY)
    values: dict[str, Any] = {
        "id": signal_id,
        "strategy": "0DTE",
        "symbol": contract.symbol,
        "contract": contract,
        "direction": "long_call",
        "confidence": 80.0,
        "calibrated": False,
        "quantity": 2,
        "entry": 4.0,
        "stop": 3.0,
        "targets": (5.0, 6.0, 8.0),
        "bid": 3.95,
        "ask": 4.0,
        "under_price": 660.0,
        "reasons": ("flow",),
        "features": {},
        "ts_ns": NOW_NS,
        "machine_ns": MACHINE_NS,
        "expires_ns": NOW_NS + 60 * SECOND,
        "fence": 1,
    }
    return Signal(**(values | changes))


def order(intent_id: str, state: str, *, filled: int = 0, symbol: str = "SPY", **changes: Any) -> OrderRecord:
    """The entry order of an intent, or with `id` and `role` one of its children."""
    values: dict[str, Any] = {
        "id": intent_id,
        "intent_id": intent_id,
        "role": "entry",
        "symbol": symbol,
        "contract": SPY,
        "side": "BUY",
        "quantity": 2,
        "order_type": "LMT",
        "limit_price": Decimal("4.00"),
        "stop_price": None,
        "state": state,
        "filled": filled,
        "average_price": None,
        "order_id": 1,
        "perm_id": 1,
        "client_id": 12,
        "reason": None,
        "strategy": "0DTE",
        "signal_id": intent_id,
        "created_ns": NOW_NS,
        "updated_ns": NOW_NS,
        "machine_ns": MACHINE_NS,
        "fence": 1,
        "halt_epoch": 1,
    }
    return OrderRecord(**(values | changes))


def broker_position(contract: OptionRef, quantity: int, average_cost: str = "400") -> BrokerPosition:
    con_id = contract.con_id or 0
    return BrokerPosition(con_id, contract.symbol, "OPT", contract.occ, Decimal(quantity), Decimal(average_cost), contract)


def account(*positions: BrokerPosition, **changes: Any) -> Account:
    values: dict[str, Any] = {
        "account": "DUSIM0001",
        "net_liquidation": Decimal(100_000),
        "cash": Decimal(100_000),
        "buying_power": Decimal(100_000),
        "positions": positions,
        "open_orders": 0,
        "unknown_orders": 0,
        "confirmed": True,
        "ts_ns": NOW_NS,
        "machine_ns": MACHINE_NS,
    }
    return Account(**(values | changes))


def contract_quote(contract: OptionRef, bid: float, ask: float, clock: Clock, **more: Any) -> ContractQuote:
    """As ibkr writes it of an option that was asked for."""
    return ContractQuote(
        con_id=contract.con_id or 0,
        symbol=contract.symbol,
        local_symbol="",
        sec_type="OPT",
        ts_ns=clock.market_ns(),
        machine_ns=clock.machine_ns(),
        min_tick=0.01,
        bid=bid,
        ask=ask,
        **more,
    )
