"""What `discovery` and `analytics` compute."""

from __future__ import annotations

from typing import Any, Literal

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
    from_ns: int | None = None
    """Market time of the first datum in the sample; None where nothing was measured."""
    to_ns: int | None = None


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
    confidence: float | None = None
    """1 less the share of Ledoit and Wolf's shrinkage."""
    from_ns: int | None = None
    to_ns: int | None = None


class Candidate(Message, frozen=True):
    """A value that jumped: found, and not in effect until a second night finds it again or a person says yes."""

    parameter: str
    symbol: str | None
    """None: the correlation matrix, which is of all symbols."""
    night: str
    """The trading date of the run that found it first."""
    now_in_effect: str
    """In words; likewise `found` and `jump`."""
    found: str
    jump: str


class Candidates(Message, frozen=True):
    as_of_ns: int
    waiting: tuple[Candidate, ...]


class DiscoveryRequest(Event, frozen=True):
    """A person wants discovery to run, or says yes to what waits."""

    id: str
    kind: Literal["run", "accept"]
    symbol: str | None
    """None: all."""
    by: str
    machine_ns: int


class DiscoveryProgress(Message, frozen=True):
    """How far the present run is, or how the last one ended."""

    state: Literal["running", "done", "failed"]
    step: str
    """What it does now, in words."""
    done: int
    of: int
    """Steps; a symbol is one, reading the record and the correlation one each."""
    started_machine_ns: int
    machine_ns: int
    ts_ns: int
    requests: tuple[str, ...] = ()
    """Ids of the requests this run answers."""
    seconds: float | None = None
    failed: tuple[str, ...] = ()
    """`parameter symbol: why`, of what could not be computed."""
    changed: tuple[str, ...] = ()
    """In words, what took effect."""
    kind: Literal["run", "accept"] = "run"
    report: str | None = None
    """The report's file name in `data/<mode>/reports`."""
    symbol: str | None = None
    """The one it computes; None for all and their correlation."""


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
