"""Hidden executions: lit prints strictly inside the quote that stood before them. sources.md §3.

Off-exchange reports are dark, not hidden, and left out; prints at mid are counted apart (pegs). Prints of one instant, venue,
price and side are one order's and make one execution, whatever is printed between. Prints and quotes come on separate streams:
an execution's confidence is the share of the quotes within 250 ms around it in which it lies strictly inside, the one before it
always among them, and once.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alphatrader.core.market.venues import OFF_EXCHANGE

SECOND_NS: Final = 1_000_000_000
WINDOW_SECONDS: Final = 300
TOLERANCE_NS: Final = 250_000_000
KEPT: Final = 20
_KEPT_QUOTES: Final = 8
_EDGE: Final = 1e-6


class HiddenExecution(msgspec.Struct):
    ts_ns: int
    received_ns: int
    price: float
    shares: float
    venue: str
    side: str
    at_mid: bool
    quotes: int
    """Seen within the tolerance; likewise `inside`, those that agree."""
    inside: int
    prints: int = 1

    @property
    def confidence(self) -> float:
        return self.inside / self.quotes


class HiddenDetector(msgspec.Struct):
    slots: list[tuple[int, float, float, float, float]] = msgspec.field(default_factory=list)
    """(second, lit shares, hidden bought, hidden sold, at mid), oldest first."""
    prints: int = 0
    executions: list[HiddenExecution] = msgspec.field(default_factory=list)
    """The newest, oldest first."""
    quotes: list[tuple[int, float, float]] = msgspec.field(default_factory=list)
    """(received, bid, ask), the newest, oldest first."""

    def quote(self, received_ns: int, bid: float, ask: float) -> None:
        """Fold one best quote: it also speaks for or against the executions just before it."""
        self.quotes.append((received_ns, bid, ask))
        del self.quotes[:-_KEPT_QUOTES]
        for execution in reversed(self.executions):
            if received_ns - execution.received_ns > TOLERANCE_NS:
                break
            execution.quotes += 1
            execution.inside += _inside(execution.price, bid, ask)

    def add(
        self, received_ns: int, price: float, shares: float, venue: str, side: str, bid: float, ask: float, ts_ns: int = 0
    ) -> None:
        """Fold one print with the best quote that stood before it."""
        if not venue or venue in OFF_EXCHANGE or ask <= bid:
            return
        inside = bid + _EDGE < price < ask - _EDGE
        at_mid = inside and abs(price - (bid + ask) / 2) <= _EDGE
        bought = sold = 0.0
        if inside:
            if side == "unknown":
                bought = sold = shares / 2
            elif side == "buy":
                bought = shares
            else:
                sold = shares
            self._execution(ts_ns, received_ns, price, shares, venue, side, at_mid, bid, ask)
        self.prints += 1
        second, mid, slots = received_ns // SECOND_NS, shares if at_mid else 0.0, self.slots
        if slots and slots[-1][0] >= second:
            last, lit, had_bought, had_sold, had_mid = slots[-1]
            slots[-1] = (last, lit + shares, had_bought + bought, had_sold + sold, had_mid + mid)
        else:
            slots.append((second, shares, bought, sold, mid))
            self.forget(received_ns)

    def _execution(
        self,
        ts_ns: int,
        received_ns: int,
        price: float,
        shares: float,
        venue: str,
        side: str,
        at_mid: bool,
        bid: float,
        ask: float,
    ) -> None:
        for one in reversed(self.executions):  # an order's prints may come between another's
            if received_ns - one.received_ns > TOLERANCE_NS:
                break
            if (one.ts_ns, one.price, one.venue, one.side) == (ts_ns, price, venue, side):
                one.shares += shares
                one.prints += 1
                return
        around = [quote[1:] for quote in self.quotes if 0 <= received_ns - quote[0] <= TOLERANCE_NS]
        if not around or around[-1] != (bid, ask):
            around.append((bid, ask))
        agree = sum(_inside(price, *quote) for quote in around)
        self.executions.append(HiddenExecution(ts_ns, received_ns, price, shares, venue, side, at_mid, len(around), agree))
        del self.executions[:-KEPT]

    def forget(self, now_ns: int) -> None:
        first = now_ns // SECOND_NS - WINDOW_SECONDS
        while self.slots and self.slots[0][0] <= first:
            self.slots.pop(0)
        while self.executions and self.executions[0].received_ns // SECOND_NS <= first:
            self.executions.pop(0)

    def break_quotes(self) -> None:
        """Quotes before a hole in the feed say nothing of prints after it."""
        self.quotes = []

    def totals(self, now_ns: int) -> tuple[float, float, float, float]:
        """(lit, hidden bought, hidden sold, at mid) shares of the window."""
        self.forget(now_ns)
        lit = sum(slot[1] for slot in self.slots)
        return lit, sum(s[2] for s in self.slots), sum(s[3] for s in self.slots), sum(s[4] for s in self.slots)


def _inside(price: float, bid: float, ask: float) -> bool:
    return bid + _EDGE < price < ask - _EDGE
