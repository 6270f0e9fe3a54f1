"""Simulated markets for tests: a seed, 40 sessions before and 30 after a day, a start. Short to make, nothing shared."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Any

from alphatrader.contract.messages.options import Chain, OptionRow
from alphatrader.sandbox.market import SimulatedMarket, TruthLog
from alphatrader.sandbox.market.business_days import Sessions, instant_ns

SECOND = 1_000_000_000
WEDNESDAY = date(2026, 11, 18)
SPY, QQQ, IWM, AAPL = 756733, 320227571, 9579970, 265598
RULES = Sessions([])


def at(hour: int, minute: int = 0, second: int = 0, day: date = WEDNESDAY) -> int:
    return instant_ns(day, time(hour, minute, second))


def session_list(day: date = WEDNESDAY) -> list[tuple[date, int, int]]:
    days = [RULES.shift(day, n) for n in range(-40, 0)] + [day] + [RULES.shift(day, n) for n in range(1, 31)]
    return [(d, RULES.on(d).open_ns, RULES.on(d).close_ns) for d in days]


def market_at(
    start_ns: int, *, day: date = WEDNESDAY, seed: int = 7, truth: Path | None = None, **options: Any
) -> SimulatedMarket:
    return SimulatedMarket(seed=seed, start_ns=start_ns, sessions=session_list(day), truth=TruthLog(truth), **options)


def chain_of(market: SimulatedMarket, symbol: str, now_ns: int) -> Chain:
    """A symbol's options as the vendor tells them, received now."""
    rows = []
    for q in market.chain(symbol):
        c = market.contract(q.con_id)
        assert c is not None and c.right
        rows.append(
            OptionRow(
                c.expiry, c.strike, c.right, q.bid, q.ask, q.last, None, q.volume, q.open_interest or 0, q.implied_vol,
                q.delta, q.gamma, q.theta, q.vega,
            )
        )  # fmt: skip
    return Chain(symbol, now_ns, now_ns, 1.0, False, None, 0, tuple(rows))
