"""How a feed stands, as plain typed data: what its next events are made of, and nothing else.

`ibkr` writes it into its audit log from time to time, so that events which a reader missed are made again from the newest such
record before them and not from the start of the day (streams/ibkr/checkpoints.py). State keys alone (bands, minutes, the day's
totals) need more and are not made again from here. A field that is forgotten shows in the digests of the first turns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from alphatrader.contract.messages.market import Bar
from alphatrader.core.market.book import DepthBook, Row
from alphatrader.core.market.prints import Side
from alphatrader.core.market.status import Hours
from alphatrader.core.market.tape import Raw

if TYPE_CHECKING:
    from alphatrader.core.market.feed import SymbolFeed


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bids: list[Row]
    asks: list[Row]


class DepthStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: bool
    broken: str | None
    heard: float | None
    rows: Rows
    venues_heard: dict[str, float]
    wrong_since: dict[str, float]


class MakersStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: bool
    broken: str | None
    heard: float | None
    rows: Rows
    changes: int
    told_at: float
    received_ns: int
    lost: str | None


class TapeStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session: str
    last: float | None
    price: float | None
    """Of the tick rule, and its direction."""
    direction: Side
    seen: list[Raw]
    told_before: list[Raw]


class HaltsStand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: int | None
    since_ns: int | None
    today: int
    reopened_ns: int | None
    stopped: bool
    session: str | None


class FeedStands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seq: int
    heard: float | None
    ticks_on: bool
    ticks_broken: bool
    muted_prints: int
    received_ns: int
    book_ns: int
    before: tuple[float | None, float | None]
    book_event_at: float
    quote_event_at: float
    book_dirty: int
    quote_dirty: int
    quote: dict[str, float | None]
    hours: Hours | None
    hours_until_ns: int
    depth: DepthStands
    makers: MakersStand
    tape: TapeStands
    halts: HaltsStand
    newest_bar: Bar | None


def settled(feed: SymbolFeed) -> bool:
    """Whether the feed is between turns: everything read is folded and told."""
    return not feed._spoken_to and not feed._events


def standing(feed: SymbolFeed) -> FeedStands:
    """Of a settled feed."""
    depth, makers, tape, halts = feed._depth, feed.makers, feed._tape, feed._status.halts
    return FeedStands(
        seq=feed.seq,
        heard=feed.heard,
        ticks_on=feed.ticks_on,
        ticks_broken=feed.ticks_broken,
        muted_prints=feed._muted_prints,
        received_ns=feed._received_ns,
        book_ns=feed._book_ns,
        before=feed._before,
        book_event_at=feed._book_event_at,
        quote_event_at=feed._quote_event_at,
        book_dirty=feed._book_dirty,
        quote_dirty=feed._quote_dirty,
        quote=vars(feed._quote),
        hours=feed._hours._known,
        hours_until_ns=feed._hours._until_ns,
        depth=DepthStands(depth.on, depth.broken, depth.heard, _rows(depth._book), depth._venues_heard, depth._wrong_since),
        makers=MakersStand(
            makers.on,
            makers.broken,
            makers._heard,
            _rows(makers._book),
            makers.changes,
            makers._told_at,
            makers._received_ns,
            makers._lost,
        ),
        tape=TapeStands(
            tape.day.session,
            tape.day.last,
            tape._rule._price,
            tape._rule._direction,
            _raw(tape._repeats._seen),
            _raw(tape._repeats._before),
        ),
        halts=HaltsStand(halts.code, halts.since_ns, halts.today, halts._reopened_ns, halts._stopped, halts._session),
        newest_bar=feed.bars.recent[-1] if feed.bars.recent else None,
    )


def put_back(feed: SymbolFeed, was: FeedStands) -> None:
    """Makes a new feed of the same instrument and settings stand as that one did. Raises ValueError: a quote has other fields."""
    depth, makers, tape, halts = feed._depth, feed.makers, feed._tape, feed._status.halts
    if was.quote.keys() != vars(feed._quote).keys():
        raise ValueError("the fields of its quote are others")
    feed.seq, feed.heard = was.seq, was.heard
    feed.ticks_on, feed.ticks_broken, feed._muted_prints = was.ticks_on, was.ticks_broken, was.muted_prints
    feed._received_ns, feed._book_ns, feed._before = was.received_ns, was.book_ns, was.before
    feed._book_event_at, feed._quote_event_at = was.book_event_at, was.quote_event_at
    feed._book_dirty, feed._quote_dirty = was.book_dirty, was.quote_dirty
    vars(feed._quote).update(was.quote)
    feed._hours._known, feed._hours._until_ns = was.hours, was.hours_until_ns
    depth.on, depth.broken, depth.heard = was.depth.on, was.depth.broken, was.depth.heard
    depth._venues_heard, depth._wrong_since = dict(was.depth.venues_heard), dict(was.depth.wrong_since)
    _fill(depth._book, was.depth.rows)
    makers.on, makers.broken, makers._heard = was.makers.on, was.makers.broken, was.makers.heard
    makers.changes, makers._told_at = was.makers.changes, was.makers.told_at
    makers._received_ns, makers._lost = was.makers.received_ns, was.makers.lost
    _fill(makers._book, was.makers.rows)
    tape.day.of(was.tape.session)
    tape.day.last = was.tape.last
    tape._rule._price, tape._rule._direction = was.tape.price, was.tape.direction
    tape._repeats._seen.extend(was.tape.seen)
    tape._repeats._before = list(was.tape.told_before)
    halts.code, halts.since_ns, halts.today = was.halts.code, was.halts.since_ns, was.halts.today
    halts._reopened_ns, halts._stopped, halts._session = was.halts.reopened_ns, was.halts.stopped, was.halts.session
    if was.newest_bar is not None:
        feed.bars.recent.append(was.newest_bar)


def _raw(prints: Iterable[object]) -> list[Raw]:
    return [one for one in prints if isinstance(one, Raw)]


def _rows(book: DepthBook) -> Rows:
    return Rows(book.bids, book.asks)


def _fill(book: DepthBook, rows: Rows) -> None:
    book.clear()
    book.bids += rows.bids
    book.asks += rows.asks
