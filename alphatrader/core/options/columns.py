"""A chain as columns: what the checks, the greeks and the sums work on.

`admit` decides which rows stay; what is not a live, distinct contract is dropped, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from alphatrader.contract.messages.options import OptionRow
from alphatrader.core.options.greeks import years_to_expiry

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CENT: Final = 0.01


@dataclass(frozen=True, slots=True)
class Columns:
    """One entry a row, in the order of `rows`. A missing number is NaN here and only here."""

    rows: tuple[OptionRow, ...]
    expiry: npt.NDArray[np.int64]
    """YYYYMMDD as a number."""
    strike: Floats
    call: Bools
    bid: Floats
    ask: Floats
    mid: Floats
    """Halfway between bid and ask; a bid that is missing is a bid of nothing, an ask that is missing leaves none."""
    spread: Floats
    mark: Floats
    volume: Floats
    open_interest: Floats
    implied_vol: Floats
    delta: Floats
    gamma: Floats
    vega: Floats
    years: Floats
    """To the close of the expiry's session; at least a minute."""


def occ_names(symbol: str, rows: Sequence[OptionRow]) -> list[str]:
    """The OCC name of each row, without blanks: `SPY261218C00600000`."""
    return [f"{symbol}{row.expiry[2:]}{row.right}{round(row.strike * 1000):08d}" for row in rows]


def admit(
    rows: Sequence[OptionRow], now_ns: int, close_of: Callable[[str], int | None]
) -> tuple[Columns, list[tuple[OptionRow, str]]]:
    """The rows of contracts that still live, each once, and the others, each with its reason.

    `close_of` gives the instant at which an expiry (YYYYMMDD) has no time left, None for a day without a session."""
    dropped: list[tuple[OptionRow, str]] = []
    closes = {expiry: close_of(expiry) for expiry in {row.expiry for row in rows}}
    seen: set[tuple[str, float, str]] = set()
    kept: list[OptionRow] = []
    for row in rows:
        close_ns = closes[row.expiry]
        name = (row.expiry, row.strike, row.right)
        if close_ns is None:
            dropped.append((row, "expiry without session"))
        elif close_ns <= now_ns:
            dropped.append((row, "expired"))
        elif name in seen:
            dropped.append((row, "twice"))
        else:
            seen.add(name)
            kept.append(row)
    return _columns(tuple(kept), now_ns, closes), dropped


def _columns(rows: tuple[OptionRow, ...], now_ns: int, closes: dict[str, int | None]) -> Columns:
    bid, ask = _floats([row.bid for row in rows]), _floats([row.ask for row in rows])
    floor = np.nan_to_num(bid)
    return Columns(
        rows=rows,
        expiry=np.array([int(row.expiry) for row in rows], dtype=np.int64),
        strike=_floats([row.strike for row in rows]),
        call=np.array([row.right == "C" for row in rows], dtype=np.bool_),
        bid=bid,
        ask=ask,
        mid=(floor + ask) / 2.0,
        spread=ask - floor,
        mark=_floats([row.mark for row in rows]),
        volume=_floats([row.volume for row in rows]),
        open_interest=_floats([row.open_interest for row in rows]),
        implied_vol=_floats([row.implied_vol for row in rows]),
        delta=_floats([row.delta for row in rows]),
        gamma=_floats([row.gamma for row in rows]),
        vega=_floats([row.vega for row in rows]),
        years=np.asarray(years_to_expiry(now_ns, np.array([closes[row.expiry] or 0 for row in rows], dtype=np.int64))),
    )


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
