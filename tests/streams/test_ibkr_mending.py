"""A book that keeps breaking is asked for anew ever more seldom, one that held for a while at once."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace as Given
from typing import Any

from alphatrader.core.market.feed import SymbolFeed
from alphatrader.streams.ibkr.lines import Lines


class Asked:
    """The subscriptions of a connection: only what is asked for is of interest."""

    connected = True

    def __init__(self) -> None:
        self.depth: list[str] = []

    def look(self, at: float) -> None:
        """No data came."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def is_open(self, kind: Any, name: str) -> bool:
        return False

    def reopen(self, kind: Any, name: str, **_: Any) -> None:
        self.depth.append(name)


def test_the_wait_doubles_while_a_book_keeps_breaking_and_begins_anew_after_a_calm() -> None:
    feed = SymbolFeed("SPY", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=lambda: 1, monotonic=lambda: 0.0)
    feed.set_depth(True)
    strategies = Given(zero_dte=Given(symbols=("SPY",)))
    market = Given(depth_slots=3, maker_slots=0, tick_slots=3, market_data_lines=100, pinned=("SPY",))
    module: Any = Given(
        settings=Given(market=market, strategies=strategies),
        health=None,
        log=None,
        clock=Given(market_ns=lambda: 1),
        calendar=Given(at=lambda _: None),
    )
    lines, asked = Lines(module, {}, {"SPY": feed}, {}, Given()), Asked()  # type: ignore[arg-type]
    lines.begin(asked)  # type: ignore[arg-type]

    def asked_at(first: int, last: int) -> list[int]:
        found = []
        for now in range(first, last):
            before = len(asked.depth)
            feed.break_depth("update at 7 of 1 rows")
            lines.mend(float(now))
            if len(asked.depth) > before:
                found.append(now)
        return found

    # given a book that is broken again each second, then it is asked for at once, after 5 s, 10, 20, 40, 80 and no more than 80
    assert asked_at(0, 320) == [0, 5, 15, 35, 75, 155, 235, 315]
    assert asked.depth == ["SPY"] * 8
    # and when it held for over four times the last wait, it begins anew
    calm = 315 + 4 * 80 + 1
    assert asked_at(calm, calm + 20) == [calm, calm + 5, calm + 15]
