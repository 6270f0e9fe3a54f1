"""The account at the broker: positions asked whole, and the values the gateway pushes. Used by `execution` and by flattening."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from ib_insync import IB

from alphatrader.clients.ibkr.orders import option_ref
from alphatrader.contract.messages.broker import AccountValues
from alphatrader.contract.messages.orders import BrokerPosition


async def read_positions(ib: IB, account: str) -> tuple[BrokerPosition, ...]:
    """Every position of the account. Asked anew: what the library remembers may be of before a silence."""
    positions = await ib.reqPositionsAsync()
    # A position that changes while the answer is on its way comes twice: the later word counts.
    latest = {position.contract.conId: position for position in positions if position.account == account}
    return tuple(
        BrokerPosition(
            con_id=position.contract.conId,
            symbol=position.contract.symbol,
            sec_type=position.contract.secType,
            local_symbol=position.contract.localSymbol,
            quantity=Decimal(str(position.position)).normalize() + 0,
            average_cost=Decimal(str(position.avgCost)),
            contract=option_ref(
                position.contract.symbol,
                position.contract.secType,
                position.contract.lastTradeDateOrContractMonth or "-",
                position.contract.strike,
                position.contract.right,
                position.contract.multiplier,
                position.contract.conId,
            ),
        )
        for position in latest.values()
        if position.position
    )


def account_values(ib: IB, account: str) -> AccountValues | None:
    """The last pushed values; None while one of them is missing or no number."""
    found = {value.tag: value.value for value in ib.accountValues(account) if value.currency in ("USD", "BASE", "")}
    numbers = []
    for tag in ("NetLiquidation", "TotalCashValue", "BuyingPower"):
        try:
            number = Decimal(found[tag])
        except (KeyError, InvalidOperation):
            return None
        if not number.is_finite():
            return None
        numbers.append(number)
    return AccountValues(account, *numbers)
