"""The national best bid and offer, computed from the rows of a consolidated depth line.

Regulation NMS protects round lots on automated exchanges. A venue's orders smaller than a round lot are added up, best first, and
count at the worst price that was needed to make one. Round lots by price since November 2025 (sources.md §9; SEC release
34-101070). Locked and crossed markets are told, not mended. Used by `SymbolFeed` once a turn, never per message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter
from typing import Final, Protocol

from alphatrader.contract.messages.market import Nbbo
from alphatrader.core.market.venues import PROTECTED

ROUND_LOTS: Final = ((250.0, 100), (1_000.0, 40), (10_000.0, 10))
"""(prices up to and including, shares). Above the last: 1."""
_price: Final = attrgetter("price")
STALE_SECONDS: Final = 5.0
"""A venue not heard for this long is left out where its quote does not fit the others' any more."""


class Quoted(Protocol):
    """One row: what a venue shows at a price."""

    @property
    def price(self) -> float: ...

    @property
    def size(self) -> float: ...

    @property
    def venue(self) -> str: ...


def round_lot(price: float) -> int:
    """Shares. The exchanges set it twice a year by the average close of a month; here by the price that is given."""
    for most, shares in ROUND_LOTS:
        if price <= most:
            return shares
    return 1


def protected(rows: Iterable[Quoted], lot: int, *, bid: bool) -> tuple[float, float] | None:
    """One venue's protected (price, size): its best round lot, odd lots before it added; None when it has less than one.

    A venue may show several rows at the price that completes it, one a market maker: all of them count. The size is in whole
    round lots, as the tapes show it.
    """
    gathered = 0.0
    price: float | None = None
    for row in sorted(rows, key=_price, reverse=bid):
        if price is not None and row.price != price:
            break
        gathered += row.size
        if price is None and gathered >= lot:
            price = row.price
    return None if price is None else (price, gathered // lot * lot)


def nbbo(
    bids: Iterable[Quoted],
    asks: Iterable[Quoted],
    *,
    lot: int,
    excluded: Collection[str] = (),
    is_protected: Callable[[str], bool] = PROTECTED.__contains__,
) -> Nbbo:
    """`excluded`: venues that are silent, halted or closed. A side without a protected quote is None."""
    left_out = set(excluded)
    bid, bid_size, bid_venues = _best(bids, lot, left_out, is_protected, bid=True)
    ask, ask_size, ask_venues = _best(asks, lot, left_out, is_protected, bid=False)
    both = bid is not None and ask is not None
    return Nbbo(
        bid=bid,
        bid_size=bid_size,
        bid_venues=bid_venues,
        ask=ask,
        ask_size=ask_size,
        ask_venues=ask_venues,
        locked=both and bid == ask,
        crossed=bid is not None and ask is not None and bid > ask,
        round_lot=lot,
        excluded=tuple(sorted(left_out)),
    )


def _best(
    rows: Iterable[Quoted], lot: int, left_out: set[str], is_protected: Callable[[str], bool], *, bid: bool
) -> tuple[float | None, float, tuple[str, ...]]:
    by_venue: dict[str, list[Quoted]] = {}
    for row in rows:
        if row.venue in left_out or row.size <= 0:
            continue
        if not is_protected(row.venue):
            left_out.add(row.venue)
            continue
        if (its := by_venue.get(row.venue)) is None:
            by_venue[row.venue] = [row]
        else:
            its.append(row)
    best: float | None = None
    standing: list[tuple[float, str]] = []
    for venue, its in by_venue.items():
        found = protected(its, lot, bid=bid)
        if found is None:
            continue
        price, size = found
        if best is None or (price > best if bid else price < best):
            best, standing = price, []
        if price == best:
            standing.append((size, venue))
    standing.sort(key=lambda part: (-part[0], part[1]))
    return best, sum(size for size, _ in standing), tuple(venue for _, venue in standing)


def stale(
    bids: Collection[Quoted],
    asks: Collection[Quoted],
    heard: Mapping[str, float],
    now: float,
    *,
    lot: int,
    stale_seconds: float = STALE_SECONDS,
    continuous: bool = True,
) -> frozenset[str]:
    """Venues whose quote is not to be believed: silent while the others moved away, so that it would lock or cross them; all of
    them where the whole line is silent. `heard`: monotonic seconds of each venue's newest row. Silence alone is none: a venue
    that stands still sends nothing, see decision 030. And where trading is not `continuous` (outside regular hours, in a halt) no
    rule forbids to lock or cross, so that proves nothing either."""
    silent = frozenset(venue for venue, at in heard.items() if now - at > stale_seconds)
    if not silent or len(silent) == len(heard):
        return silent
    if not continuous:
        return frozenset()
    others = nbbo(bids, asks, lot=lot, excluded=silent)
    found = set()
    for venue in silent:
        bid = protected([row for row in bids if row.venue == venue], lot, bid=True)
        ask = protected([row for row in asks if row.venue == venue], lot, bid=False)
        if (bid and others.ask is not None and bid[0] >= others.ask) or (ask and others.bid is not None and ask[0] <= others.bid):
            found.add(venue)
    return frozenset(found)
