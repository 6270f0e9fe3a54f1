"""One instrument's session as a table of 5-second slots: what every bar is made of and what every print must add up to.

A row fixes the quote at both ends of its slot, the first, highest, lowest and last trade, the volume and the number of
prints. `slots.py` fills a slot with events that meet its row exactly, so bars of any length agree with the prints that were
shown, and a restart in mid-session knows the day so far without replaying it. `wap` is the mean of O, H, L and C (a
simplification; the prints' own average lies within a tick or two). Built by `simulation.py`; about a millisecond each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from .business_days import Session
from .hashing import generator, key64
from .instruments import Spec
from .paths import FULL_DAY_SLOTS, SLOT_SECONDS, SessionPath, volatility_shape
from .venues import round_lot

Ints = NDArray[np.int64]
MIN_PRINTS = 4  # open, high, low and close of a slot


@dataclass(frozen=True, slots=True)
class Activity:
    """How busy one contract is: its spec, or a share of it for a back month."""

    prints_per_second: float
    quotes_per_second: float
    daily_volume: int
    spread_ticks: float
    price_scale: float  # carry of a futures month


@dataclass(frozen=True, slots=True)
class SlotTable:
    """Prices in ticks. Arrays have one entry a slot; `bid` and `spread` one more, at slot boundaries."""

    session: Session
    slots: int
    per_unit: int
    is_index: bool
    lot: int
    display: int  # typical size displayed at the best price
    key: int  # base of the hashes that fill the slots
    sigma: list[float]
    lean: list[float]
    bid: list[int]
    spread: list[int]
    opens_at_ask: list[bool]
    closes_at_ask: list[bool]
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    count: Ints
    halted: NDArray[np.bool_]
    volume_before: Ints  # running totals at the start of each slot
    count_before: Ints
    value_before: NDArray[np.float64]
    high_before: Ints
    low_before: Ints

    def wap(self, slot: int) -> float:
        return float(self.open[slot] + self.high[slot] + self.low[slot] + self.close[slot]) / (4 * self.per_unit)


def build_table(
    seed: int,
    spec: Spec,
    activity: Activity,
    name: str,
    session: Session,
    path: SessionPath,
    *,
    rate: float,
    halts: tuple[tuple[int, int], ...] = (),
) -> SlotTable:
    """`name` is the contract's own (its con_id); `halts` are (start_ns, end_ns), widened to whole slots; `rate` scales events."""
    slots = len(path.log_price) - 1
    draw = generator(seed, "table", name, session.day)
    unit = spec.per_unit
    price = np.exp(path.log_price) * activity.price_scale
    shape = volatility_shape(slots)
    noise = draw.standard_normal((3, slots + 1))
    coin = draw.random((4, slots + 1))
    sigma = spec.daily_vol * 0.8 / np.sqrt(FULL_DAY_SLOTS) * shape * price[:-1] * unit
    is_index = spec.kind == "IND"
    if is_index:
        spread = np.zeros(slots + 1, dtype=np.int64)
    else:
        wide = 1 + 2 * np.exp(-np.arange(slots + 1) / 40)
        spread = 1 + np.floor(-np.log1p(-coin[0]) * (activity.spread_ticks - 1) * wide + 0.35).astype(np.int64)
    # Followers share a path: a little noise of their own keeps them from being copies.
    jitter = noise[2] * 0.00001 * price * unit if spec.follows else 0.0
    bid = np.floor(price * unit + jitter - spread / 2 + 0.5).astype(np.int64)
    ask = bid + spread
    halted = np.zeros(slots, dtype=np.bool_)
    for start_ns, end_ns in halts:
        first = (start_ns - session.open_ns) // (SLOT_SECONDS * 10**9)
        last = ceil((end_ns - session.open_ns) / (SLOT_SECONDS * 10**9))
        halted[max(0, first) : max(0, last)] = True

    active = ~halted
    expected = activity.prints_per_second * SLOT_SECONDS * rate
    if is_index:
        count = np.zeros(slots, dtype=np.int64)
    else:
        active &= coin[1, :-1] < expected / MIN_PRINTS
        excited = 1.0 if path.lean is None else 1 + 0.8 * np.abs(path.lean)
        extra = draw.poisson(max(0.0, expected - MIN_PRINTS) * np.minimum(shape, 2) * excited)
        count = np.where(active, MIN_PRINTS + extra, 0)

    high = np.maximum(ask[:-1], ask[1:]) + (np.abs(noise[0, :-1]) * sigma * 0.5).astype(np.int64)
    low = np.minimum(bid[:-1], bid[1:]) - (np.abs(noise[1, :-1]) * sigma * 0.5).astype(np.int64)
    opens_at_ask, closes_at_ask = coin[2, :-1] < 0.5, coin[3, :-1] < 0.5
    opening = np.where(opens_at_ask, ask[:-1], bid[:-1])
    close = np.where(closes_at_ask, ask[1:], bid[1:])
    # A slot without prints repeats the last trade.
    last_active = np.maximum.accumulate(np.where(active, np.arange(slots), -1))
    close = np.where(last_active >= 0, close[last_active], opening[0])
    carried = np.concatenate(([opening[0]], close[:-1]))
    opening, high, low = (np.where(active, made, carried) for made in (opening, high, low))

    lot = round_lot(float(price[0])) if spec.kind == "STK" else 1
    if is_index:
        volume = np.zeros(slots, dtype=np.int64)
    else:
        share = shape**2 * np.exp(0.5 * draw.standard_normal(slots)) * (1.0 if path.lean is None else 1 + 0.9 * np.abs(path.lean))
        share *= activity.daily_volume / FULL_DAY_SLOTS * max(1.0, min(20.0, MIN_PRINTS / expected))
        if spec.kind == "STK":  # the crosses
            share[0] += 0.01 * activity.daily_volume
            share[-1] += 0.06 * activity.daily_volume
        volume = np.where(active, np.maximum(share.astype(np.int64), count * lot * 2), 0)
    average = activity.daily_volume / max(1.0, max(activity.prints_per_second * rate, 0.8) * 23_400)
    display = max(3 * lot, round(average * 6 / lot) * lot)

    value = volume * (opening + high + low + close) / (4 * unit)
    before = [np.concatenate(([0], np.cumsum(a)[:-1])) for a in (volume, count)]
    lean = np.zeros(slots) if path.lean is None else path.lean
    return SlotTable(
        session=session, slots=slots, per_unit=unit, is_index=is_index, lot=lot, display=display,
        key=key64(seed, "slots", name, session.day), sigma=sigma.tolist(), lean=lean.tolist(), bid=bid.tolist(),
        spread=spread.tolist(), opens_at_ask=opens_at_ask.tolist(), closes_at_ask=closes_at_ask.tolist(),
        open=opening, high=high, low=low, close=close, volume=volume, count=count, halted=halted,
        volume_before=before[0], count_before=before[1], value_before=np.concatenate(([0.0], np.cumsum(value)[:-1])),
        high_before=np.maximum.accumulate(np.concatenate((opening[:1], high[:-1]))),
        low_before=np.minimum.accumulate(np.concatenate((opening[:1], low[:-1]))),
    )  # fmt: skip
