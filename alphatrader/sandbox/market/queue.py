"""What is displayed at the best price of one side, by venue: a print takes from the venue it is printed on, and from no other.

A price that stands keeps its queue; sizes drift between prints as orders come and are cancelled. Where a print takes the last of
the price, another participant joins at once (the price itself moves only at a knot of `slots.py`): displayed size that comes back
without a reserve order behind it. A reserve order shows its peak at one venue and shows it again there, in the same instant,
when fills have ended what it showed, as an exchange's own reserve orders do: behind whoever stands there by then.
"""

from __future__ import annotations

from random import Random

from .venues import BY_WEIGHT, Weighted

Parts = tuple[tuple[str, int], ...]
"""(venue, displayed size), each venue once."""


class Queue:
    def __init__(self, draw: Random, venue: str, lot: int, target: float) -> None:
        """`venue`: the only one there is, empty for a stock, which trades on all; `target`: usual displayed size."""
        self._draw, self._lot, self._target = draw, lot, target
        self._venues = Weighted({venue: 1.0}) if venue else BY_WEIGHT
        self._price: int | None = None
        self._shown: dict[str, int] = {}
        self.reserved = ""
        """Venue of the reserve order, the last one's after it has gone."""
        self.refills = self.executed = 0
        """Of the reserve order."""
        self._reserve = self._peak = self._ahead = 0
        self._behind = False

    def parts(self) -> Parts:
        if not self._reserve:
            return tuple(self._shown.items())
        shown = dict(self._shown)
        shown[self.reserved] = shown.get(self.reserved, 0) + self._reserve
        return tuple(shown.items())

    def stand(self, price: int) -> None:
        """The price at this instant: a new one shows a new queue, an old one drifts towards what is usual."""
        if price != self._price:
            self._price, self._shown = price, {}
            self._reserve = self._ahead = 0
            size = self._lots(self._target * self._draw.lognormvariate(0.0, 0.35))
            venues = dict.fromkeys(self._venue() for _ in range(self._draw.choice((1, 2, 2, 3, 3, 4))))
            share = max(self._lot, size // len(venues) // self._lot * self._lot)
            for place, venue in enumerate(venues):
                take = size if place == len(venues) - 1 else min(share, size)
                size -= take
                if take:
                    self._shown[venue] = take
            return
        total = sum(self._shown.values())
        more = self._lots(total + (self._target - total) * 0.08 * self._draw.random()) - total
        if more > 0:
            self._join(self._venue(), more)
        elif more < 0:
            largest = max(self._shown, key=self._shown.__getitem__)
            self._less(largest, min(-more, self._shown[largest]))

    def show(self, venue: str, size: int) -> None:
        """At least `size` at `venue`."""
        if self._shown.get(venue, 0) < size:
            self._shown[venue] = size

    def venue_for(self, size: int) -> str | None:
        """A venue which displays as much, by weight; None where none does. Who waits behind a reserve order is left alone."""
        enough = [
            venue for venue, shown in self._shown.items() if shown >= size and not (self._reserve and venue == self.reserved)
        ]
        return self._draw.choices(enough, [self._venues.weights[venue] for venue in enough])[0] if enough else None

    def take(self, venue: str, size: int) -> None:
        """A print of `size` at `venue`."""
        if self._reserve and venue == self.reserved:
            self._take_in_turn(size)
            return
        self._less(venue, size)
        if not self._shown and not self._reserve:
            self._join(self._venue(), self._lots(self._target * self._draw.lognormvariate(-0.7, 0.5)))

    def _take_in_turn(self, size: int) -> None:
        """By time at the reserve order's venue: who stands before what it shows, then that; what it shows next is the last."""
        while size > 0:
            if self._ahead:
                others = min(size, self._ahead)
                self._less(self.reserved, others)
                size -= others
                continue
            own = min(size, self._reserve)
            self._reserve -= own
            self.executed += own
            size -= own
            if self._reserve < self._lot:
                self._reserve = self._peak
                self.refills += 1
                self._ahead = self._shown.get(self.reserved, 0)
                if self._behind and self._draw.random() < 0.5:
                    self._join(self.reserved, self._lot * self._draw.randint(1, self._peak // self._lot))

    def reserve(self, peak: int, *, behind: bool) -> int:
        """A reserve order comes to a venue that shows nothing at the price, where there is one. `behind`: others have come there
        before it, up to two of its peaks, and more come while it stands. Shares that stand before it."""
        free = [venue for venue in self._venues.weights if venue not in self._shown] or list(self._venues.weights)
        self.reserved = self._draw.choices(free, [self._venues.weights[venue] for venue in free])[0]
        self._peak = self._reserve = peak
        self.refills = self.executed = 0
        self._shown.pop(self.reserved, None)
        self._behind = behind
        if behind:
            self._join(self.reserved, self._lot * self._draw.randint(1, 2 * peak // self._lot))
        self._ahead = self._shown.get(self.reserved, 0)
        return self._ahead

    def withdraw(self) -> None:
        """What is left of it goes."""
        self._reserve = self._ahead = 0
        if not self._shown:
            self._join(self._venue(), self._lots(self._target * self._draw.lognormvariate(-0.7, 0.5)))

    def _join(self, venue: str, size: int) -> None:
        self._shown[venue] = self._shown.get(venue, 0) + size

    def _less(self, venue: str, size: int) -> None:
        left = self._shown.get(venue, 0) - size
        if left > 0:
            self._shown[venue] = left
        else:
            self._shown.pop(venue, None)
        if venue == self.reserved:
            self._ahead = min(self._ahead, max(0, left))

    def _venue(self) -> str:
        return self._venues.draw(self._draw)

    def _lots(self, size: float) -> int:
        return max(self._lot, round(size / self._lot) * self._lot)
