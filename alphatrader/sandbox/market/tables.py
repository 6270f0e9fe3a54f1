"""One instrument's session as a table of 5-second slots: what every bar is made of and what every print must add up to.

A row fixes the quote at both ends of its slot, the first, highest, lowest and last trade, the volume and the number of
prints. `slots.py` fills a slot with events that meet its row exactly, so bars of any length agree with the prints that were
shown, and a restart in mid-session knows the day so far without replaying it. `wap` is the mean of O, H, L and C (a
simplification; the prints' own average lies within a tick or two). Built by `simulation.py`; about a millisecond each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .business_days import Session
from .hashing import generator, key64
from .instruments import Spec
from .paths import FULL_DAY_SLOTS, SLOT_NS, SLOT_SECONDS, SessionPath, volatility_shape
from .venues import round_lot

Ints = NDArray[np.int32]
Floats = NDArray[Any]
Bools = NDArray[np.bool_]
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
    sigma: Floats  # ticks the price diffuses in the slot
    lean: Floats  # informed flow, -1..1
    bid: Ints
    spread: Ints
    opens_at_ask: Bools
    closes_at_ask: Bools
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    count: Ints
    halted: Bools

    def wap(self, slot: int) -> float:
        return (int(self.open[slot]) + int(self.high[slot]) + int(self.low[slot]) + int(self.close[slot])) / (4 * self.per_unit)


class RunningTotals:
    """The day's totals at the start of each slot."""

    def __init__(self, table: SlotTable) -> None:
        value = table.volume.astype(np.float64) * (table.open + table.high + table.low + table.close) / (4 * table.per_unit)
        self.volume = np.concatenate(([0], np.cumsum(table.volume, dtype=np.int64)))
        self.count = np.concatenate(([0], np.cumsum(table.count, dtype=np.int64)))
        self.value = np.concatenate(([0.0], np.cumsum(value)))
        self.high = np.maximum.accumulate(np.concatenate((table.open[:1], table.high)))
        self.low = np.minimum.accumulate(np.concatenate((table.open[:1], table.low)))
        marks = np.where(table.count > 0, np.arange(table.slots), -1)
        self.last_traded_slot = np.concatenate(([-1], np.maximum.accumulate(marks)))


def _halted(session: Session, slots: int, halts: tuple[tuple[int, int], ...]) -> Bools:
    halted = np.zeros(slots, dtype=np.bool_)
    for start_ns, end_ns in halts:
        first = (start_ns - session.open_ns) // SLOT_NS
        halted[max(0, first) : max(0, ceil((end_ns - session.open_ns) / SLOT_NS))] = True
    return halted


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
    noise = draw.standard_normal((4, slots + 1), dtype=np.float32)
    coin = draw.random((4, slots + 1), dtype=np.float32)
    price = np.exp(path.log_price) * activity.price_scale
    shape = volatility_shape(slots)
    sigma = spec.daily_vol * 0.8 / sqrt(FULL_DAY_SLOTS) * shape * (float(price[0]) * spec.per_unit)
    lean = np.zeros(slots) if path.lean is None else path.lean
    halted = _halted(session, slots, halts)
    bid, spread = _quotes(spec, activity, price, coin[0], noise[2])
    count = _counts(spec, activity, shape, lean, halted, rate=rate, chance=coin[1, :-1], noise=noise[3, :-1])
    active = ~halted if spec.kind == "IND" else count > 0  # an index has a level without prints
    opens_at_ask, closes_at_ask = coin[2, :-1] < 0.5, coin[3, :-1] < 0.5
    opening, high, low, close = _trades(bid, bid + spread, active, sigma * 0.5, noise[:2, :-1], opens_at_ask, closes_at_ask)
    lot = round_lot(float(price[0])) if spec.kind == "STK" else 1
    prints = max(activity.prints_per_second * rate, 0.8) * FULL_DAY_SLOTS * SLOT_SECONDS
    return SlotTable(
        session=session,
        slots=slots,
        per_unit=spec.per_unit,
        is_index=spec.kind == "IND",
        lot=lot,
        display=max(3 * lot, round(activity.daily_volume / prints * 6 / lot) * lot),
        key=key64(seed, "slots", name, session.day),
        sigma=sigma,
        lean=lean,
        bid=bid,
        spread=spread,
        opens_at_ask=opens_at_ask,
        closes_at_ask=closes_at_ask,
        open=opening,
        high=high,
        low=low,
        close=close,
        volume=_volumes(spec, activity, shape, lean, count, lot, rate=rate, noise=noise[2, :-1]),
        count=count,
        halted=halted,
    )


