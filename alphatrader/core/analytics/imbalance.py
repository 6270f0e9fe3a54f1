"""Book imbalance: volume, pressure, slope, order-flow imbalance, microprice, and their configured blend. sources.md §2.

All in [-1, 1], + is bid heavy. What a book cannot tell (a slope from one level) is None, and the blend renormalises over what is
there. Levels are (price, size), best first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

Levels = Sequence[tuple[float, float]]
MIN_SLOPE_LEVELS: Final = 3
UNITS_A_SHARE: Final = 10_000

TICKS: Final = {"ES": 0.25, "NQ": 0.25, "RTY": 0.10, "VX": 0.05, "DX": 0.005, "GC": 0.10, "CL": 0.01, "ZB": 1 / 32}
"""Minimum price steps of the futures (sources.md §10)."""
EQUITY_TICK: Final = 0.01


def tick_of(symbol: str) -> float:
    return TICKS.get(symbol, EQUITY_TICK)


def volume_imbalance(bids: Levels, asks: Levels, alpha: float, levels: int) -> float | None:
    """I = (Σ w b - Σ w a) / (Σ w b + Σ w a), w_i = exp(-alpha (i-1)). One empty side is ±1, two are None."""
    bid = math.fsum(math.exp(-alpha * i) * size for i, (_, size) in enumerate(bids[:levels]))
    ask = math.fsum(math.exp(-alpha * i) * size for i, (_, size) in enumerate(asks[:levels]))
    return (bid - ask) / (bid + ask) if bid + ask > 0 else None


def pressure(bids: Levels, asks: Levels, tick: float, levels: int) -> float | None:
    """Sizes weighted by 1 / (distance from mid + tick). Needs both sides: there is no mid without them."""
    if not bids or not asks:
        return None
    mid = (bids[0][0] + asks[0][0]) / 2
    bid = math.fsum(size / (abs(mid - price) + tick) for price, size in bids[:levels])
    ask = math.fsum(size / (abs(price - mid) + tick) for price, size in asks[:levels])
    return (bid - ask) / (bid + ask) if bid + ask > 0 else None


def microprice_lean(bids: Levels, asks: Levels) -> float | None:
    """(micro - mid) / half-spread, micro = (a qb + b qa) / (qa + qb). None on a locked, crossed or one-sided book."""
    if not bids or not asks:
        return None
    (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
    if ask <= bid or bid_size + ask_size <= 0:
        return None
    micro = (ask * bid_size + bid * ask_size) / (ask_size + bid_size)
    return (micro - (bid + ask) / 2) / ((ask - bid) / 2)


def side_slope(levels: Levels, mid: float) -> float | None:
    """SE of Naes & Skjeltorp (2006): elasticity of log cumulative size to price. Levels without a price step are skipped."""
    cumulative, previous_log, previous_price = 0.0, 0.0, mid
    terms: list[float] = []
    for price, size in levels:
        cumulative += size
        if cumulative < 2 or price <= 0:
            continue
        log_size = math.log(cumulative)
        step = abs(price / previous_price - 1.0)
        if step == 0.0:
            previous_log = log_size
            continue
        terms.append((log_size if not terms else log_size / previous_log - 1.0) / step)
        previous_log, previous_price = log_size, price
    return math.fsum(terms) / len(terms) if len(terms) >= MIN_SLOPE_LEVELS else None


def slope_imbalance(bids: Levels, asks: Levels, levels: int) -> tuple[float | None, float | None]:
    """((SEb - SEa) / (SEb + SEa), their mean); None with fewer than three levels a side."""
    if not bids or not asks:
        return None, None
    mid = (bids[0][0] + asks[0][0]) / 2
    bid, ask = side_slope(bids[:levels], mid), side_slope(asks[:levels], mid)
    if bid is None or ask is None or bid + ask <= 0:
        return None, None
    return (bid - ask) / (bid + ask), (bid + ask) / 2


class Ofi(msgspec.Struct):
    """Order-flow imbalance (Cont, Kukanov, Stoikov 2014) over a sliding window of best quotes."""

    window_ns: int
    previous: tuple[float, float, float, float] | None = None
    """bid, bid size, ask, ask size."""
    events: list[tuple[int, int, int]] = msgspec.field(default_factory=list)
    """(ts, e, bid size + ask size), oldest first, in ten-thousandths of a share: whole numbers, so that the sums never drift."""
    flow: int = 0
    gross: int = 0
    depth: int = 0
    """Sums over `events` of e, of its size, and of the sizes."""

    def add(self, ts_ns: int, bid: float, bid_size: float, ask: float, ask_size: float) -> None:
        before, self.previous = self.previous, (bid, bid_size, ask, ask_size)
        if before is None:
            return
        was_bid, was_bid_size, was_ask, was_ask_size = before
        e = 0.0
        if bid >= was_bid:
            e += bid_size
        if bid <= was_bid:
            e -= was_bid_size
        if ask <= was_ask:
            e -= ask_size
        if ask >= was_ask:
            e += was_ask_size
        if e or bid_size + ask_size != was_bid_size + was_ask_size:
            event, sizes = round(e * UNITS_A_SHARE), round((bid_size + ask_size) * UNITS_A_SHARE)
            self.events.append((ts_ns, event, sizes))
            self.flow, self.gross, self.depth = self.flow + event, self.gross + abs(event), self.depth + sizes
        self.forget(ts_ns)

    def forget(self, now_ns: int) -> None:
        keep = 0
        for ts_ns, e, sizes in self.events:
            if ts_ns > now_ns - self.window_ns:
                break
            self.flow, self.gross, self.depth = self.flow - e, self.gross - abs(e), self.depth - sizes
            keep += 1
        if keep:
            del self.events[:keep]

    def reset(self) -> None:
        """The book was reset: the next quote is compared with nothing."""
        self.previous, self.events = None, []
        self.flow = self.gross = self.depth = 0

    def value(self) -> tuple[float | None, float | None, int]:
        """(sum over mean depth, sum over gross in [-1, 1], events); None without an event in the window."""
        n = len(self.events)
        if not n:
            return None, None, 0
        over_depth = 2 * n * self.flow / self.depth if self.depth > 0 else None
        return over_depth, (self.flow / self.gross if self.gross > 0 else 0.0), n


def blend(parts: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The parts by their weights, renormalised over the parts that are there; None when none is."""
    present = [(weights[name], value) for name, value in parts.items() if value is not None and weights.get(name, 0.0) > 0]
    total = math.fsum(weight for weight, _ in present)
    return math.fsum(weight * value for weight, value in present) / total if total > 0 else None


class Smoothed(msgspec.Struct):
    """An exponential mean over time: one book says little, half a minute of them leans."""

    tau_ns: int
    value: float | None = None
    ts_ns: int = 0

    def add(self, ts_ns: int, value: float) -> float:
        if self.value is None or ts_ns - self.ts_ns > 5 * self.tau_ns:
            self.value = value
        elif ts_ns > self.ts_ns:
            self.value += (1.0 - math.exp(-(ts_ns - self.ts_ns) / self.tau_ns)) * (value - self.value)
        self.ts_ns = max(ts_ns, self.ts_ns)
        return self.value
