"""When the next signal may be expected, in a sentence: the windows that are open, and what stops the one that is nearest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from alphatrader.contract.messages.signals import Gate, SignalCount, WhyNot
from alphatrader.contract.settings.trading import Strategies
from alphatrader.core.strategies.windows import RULES
from alphatrader.runtime.calendar import Calendar
from alphatrader.runtime.clock import SECOND, exchange_datetime

OLD_NS: Final = 30 * SECOND
_WARMING: Final = ("metrics", "chain", "halt")
"""Gates that a start has to pass first: they say that what is looked at is not there yet."""


def expected(
    strategies: Strategies, calendar: Calendar, now_ns: int, count: SignalCount | None, whys: Iterable[WhyNot], speed: float = 1.0
) -> str:
    """How many there were in this session, and what the next one waits for."""
    session = calendar.current(now_ns)
    made = count.count if count is not None and count.session == session.name else 0
    so_far = f"{made} in this session" if made else "none yet in this session"
    windows = {rule.name: rule.window(strategies) for rule in RULES if rule.window(strategies).enabled}
    bounds = {name: session.window(window.opens, window.closes) for name, window in windows.items()}
    inside = {name: end for name, (start, end) in bounds.items() if start <= now_ns < end}
    if not inside:
        following = calendar.next(session)
        later = {name: following.window(window.opens, window.closes) for name, window in windows.items()}
        coming = [(start, name) for some in (bounds, later) for name, (start, end) in some.items() if now_ns < start < end]
        if not coming:
            return f"{so_far}; no strategy is enabled"
        start, name = min(coming)
        minutes = (start - now_ns) / SECOND / 60 / speed
        return f"{so_far}; none before {exchange_datetime(start):%a %H:%M} ET, when {name}'s window opens (in {_span(minutes)})"
    until = ", ".join(f"{name} until {exchange_datetime(end):%H:%M}" for name, end in inside.items())
    nearest = _nearest((why for why in whys if now_ns - why.ts_ns < OLD_NS * speed), inside)
    if nearest is None:
        return f"{so_far}; windows open: {until}; signals looks at nothing now: a start takes about a minute"
    symbol, strategy, gate = nearest
    verb = "warms up" if gate.name in _WARMING else "is nearest"
    return f"{so_far}; windows open: {until}; {symbol} {strategy} {verb}: {gate.name} is {gate.value}, needs {gate.needed}"


def _nearest(whys: Iterable[WhyNot], strategies: Iterable[str]) -> tuple[str, str, Gate] | None:
    """(symbol, strategy, first gate that stops it) of what the fewest gates stop, and among these the latest."""
    known = set(strategies)
    stopped = [
        (
            sum(not gate.passed for gate in gates),
            -next(i for i, gate in enumerate(gates) if not gate.passed),
            why.symbol,
            name,
            gates,
        )
        for why in whys
        for name, gates in why.by_strategy.items()
        if name in known and not all(gate.passed for gate in gates)
    ]
    if not stopped:
        return None
    _, _, symbol, name, gates = min(stopped, key=lambda one: one[:4])
    return symbol, name, next(gate for gate in gates if not gate.passed)


def _span(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"
