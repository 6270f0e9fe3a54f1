"""Chain bytes -> arrays -> GEX, DEX, flip on 10,000 contracts: the product beside pandas and beside json + numpy.

The references do what is usual: parse, make the strings numbers, compute the same exposure, scan 81 even spots for the flip. They
check nothing. The product checks every field, names and dates, drops bad rows one by one, scans as finely (on an expiry day more
finely), and narrows the flip down to a billionth.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from chain_answers import NOW_NS, RATE, SPOT, SYMBOL, answer, closes
from interleaved import in_turn, ratio, show, title, verdict
from scipy.special import ndtr

from alphatrader.clients.alphavantage.answers import chain
from alphatrader.core.analytics.exposure import prepare
from alphatrader.core.analytics.flip import zero_gamma_flip
from alphatrader.core.analytics.pricing import measure

CONTRACTS, ROUNDS, RANGE = 10_000, 9, 0.1
BODY = answer(CONTRACTS)
CLOSES = closes({row.expiry for row in chain(BODY, SYMBOL, 20_000).rows})
NUMBERS = (
    "strike",
    "implied_volatility",
    "open_interest",
    "volume",
    "bid",
    "ask",
    "last",
    "mark",
    "delta",
    "gamma",
    "theta",
    "vega",
)
YEAR_NS = 365 * 86_400 * 1_000_000_000
Arrays = dict[str, Any]


def years_of(expirations: list[str]) -> Any:
    by_expiry = {e: (CLOSES[e.replace("-", "")] - NOW_NS) / YEAR_NS for e in set(expirations)}
    return np.array([by_expiry[e] for e in expirations])


# -- product


def product_arrays() -> Any:
    return prepare(chain(BODY, SYMBOL, 20_000).rows, CLOSES, NOW_NS)


def product_exposure(prepared: Any) -> Any:
    return measure(prepared, SPOT, NOW_NS, RATE, "20261118")


def product_flip(prepared: Any) -> Any:
    return zero_gamma_flip(prepared, SPOT, NOW_NS, RATE, RANGE)


# -- json + numpy


def numpy_arrays() -> Arrays:
    rows = json.loads(BODY)["data"]
    arrays: Arrays = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in NUMBERS}
    arrays["call"] = np.array([row["type"] == "call" for row in rows])
    arrays["expiration"] = [row["expiration"] for row in rows]
    arrays["years"] = years_of(arrays["expiration"])
    return arrays


def numpy_d1(a: Arrays, spot: Any) -> Any:
    root = a["implied_volatility"] * np.sqrt(a["years"])
    return (np.log(spot / a["strike"]) + (RATE + a["implied_volatility"] ** 2 / 2) * a["years"]) / root, root


def numpy_exposure(a: Arrays) -> tuple[float, float]:
    d1, root = numpy_d1(a, SPOT)
    gamma = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi) / (SPOT * root)
    sign = np.where(a["call"], 1.0, -1.0)
    gex = sign * gamma * a["open_interest"] * 100 * SPOT**2 * 0.01
    np.bincount(np.unique(a["expiration"], return_inverse=True)[1], gex)
    np.bincount(np.unique(a["strike"], return_inverse=True)[1], gex)
    return float(gex.sum()), float((sign * ndtr(sign * d1) * a["open_interest"] * 100 * SPOT).sum())


def numpy_flip(a: Arrays) -> float | None:
    spots = np.linspace(SPOT * (1 - RANGE), SPOT * (1 + RANGE), 81)
    sign = np.where(a["call"], 1.0, -1.0)
    totals = np.empty(len(spots))
    for i, spot in enumerate(spots):
        d1, root = numpy_d1(a, spot)
        totals[i] = (sign * np.exp(-(d1**2) / 2) / root * a["open_interest"]).sum() * spot
    return nearest_zero(spots, totals)


# -- pandas


def pandas_frame() -> pd.DataFrame:
    frame = pd.DataFrame(json.loads(BODY)["data"])
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name])
    by_expiry = {e: (CLOSES[e.replace("-", "")] - NOW_NS) / YEAR_NS for e in frame["expiration"].unique()}
    frame["years"] = frame["expiration"].map(by_expiry).astype(float)
    frame["sign"] = frame["type"].map({"call": 1.0, "put": -1.0}).astype(float)
    return frame


def pandas_d1(f: pd.DataFrame, spot: float) -> tuple[pd.Series, pd.Series]:
    root = f["implied_volatility"] * np.sqrt(f["years"])
    return (np.log(spot / f["strike"]) + (RATE + f["implied_volatility"] ** 2 / 2) * f["years"]) / root, root


def pandas_exposure(f: pd.DataFrame) -> tuple[float, float]:
    d1, root = pandas_d1(f, SPOT)
    gamma = np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi) / (SPOT * root)
    f = f.assign(gex=f["sign"] * gamma * f["open_interest"] * 100 * SPOT**2 * 0.01)
    f.groupby("expiration")["gex"].sum()
    f.groupby("strike")["gex"].sum()
    dex = f["sign"] * ndtr(f["sign"] * d1) * f["open_interest"] * 100 * SPOT
    return float(f["gex"].sum()), float(dex.sum())


def pandas_flip(f: pd.DataFrame) -> float | None:
    spots = np.linspace(SPOT * (1 - RANGE), SPOT * (1 + RANGE), 81)
    totals = np.empty(len(spots))
    for i, spot in enumerate(spots):
        d1, root = pandas_d1(f, float(spot))
        totals[i] = (f["sign"] * np.exp(-(d1**2) / 2) / root * f["open_interest"]).sum() * spot
    return nearest_zero(spots, totals)


def nearest_zero(spots: Any, totals: Any) -> float | None:
    turns = np.flatnonzero(np.sign(totals[1:]) * np.sign(totals[:-1]) < 0)
    found = spots[turns] - totals[turns] * (spots[turns + 1] - spots[turns]) / (totals[turns + 1] - totals[turns])
    return float(found[np.argmin(np.abs(found - SPOT))]) if len(found) else None


def main() -> None:
    title(
        f"chain: {len(BODY) / 1e6:.1f} MB, {CONTRACTS} contracts -> arrays -> GEX, DEX, flip",
        "only the product validates every row (vendor's name, dates, ranges) and steps the flip on narrow strikes",
        "one process, everything in memory; no HTTP and no Redis",
    )
    prepared, arrays, frame = product_arrays(), numpy_arrays(), pandas_frame()
    exposure = product_exposure(prepared)
    gex_numpy, gex_pandas = numpy_exposure(arrays)[0], pandas_exposure(frame)[0]
    print(f"   GEX per 1 %: product {exposure.gex_1pct:.6g}, json + numpy {gex_numpy:.6g}, pandas {gex_pandas:.6g}")
    print(f"   flip: product {product_flip(prepared)}, json + numpy {numpy_flip(arrays)}, pandas {pandas_flip(frame)}")
    assert abs(exposure.gex_1pct - gex_pandas) <= 1e-9 * abs(gex_pandas), "the contestants compute different things"
    stages = {
        "bytes -> arrays": (product_arrays, numpy_arrays, pandas_frame),
        "GEX, DEX": (lambda: product_exposure(prepared), lambda: numpy_exposure(arrays), lambda: pandas_exposure(frame)),
        "flip": (lambda: product_flip(prepared), lambda: numpy_flip(arrays), lambda: pandas_flip(frame)),
    }
    for stage, runs in stages.items():
        print(f"   -- {stage}")
        show(in_turn(dict(zip(("product", "json + numpy", "pandas"), runs, strict=True)), ROUNDS), "product")

    def product() -> None:
        chain_ = product_arrays()
        product_exposure(chain_), product_flip(chain_)

    def numpy_() -> None:
        a = numpy_arrays()
        numpy_exposure(a), numpy_flip(a)

    def pandas_() -> None:
        f = pandas_frame()
        pandas_exposure(f), pandas_flip(f)

    print("   -- all")
    times = in_turn({"product": product, "json + numpy": numpy_, "pandas": pandas_}, ROUNDS)
    show(times, "product")
    verdict("chain, times faster than pandas", ratio(times, "pandas", "product"), 7)
    verdict("chain, times faster than json + numpy", ratio(times, "json + numpy", "product"), 4)


if __name__ == "__main__":
    main()
