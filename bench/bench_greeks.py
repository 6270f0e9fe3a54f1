"""Greeks beside QuantLib, implied volatility beside py_vollib and py_lets_be_rational: contracts a second, with the errors.

The product computes arrays; the libraries compute one contract a call, in a Python loop, which is how they are used.
"""

from __future__ import annotations

import warnings
from itertools import product as combinations
from statistics import median
from typing import Any

import numpy as np
import QuantLib
from interleaved import Times, in_turn, title, verdict

from alphatrader.core.options import greeks as bs
from alphatrader.core.options.implied_vol import implied_vol

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from py_lets_be_rational import implied_volatility_from_a_transformed_rational_guess as lets_be_rational
    from py_vollib.black_scholes_merton.implied_volatility import implied_volatility as vollib

MANY, FEW, ROUNDS = 10_000, 250, 7
SPOT, RATE, DIVIDEND = 660.0, 0.04, 0.013
Columns = tuple[Any, Any, Any, Any]


def contracts(count: int, widest: float) -> Columns:
    """(strike, years, vol, call): one hour to a year, strikes within `widest` standard deviations of the forward."""
    random = np.random.default_rng(3)
    years = np.exp(random.uniform(np.log(1 / 8760), 0.0, count))
    vol = random.uniform(0.08, 0.9, count)
    forward = SPOT * np.exp((RATE - DIVIDEND) * years)
    return forward * np.exp(random.uniform(-widest, widest, count) * vol * np.sqrt(years)), years, vol, random.random(count) < 0.5


def quantlib(strike: float, years: float, vol: float, call: bool) -> tuple[float, ...]:
    payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Call if call else QuantLib.Option.Put, strike)
    forward = SPOT * np.exp((RATE - DIVIDEND) * years)
    one = QuantLib.BlackCalculator(payoff, forward, vol * np.sqrt(years), np.exp(-RATE * years))
    return (
        one.value(),
        one.delta(SPOT),
        one.gamma(SPOT),
        one.theta(SPOT, years) / 365.0,
        one.vega(years) / 100.0,
        one.rho(years) / 100.0,
    )


def per_second(times: Times, counts: dict[str, int], product: str) -> None:
    for name, seconds in times.items():
        speeds = [counts[name] / second for second in seconds]
        print(
            f"   {name:<22} {median(speeds) / 1e3:12.1f} k contracts/s   "
            f"product is {speed_ratio(times, counts, name, product):.1f}x"
        )


def speed_ratio(times: Times, counts: dict[str, int], reference: str, product: str) -> float:
    pairs = zip(times[reference], times[product], strict=True)
    return median(slow / counts[reference] / (fast / counts[product]) for slow, fast in pairs)


def compare_greeks() -> None:
    strike, years, vol, call = contracts(MANY, 4.0)
    rows = list(zip(*(column[:FEW].tolist() for column in (strike, years, vol, call)), strict=True))
    ours = np.array(bs.greeks(SPOT, strike, years, vol, call, RATE, DIVIDEND))[:, :FEW]
    theirs = np.array([quantlib(*row) for row in rows]).T
    times = in_turn(
        {
            "product (arrays)": lambda: bs.greeks(SPOT, strike, years, vol, call, RATE, DIVIDEND),
            "QuantLib (loop)": lambda: [quantlib(*row) for row in rows],
        },
        ROUNDS,
    )
    print("   -- price, delta, gamma, theta, vega, rho")
    per_second(times, {"product (arrays)": MANY, "QuantLib (loop)": FEW}, "product (arrays)")
    grid = [
        (SPOT * m, t, v, c)
        for m, t, v, c in combinations((0.7, 0.97, 1.0, 1.03, 1.3), (1.9e-6, 1e-4, 0.04, 2.0), (0.1, 0.9), (True, False))
    ]
    columns = [np.array(column) for column in zip(*grid, strict=True)]
    wide = np.abs(np.array(bs.greeks(SPOT, *columns, RATE, DIVIDEND)) - np.array([quantlib(*row) for row in grid]).T)
    error = max(float(np.abs(ours - theirs).max()), float(wide.max()))
    verdict("greeks, largest absolute difference from QuantLib (1 minute to 2 years, deep in and out)", error, 1e-6, at_most=True)


def compare_implied() -> None:
    strike, years, vol, call = contracts(MANY, 2.5)
    price = bs.price(SPOT, strike, years, vol, call, RATE, DIVIDEND)
    rows = list(zip(*(column[:FEW].tolist() for column in (price, strike, years, call)), strict=True))

    def with_vollib() -> list[float]:
        return [vollib(p, SPOT, k, t, RATE, DIVIDEND, "c" if c else "p") for p, k, t, c in rows]

    def with_rational() -> list[float]:
        found = []
        for p, k, t, c in rows:
            forward = SPOT * np.exp((RATE - DIVIDEND) * t)
            found.append(lets_be_rational(p * np.exp(RATE * t), forward, k, t, 1 if c else -1))
        return found

    ours = implied_vol(price, SPOT, strike, years, call, RATE, DIVIDEND)
    contestants = {
        "product (arrays)": lambda: implied_vol(price, SPOT, strike, years, call, RATE, DIVIDEND),
        "py_vollib": with_vollib,
        "py_lets_be_rational": with_rational,
    }
    times = in_turn(contestants, ROUNDS)
    counts = {"product (arrays)": MANY, "py_vollib": FEW, "py_lets_be_rational": FEW}
    print("   -- implied volatility")
    per_second(times, counts, "product (arrays)")
    rational, through_vollib = np.array(with_rational()), np.array(with_vollib())
    print(
        f"   largest error: py_vollib {np.abs(through_vollib - vol[:FEW]).max():.2g}, "
        f"py_lets_be_rational {np.abs(rational - vol[:FEW]).max():.2g}"
    )
    speed = speed_ratio(times, counts, "py_lets_be_rational", "product (arrays)")
    verdict("implied volatility, times faster than py_lets_be_rational", speed, 50)
    print(f"   unanswered: {int(np.isnan(ours).sum())} of {MANY}")
    verdict("implied volatility, largest error", float(np.nanmax(np.abs(ours - vol))), 1e-10, at_most=True)


def main() -> None:
    title(
        f"greeks and implied volatility: {MANY} contracts at once beside {FEW} in a loop",
        "py_lets_be_rational is the pure-Python package without numba; Jaeckel's own C++ is far faster and is not measured",
        "implied volatility within 2.5 standard deviations, where a price in doubles determines it to 1e-10",
    )
    compare_greeks()
    compare_implied()


if __name__ == "__main__":
    main()
