"""Over how many one-minute bars the regime looks back: as many as discovery found to tell of the next ones. sources.md §5.

Taken where it was measured and the two halves of its data agree well enough; else the default, and the metric says why.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alphatrader.contract import keys as k
from alphatrader.contract.messages.metrics import Parameter
from alphatrader.core.discovery.found import measured

DEFAULT_BARS: Final = 20
LEAST_BARS: Final = 5
MOST_BARS: Final = 120
MIN_CONFIDENCE: Final = 0.5
"""The smaller of the two halves' answers over the larger: under a half they contradict each other."""
_KEY: Final = k.DISCOVERED_LOOKBACK_BARS.pattern


class Lookback(msgspec.Struct, frozen=True):
    bars: int = DEFAULT_BARS
    reason: str | None = f"{_KEY} is not there"
    """Why it is the default; None where it was discovered."""


def lookback_of(parameter: Parameter | None) -> Lookback:
    """What discovery published of a symbol, as far as it may be used."""
    if parameter is None:
        return Lookback()
    if parameter.value is None or not measured(parameter):
        return Lookback(reason=f"not discovered: {parameter.fallback or 'no value'}")
    if not LEAST_BARS <= parameter.value <= MOST_BARS or parameter.value != round(parameter.value):
        return Lookback(
            reason=f"{_KEY} cannot be read: {parameter.value:g} is no number of bars from {LEAST_BARS} to {MOST_BARS}"
        )
    if parameter.confidence is None or parameter.confidence < MIN_CONFIDENCE:
        sure = "unknown" if parameter.confidence is None else f"{parameter.confidence:.2f}"
        return Lookback(reason=f"found {parameter.value:g} bars at a confidence of {sure}, {MIN_CONFIDENCE} is needed")
    return Lookback(round(parameter.value), None)
