"""Contracts: which are listed, who asks for which, and the broker's quote of one."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from alphatrader.contract.messages import Event, Message
from alphatrader.contract.messages.market import Price, Size


class OptionRef(Message, frozen=True):
    """One listed option. `con_id` is None until the broker has named it."""

    symbol: str
    expiry: str
    """YYYYMMDD."""
    strike: Annotated[float, Meta(gt=0)]
    right: Literal["C", "P"]
    con_id: int | None = None
    multiplier: Annotated[int, Meta(ge=1, le=10_000)] = 100

    @property
    def occ(self) -> str:
        """The OCC name without padding, such as SPY261118C00660000: the field in `contracts:options`."""
        return f"{self.symbol}{self.expiry[2:]}{self.right}{round(self.strike * 1000):08d}"


class FutureContract(Event, frozen=True, tag=False):
    """One month of a future as the broker lists it. Days are YYYYMMDD."""

    contract_month: str
    """YYYYMM."""
    con_id: int
    local_symbol: str
    last_trading_day: str
    hard_roll_day: str
    """The first day it is not used any more, whatever trades."""


class FutureRoot(Message, frozen=True):
    """A future's months at the broker, and which is the front. See core/market/futures.py."""

    root: str
    ts_ns: int
    front: str
    """YYYYMM: never goes back, over restarts too."""
    since: str
    """The date, YYYY-MM-DD, on which it became the front."""
    reason: Literal["nearest", "hard roll", "volume", "kept"]
    contracts: tuple[FutureContract, ...]
    """Nearest first."""
    differences: tuple[str, ...] = ()
    """Where the broker's last trading days are not the rules': the broker's are used, and a person should know."""


class ContractQuote(Message, frozen=True):
    """The broker's quote of one contract: what orders and positions are priced from."""

    con_id: int
    symbol: str
    local_symbol: str
    sec_type: str
    ts_ns: int
    machine_ns: int
    """When the newest tick of it was received, machine time: readers judge its age by this."""
    min_tick: float
    bid: Price | None = None
    bid_size: Size | None = None
    ask: Price | None = None
    ask_size: Size | None = None
    last: Price | None = None
    implied_vol: float | None = None
    delta: float | None = None
    gamma: float | None = None
    theta: float | None = None
    vega: float | None = None
    under_price: Price | None = None
    expiry: str = ""
    strike: float = 0.0
    right: str = ""


class Wanted(Message, frozen=True):
    """Contracts a module asks to have quoted in `quotes:{conId}`, most urgent first."""

    contracts: tuple[OptionRef, ...]
    machine_ns: int
    nearness: dict[str, Annotated[float, Meta(ge=0, le=1)]] = {}  # noqa: RUF012 (msgspec copies it)
    """Underlying -> how near it is to a signal; 1 has a living one. Depth and tick-by-tick go to the nearest."""
