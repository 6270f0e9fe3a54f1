"""Signals, orders, positions, limits, the halt and the lease."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from alphatrader.contract.messages.contracts import OptionRef
from alphatrader.contract.messages.orders import OPEN_STATES, OrderRecord
from alphatrader.contract.messages.positions import ClosedTrade, Position, PositionsSummary
from alphatrader.contract.messages.risk import Approval, Halt, Lease, RiskState
from alphatrader.contract.messages.signals import Signal, WhyNot
from alphatrader.web.dashboard.views.market import ms

LEASE_SECONDS = 3.0
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def number(value: Decimal | None) -> float | None:
    """For showing only: money is booked as Decimal elsewhere."""
    return None if value is None else float(value)


def contract_name(contract: OptionRef | None) -> str | None:
    """Such as `SPY 18 Nov 660 C`."""
    if contract is None:
        return None
    month, day = int(contract.expiry[4:6]), int(contract.expiry[6:8])
    return f"{contract.symbol} {day} {_MONTHS[month - 1]} {contract.strike:g} {contract.right}"


def signal(made: Signal, state: str, reason: str | None) -> dict[str, Any]:
    return {
        "symbol": made.symbol,
        "strategy": made.strategy,
        "direction": "long call" if made.direction == "long_call" else "long put",
        "contract": contract_name(made.contract),
        "confidence": made.confidence,
        "calibrated": made.calibrated,
        "quantity": made.quantity,
        "entry": made.entry,
        "stop": made.stop,
        "targets": list(made.targets),
        "reasons": list(made.reasons),
        "state": state,
        "state_reason": reason,
        "at_ms": ms(made.ts_ns),
    }


def verdict(approval: Approval) -> tuple[str, str]:
    return ("approved" if approval.approved else "refused"), approval.reason


def why(message: WhyNot | None) -> dict[str, Any]:
    if message is None:
        return {"known": False}
    gates = {
        strategy: [{"name": g.name, "passed": g.passed, "value": g.value, "needed": g.needed} for g in gates]
        for strategy, gates in message.by_strategy.items()
    }
    return {"known": True, "at_ms": ms(message.ts_ns), "by_strategy": gates}


def order(record: OrderRecord) -> dict[str, Any]:
    return {
        "symbol": record.symbol,
        "contract": contract_name(record.contract),
        "role": record.role,
        "side": record.side,
        "quantity": record.quantity,
        "filled": record.filled,
        "type": record.order_type,
        "limit": number(record.limit_price),
        "stop": number(record.stop_price),
        "average": number(record.average_price),
        "state": record.state,
        "open": record.state in OPEN_STATES,
        "reason": record.reason,
        "strategy": record.strategy,
        "created_ms": ms(record.created_ns),
        "updated_ms": ms(record.updated_ns),
        "machine_ms": ms(record.machine_ns),
    }


def position(held: Position) -> dict[str, Any]:
    return {
        "symbol": held.symbol,
        "strategy": held.strategy,
        "contract": contract_name(held.contract),
        "status": held.status,
        "quantity": held.quantity,
        "opened_quantity": held.opened_quantity,
        "average": number(held.average_price),
        "mark": number(held.mark),
        "mark_age_ms": held.mark_age_ms,
        "unrealized": number(held.unrealized),
        "realized": number(held.realized),
        "commissions": number(held.commissions),
        "cost": number(held.cost),
        "stop": number(held.stop),
        "targets": [float(target) for target in held.targets],
        "targets_hit": held.targets_hit,
        "opened_ms": ms(held.opened_ns),
        "updated_ms": ms(held.updated_ns),
    }


def summary(message: PositionsSummary | None) -> dict[str, Any]:
    if message is None:
        return {"known": False}
    return {
        "known": True,
        "open": message.open,
        "realized": number(message.realized_today),
        "unrealized": number(message.unrealized),
        "market_value": number(message.market_value),
        "reconciled": message.reconciled,
        "differences": list(message.differences),
        "machine_ms": ms(message.machine_ns) or None,
    }


def trade(closed: ClosedTrade) -> dict[str, Any]:
    return {
        "symbol": closed.symbol,
        "strategy": closed.strategy,
        "contract": contract_name(closed.contract),
        "quantity": closed.quantity,
        "entry": number(closed.entry_price),
        "exit": number(closed.exit_price) if closed.exit_known else None,
        "pnl": number(closed.pnl),
        "reason": closed.reason,
        "closed_ms": ms(closed.closed_ns),
        "session": closed.session,
    }


def halt(message: Halt | None) -> dict[str, Any]:
    """Missing means halted."""
    if message is None:
        return {"known": False, "halted": True, "flatten": False, "reason": "no halt record: missing means halted", "by": None}
    return {
        "known": True,
        "halted": message.halted,
        "flatten": message.flatten,
        "epoch": message.epoch,
        "reason": message.reason,
        "by": message.by,
        "at_ms": ms(message.ts_ns),
    }


def lease(message: Lease | None) -> dict[str, Any]:
    if message is None:
        return {"known": False, "granted": False, "reason": "no lease: risk does not renew it"}
    return {
        "known": True,
        "granted": message.granted,
        "reason": message.reason,
        "epoch": message.halt_epoch,
    }


def risk(message: RiskState | None) -> dict[str, Any]:
    if message is None:
        return {"known": False}
    return {
        "known": True,
        "session": message.session,
        "equity": number(message.equity),
        "opening_equity": number(message.opening_equity),
        "peak_equity": number(message.peak_equity),
        "consecutive_losses": message.consecutive_losses,
        "latched": message.latched,
        "reservations": len(message.reservations),
        "limits": dict(message.limits),
        "at_ms": ms(message.ts_ns),
    }
