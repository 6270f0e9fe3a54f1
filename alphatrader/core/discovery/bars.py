"""Closes and returns out of bars, without the jump over night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from alphatrader.contract.messages.market import Bar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MINUTE_NS: Final = 60 * 1_000_000_000
GAP_NS: Final = 30 * 60 * 1_000_000_000
"""Bars further apart than this are of two sessions."""


def closes(bars: Sequence[Bar]) -> tuple[Ints, Floats]:
    """Start of each bar and its close; bars without a positive price are left out."""
    good = [(bar.ts_ns, bar.close) for bar in bars if bar.close > 0.0]
    stamps = np.array([ts_ns for ts_ns, _ in good], dtype=np.int64)
    return stamps, np.array([close for _, close in good], dtype=np.float64)


@dataclass(frozen=True)
class SessionReturns:
    stamps: Ints
    """Start of the bar that each return ends with."""
    returns: Floats
    """Log returns from bar to next bar."""


def returns_by_session(bars: Sequence[Bar], bar_ns: int = MINUTE_NS) -> list[SessionReturns]:
    """Of bars this long. Over bars that are missing, as in a halt, a return is not one bar's: it is left out."""
    stamps, prices = closes(bars)
    cuts = np.flatnonzero(np.diff(stamps) > GAP_NS) + 1
    parts = zip(np.split(stamps, cuts), np.split(prices, cuts), strict=True)
    found = []
    for at, part in parts:
        whole = np.diff(at) == bar_ns
        if whole.any():
            found.append(SessionReturns(at[1:][whole], np.diff(np.log(part))[whole]))
    return found


def sample(sessions: Sequence[SessionReturns]) -> dict[str, Any]:
    """`from_ns` and `to_ns` of a parameter measured on these returns."""
    return {"from_ns": int(sessions[0].stamps[0]), "to_ns": int(sessions[-1].stamps[-1])} if sessions else {}


def average_daily_volume(daily: Sequence[Bar], days: int) -> float | None:
    """Mean volume of the last `days` daily bars that traded; None where there is none."""
    volumes = [bar.volume for bar in daily if bar.volume > 0.0][-days:]
    return sum(volumes) / len(volumes) if volumes else None
