"""Contracts and past bars, asked of the broker: every answer is checked, a time-out is an error and never an empty answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Final
from zoneinfo import ZoneInfo

from ib_insync import IB, Contract
from ib_insync.wrapper import RequestError

from alphatrader.contract.messages.market import Bar

ANSWER_SECONDS: Final = 10.0
BARS_SECONDS: Final = 30.0
PACING_CODE: Final = 162
"""Also says that there are no such bars: the text tells which."""
EXCHANGE: Final = ZoneInfo("America/New_York")


class LookupFailedError(LookupError):
    """The broker knows no such contract, or has no such bars."""

    def __init__(self, text: str, *, pacing: bool = False) -> None:
        super().__init__(text)
        self.pacing = pacing
        """We asked too much or too fast: nothing more should be asked for a while."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One contract as the broker lists it."""

    con_id: int
    local_symbol: str
    last_trading_day: str
    """YYYYMMDD; empty where it never ends."""
    contract_month: str
    """YYYYMM; empty where there is none."""
    min_tick: float
    contract: Contract


async def find(ib: IB, spec: Mapping[str, Any]) -> list[Listed]:
    """Every contract that fits. Raises LookupFailedError when there is none, TimeoutError when nobody answers."""
    asked = Contract(**spec)
    try:
        details = await asyncio.wait_for(ib.reqContractDetailsAsync(asked), ANSWER_SECONDS)
    except RequestError as error:
        raise LookupFailedError(f"{_named(spec)}: {error.code} {error.message}") from error
    found = []
    for detail in details:
        contract = detail.contract
        if contract is None or not contract.conId:
            continue
        day = contract.lastTradeDateOrContractMonth.split()[0] if contract.lastTradeDateOrContractMonth else ""
        routed = Contract(
            conId=contract.conId,
            secType=contract.secType,
            symbol=contract.symbol,
            lastTradeDateOrContractMonth=day,
            strike=contract.strike,
            right=contract.right,
            multiplier=contract.multiplier,
            exchange=asked.exchange or contract.exchange,
            primaryExchange=contract.primaryExchange,
            currency=contract.currency,
            localSymbol=contract.localSymbol,
            tradingClass=contract.tradingClass,
        )
        found.append(Listed(contract.conId, contract.localSymbol, day, detail.contractMonth, float(detail.minTick), routed))
    if not found:
        raise LookupFailedError(f"{_named(spec)}: the broker lists no such contract")
    return found


async def find_one(ib: IB, spec: Mapping[str, Any]) -> Listed:
    """The one contract that fits. Raises LookupFailedError where the description fits several."""
    found = await find(ib, spec)
    if len(found) > 1:
        names = ", ".join(listed.local_symbol for listed in found[:5])
        raise LookupFailedError(f"{_named(spec)} fits {len(found)} contracts: {names}")
    return found[0]


def by_con_id(con_id: int) -> Contract:
    """A contract the broker named before."""
    return Contract(conId=con_id, exchange="SMART")


async def bars(ib: IB, contract: Contract, *, duration: str, size: str) -> tuple[Bar, ...]:
    """Past bars of regular hours up to now, oldest first. `duration` and `size` in the broker's words: `2 D`, `1 min`.

    Raises LookupFailedError where there are none, TimeoutError when nobody answers.
    """
    request = ib.reqHistoricalDataAsync(
        contract,
        endDateTime="",
        durationStr=duration,
        barSizeSetting=size,
        whatToShow="TRADES",
        useRTH=True,
        formatDate=2,
        timeout=0,
    )
    try:
        rows = await asyncio.wait_for(request, BARS_SECONDS)
    except RequestError as error:
        pacing = error.code == PACING_CODE and "pacing" in str(error.message).lower()
        raise LookupFailedError(f"{contract.localSymbol} {size} bars: {error.code} {error.message}", pacing=pacing) from error
    found = []
    for row in rows:
        prices = (row.open, row.high, row.low, row.close)
        if all(math.isfinite(price) for price in prices) and row.volume >= 0 and row.high >= row.low:
            wap = row.average if math.isfinite(row.average) and row.average > 0 else row.close
            found.append(Bar(_start_ns(row.date), *prices, volume=float(row.volume), wap=wap, count=max(0, row.barCount)))
    if not found:
        raise LookupFailedError(f"{contract.localSymbol}: the broker has no {size} bars of {duration}")
    return tuple(found)


def _start_ns(when: date | datetime) -> int:
    """The start of a bar; a daily one carries its date only and starts at midnight in New York."""
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(), EXCHANGE)
    return int(when.timestamp()) * 1_000_000_000


def _named(spec: Mapping[str, Any]) -> str:
    return " ".join(str(value) for name, value in spec.items() if name not in ("currency", "multiplier"))
