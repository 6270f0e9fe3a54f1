"""What `discovery` and `analytics` compute."""

from __future__ import annotations

from typing import Any

import msgspec

from alphatrader.contract.messages import Event, Message


class Metric(Message, frozen=True):
    """One metric of one symbol. `value` is None while not `ready`, and `reason` says why."""

    metric: str
    symbol: str
    ts_ns: int
    ready: bool
    reason: str | None
    value: float | None
    units: str
    convention: str
    """The sign convention, in words."""
    n: int
    """Sample size behind the value."""
    components: dict[str, Any]
    """Named parts: numbers, None, strings, or lists of them for charts."""
    input_age_ms: dict[str, float | None]
    """Age of each input on machine time; None: never seen."""
    source_seq: int | None = None
    """The newest `events:market:{symbol}` sequence in it; None before the first."""


class MetricsEvent(Event, frozen=True):
    """A symbol's metrics changed: at most 10 a second a symbol."""

    seq: int
    """Counted by the process that wrote it: each shard of analytics has its own."""
    symbol: str
    ts_ns: int
    source_seq: int
    """The newest `events:market:{symbol}` sequence in it."""
    source_received_ns: int
    """Market time that event was received."""
    values: dict[str, float | None]
    """Metric -> value; None where not ready."""


class Parameter(Message, frozen=True):
    """A discovered parameter of one symbol."""

    value: float | None
    n: int
    confidence: float | None
    """0 to 1; None where it cannot be told."""
    fallback: str | None
    """What it fell back to and why, where data were short."""
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Discovered(Message, frozen=True):
    """One `discovered:*` key: a map by symbol."""

    as_of_ns: int
    """Market time the values were computed, which may be a day before they were republished."""
    published_ns: int
    by_symbol: dict[str, Parameter]


class Correlation(Message, frozen=True):
    as_of_ns: int
    published_ns: int
    symbols: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    n: int
    fallback: str | None


class Checkpoint(Message, frozen=True):
    """Analytics' folded state of one symbol, with the stream id it stands at."""

    symbol: str
    stream_id: str
    ts_ns: int
    version: int
    state: dict[str, Any]


class VpinSession(Message, frozen=True):
    open_ns: int
    """Market time the session opened: its name."""
    counts: tuple[int, ...]
    """Full buckets by bin: of VPIN, in equal width over [0, 1]; of its inputs, as core/analytics/vpin_history.py scales them."""


class VpinHistory(Message, frozen=True):
    """How often each VPIN was seen, and each spread and markout at the same buckets; oldest session first."""

    symbol: str
    sessions: tuple[VpinSession, ...]
    spreads: tuple[VpinSession, ...] = ()
    markouts: tuple[VpinSession, ...] = ()
