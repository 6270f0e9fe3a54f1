"""Which of the broker's contracts stands for each of our instruments, and which future is the front month.

A future is left before its last trading day or first notice day by the table below (exchange rules and usual roll dates); the
broker's own dates decide, never a calendar of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal, Protocol, TypeVar

from alphatrader.contract.messages.market import OptionRef
from alphatrader.contract.settings.market import Market

Spec = dict[str, Any]
"""Fields of the broker's contract description, by the names of its protocol."""


@dataclass(frozen=True, slots=True)
class Instrument:
    symbol: str
    """Our name: the `{symbol}` of the keys."""
    kind: Literal["equity", "future", "index"]
    full: bool
    """Depth, prints and bars too; else quotes only."""
    spec: Spec


def instruments(market: Market) -> tuple[Instrument, ...]:
    """All of them, most important first."""
    found = [
        Instrument(name, "equity", True, {"secType": "STK", "symbol": name, "exchange": "SMART", "currency": "USD"})
        for name in market.equities
    ]
    for futures, full in ((market.futures, True), (market.quote_only_futures, False)):
        for future in futures:
            spec: Spec = {"secType": "FUT", "symbol": future.symbol, "exchange": future.exchange, "currency": "USD"}
            spec |= {"multiplier": f"{future.multiplier:g}"}
            if future.trading_class:
                spec |= {"tradingClass": future.trading_class}
            found.append(Instrument(future.root, "future", full, spec))
    for index in market.indices:
        spec = {"secType": "IND", "symbol": index.symbol, "exchange": index.exchange, "currency": index.currency}
        found.append(Instrument(index.name, "index", False, spec))
    return tuple(found)


def option_spec(ref: OptionRef) -> Spec:
    if ref.con_id is not None:
        return {"conId": ref.con_id, "secType": "OPT", "exchange": "SMART"}
    return {
        "secType": "OPT",
        "symbol": ref.symbol,
        "lastTradeDateOrContractMonth": ref.expiry,
        "strike": ref.strike,
        "right": ref.right,
        "multiplier": str(ref.multiplier),
        "exchange": "SMART",
        "currency": "USD",
    }


class Dated(Protocol):
    @property
    def last_trading_day(self) -> str:
        """YYYYMMDD."""

    @property
    def contract_month(self) -> str:
        """YYYYMM."""


@dataclass(frozen=True, slots=True)
class Roll:
    sessions_before: int
    of: Literal["last_trading_day", "first_notice"] = "last_trading_day"
    months: str = ""
    """Delivery months that trade; empty: all that are listed."""


ROLLS: Final[dict[str, Roll]] = {
    **dict.fromkeys(("ES", "NQ", "RTY", "YM"), Roll(6)),  # 8 calendar days: the Thursday of the week before
    "VX": Roll(1),
    "CL": Roll(3),
    "DX": Roll(5),
    "GC": Roll(2, "first_notice", "GJMQVZ"),  # serial months hardly trade
    "ZB": Roll(2, "first_notice"),
}
_MONTH_LETTERS: Final = "FGHJKMNQUVXZ"
_DEFAULT: Final = Roll(5)

D = TypeVar("D", bound=Dated)


class NoContractError(LookupError):
    """The broker lists no contract that could be used."""


def front_month(root: str, listed: Iterable[D], today: date, is_session: Callable[[date], bool]) -> D:
    """The nearest contract that need not be left yet. Raises NoContractError."""
    roll = ROLLS.get(root, _DEFAULT)
    candidates = [c for c in listed if not roll.months or _MONTH_LETTERS[int(c.contract_month[4:6]) - 1] in roll.months]
    for contract in sorted(candidates, key=lambda c: c.last_trading_day):
        if today < roll_day(roll, contract, is_session):
            return contract
    raise NoContractError(f"{root}: the broker lists no future to trade after {today}")


def roll_day(roll: Roll, contract: Dated, is_session: Callable[[date], bool]) -> date:
    """The first day the contract is not used any more."""
    if roll.of == "last_trading_day":
        text = contract.last_trading_day
        day = date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    else:  # first notice: the last business day of the month before delivery
        day = date(int(contract.contract_month[:4]), int(contract.contract_month[4:6]), 1) - timedelta(days=1)
        while not is_session(day):
            day -= timedelta(days=1)
    left = roll.sessions_before
    while left:
        day -= timedelta(days=1)
        left -= is_session(day)
    return day
