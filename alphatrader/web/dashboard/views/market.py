"""Quotes, metrics, candles."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.messages.market import Bar, Bars, Last, Status, Timestamps
from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.market.bars import MINUTE_NS, joined
from alphatrader.runtime.clock import SECOND

_SHOWN_PARTS: Final = 30


def ms(ts_ns: int | None) -> int | None:
    return None if ts_ns is None else ts_ns // 1_000_000


def quote(last: Last | None, passed: Timestamps | None, status: Status | None) -> dict[str, Any]:
    """One line of the quotes' table. `feed` False: the key is absent, so nothing is known of this instrument now."""
    if last is None:
        return {"feed": False}
    change = last.last - last.prev_close if last.last is not None and last.prev_close else None
    return {
        "feed": True,
        "last": last.last,
        "change": change,
        "change_share": change / last.prev_close if change is not None and last.prev_close else None,
        "bid": last.bid,
        "ask": last.ask,
        "bid_size": last.bid_size,
        "ask_size": last.ask_size,
        "volume": last.volume,
        "high": last.high,
        "low": last.low,
        "open": last.open,
        "prev_close": last.prev_close,
        "received_ms": ms(passed.received_ns) if passed else None,
        "gaps": passed.gaps if passed else None,
        "halted": status.halted if status else None,
    }


def metric(message: Metric | None) -> dict[str, Any]:
    """`known` False: the key is absent, so analytics says nothing of it now."""
    if message is None:
        return {"known": False}
    parts = {name: part for name, part in message.components.items() if isinstance(part, int | float | str) or part is None}
    return {
        "known": True,
        "ready": message.ready,
        "value": message.value,
        "reason": message.reason,
        "units": message.units,
        "convention": message.convention,
        "n": message.n,
        "at_ms": ms(message.ts_ns),
        "parts": dict(list(parts.items())[:_SHOWN_PARTS]),
        "input_age_ms": message.input_age_ms,
    }


def candles(history: Bars | None, recent: Bars | None) -> list[list[float]]:
    """Minutes, oldest first: the history's, and those since from the 5-second bars; the newest may still be open."""
    minutes = list(history.bars) if history else []
    after = minutes[-1].ts_ns if minutes else -1
    groups: dict[int, list[Bar]] = {}
    for bar in recent.bars if recent else ():
        start = bar.ts_ns - bar.ts_ns % MINUTE_NS
        if start > after:
            groups.setdefault(start, []).append(bar)
    minutes += [joined(group, start) for start, group in groups.items()]
    return [[bar.ts_ns // SECOND, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in minutes]
