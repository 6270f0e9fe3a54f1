"""Attributed market-maker interest: what named makers display near the best, who leans to one side, who stays away.

sources.md §3. Made of one exchange's own book, whose rows carry names (`maker_book.py`). A name is that firm's displayed
interest, never proof of who traded, and most orders carry none. Near is within three ticks of the book's best. A maker leans
while it shows, averaged over ten seconds, nine times as much on one side as on the other, though it usually stands on both; it is
away while it shows nothing near, though it usually does. Usual is the discovered profile, else what was seen over the last ten
minutes, once there are two of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from alphatrader.contract.messages.market import MakerRow, MakersEvent

NEAR: Final = 0.03 + 1e-6
"""Three ticks of a stock: only stocks have such a book."""
FAST_SECONDS: Final = 10.0
SLOW_SECONDS: Final = 600.0
WARM_SECONDS: Final = 120.0
LONGEST_STAND_SECONDS: Final = 5.0
"""A book that stands longer without an event counts this long."""
LEAN_AT: Final = 0.8
LEAN_ENDS_AT: Final = 0.5
SHOWS_AT: Final = 0.7
"""Share of the last ten seconds in which a maker that leans stands on its side."""
AWAY_AT: Final = 0.1
USUALLY: Final = 0.5
"""Share of time a maker must usually be near on both sides before its absence, or one side of it, says anything."""
MEMORY_NS: Final = 300_000_000_000
KEPT: Final = 20

What = Literal["leans", "away"]


class Shown(msgspec.Struct):
    """Sums that fade, of what stood times how long it stood: sizes, and seconds near, by side."""

    bid_size: float = 0.0
    ask_size: float = 0.0
    bid: float = 0.0
    ask: float = 0.0
    both: float = 0.0

    def add(self, keep: float, bid: float, ask: float, seconds: float) -> None:
        self.bid_size = self.bid_size * keep + bid * seconds
        self.ask_size = self.ask_size * keep + ask * seconds
        self.bid = self.bid * keep + (bid > 0) * seconds
        self.ask = self.ask * keep + (ask > 0) * seconds
        self.both = self.both * keep + (bid > 0 and ask > 0) * seconds

    @property
    def lean(self) -> float | None:
        """Signed share of the size shown, + is the bid; None where nothing was."""
        whole = self.bid_size + self.ask_size
        return (self.bid_size - self.ask_size) / whole if whole > 0 else None


class Move(msgspec.Struct):
    """A maker that does what it usually does not."""

    maker: str
    what: What
    side: str
    """bid or ask of a lean; empty where it stays away."""
    from_ns: int
    last_ns: int


class Maker(msgspec.Struct):
    bid: float = 0.0
    """Shown near the best now."""
    ask: float = 0.0
    fast: Shown = msgspec.field(default_factory=Shown)
    slow: Shown = msgspec.field(default_factory=Shown)
    move: Move | None = None


class MakerInterest(msgspec.Struct):
    makers: dict[str, Maker] = msgspec.field(default_factory=dict)
    """Who was ever seen, by MPID."""
    usual: dict[str, float] = msgspec.field(default_factory=dict)
    """Discovered: share of time near on both sides."""
    bid: float = 0.0
    """Size near the best of all rows, named or not; likewise `ask`."""
    ask: float = 0.0
    fast_seconds: float = 0.0
    slow_seconds: float = 0.0
    watched_seconds: float = 0.0
    """Since the last break."""
    received_ns: int | None = None
    reason: str | None = "no depth line that names market makers"
    moves: list[Move] = msgspec.field(default_factory=list)
    """Of the last five minutes, at most 20, in the order they began."""
    count: int = 0

    def fold(self, book: MakersEvent, names: Mapping[str, str]) -> None:
        """One book; `names` are the MPIDs that count."""
        if not book.ready or not book.bids or not book.asks:
            self.reset(book.reason or "the book that names makers is not ready")
            return
        self._advance(book.received_ns)
        self.received_ns, self.reason = book.received_ns, None
        bids, asks = _near(book.bids, book.bids[0].price), _near(book.asks, book.asks[0].price)
        self.bid, self.ask = math.fsum(bids.values()), math.fsum(asks.values())
        for name in sorted({*bids, *asks} & names.keys() - self.makers.keys()):  # a set has another order in each process
            self.makers[name] = Maker()
        for name, maker in self.makers.items():
            maker.bid, maker.ask = bids.get(name, 0.0), asks.get(name, 0.0)
            self._judge(name, maker, book.received_ns)
        self.forget(book.received_ns)

    def _advance(self, now_ns: int) -> None:
        """What stood until now has stood so long."""
        if self.received_ns is None:
            return
        seconds = min(max((now_ns - self.received_ns) / 1e9, 0.0), LONGEST_STAND_SECONDS)
        fast, slow = math.exp(-seconds / FAST_SECONDS), math.exp(-seconds / SLOW_SECONDS)
        self.fast_seconds = self.fast_seconds * fast + seconds
        self.slow_seconds = self.slow_seconds * slow + seconds
        self.watched_seconds += seconds
        for maker in self.makers.values():
            maker.fast.add(fast, maker.bid, maker.ask, seconds)
            maker.slow.add(slow, maker.bid, maker.ask, seconds)

    def usually(self, name: str) -> float | None:
        """Share of time a maker stands near on both sides; None while nobody knows."""
        if name in self.usual:
            return self.usual[name]
        if self.watched_seconds < WARM_SECONDS:
            return None
        return self.makers[name].slow.both / self.slow_seconds

    def _judge(self, name: str, maker: Maker, now_ns: int) -> None:
        usual, fast = self.usually(name), maker.fast
        found: tuple[What, str] | None = None
        if usual is not None and usual >= USUALLY and self.watched_seconds >= FAST_SECONDS:
            lean, least = fast.lean, LEAN_ENDS_AT if maker.move is not None and maker.move.what == "leans" else LEAN_AT
            if lean is None or max(fast.bid, fast.ask) < AWAY_AT * self.fast_seconds:
                found = "away", ""
            elif abs(lean) >= least and (fast.bid if lean > 0 else fast.ask) >= SHOWS_AT * self.fast_seconds:
                found = "leans", "bid" if lean > 0 else "ask"
        move = maker.move
        if move is not None and found == (move.what, move.side):
            move.last_ns = now_ns
            return
        maker.move = None
        if found is not None:
            maker.move = Move(name, found[0], found[1], now_ns, now_ns)
            self.moves.append(maker.move)
            self.count += 1
            del self.moves[:-KEPT]

    def share(self) -> float | None:
        """Named makers' size near the best over ten seconds, bid less ask over both; None where none is shown."""
        bid = math.fsum(maker.fast.bid_size for maker in self.makers.values())
        ask = math.fsum(maker.fast.ask_size for maker in self.makers.values())
        return (bid - ask) / (bid + ask) if bid + ask > 0 else None

    def forget(self, now_ns: int) -> None:
        self.moves = [move for move in self.moves if now_ns - move.last_ns <= MEMORY_NS]

    def reset(self, reason: str) -> None:
        """A hole in the book: what stands is unknown. What is usual, and what was found, is not forgotten."""
        self.received_ns, self.reason = None, reason
        self.fast_seconds, self.bid, self.ask = 0.0, 0.0, 0.0
        for maker in self.makers.values():
            maker.bid = maker.ask = 0.0
            maker.fast, maker.move = Shown(), None


def _near(rows: Iterable[MakerRow], best: float) -> dict[str, float]:
    """Size by name, of the rows within three ticks of the best."""
    found: dict[str, float] = {}
    for row in rows:
        if abs(row.price - best) <= NEAR:
            found[row.market_maker] = found.get(row.market_maker, 0.0) + row.size
    return found
