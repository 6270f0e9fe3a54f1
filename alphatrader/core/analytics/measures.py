"""What all metrics of a symbol share: their message, and why none of them can be had now.

Each metric's own is in `*_metric.py` and makers.py: a function that reads the state and the instant. A metric that is not ready
is None with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.analytics.symbol import SymbolState

AgeOf = Callable[[int | None], float | None]
"""Market instant of reception -> age in milliseconds of machine time; None for never."""
FAST: Final = ("vpin", "obi")


def make(
    metric: str,
    state: SymbolState,
    now_ns: int,
    value: float | None,
    reason: str | None,
    *,
    units: str,
    convention: str,
    n: int,
    components: dict[str, Any],
    ages: dict[str, float | None],
) -> Metric:
    """A metric's message. A value that is no finite number is not ready, whatever was thought of it."""
    if value is not None and not math.isfinite(value):
        value, reason = None, f"computed {value}"
    ready = value is not None and reason is None
    return Metric(
        metric=metric,
        symbol=state.symbol,
        ts_ns=now_ns,
        ready=ready,
        reason=reason if not ready else None,
        value=value if ready else None,
        units=units,
        convention=convention,
        n=n,
        components=_finite(components),
        input_age_ms=ages,
        source_seq=state.seq,
    )


def _finite(components: dict[str, Any]) -> dict[str, Any]:
    """The parts, those that are no number taken out: there is hardly ever one, and every event passes here."""
    for part in components.values():
        if type(part) is float and part - part != 0.0:
            return {name: None if type(one) is float and not math.isfinite(one) else one for name, one in components.items()}
    return components


def feed_reason(state: SymbolState, age_of: AgeOf, quiet_seconds: float) -> str | None:
    """Why nothing can be said of this symbol now: its feed never came, it is halted, or the feed fell silent. In a halt what was
    folded stands, but no market makes it: option exchanges halt with their stock."""
    age = age_of(state.received_ns)
    if age is None:
        return "no market data yet"
    if state.halted:
        return "halted"
    return f"feed silent for {age / 1000:.1f} s" if age > quiet_seconds * 1000 else None
