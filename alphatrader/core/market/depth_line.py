"""One depth subscription: the rows it folds, whether they can be relied on, and the best bid and offer they make.

Checks are made once a turn on the finished rows, never per message: within one read a gateway that restates rows passes through
states no book has. Used by `SymbolFeed`. `now`: monotonic seconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alphatrader.contract.messages.market import Level, Nbbo
from alphatrader.core.market import nbbo as national
from alphatrader.core.market.book import BookError, BookStands, DepthBook
from alphatrader.core.market.venues import venue_name

CROSSED_SECONDS: Final = 1.0
"""While trading is continuous a book crossed, or out of the order of its prices, this long has lost rows."""
APART_SHARE: Final = 0.01
"""A book whose middle is further than this from the quote's is not to be believed."""
APART_SECONDS: Final = 2.0
"""So long, and it is asked for anew."""
SILENT_SECONDS: Final = 10.0
"""While trading is continuous a depth line silent this long (or twice the instrument's own quiet time) is asked for anew."""

Sides = tuple[tuple[Level, ...], tuple[Level, ...]]


class DepthStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a depth line's answers are made of, beside its settings."""

    on: bool
    broken: str | None
    heard: float | None
    book: BookStands
    venues_heard: dict[str, float]
    wrong_since: dict[str, float]


class DepthLine:
    def __init__(self, rows: int, quiet_seconds: float) -> None:
        self.on = False
        self.broken: str | None = None
        """Why it must be subscribed anew."""
        self.heard: float | None = None
        self._book = DepthBook(rows)
        self._quiet_seconds = quiet_seconds
        self._venues_heard: dict[str, float] = {}
        self._wrong_since: dict[str, float] = {}

    def apply(
        self, operation: int, position: int, side: int, price: float, size: float, venue: str, market_maker: str, now: float
    ) -> None:
        """Raises BookError and is broken from then on."""
        self.heard = now
        name = venue_name(venue)
        self._venues_heard[name] = now
        try:
            self._book.apply(operation, position, side, price, size, name, market_maker)
        except BookError as error:
            self.broken = str(error)
            self._book.clear()
            raise

    def clear(self) -> None:
        self._book.clear()
        self._venues_heard.clear()
        self._wrong_since.clear()
        self.heard = self.broken = None

    def standing(self) -> DepthStands:
        return DepthStands(self.on, self.broken, self.heard, self._book.standing(), self._venues_heard, self._wrong_since)

    def stand_as(self, was: DepthStands) -> None:
        self.on, self.broken, self.heard = was.on, was.broken, was.heard
        self._book.stand_as(was.book)
        self._venues_heard, self._wrong_since = dict(was.venues_heard), dict(was.wrong_since)

    def best(self, now: float | None) -> tuple[float, float] | None:
        """Best bid and ask, where there are both, nothing is known to be wrong, and the line is not silent at `now`."""
        if not self.on or self.broken or not self._book.bids or not self._book.asks:
            return None
        if now is not None and self.heard is not None and now - self.heard > self._quiet_seconds:
            return None
        bid, ask = self._book.best()
        return None if bid is None or ask is None else (bid, ask)

    def levels(self) -> Sides:
        return self._book.levels()

    def national(self, now: float, price: float | None, *, continuous: bool) -> Nbbo | None:
        """`price`: by which the round lot goes; None where no price is known yet. `continuous`: in regular hours and no halt."""
        if price is None or self.broken or self.heard is None:
            return None
        bids, asks = self._book.bids, self._book.asks
        lot, seconds = national.round_lot(price), max(national.STALE_SECONDS, self._quiet_seconds)
        excluded = national.stale(bids, asks, self._venues_heard, now, lot=lot, stale_seconds=seconds, continuous=continuous)
        return national.nbbo(bids, asks, lot=lot, excluded=excluded)

    def why_not_ready(
        self, now: float, sides: Sides, quote: tuple[float | None, float | None], *, continuous: bool
    ) -> str | None:
        """The reason; what lasts too long while trading is `continuous` (in regular hours and no halt) also breaks the line.
        `quote`: the best of the quote line."""
        if self.broken:
            return f"depth is broken: {self.broken}"
        bids, asks = sides
        if not bids or not asks:
            self._wrong_since = {}  # what was wrong with two sides is over
            return "no bid and no ask" if not bids and not asks else "no bid" if not bids else "no ask"
        wrong = self._wrong(now, sides, quote, continuous=continuous)
        self._wrong_since = {name: self._wrong_since.get(name, now) for name in wrong} if continuous else {}
        for name, since in self._wrong_since.items():
            seconds = wrong[name][1]
            if now - since > seconds:
                self.broken = f"{name} for {seconds:g} s"
        return next((reason for reason, _ in wrong.values()), None)

    def _wrong(
        self, now: float, sides: Sides, quote: tuple[float | None, float | None], *, continuous: bool
    ) -> dict[str, tuple[str, float]]:
        """What is wrong: its name, the reason, and the seconds it may last."""
        wrong: dict[str, tuple[str, float]] = {}
        best_bid, best_ask = sides[0][0].price, sides[1][0].price
        if best_bid > best_ask and continuous:
            wrong["crossed"] = (f"crossed: bid {best_bid} over ask {best_ask}", CROSSED_SECONDS)
        if (out_of_order := self._book.out_of_order()) is not None:
            wrong["out of order"] = (out_of_order, CROSSED_SECONDS)
        silence = float("inf") if self.heard is None else now - self.heard
        if silence > self._quiet_seconds:
            most = max(SILENT_SECONDS, 2 * self._quiet_seconds)
            wrong["silent"] = (f"depth is silent for over {self._quiet_seconds:g} s", most - self._quiet_seconds)
        bid, ask = quote
        if bid is not None and ask is not None and bid > 0:
            middle, quoted = (best_bid + best_ask) / 2, (bid + ask) / 2
            if abs(middle - quoted) > APART_SHARE * quoted:
                wrong["apart from the quote"] = (f"depth stands at {middle:g}, the quote at {quoted:g}", APART_SECONDS)
        return wrong
