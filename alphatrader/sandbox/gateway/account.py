"""Figures of the account: value, margin, buying power. Read-only over the ledger and the quotes.

Margin is simple and on the safe side: half of stock value, a share of futures' notional, 20 % of the underlying plus
premium for short options, the premium itself for long ones (they give no loan value).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from alphatrader.sandbox.gateway.ledger import Ledger, Order, Position, multiplier
from alphatrader.sandbox.gateway.matching import commission
from alphatrader.sandbox.gateway.quotes import Quotes
from alphatrader.sandbox.market.types import Contract

STOCK_INITIAL, STOCK_MAINTENANCE = Decimal("0.5"), Decimal("0.25")
FUTURE_INITIAL, FUTURE_MAINTENANCE = Decimal("0.06"), Decimal("0.05")
SHORT_OPTION = Decimal("0.2")
LEVERAGE = 4  # BuyingPower over AvailableFunds of a margin account
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Figures:
    net_liquidation: Decimal
    cash: Decimal
    stock_value: Decimal
    option_value: Decimal
    initial: Decimal
    maintenance: Decimal
    unrealized: Decimal
    realized: Decimal

    @property
    def equity_with_loan(self) -> Decimal:
        return self.net_liquidation - self.option_value

    @property
    def available(self) -> Decimal:
        return self.equity_with_loan - self.initial


class Account:
    def __init__(self, ledger: Ledger, quotes: Quotes) -> None:
        self._ledger = ledger
        self._quotes = quotes

    def unit_value(self, contract: Contract, price: float | None = None) -> Decimal | None:
        """Value of one share or contract at `price` (at the mark without one)."""
        if price is None:
            price = self._quotes.mark(contract.con_id)
        return None if price is None else Decimal(str(round(price, 6))) * multiplier(contract)

    def value(self, position: Position) -> Decimal:
        """Market value; an instrument without any quote is carried at cost."""
        unit = self.unit_value(self._ledger.contracts[position.con_id])
        return (position.average_cost if unit is None else unit) * position.quantity

    def unrealized(self, position: Position) -> Decimal:
        return self.value(position) - position.average_cost * position.quantity

    def figures(self) -> Figures:
        stock = option = initial = maintenance = unrealized = futures = Decimal(0)
        for position in self._ledger.held():
            contract = self._ledger.contracts[position.con_id]
            value, gain = self.value(position), self.unrealized(position)
            unrealized += gain
            if contract.sec_type == "OPT":
                option += value
            elif contract.sec_type == "FUT":
                futures += gain
            else:
                stock += value
            first, keep = self._margin(contract, position.quantity, abs(value))
            initial += first
            maintenance += keep
        realized = sum((position.realized for position in self._ledger.positions.values()), Decimal(0))
        net = self._ledger.cash + stock + option + futures
        return Figures(net, self._ledger.cash, stock, option, initial, maintenance, unrealized, realized)

    def _margin(self, contract: Contract, quantity: int, value: Decimal) -> tuple[Decimal, Decimal]:
        match contract.sec_type:
            case "STK":
                return value * STOCK_INITIAL, value * STOCK_MAINTENANCE
            case "FUT":
                return value * FUTURE_INITIAL, value * FUTURE_MAINTENANCE
            case "OPT" if quantity < 0:
                under = self._quotes.mark(contract.under_con_id) if contract.under_con_id else None
                notional = Decimal(str(under or contract.strike)) * multiplier(contract) * abs(quantity)
                return (notional * SHORT_OPTION + value,) * 2
        return Decimal(0), Decimal(0)

    def requirement(self, order: Order, contract: Contract) -> Decimal | None:
        """What filling `order` takes of the available funds; None when there is no price to judge by."""
        position = self._ledger.positions.get(order.con_id)
        held = position.quantity if position else 0
        opening = order.remaining
        if held * order.sign < 0:
            opening = max(0, order.remaining - abs(held))
        if not opening:
            return Decimal(0)
        quote = self._quotes.get(order.con_id)
        price = order.limit or (order.aux if order.order_type.startswith("STP") else None)
        if price is None and quote is not None:
            price = quote.ask if order.action == "BUY" else quote.bid
        unit = self.unit_value(contract, price)
        if unit is None:
            return None
        fee = commission(contract, opening)
        if contract.sec_type == "OPT" and order.action == "BUY":
            return unit * opening + fee
        return self._margin(contract, opening * order.sign, abs(unit) * opening)[0] + fee

    def committed(self) -> Decimal:
        """Funds that working orders outside brackets' children already claim."""
        total = Decimal(0)
        for order in self._ledger.working():
            if order.released is None and not order.parent_perm_id:
                total += self.requirement(order, self._ledger.contracts[order.con_id]) or Decimal(0)
        return total

    def refusal(self, order: Order, contract: Contract) -> str | None:
        """Why the account cannot carry `order`, in the broker's words."""
        needed = self.requirement(order, contract)
        if needed is None:
            return "Order rejected - reason:No market price is available to check this order against the account"
        available = self.figures().available - self.committed()
        if needed <= available or not needed:
            return None
        return (
            f"Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR AVAILABLE FUNDS "
            f"[{available.quantize(CENT)} USD] MUST EXCEED [{needed.quantize(CENT)} USD]"
        )

    def tags(self) -> list[tuple[str, str, str]]:
        """Account values as (tag, value, currency), in the broker's names."""
        figures = self.figures()
        excess = figures.equity_with_loan - figures.maintenance
        cushion = excess / figures.net_liquidation if figures.net_liquidation else Decimal(0)
        gross = abs(figures.stock_value) + abs(figures.option_value)
        money = {
            "NetLiquidation": figures.net_liquidation,
            "TotalCashValue": figures.cash,
            "SettledCash": figures.cash,
            "AccruedCash": Decimal(0),
            "BuyingPower": max(Decimal(0), figures.available) * LEVERAGE,
            "EquityWithLoanValue": figures.equity_with_loan,
            "PreviousDayEquityWithLoanValue": self._ledger.day_equity,
            "GrossPositionValue": gross,
            "InitMarginReq": figures.initial,
            "MaintMarginReq": figures.maintenance,
            "AvailableFunds": figures.available,
            "ExcessLiquidity": excess,
            "FullInitMarginReq": figures.initial,
            "FullMaintMarginReq": figures.maintenance,
            "FullAvailableFunds": figures.available,
            "FullExcessLiquidity": excess,
            "StockMarketValue": figures.stock_value,
            "OptionMarketValue": figures.option_value,
            "UnrealizedPnL": figures.unrealized,
            "RealizedPnL": figures.realized,
        }
        rows = [("AccountType", "INDIVIDUAL", ""), ("Cushion", f"{cushion:.6f}", ""), ("DayTradesRemaining", "-1", "")]
        return rows + [(tag, str(value.quantize(CENT)), "USD") for tag, value in money.items()]

    def daily(self) -> Decimal:
        return self.figures().net_liquidation - self._ledger.day_equity
