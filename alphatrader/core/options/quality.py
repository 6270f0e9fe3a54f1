"""Whether a chain may be believed: each row is held to the bounds that no arbitrage leaves it (sources.md §4).

A check that lacks an input passes the row: it says nothing. The share of rows that pass all of them is the chain's quality;
under `options.min_quality` no signal may use it. Source: Hull, ch. 11 (bounds, put-call parity of American options).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alphatrader.core.options.columns import CENT, Bools, Columns, Floats
from alphatrader.core.options.greeks import greeks

SPOT_SLACK: Final = 0.002
"""Share of spot: the underlying's price and the chain are not of one instant."""
DIVIDEND_SLACK: Final = 0.05
"""Yearly yield or borrowing cost that parity must allow, since neither is known here."""
PAIR_DELTA_SLACK: Final = 0.05
RECOMPUTED_SLACK: Final = 0.05
"""Of a greek recomputed from the vendor's own volatility, by the real time to expiry: of delta's range, of the highest gamma."""
RECOMPUTED_YEARS: Final = 7.0 / 365.0
"""Nearer expiries are not compared: the vendor counts whole days, we count minutes, and publish our own."""
GAMMA_DIGIT: Final = 1e-5
"""The vendor's last digit."""
VOL_STEP: Final = 0.005
"""Half a step of the vendor's bisection."""
IV_LEAST: Final = 0.005
"""0.01 less the step of the vendor's coarse volatilities."""
IV_MOST: Final = 5.0


@dataclass(frozen=True, slots=True)
class Quality:
    share: float
    """0 to 1 of the rows seen, dropped bad ones included."""
    failed: dict[str, int]
    """Rows that failed, by check."""


def quality(columns: Columns, spot: float | None, rate: float, own_vol: Floats, bad: int) -> Quality:
    """`own_vol` is the mid's by row, NaN where there is none; `bad` counts rows dropped because something in them was wrong."""
    n = len(columns.rows)
    if n + bad == 0:
        return Quality(0.0, {})
    with np.errstate(invalid="ignore"):
        checks = {
            "no ask": np.isnan(columns.ask),
            "crossed": columns.bid > columns.ask,
            "mark outside": ~np.isnan(columns.bid) & ((columns.mark < columns.bid - CENT) | (columns.mark > columns.ask + CENT)),
            "vol": (columns.implied_vol <= IV_LEAST) | (columns.implied_vol > IV_MOST),
            "vega": columns.vega < 0.0,
            "gamma": columns.gamma < 0.0,
            "delta sign": np.where(columns.call, columns.delta < 0.0, columns.delta > 0.0),
            "not monotone": _not_monotone(columns),
            "delta pair": _pairs(columns, _delta_pair_fails(columns)),
        }
        if spot is not None:
            checks["bounds"] = _out_of_bounds(columns, spot, rate)
            checks["parity"] = _pairs(columns, _parity_fails(columns, spot, rate))
            checks |= _recomputed(columns, spot, rate, own_vol)
    failing = np.zeros(n, dtype=np.bool_)
    for failed in checks.values():
        failing |= failed
    passed = n - int(failing.sum())
    return Quality(passed / (n + bad), {name: int(failed.sum()) for name, failed in checks.items() if failed.any()})


def _recomputed(c: Columns, spot: float, rate: float, own_vol: Floats) -> dict[str, Bools]:
    """The vendor's greeks against Black-Scholes at its own volatility, and that volatility against the one of the mid."""
    here = greeks(spot, c.strike, c.years, c.implied_vol, c.call, rate)
    highest = np.exp(-rate * c.years) / (np.sqrt(2.0 * np.pi * c.years) * spot * c.implied_vol)
    with np.errstate(divide="ignore", over="ignore"):
        # What half the spread, a tick, and the slack of spot move the volatility by.
        blur = (c.spread / 2.0 + CENT + SPOT_SLACK * spot * np.abs(here.delta)) / (here.vega_point * 100.0)
    vol_slack = np.maximum(RECOMPUTED_SLACK * c.implied_vol, VOL_STEP + blur)
    far = c.years >= RECOMPUTED_YEARS
    return {
        "delta recomputed": far & (np.abs(c.delta - here.delta) > RECOMPUTED_SLACK),
        "gamma recomputed": far & (np.abs(c.gamma - here.gamma) > RECOMPUTED_SLACK * highest + GAMMA_DIGIT),
        "vol of another price": far & (np.abs(c.implied_vol - own_vol) > vol_slack),
    }


def _out_of_bounds(c: Columns, spot: float, rate: float) -> Bools:
    """Under its least or over its greatest possible price, by more than its spread and the slack of spot."""
    slack = np.nan_to_num(c.spread) + SPOT_SLACK * spot + CENT
    discounted = c.strike * np.exp(-rate * c.years)
    carried = spot * np.exp(-DIVIDEND_SLACK * c.years)
    least = np.maximum(0.0, np.where(c.call, carried - discounted, c.strike - spot))
    most = np.where(c.call, spot, c.strike)
    return (c.mid < least - slack) | (c.mid > most + slack)


def _not_monotone(c: Columns) -> Bools:
    """Calls must not gain and puts not lose with the strike, within their spreads."""
    order = np.lexsort((c.strike, c.call, c.expiry))
    lower, upper = order[:-1], order[1:]
    same = (c.expiry[lower] == c.expiry[upper]) & (c.call[lower] == c.call[upper])
    rise = c.mid[upper] - c.mid[lower]
    slack = (c.spread[lower] + c.spread[upper]) / 2.0 + CENT
    wrong = same & (np.where(c.call[lower], rise, -rise) > slack)
    failed = np.zeros(len(c.rows), dtype=np.bool_)
    failed[lower[wrong]] = True
    failed[upper[wrong]] = True
    return failed


def _matched(c: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Rows of (put, call) of the same expiry and strike."""
    order = np.lexsort((c.call, c.strike, c.expiry))
    first, second = order[:-1], order[1:]
    pair = (c.expiry[first] == c.expiry[second]) & (c.strike[first] == c.strike[second]) & ~c.call[first] & c.call[second]
    return first[pair], second[pair]


def _parity_fails(c: Columns, spot: float, rate: float) -> Bools:
    """American parity: S e^(-qT) - K <= C - P <= S - K e^(-rT)."""
    put, call = _matched(c)
    difference = c.mid[call] - c.mid[put]
    strike, years = c.strike[call], c.years[call]
    slack = c.spread[call] + c.spread[put] + SPOT_SLACK * spot + CENT
    low, high = spot * np.exp(-DIVIDEND_SLACK * years) - strike, spot - strike * np.exp(-rate * years)
    if rate < 0.0:
        low, high = np.minimum(low, high), np.maximum(low, high)
    return np.asarray((difference < low - slack) | (difference > high + slack))


def _delta_pair_fails(c: Columns) -> Bools:
    """Call delta less put delta is about e^(-qT)."""
    put, call = _matched(c)
    one = c.delta[call] - c.delta[put]
    return np.asarray((one > 1.0 + PAIR_DELTA_SLACK) | (one < np.exp(-DIVIDEND_SLACK * c.years[call]) - PAIR_DELTA_SLACK))


def _pairs(c: Columns, fails: Bools) -> Bools:
    """Both rows of each failing pair."""
    put, call = _matched(c)
    failed = np.zeros(len(c.rows), dtype=np.bool_)
    failed[put[fails]] = True
    failed[call[fails]] = True
    return failed
