"""A symbol's state of analytics that takes events by hand, and the prints to give it."""

from __future__ import annotations

from alphatrader.contract.messages.market import Trade
from alphatrader.contract.settings.market import Analytics
from alphatrader.core.analytics.symbol import SymbolState, fresh

MS = 1_000_000
SECOND = 1_000_000_000
HOURS = (0, 10**18)


def trade(seq: int, received: int, **other: object) -> Trade:
    values = {"price": 10.0, "size": 100.0, "venue": "ARCA", "side": "buy", "last": True, "vpin": True, "ts_ns": received} | other
    return Trade(
        seq, values["ts_ns"], received, values["price"], values["size"], values["venue"], "@", values["side"], True,  # type: ignore[arg-type]
        values["last"], values["vpin"],  # type: ignore[arg-type]
    )  # fmt: skip


def state(size: int = 1000) -> SymbolState:
    made = fresh("SPY", Analytics())
    made.vpin.set_size(size, "test")
    return made
