"""One instrument's feed and the time that its stories tell it."""

from __future__ import annotations

from dataclasses import dataclass, field

from alphatrader.core.market.book import ASK, BID, INSERT
from alphatrader.core.market.feed import SymbolFeed

NS = 1_000_000_000
MINUTE = 60 * NS
START = 1_800_000_000 * NS // MINUTE * MINUTE


@dataclass
class Time:
    seconds: float = 0.0

    def market_ns(self) -> int:
        return START + int(self.seconds * NS)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Story:
    time: Time = field(default_factory=Time)

    def __post_init__(self) -> None:
        self.feed = SymbolFeed(
            "SPY", full=True, depth_rows=10, quiet_seconds=5.0, market_ns=self.time.market_ns, monotonic=self.time.monotonic
        )

    def quote(self, bid: float, ask: float) -> None:
        self.feed.tick_price(1, bid, 100)
        self.feed.tick_price(2, ask, 200)
        self.feed.end_of_read()

    def depth(self, bid: float, ask: float) -> None:
        self.feed.set_depth(True)
        self.feed.depth(INSERT, 0, BID, bid, 100, "ARCA", "")
        self.feed.depth(INSERT, 0, ASK, ask, 200, "BATS", "")
        self.feed.end_of_read()

    def later(self, seconds: float) -> None:
        self.time.seconds += seconds

    def events(self) -> list[object]:
        return list(self.feed.take_events(self.time.seconds))
