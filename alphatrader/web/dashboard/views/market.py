"""Quotes, candles, and what the microstructure panels draw: gamma by strike and the book."""

from __future__ import annotations

from typing import Any, Final

from alphatrader.contract.messages.market import Bar, Bars, Book, Last, Level, Status, Timestamps
from alphatrader.contract.messages.metrics import Metric
from alphatrader.core.market.bars import MINUTE_NS, joined
from alphatrader.core.market.checksum import flaw
from alphatrader.runtime.clock import SECOND

PROFILE_STRIKES: Final = 40
"""Of the gamma profile: those nearest the spot."""
BOOK_LEVELS: Final = 10


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
        **warning(status),
    }


def warning(status: Status | None) -> dict[str, str | None]:
    """What stops or bends trading in it: `flag` for the table, the gravest first, and all of it in words."""
    if status is None:
        return {"flag": None, "warning": "no status: halts are not known"}
    found: list[tuple[str | None, str]] = []
    if status.halted:
        words = status.halt_reason or "halted"
        found.append(("HALTED, est." if status.halted_by == "estimate" else "HALTED", words))
    elif status.halt_reason is not None:
        found.append((None, status.halt_reason))
    if status.luld is not None and status.luld.state != "inside":
        words = status.luld.state.replace("_", " ")
        found.append((words.upper(), f"{words}, by our estimate: bands {status.luld.lower:g} to {status.luld.upper:g}"))
    if status.breaker is not None and status.breaker.level and status.halted_by != "estimate":
        found.append(
            (
                f"BREAKER {status.breaker.level}",
                f"breaker level {status.breaker.level} today, estimated from {status.breaker.proxy}",
            )
        )
    if status.depth == "not ready":
        found.append(("no book", f"depth not ready: {status.depth_reason}"))
    flag = next((flag for flag, _ in found if flag is not None), None)
    return {"flag": flag, "warning": "; ".join(words for _, words in found) or None}


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


def profile(gex: Metric | None) -> dict[str, Any]:
    """Gamma exposure by strike around the spot: [strike, calls, puts] in USD of delta per 1 % move, lowest strike first."""
    if gex is None or not gex.ready:
        return {"ready": False, "reason": gex.reason if gex else "no word from analytics", "rows": []}
    parts = gex.components
    spot = parts.get("spot")
    columns = (parts.get("strikes") or [], parts.get("call_by_strike") or [], parts.get("put_by_strike") or [])
    rows = sorted(zip(*columns, strict=True), key=lambda row: abs(row[0] - (spot or 0.0)))[:PROFILE_STRIKES]
    marks = {name: parts.get(name) for name in ("spot", "flip", "call_wall", "put_wall")}
    return {"ready": True, "reason": None, "rows": [list(row) for row in sorted(rows)], **marks}


def depth(book: Book | None) -> dict[str, Any]:
    """The best levels of a book as [price, size], best first; empty with the reason where it is not ready."""
    if book is None or not book.ready:
        return {"ready": False, "reason": book.reason if book else "no book: its feed is silent", "bids": [], "asks": []}
    if (wrong := flaw(book)) is not None:
        return {"ready": False, "reason": f"refused: {wrong}", "bids": [], "asks": []}

    def rows(levels: tuple[Level, ...]) -> list[list[float]]:
        return [[level.price, level.size] for level in levels[:BOOK_LEVELS]]

    return {"ready": True, "reason": None, "source": book.source, "bids": rows(book.bids), "asks": rows(book.asks)}
