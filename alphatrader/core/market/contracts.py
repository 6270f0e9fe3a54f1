"""Which of the broker's contracts each of our instruments is; of a future, which root (`futures.py` has its months)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from alphatrader.contract.messages.contracts import OptionRef
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
