"""The hedging signal: does the stock follow what is bought and sold of its options, how late, and more than by chance?

Dealers who sell a call buy stock against it. Option flow is told in shares of delta: of each contract that traded between two
chains, side x contracts x delta x 100, + where customers bought delta. Its correlation with the stock's signed volume that
follows, over the last `WINDOW_SECONDS`, is taken at each lag of `LAGS`; the strongest is the reading, and its p-value is of a
search over all of them.

A chain tells no prints: what traded since the one before is signed by the side of its last trade at its quotes, so the sizes
are of the volume and the signs are approximate. Method: sources.md §3. Effective sample: Bartlett 1935, Journal of the Royal
Statistical Society 98 (two series that each remember their last value say less than their length). Held
by `core/analytics/symbol.py`, given each chain by `meter.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from alphatrader.contract.messages.options import Chain, OptionRow

SECOND_NS: Final = 1_000_000_000
WINDOW_SECONDS: Final = 300
LEAST_SECONDS: Final = 60
LEAST_STEPS: Final = 10
LONGEST_STEP_SECONDS: Final = 30
"""Two chains further apart say nothing of when what lies between them traded."""
LAGS: Final = (0, 5, 10, 15, 20, 25, 30)
"""Seconds by which the stock may follow; 0 is the step itself, in which dealers may hedge at once."""
REACH_SECONDS: Final = WINDOW_SECONDS + LONGEST_STEP_SECONDS + LAGS[-1]
"""How far back the stock's flow is looked at."""
MOST_P: Final = 0.05

Floats = npt.NDArray[np.float64]
Stock = Sequence[tuple[int, float, float]]
"""(second, signed shares, shares) of the stock's prints, oldest first: what analytics' flow window holds."""


class Reading(msgspec.Struct, frozen=True):
    """What the last chain's step has made known."""

    correlation: float | None = None
    lag_seconds: int | None = None
    p: float | None = None
    """Two-sided, of the strongest of all lags by chance."""
    steps: int = 0
    """Whose following `lag_seconds` later is known by now; before there is a reading, all."""
    seconds: float = 0.0
    """Market time that all steps cover."""
    reason: str | None = "no two chains yet"
    """Why there is no signal; None where there is one."""

    @property
    def sign(self) -> int:
        """+1: the stock is traded in the direction of the options' delta, -1: against it; 0: no signal."""
        return 0 if self.reason is not None or self.correlation is None else 1 if self.correlation > 0 else -1


class Hedging(msgspec.Struct):
    steps: list[tuple[int, int, float]] = msgspec.field(default_factory=list)
    """(from, to, signed shares of delta) of option flow, oldest first; ns of market time."""
    reading: Reading = Reading()

    def options(self, before: Chain | None, after: Chain, stock: Stock, since_ns: int | None) -> None:
        """The chain was refreshed. A stale one holds the rows and the time of the last good one: the step ends with the next.

        `since_ns`: the stock's flow is known without a gap since then; None: not at all."""
        if after.stale:
            self.reading = Reading(reason="the chain is stale")
            return
        if before is None or after.ts_ns <= before.ts_ns:
            return
        if after.ts_ns - before.ts_ns <= LONGEST_STEP_SECONDS * SECOND_NS:
            self.steps.append((before.ts_ns, after.ts_ns, delta_flow(before.rows, after.rows)))
        oldest = after.ts_ns - WINDOW_SECONDS * SECOND_NS
        self.steps = [step for step in self.steps if step[0] >= oldest]
        self.reading = self._read(after.ts_ns, stock, since_ns)

    def reset(self, reason: str) -> None:
        """The stock's prints have a hole."""
        self.steps, self.reading = [], Reading(reason=reason)

    def _read(self, now_ns: int, stock: Stock, since_ns: int | None) -> Reading:
        known = [step for step in self.steps if since_ns is not None and step[0] >= since_ns]
        seconds = round(sum(to - start for start, to, _ in known) / SECOND_NS, 1)
        if len(known) < LEAST_STEPS or seconds < LEAST_SECONDS:
            return Reading(steps=len(known), seconds=seconds, reason=f"{seconds:.0f} s of both known, needs {LEAST_SECONDS}")
        starts, ends, flow = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
        seen = np.array([second for second, _, _ in stock], dtype=np.float64)
        sums = np.concatenate(([0.0], np.cumsum([signed for _, signed, _ in stock])))

        def until(instants: Floats) -> Floats:
            """Signed shares of the stock before each instant, to the second."""
            return np.asarray(sums[np.searchsorted(seen, instants // SECOND_NS)])

        best: tuple[float, int, float, int] | None = None
        for lag in LAGS:
            over = ends + lag * SECOND_NS <= now_ns
            followed = until(ends[over] + lag * SECOND_NS) - until(starts[over] + lag * SECOND_NS)
            r, p = correlated(flow[over], followed)
            if p is not None and r is not None and (best is None or abs(r) > abs(best[0])):
                best = (r, lag, p, int(over.sum()))
        if best is None:
            return Reading(steps=len(known), seconds=seconds, reason="options or stock did not trade")
        r, lag, p, steps = best
        searched = min(1.0, p * len(LAGS))
        reason = None if searched <= MOST_P else f"p {searched:.2f}, needs {MOST_P:g}"
        return Reading(round(r, 4), lag, float(f"{searched:.3g}"), steps, seconds, reason)


def delta_flow(before: tuple[OptionRow, ...], after: tuple[OptionRow, ...]) -> float:
    """Signed shares of delta that traded between two chains, + where buyers of delta took the initiative.

    A last price that is another than the chain's before counts as bought above the middles of both chains and as sold below both:
    one middle alone, or an old price, would sign a trade by where the stock went after it, which is what is to be found."""
    had = {(row.expiry, row.strike, row.right): row for row in before}
    flow = 0.0
    for row in after:
        old = had.get((row.expiry, row.strike, row.right))
        if old is None or row.volume <= old.volume or row.delta is None or not row.last or row.last == old.last:
            continue
        if row.bid is None or row.ask is None or old.bid is None or old.ask is None:
            continue
        middles = (row.bid + row.ask) / 2, (old.bid + old.ask) / 2
        flow += (row.volume - old.volume) * row.delta * 100.0 * ((row.last > max(middles)) - (row.last < min(middles)))
    return flow


def correlated(x: Floats, y: Floats) -> tuple[float | None, float | None]:
    """Pearson's r of two series and its two-sided p-value at their effective length; None where one does not move.

    Units cancel. Shapes (n,), n at least 4."""
    if len(x) < 4 or not np.ptp(x) or not np.ptp(y):
        return None, None
    r = float(np.corrcoef(x, y)[0, 1])
    memory = max(0.0, _remembered(x) * _remembered(y))
    free = len(x) * (1 - memory) / (1 + memory) - 2
    if free < 1:
        return r, 1.0
    t = abs(r) * np.sqrt(free / max(1 - r * r, 1e-12))
    return r, float(2 * stdtr(free, -t))


def _remembered(series: Floats) -> float:
    """Autocorrelation at lag one."""
    centred = series - series.mean()
    return float(centred[1:] @ centred[:-1] / (centred @ centred))