def _quotes(spec: Spec, activity: Activity, price: Floats, chance: Floats, noise: Floats) -> tuple[Ints, Ints]:
    """Bid and spread in ticks at the slots' boundaries."""
    unit, spread = spec.per_unit, chance * 0
    if spec.kind != "IND":
        wide = 1 + 2 * np.exp(-np.arange(len(chance)) / 40)  # after the open
        spread = 1 + np.floor(-np.log1p(-chance) * (activity.spread_ticks - 1) * wide + 0.35)
    # Followers share a path: a little noise of their own keeps them from being copies.
    jitter = noise * (0.00001 * float(price[0]) * unit) if spec.follows else 0.0
    return np.floor(price * unit + jitter - spread / 2 + 0.5).astype(np.int32), spread.astype(np.int32)


def _expected(activity: Activity, rate: float) -> float:
    """Prints of an ordinary slot."""
    return activity.prints_per_second * SLOT_SECONDS * rate


def _counts(
    spec: Spec, activity: Activity, shape: Floats, lean: Floats, halted: Bools, *, rate: float, chance: Floats, noise: Floats
) -> Ints:
    """Prints of each slot: none, or at least the four that its row names."""
    if spec.kind == "IND":
        return np.zeros(len(shape), dtype=np.int32)
    expected = _expected(activity, rate)
    active = ~halted & (chance < expected / MIN_PRINTS)
    mean = max(0.0, expected - MIN_PRINTS) * np.minimum(shape, 2) * (1 + 0.8 * np.abs(lean))
    extra = np.maximum(0, mean + np.sqrt(mean) * noise).astype(np.int32)  # Poisson, near enough
    return np.where(active, MIN_PRINTS + extra, 0)


def _trades(
    bid: Ints, ask: Ints, active: Bools, reach: Floats, noise: Floats, opens_at_ask: Bools, closes_at_ask: Bools
) -> tuple[Ints, Ints, Ints, Ints]:
    """Open, high, low and close in ticks; `active`: slots with a price of their own; `reach`: ticks a slot goes beyond the
    quotes of its ends."""
    high = np.maximum(ask[:-1], ask[1:]) + (np.abs(noise[0]) * reach).astype(np.int32)
    low = np.minimum(bid[:-1], bid[1:]) - (np.abs(noise[1]) * reach).astype(np.int32)
    opening = np.where(opens_at_ask, ask[:-1], bid[:-1])
    close = np.where(closes_at_ask, ask[1:], bid[1:])
    # A slot without prints repeats the last trade.
    last_active = np.maximum.accumulate(np.where(active, np.arange(len(active)), -1))
    close = np.where(last_active >= 0, close[last_active], opening[0])
    carried = np.concatenate((opening[:1], close[:-1]))
    opening, high, low = (np.where(active, made, carried) for made in (opening, high, low))
    return opening, high, low, close


def _volumes(
    spec: Spec, activity: Activity, shape: Floats, lean: Floats, count: Ints, lot: int, *, rate: float, noise: Floats
) -> Ints:
    """Volume of each slot: at least two lots a print where there are any."""
    if spec.kind == "IND":
        return np.zeros(len(shape), dtype=np.int32)
    # Half as much again when flow is informed; 0.8 and 0.93 bring the day's mean back to the daily volume.
    share = shape * np.exp(0.5 * noise) * (1 + 0.5 * np.abs(lean)) * (0.8 * activity.daily_volume / FULL_DAY_SLOTS)
    share *= max(1.0, MIN_PRINTS / _expected(activity, rate))
    if spec.kind == "STK":  # the crosses
        share *= 0.93
        share[0] += 0.01 * activity.daily_volume
        share[-1] += 0.06 * activity.daily_volume
    return np.where(count > 0, np.maximum(share.astype(np.int32), count * lot * 2), 0)
