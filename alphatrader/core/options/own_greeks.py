"""Our own greeks of a chain, by the real time to expiry: the vendor counts whole days, which the last day cannot bear.

The volatility is the one that gives the mid between bid and ask; without two sides the vendor's serves, except in the last day.
Rate from the settings, no dividends, European exercise: as the vendor does it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from alphatrader.core.options import greeks as bs
from alphatrader.core.options.columns import Columns, Floats
from alphatrader.core.options.implied_vol import implied_vol

LAST_DAY_YEARS: Final = 1.0 / 365.0
_DIGITS: Final = 8


class OwnGreeks(NamedTuple):
    """By row; NaN where there are none."""

    delta: Floats
    gamma: Floats
    theta_day: Floats
    vega_point: Floats
    vol: Floats
    mid_vol: Floats
    """The volatility of the mid alone; NaN where the price gives none."""


def own_greeks(columns: Columns, spot: float, rate: float) -> OwnGreeks:
    solved = implied_vol(
        np.where(np.isnan(columns.bid), np.nan, columns.mid), spot, columns.strike, columns.years, columns.call, rate
    )
    spare = np.where(columns.years >= LAST_DAY_YEARS, columns.implied_vol, np.nan)
    vol = np.where(np.isnan(solved), spare, solved)
    found = bs.greeks(spot, columns.strike, columns.years, vol, columns.call, rate)
    return OwnGreeks(found.delta, found.gamma, found.theta_day, found.vega_point, vol, solved)


def by_name(names: list[str], own: OwnGreeks) -> dict[str, tuple[float, float, float, float, float]]:
    """OCC name -> delta, gamma, theta a day, vega a point, vol; without the rows that have none."""
    table = np.round(np.column_stack((own.delta, own.gamma, own.theta_day, own.vega_point, own.vol)), _DIGITS)
    good = np.flatnonzero(np.isfinite(table).all(axis=1))
    values: list[list[float]] = table[good].tolist()
    return {names[i]: (row[0], row[1], row[2], row[3], row[4]) for i, row in zip(good, values, strict=True)}
